//! What a framing writes is read by parsers that are not ours: any text comes out as it went in.

use super::texts::{hostile, spaced_and_compact};
use crate::framing::{
    AnswerFraming, Batch, Frame, Framing, Htmlfile, Json, Jsonp, NdJson, Sse, StreamFraming,
};
use crate::{Draft, Envelope, Error, Gap, Kind, Mark, Refers, State};
use futures::{FutureExt as _, StreamExt as _, stream};
use parsers::{Lines, Parser, Window, jsonp};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::value::RawValue;
use sse_stream::SseByteStream;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

const CURSOR: &str = "AQ-_z";
const HOSTILE_TEXT: &str = "a\"\\\r\n\0\u{1b}\u{7f}\u{2028}</script>😀";
const CALLBACK: &str = "received";
const ORIGIN: &str = "https://chat.example";

fn stored(body: &str) -> String {
    let draft = Draft::checked("1".to_owned(), body.to_owned(), None).expect("a good draft");
    let envelope = Envelope {
        channel: "lobby",
        offset: u64::MAX,
        id: &draft.id,
        sender: HOSTILE_TEXT,
        name: HOSTILE_TEXT,
        sent_at: 1_700_000_000_000,
        refers: None,
        body: &draft.body,
    };
    envelope.to_json()
}

/// The members of a JSON object, each as its text.
#[track_caller]
fn members(json: &str) -> HashMap<String, Box<RawValue>> {
    serde_json::from_str(json).expect("a JSON object")
}

/// For a page of any origin.
fn document_of(query: &str) -> Result<Htmlfile, Error> {
    Htmlfile::from_query(query, None, |_| true)
}

fn calling() -> Htmlfile {
    document_of(&format!("callback={CALLBACK}")).expect("a good query")
}

fn posting() -> Htmlfile {
    document_of(&format!("origin={ORIGIN}")).expect("a good query")
}

/// As it is for who does not ask for beats, and for who does.
fn events() -> [Sse; 2] {
    ["channel=a", "channel=a&heartbeat=7"].map(|query| Sse::from_query(query).expect("a query"))
}

fn document(window: Window) -> parsers::Htmlfile {
    parsers::Htmlfile::new(window)
}

fn page(callback: &str) -> Jsonp {
    Jsonp::from_query(&format!("callback={callback}")).expect("a good query")
}

/// The bytes of a stream, its prelude first.
fn written<'a>(
    framing: &impl StreamFraming,
    frames: impl IntoIterator<Item = &'a Frame<'a>>,
) -> Vec<u8> {
    let mut out = framing.prelude();
    for frame in frames {
        framing.write(frame, &mut out);
    }
    out
}

/// The frames in bytes that come in pieces.
#[track_caller]
fn read<'a>(mut parser: impl Parser, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let frames = pieces
        .into_iter()
        .map(|piece| parser.feed(piece).expect("the parser's own framing"));
    frames.flatten().collect()
}

/// Bytes cut in these places.
fn cut<'a>(mut bytes: &'a [u8], places: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = places
        .iter()
        .map(|place| place.index(bytes.len() + 1))
        .collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut behind = 0;
    for place in places {
        let (piece, rest) = bytes.split_at(place - behind);
        pieces.push(piece);
        bytes = rest;
        behind = place;
    }
    pieces.push(bytes);
    pieces
}

/// Old engines end a string literal at these, which those of today do not.
#[track_caller]
fn old_engines_read(script: &[u8]) {
    let script = str::from_utf8(script).expect("UTF-8");
    assert!(!script.contains(['\u{2028}', '\u{2029}']));
}

