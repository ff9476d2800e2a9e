use super::texts::{hostile, spaced_and_compact};
use crate::framing::{Batch, BatchFraming, Frame, Json, Sse, StreamFraming};
use crate::{Draft, Error, Gap, envelope};
use futures::{FutureExt as _, StreamExt as _, stream};
use proptest::prelude::*;
use serde_json::value::RawValue;
use sse_stream::SseByteStream;
use std::collections::HashMap;
use std::convert::Infallible;

const CURSOR: &str = "AQ-_z";
const HOSTILE_TEXT: &str = "a\"\\\r\n\0\u{1b}\u{7f}\u{2028}</script>😀";

fn stored(body: &str) -> String {
    let draft = Draft::checked("1".to_owned(), body.to_owned()).expect("a good draft");
    envelope(
        "lobby",
        u64::MAX,
        &draft.id,
        HOSTILE_TEXT,
        HOSTILE_TEXT,
        1_700_000_000_000,
        &draft.body,
    )
}

/// The members of a JSON object, each as its text.
#[track_caller]
fn members(json: &str) -> HashMap<String, Box<RawValue>> {
    serde_json::from_str(json).expect("a JSON object")
}

/// The blocks that a parser of this kind tells, with the bytes coming in pieces of this size. It tells a
/// block of any field, as httpx-sse does, also where a browser would tell none.
fn blocks(bytes: &[u8], piece: usize) -> Vec<sse_stream::Sse> {
    let pieces = stream::iter(bytes.chunks(piece).map(Ok::<_, Infallible>));
    let blocks = SseByteStream::new(pieces).map(|block| block.expect("an event stream"));
    blocks
        .collect()
        .now_or_never()
        .expect("all pieces are there")
}

fn block(event: Option<&str>, data: &str, id: Option<&str>) -> sse_stream::Sse {
    sse_stream::Sse {
        event: event.map(str::to_owned),
        data: Some(data.to_owned()),
        id: id.map(str::to_owned),
        retry: None,
    }
}

fn written(framing: &impl StreamFraming, frame: &Frame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    framing.write(frame, &mut out);
    out
}

/// What holds for every framing of a stream.
#[track_caller]
fn heads_and_tails_make_frames(framing: &impl StreamFraming) {
    for body in hostile() {
        let envelope = stored(&body);
        let mut parts = Vec::new();
        framing.head(&envelope, &mut parts);
        framing.tail(CURSOR, &mut parts);
        assert_eq!(
            parts,
            written(
                framing,
                &Frame::Envelope {
                    envelope: &envelope,
                    cursor: CURSOR
                }
            )
        );
    }
}

/// Draft, envelope, every framing, a parser of that framing, and the body again.
#[track_caller]
fn goes_round(spaced: &str, compact: &str, piece: usize) {
    let envelope = stored(spaced);
    assert!(envelope.bytes().all(|byte| byte >= b' '));

    let frame = Frame::Envelope {
        envelope: &envelope,
        cursor: CURSOR,
    };
    let told = blocks(&written(&Sse, &frame), piece);
    assert_eq!(told, [block(None, &envelope, Some(CURSOR))]);

    let json = frame.to_json();
    assert!(json.bytes().all(|byte| byte >= b' '));
    let frame = members(&json);
    assert_eq!(frame["envelope"].get(), envelope);
    assert_eq!(frame["cursor"].get(), format!("\"{CURSOR}\""));

    let mut bytes = Vec::new();
    let envelopes = vec![&*envelope, &*envelope];
    Json.write(
        &Batch {
            envelopes,
            cursor: Some(CURSOR),
            ..Batch::default()
        },
        &mut bytes,
    );
    let batch = members(str::from_utf8(&bytes).expect("UTF-8"));
    let envelopes: Vec<Box<RawValue>> =
        serde_json::from_str(batch["envelopes"].get()).expect("an array");
    assert_eq!(envelopes.len(), 2);
    for told in envelopes {
        let told = members(told.get());
        assert_eq!(told["body"].get(), compact);
        let name: String = serde_json::from_str(told["name"].get()).expect("a string");
        assert_eq!(name, HOSTILE_TEXT);
    }
}

#[test]
fn an_envelope_has_its_members_in_order() {
    assert_eq!(
        envelope("@a", 1, "!", "s", "n", 2, "[3]"),
        r#"{"channel":"@a","offset":1,"id":"!","sender":"s","name":"n","sent_at":2,"body":[3]}"#
    );
}

#[test]
fn a_hostile_body_comes_out_of_every_framing_token_for_token() {
    for body in hostile() {
        goes_round(&body, &body, body.len() + 1);
        goes_round(&body, &body, if body.len() < 1000 { 1 } else { 997 });
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
        Frame::Denied {
            channel: "a",
            error: &error,
        },
        r#"{"denied":{"channel":"a","error":"forbidden","detail":"no \"more\""}}"#,
    );
    check(Frame::End { reason: "reopen" }, r#"{"end":"reopen"}"#);
}

#[test]
fn a_batch_tells_its_cursor_or_what_is_before_it() {
    let check = |batch: Batch<'_>, json: &str| {
        let mut bytes = Vec::new();
        Json.write(&batch, &mut bytes);
        assert_eq!(str::from_utf8(&bytes).expect("UTF-8"), json);
    };
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
            before: None,
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
    assert_eq!(Json.error(&Error::NotFound), None);
}

#[test]
fn a_frame_of_server_sent_events_is_its_head_and_its_tail() {
    heads_and_tails_make_frames(&Sse);
    assert_eq!(Sse.error(&Error::NotFound), None);
}

#[test]
fn every_frame_is_one_event_and_neither_the_prelude_nor_a_heartbeat_is_any() {
    let gap = Gap {
        channel: "a",
        after: 1,
        resumed: 9,
    };
    let error = Error::Forbidden("no\r\nmore".to_owned());
    let mut stream = Sse.prelude();
    assert!(stream.len() > 2048);
    for frame in [
        Frame::Open { cursor: "AQ" },
        Frame::Heartbeat,
        Frame::Envelope {
            envelope: "{}",
            cursor: "Ag",
        },
        Frame::Heartbeat,
        Frame::Heartbeat,
        Frame::Gap { gap, cursor: "Aw" },
        Frame::Denied {
            channel: "a",
            error: &error,
        },
        Frame::End { reason: "reopen" },
        Frame::Heartbeat,
    ] {
        Sse.write(&frame, &mut stream);
    }
    let mut open = block(Some("cursor"), "{}", Some("AQ"));
    open.retry = Some(1000);
    let expected = [
        open,
        block(None, "{}", Some("Ag")),
        block(
            Some("gap"),
            r#"{"channel":"a","after":1,"resumed":9}"#,
            Some("Aw"),
        ),
        block(
            Some("denied"),
            r#"{"channel":"a","error":"forbidden","detail":"no\u000d\u000amore"}"#,
            None,
        ),
        block(Some("end"), r#"{"end":"reopen"}"#, None),
    ];
    for piece in [1, 2, 3, 7, stream.len()] {
        assert_eq!(blocks(&stream, piece), expected);
    }
    assert_eq!(written(&Sse, &Frame::Heartbeat), b":hb\n");
}

#[test]
fn a_line_break_or_nul_where_none_may_be_ends_no_event() {
    let envelope = "{\"a\":\r\n\n1,\r\"b\":\0}\n\ndata: forged";
    let frame = Frame::Envelope {
        envelope,
        cursor: "A\n\rQ\0",
    };
    let told = blocks(&written(&Sse, &frame), 1);
    let data = "{\"a\":   1, \"b\": }  data: forged";
    assert_eq!(told, [block(None, data, Some("A  Q "))]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_body_comes_out_of_every_framing_token_for_token(
        (spaced, compact) in spaced_and_compact(),
        piece in 1usize..64,
    ) {
        goes_round(&spaced, &compact, piece);
    }
}