/// A message goes through every framing of a stream, in pieces as they are cut.
#[track_caller]
fn streams(envelope: &str, cutting: &dyn Fn(&[u8]) -> Vec<&[u8]>) {
    let open = Frame::Open { cursor: "AQ" };
    let message = Frame::Envelope {
        envelope,
        cursor: CURSOR,
    };
    let frames = [open, message, message];
    let check = |frames: Vec<String>| {
        let [open, one, other] = &frames[..] else {
            panic!("{frames:?}")
        };
        assert_eq!(open, r#"{"open":true,"cursor":"AQ"}"#);
        assert_eq!(one, other);
        let told = members(one);
        assert_eq!(told.len(), 2);
        assert_eq!(told["envelope"].get(), envelope);
        assert_eq!(told["cursor"].get(), format!("\"{CURSOR}\""));
    };
    let bytes = written(&Sse::default(), &frames);
    check(read(parsers::Sse::default(), cutting(&bytes)));
    let bytes = written(&NdJson, &frames);
    check(read(Lines::default(), cutting(&bytes)));
    let bytes = written(&calling(), &frames);
    old_engines_read(&bytes);
    let calls = document(Window::Calls(CALLBACK.to_owned()));
    check(read(calls, cutting(&bytes)));
    let own = document(Window::Own(CALLBACK.to_owned()));
    assert_eq!(read(own, cutting(&bytes)), [""; 0]);
    let bytes = written(&posting(), &frames);
    let posts = document(Window::Posts(ORIGIN.to_owned()));
    check(read(posts, cutting(&bytes)));
    let elsewhere = document(Window::Posts("https://elsewhere.example".to_owned()));
    assert_eq!(read(elsewhere, cutting(&bytes)), [""; 0]);
}

/// A message goes through every framing of an answer.
#[track_caller]
fn answers(envelope: &str) {
    let batch = Batch {
        envelopes: vec![envelope, envelope],
        cursor: Some(CURSOR),
        ..Batch::default()
    };
    let check = |text: &str| {
        let told = members(text);
        let envelopes: Vec<Box<RawValue>> =
            serde_json::from_str(told["envelopes"].get()).expect("an array");
        let envelopes: Vec<&str> = envelopes.iter().map(|told| told.get()).collect();
        assert_eq!(envelopes, [envelope; 2]);
    };
    check(str::from_utf8(&Json.write(batch.to_json())).expect("UTF-8"));
    let script = page("a.b").write(batch.to_json());
    old_engines_read(&script);
    check(&jsonp(&script, "a.b").expect("a script"));
}

/// A draft becomes an envelope that has its body, and goes through every framing.
#[track_caller]
fn goes_round(spaced: &str, compact: &str, cutting: &dyn Fn(&[u8]) -> Vec<&[u8]>) {
    let envelope = stored(spaced);
    assert!(envelope.bytes().all(|byte| byte >= b' '));
    let told = members(&envelope);
    assert_eq!(told["body"].get(), compact);
    let name: String = serde_json::from_str(told["name"].get()).expect("a string");
    assert_eq!(name, HOSTILE_TEXT);
    streams(&envelope, cutting);
    answers(&envelope);
}

#[test]
fn an_envelope_has_its_members_in_order() {
    let envelope = Envelope {
        channel: "@a",
        offset: 1,
        id: "!",
        sender: "s",
        name: "n",
        sent_at: 2,
        refers: None,
        body: "[3]",
    };
    assert_eq!(
        envelope.to_json(),
        r#"{"channel":"@a","offset":1,"id":"!","sender":"s","name":"n","sent_at":2,"body":[3]}"#
    );
    let about = Envelope {
        refers: Some(Refers {
            kind: Kind::Reply,
            offset: 7,
        }),
        ..envelope
    };
    assert_eq!(
        about.to_json(),
        r#"{"channel":"@a","offset":1,"id":"!","sender":"s","name":"n","sent_at":2,"refers":{"kind":"reply","offset":7},"body":[3]}"#
    );
}

#[test]
fn a_hostile_body_comes_out_of_every_framing_token_for_token() {
    for body in hostile() {
        goes_round(&body, &body, &|bytes| vec![bytes]);
        let piece = if body.len() < 1000 { 1 } else { 997 };
        goes_round(&body, &body, &|bytes| bytes.chunks(piece).collect());
    }
}

#[test]
fn every_frame_in_json() {
    let check = |frame: Frame<'_>, json: &str| assert_eq!(frame.to_json(), json);
    let gap = Gap {
        channel: "a",
        after: 1,
        resumed: 9,
    };
    let error = Error::Forbidden("no \"more\"".to_owned());
    let later = Error::RateLimited { retry_after: 7 };
    check(
        Frame::Open { cursor: "AQ" },
        r#"{"open":true,"cursor":"AQ"}"#,
    );
    check(
        Frame::Envelope {
            envelope: "{}",
            cursor: "AQ",
        },
        r#"{"envelope":{},"cursor":"AQ"}"#,
    );
    check(
        Frame::Gap { gap, cursor: "AQ" },
        r#"{"gap":{"channel":"a","after":1,"resumed":9},"cursor":"AQ"}"#,
    );
    check(Frame::Heartbeat, r#"{"heartbeat":true}"#);
    check(
        Frame::State {
            state: r#"{"channel":"a"}"#,
        },
        r#"{"state":{"channel":"a"}}"#,
    );
    check(
        Frame::Denied {
            channel: "a",
            error: &error,
        },
        r#"{"denied":{"channel":"a","error":"forbidden","detail":"no \"more\""}}"#,
    );
    check(Frame::End { error: None }, r#"{"end":"reopen"}"#);
    check(
        Frame::End {
            error: Some(&error),
        },
        r#"{"end":"forbidden","detail":"no \"more\""}"#,
    );
    check(
        Frame::End {
            error: Some(&later),
        },
        r#"{"end":"rate-limited","detail":"too often; again in 7 s","retry_after":7}"#,
    );
}

/// A live state of people with hostile names, and what made it of none.
fn hostile_state() -> (String, String) {
    let people = BTreeMap::from([(HOSTILE_TEXT.to_owned(), HOSTILE_TEXT.to_owned())]);
    let mark = Mark {
        read: 1,
        delivered: u64::MAX,
    };
    let state = State {
        here: people.clone(),
        others: 0,
        typing: people,
        marks: BTreeMap::from([(HOSTILE_TEXT.to_owned(), mark)]),
    };
    let change = state.since(&State::default()).expect("it is another");
    (state.to_json("a"), change.to_json("a"))
}

/// Every kind of frame, each of whose texts is hostile.
#[track_caller]
fn every_frame_comes_out(
    framing: &impl StreamFraming,
    parser: impl Fn() -> Box<dyn Parser>,
    tells_beats: bool,
) {
    let gap = Gap {
        channel: "a",
        after: 1,
        resumed: u64::MAX,
    };
    let envelope = stored("[]");
    let error = Error::Forbidden(HOSTILE_TEXT.to_owned());
    let unavailable = Error::Unavailable(HOSTILE_TEXT.to_owned());
    let (whole, change) = hostile_state();
    let frames = [
        Frame::Open { cursor: "AQ" },
        Frame::Heartbeat,
        Frame::Envelope {
            envelope: &envelope,
            cursor: "Ag",
        },
        Frame::Heartbeat,
        Frame::Heartbeat,
        Frame::Gap { gap, cursor: "Aw" },
        Frame::State { state: &whole },
        Frame::Denied {
            channel: "a",
            error: &error,
        },
        Frame::End { error: None },
        Frame::End {
            error: Some(&unavailable),
        },
        Frame::State { state: &change },
        Frame::Heartbeat,
    ];
    let expected: Vec<_> = frames
        .iter()
        .filter(|frame| tells_beats || !matches!(frame, Frame::Heartbeat))
        .map(Frame::to_json)
        .collect();
    let bytes = written(framing, &frames);
    assert!(framing.prelude().len() >= 2048);
    for piece in [1, 2, 3, 7, bytes.len()] {
        let mut parser = parser();
        let told = bytes
            .chunks(piece)
            .flat_map(|piece| parser.feed(piece).expect("the parser's own framing"));
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
    // A message is told as it is in parts.
    let mut parts = Vec::new();
    framing.open(&mut parts);
    head_and_tail(framing, &envelope, "Ag", &mut parts);
    framing.close(&mut parts);
    let mut whole = Vec::new();
    framing.write(&frames[2], &mut whole);
    assert_eq!(parts, whole);
    // Who is refused is told nothing else.
    let refused = parser()
        .feed(&framing.refusal(&unavailable))
        .expect("the parser's own framing");
    assert_eq!(refused, [frames[9].to_json()]);
}

fn head_and_tail<F: StreamFraming>(_: &F, envelope: &str, cursor: &str, out: &mut Vec<u8>) {
    F::head(envelope, out);
    F::tail(cursor, out);
}

#[test]
fn every_frame_of_a_stream_comes_out_whatever_it_tells() {
    for (framing, tells_beats) in events().into_iter().zip([false, true]) {
        every_frame_comes_out(&framing, || Box::new(parsers::Sse::default()), tells_beats);
    }
    every_frame_comes_out(&NdJson, || Box::new(Lines::default()), true);
    let calls = || document(Window::Calls(CALLBACK.to_owned()));
    every_frame_comes_out(&calling(), || Box::new(calls()), true);
    let posts = || document(Window::Posts(ORIGIN.to_owned()));
    every_frame_comes_out(&posting(), || Box::new(posts()), true);
}

#[test]
fn a_batch_tells_its_cursor_or_what_is_before_it() {
    let check = |batch: Batch<'_>, json: &str| assert_eq!(batch.to_json(), json);
    let gaps = vec![
        Gap {
            channel: "a",
            after: 1,
            resumed: 9,
        },
        Gap {
            channel: "b",
            after: 0,
            resumed: u64::MAX,
        },
    ];
    check(
        Batch {
            envelopes: vec!["{}", "{}"],
            gaps,
            cursor: Some("AQ"),
            ..Batch::default()
        },
        r#"{"envelopes":[{},{}],"gaps":[{"channel":"a","after":1,"resumed":9},{"channel":"b","after":0,"resumed":18446744073709551615}],"cursor":"AQ"}"#,
    );
    check(
        Batch {
            cursor: Some("AQ"),
            ..Batch::default()
        },
        r#"{"envelopes":[],"gaps":[],"cursor":"AQ"}"#,
    );
    check(
        Batch {
            envelopes: vec!["{}"],
            before: Some(5),
            ..Batch::default()
        },
        r#"{"envelopes":[{}],"gaps":[],"before":5}"#,
    );
    check(
        Batch {
            cursor: Some("AQ"),
            state: vec![r#"{"channel":"a"}"#, r#"{"channel":"b"}"#],
            presence: Some("xyz"),
            ..Batch::default()
        },
        r#"{"envelopes":[],"gaps":[],"cursor":"AQ","state":[{"channel":"a"},{"channel":"b"}],"presence":"xyz"}"#,
    );
}

#[test]
fn a_refused_request_is_told_in_the_answers_framing() {
    let error = Error::Unauthorized(HOSTILE_TEXT.to_owned());
    assert_eq!(Json.refusal(&error), error.to_json().into_bytes());
    let script = page("f").refusal(&error);
    assert_eq!(jsonp(&script, "f").expect("a script"), error.to_json());
}

#[test]
fn who_cannot_see_a_status_is_told_in_the_framing() {
    fn inline<F: Framing>(_: &F) -> (&'static str, bool) {
        (F::CONTENT_TYPE, F::INLINE_ERRORS)
    }
    assert_eq!(inline(&Json), ("application/json", false));
    assert_eq!(inline(&Sse::default()), ("text/event-stream", false));
    assert_eq!(inline(&NdJson), ("application/x-ndjson", false));
    assert_eq!(inline(&calling()), ("text/html; charset=utf-8", true));
    assert_eq!(inline(&page("f")), ("text/javascript; charset=utf-8", true));
}

/// The blocks that a parser of another kind tells: one of any field, as httpx-sse does, also where a browser
/// would tell none.
fn blocks(bytes: &[u8], piece: usize) -> Vec<sse_stream::Sse> {
    let pieces = stream::iter(bytes.chunks(piece).map(Ok::<_, Infallible>));
    let blocks = SseByteStream::new(pieces).map(|block| block.expect("an event stream"));
    blocks
        .collect()
        .now_or_never()
        .expect("all pieces are there")
}

#[test]
fn a_prelude_is_no_event_and_a_heartbeat_one_where_it_was_asked_for() {
    let frames = [
        Frame::Heartbeat,
        Frame::Open { cursor: "AQ" },
        Frame::Heartbeat,
        Frame::Heartbeat,
        Frame::End { error: None },
        Frame::Heartbeat,
    ];
    let block = |event: &str, data: &str, id: Option<&str>, retry| sse_stream::Sse {
        event: Some(event.to_owned()),
        data: Some(data.to_owned()),
        id: id.map(str::to_owned),
        retry,
    };
    let beat = block("heartbeat", "{}", None, None);
    let open = block("cursor", "{}", Some("AQ"), None);
    let end = block("end", r#"{"end":"reopen"}"#, None, None);
    // The prelude's belongs to the first event, whichever that is.
    let first = |block: &sse_stream::Sse| sse_stream::Sse {
        retry: Some(1000),
        ..block.clone()
    };
    let told = [
        vec![first(&open), end.clone()],
        vec![first(&beat), open, beat.clone(), beat.clone(), end, beat],
    ];
    let written_as = [":hb\n", "event: heartbeat\ndata: {}\n\n"];
    for ((framing, told), written_as) in events().into_iter().zip(told).zip(written_as) {
        let bytes = written(&framing, &frames);
        for piece in [1, 2, 3, 7, bytes.len()] {
            assert_eq!(blocks(&bytes, piece), told);
        }
        let mut beat = Vec::new();
        framing.write(&Frame::Heartbeat, &mut beat);
        assert_eq!(beat, written_as.as_bytes());
    }
}

#[test]
fn beats_are_asked_for_by_name() {
    let beat = |query: &str| {
        let mut beat = Vec::new();
        let framing = Sse::from_query(query).expect(query);
        framing.write(&Frame::Heartbeat, &mut beat);
        beat
    };
    for query in ["", "channel=heartbeat", "x=heartbeat=1", "Heartbeat=1"] {
        assert_eq!(beat(query), b":hb\n", "{query}");
    }
    // Whether it is a number is for others to say, in the framing of this.
    for query in ["heartbeat=15", "heartbeat", "a&heartbeat=1&heartbeat=x"] {
        assert_ne!(beat(query), b":hb\n", "{query}");
    }
    assert!(matches!(Sse::from_query("%"), Err(Error::Invalid(_))));
}

#[test]
fn a_line_break_or_nul_where_none_may_be_ends_neither_event_nor_line() {
    let frames = [Frame::Envelope {
        envelope: "{\"a\":\r\n\n1,\r\"b\":2}\n\ndata: \"forged\"",
        cursor: "A\n\rQ\0",
    }];
    let bytes = written(&Sse::default(), &frames);
    let told = blocks(&bytes, 1);
    assert_eq!(told.len(), 1);
    let data = "{\"a\":   1, \"b\":2}  data: \"forged\"";
    assert_eq!(told[0].data.as_deref(), Some(data));
    assert_eq!(told[0].id.as_deref(), Some("A  Q "));
    let bytes = written(&NdJson, &frames);
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
}

#[test]
fn a_page_names_what_is_called() {
    for callback in ["f", "$", "_", "a1", "jQuery1234_5678", &"a".repeat(128)] {
        let script = page(callback).write("{}".to_owned());
        assert!(script.starts_with(b"/**/"));
        assert_eq!(jsonp(&script, callback).expect("a script"), "{}");
        let framing = document_of(&format!("callback={callback}"));
        let bytes = written(&framing.expect("a good query"), &[Frame::Heartbeat]);
        let document = document(Window::Calls(callback.to_owned()));
        assert_eq!(read(document, [&bytes[..]]), [r#"{"heartbeat":true}"#]);
    }
    let script = page("a.$.c").write("{}".to_owned());
    assert_eq!(jsonp(&script, "a.$.c").expect("a script"), "{}");
}

#[test]
fn what_is_no_name_or_origin_is_refused() {
    let refused = |result: Result<(), Error>, query: &str| match result {
        Err(Error::Invalid(_)) => {}
        other => panic!("{query}: {other:?}"),
    };
    let long = "a".repeat(129);
    for callback in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "1a",
        "a.1",
        "a-b",
        "a b",
        "a(b",
        "a[0]",
        "a%22",
        "a'",
        "é",
        "a%3Balert(1)",
        "a%0A",
        "a%00",
        "%5Cu0061",
        "%E2%80%A8",
        &long,
    ] {
        let query = format!("callback={callback}");
        refused(Jsonp::from_query(&query).map(drop), &query);
        refused(document_of(&query).map(drop), &query);
    }
    for query in ["", "callback=a&callback=b", "callback=%", "origin=x&x=%"] {
        refused(Jsonp::from_query(query).map(drop), query);
        refused(document_of(query).map(drop), query);
    }
    for query in [
        "callback=a.b",
        "callback=a&origin=https://chat.example",
        "origin=https://chat.example&origin=https://chat.example",
        "origin=*",
        "origin=https://chat.example'",
        "callback=a&origin=*",
    ] {
        refused(document_of(query).map(drop), query);
    }
}

#[test]
fn a_document_is_for_pages_that_are_let_in() {
    for (query, let_in, made) in [
        ("origin=https://chat.example", true, true),
        ("origin=https://chat.example", false, false),
        // It is of the server's own origin, or does not get there.
        ("callback=f", false, true),
    ] {
        let framing = Htmlfile::from_query(query, None, |origin| {
            assert_eq!(origin.as_str(), ORIGIN);
            let_in
        });
        match framing {
            Ok(_) => assert!(made, "{query}"),
            Err(error) => assert!(!made && error.status() == 403, "{query}: {error}"),
        }
    }
}

#[test]
fn a_documents_domain_is_a_domain_or_the_server_is_set_up_wrong() {
    let prelude = |domain: &str| {
        let framing = Htmlfile::from_query("callback=f", Some(domain.to_owned()), |_| false)?;
        Ok::<_, Error>(framing.prelude())
    };
    let text = String::from_utf8(prelude("chat-1.example").expect("a domain")).expect("UTF-8");
    assert!(text.contains("document.domain='chat-1.example'"));
    for domain in ["a'b", "a b", "</script>", "é", "a\\", "a/b"] {
        assert!(
            matches!(prelude(domain), Err(Error::Unavailable(_))),
            "{domain}"
        );
    }
}

#[test]
fn what_a_framing_would_let_out_is_noticed() {
    let inside = |script: &str| {
        let mut document = document(Window::Calls("f".to_owned()));
        let bytes = format!("<html><body><script>parent.f('{script}')</script>");
        document.feed(bytes.as_bytes()).ok()
    };
    assert_eq!(inside("[1]"), Some(vec!["[1]".to_owned()]));
    assert_eq!(inside("</script>"), None);
    assert_eq!(inside("<!--<script>"), Some(Vec::new()));
    assert_eq!(inside("'+'"), Some(vec![String::new()]));
    assert_eq!(inside("\n"), None);
    assert_eq!(inside("','"), None);
    let called = |script: &str| jsonp(script.as_bytes(), "f").ok();
    assert_eq!(called("f(JSON.parse('[1]'))"), Some("[1]".to_owned()));
    assert_eq!(called("f(JSON.parse('[1'))"), None);
    assert_eq!(called("f([1])"), None);
    assert_eq!(called("f(JSON.parse('1'));f(JSON.parse('1'))"), None);
    assert_eq!(called("alert(1);f(JSON.parse('1'))"), None);
    assert_eq!(called(""), None);
    let told = |bytes: &str| Lines::default().feed(bytes.as_bytes()).ok();
    assert_eq!(told("[1]\n[2"), Some(vec!["[1]".to_owned()]));
    assert_eq!(told("[1\n]\n"), None);
    assert_eq!(told("\n"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_body_comes_out_of_every_framing_token_for_token(
        (spaced, compact) in spaced_and_compact(),
        places in prop::collection::vec(any::<Index>(), 0..40),
    ) {
        goes_round(&spaced, &compact, &|bytes| cut(bytes, &places));
    }

    #[test]
    fn any_json_text_comes_out_of_a_script_as_it_is((spaced, _) in spaced_and_compact()) {
        let script = page("f").write(spaced.clone());
        prop_assert_eq!(jsonp(&script, "f").expect("a script"), spaced);
    }

    #[test]
    fn any_text_comes_out_of_a_document_as_it_is(
        text in prop_oneof![
            any::<String>(),
            "(</?(script|plaintext|style|html)|<!--|-->|\\]\\]>|[<>/!'\"\\\\&;a\\x00\r\n\u{2028}\u{2029}\u{feff}]){0,20}",
        ],
        places in prop::collection::vec(any::<Index>(), 0..20),
    ) {
        let frame = Frame::Envelope { envelope: &text, cursor: CURSOR };
        let bytes = written(&calling(), &[frame, frame]);
        let told = read(document(Window::Calls(CALLBACK.to_owned())), cut(&bytes, &places));
        let json = frame.to_json();
        prop_assert_eq!(told, [json.as_str(), json.as_str()]);
    }
}
