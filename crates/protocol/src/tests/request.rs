use crate::{
    Channel, Cursor, Error, Heartbeat, Known, Position, PublishQuery, ReadRequest, Start,
    inline_errors,
};
use proptest::prelude::*;

fn channel(name: &str) -> Channel {
    name.parse().expect("a name")
}

fn cursor(places: &[(&str, u64)]) -> String {
    let places = places.iter().map(|(name, offset)| {
        (
            channel(name),
            Position {
                epoch: 9,
                offset: *offset,
                tag: 3,
            },
        )
    });
    places.collect::<Cursor>().encode()
}

#[track_caller]
fn read(query: &str) -> ReadRequest {
    ReadRequest::parse(query, None).unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// The query is refused with 400, and the text begins with the name of the part at fault.
#[track_caller]
fn refused(query: &str, part: &str) {
    match ReadRequest::parse(query, None) {
        Err(Error::Invalid(text)) if text.starts_with(&format!("{part}: ")) => {}
        other => panic!("{query}: {other:?}"),
    }
}

#[track_caller]
fn starts(query: &str, last_event_id: Option<&str>, expected: &[Start]) {
    let request = ReadRequest::parse(query, last_event_id).expect("a good query");
    let starts: Vec<_> = request
        .channels
        .iter()
        .map(|channel| request.start(channel))
        .collect();
    assert_eq!(starts, expected, "{query} {last_event_id:?}");
    let resumes = expected
        .iter()
        .all(|start| matches!(start, Start::After(_)));
    assert_eq!(request.resumes(), resumes, "{query} {last_event_id:?}");
}

#[test]
fn a_channel_alone_is_read_from_now_on_with_the_defaults() {
    let expected = ReadRequest {
        channels: vec![channel("lobby")],
        after: None,
        history: 0,
        limit: 100,
        wait: 25,
        before: None,
        token: None,
        heartbeat: Heartbeat {
            first: 15,
            then: 15,
        },
        presence: None,
    };
    assert_eq!(read("channel=lobby"), expected);
}

#[test]
fn every_parameter_has_its_place() {
    let expected = ReadRequest {
        channels: vec![channel("@ann"), channel("a-._~Z9")],
        after: Some(Cursor::decode(&cursor(&[("x", 1)])).expect("a cursor")),
        history: 1000,
        limit: 1,
        wait: 0,
        before: None,
        token: Some("a.b +é/".to_owned()),
        heartbeat: Heartbeat { first: 1, then: 1 },
        presence: Some(Known::default()),
    };
    let after = cursor(&[("x", 1)]);
    let query = format!(
        "&&channel=%40ann&chann%65l=a-._~Z9&after={after}&history=1000&limit=1&wait=0\
         &token=a.b+%2B%C3%a9/&heartbeat=1&presence=0&unknown=1&unknown=%20&flag&=&"
    );
    assert_eq!(read(&query), expected);
    assert_eq!(read("channel=a&before=0").before, Some(0));
    assert_eq!(
        read("channel=a&before=18446744073709551615").before,
        Some(u64::MAX)
    );
    assert_eq!(read("channel=a&limit=1000&wait=55").limit, 1000);
    assert_eq!(read("channel=a&limit=007").limit, 7);
    let heartbeat = read("channel=a&heartbeat=55").heartbeat;
    assert_eq!(heartbeat, Heartbeat { first: 1, then: 55 });
}

#[test]
fn an_empty_cursor_or_token_is_an_absent_one() {
    assert_eq!(read("channel=a&after=&token="), read("channel=a"));
    assert_eq!(
        ReadRequest::parse("channel=a", Some("")),
        Ok(read("channel=a"))
    );
}

#[test]
fn the_cursor_wins_over_history_and_the_header_over_the_cursor() {
    let at = |offset| {
        Start::After(Position {
            epoch: 9,
            offset,
            tag: 3,
        })
    };
    let old = cursor(&[("a", 1), ("b", 2)]);
    let new = cursor(&[("a", 5)]);
    starts("channel=a", None, &[Start::Live]);
    starts("channel=a&history=0", None, &[Start::Live]);
    starts(
        "channel=a&channel=b&history=7",
        None,
        &[Start::Newest(7), Start::Newest(7)],
    );
    starts(&format!("channel=a&after={old}&history=7"), None, &[at(1)]);
    starts(
        &format!("channel=c&channel=b&after={old}"),
        None,
        &[Start::Live, at(2)],
    );
    starts(
        &format!("channel=c&channel=b&after={old}&history=7"),
        None,
        &[Start::Newest(7), at(2)],
    );
    starts(&format!("channel=a&after={old}"), Some(&new), &[at(5)]);
    starts(
        &format!("channel=a&channel=b&after={old}"),
        Some(&new),
        &[at(5), Start::Live],
    );
    starts("channel=a&history=7", Some(&new), &[at(5)]);
    starts(&format!("channel=a&after={old}"), Some(""), &[at(1)]);
}

#[test]
fn what_the_grammar_does_not_allow_is_refused_by_name() {
    let good = cursor(&[("a", 1)]);
    refused("", "channel");
    refused("limit=1", "channel");
    refused("Channel=a", "channel");
    for name in [
        "", "@", "@@a", "a@", "a/b", "a%00", "a%0d%0a", "%C3%A9", "a b", "a,b", "a+b", "%2e%2F",
    ] {
        refused(&format!("channel={name}"), "channel");
    }
    refused("channel", "channel");
    refused(&format!("channel={}", "a".repeat(65)), "channel");
    refused(&format!("channel=@{}", "a".repeat(64)), "channel");
    refused("channel=a&channel=b&channel=a", "channel");
    refused("channel=a&channel=%61", "channel");
    let many: Vec<_> = (0..65).map(|n| format!("channel=c{n}")).collect();
    assert_eq!(read(&many[..64].join("&")).channels.len(), 64);
    refused(&many.join("&"), "channel");

    for name in [
        "after",
        "history",
        "limit",
        "wait",
        "before",
        "token",
        "heartbeat",
    ] {
        refused(&format!("channel=a&{name}=1&{name}=1"), name);
    }
    for number in [
        "",
        "-1",
        "+1",
        "%2B1",
        "1.0",
        "0x1",
        "1e1",
        " 1",
        "1 ",
        "١",
        "one",
        "99999999999999999999",
    ] {
        for name in ["history", "limit", "wait", "before", "heartbeat"] {
            refused(&format!("channel=a&{name}={number}"), name);
        }
    }
    refused("channel=a&limit=0", "limit");
    refused("channel=a&limit=1001", "limit");
    refused("channel=a&wait=56", "wait");
    refused("channel=a&heartbeat=0", "heartbeat");
    refused("channel=a&heartbeat=56", "heartbeat");
    refused("channel=a&history=1001", "history");
    refused("channel=a&history=4294967296", "history");
    refused("channel=a&before=18446744073709551616", "before");

    refused("channel=a&before=5&history=0", "before");
    refused(&format!("channel=a&before=5&after={good}"), "before");
    refused("channel=a&channel=b&before=5", "before");
    assert!(ReadRequest::parse("channel=a&before=5", Some(&good)).is_err());

    refused("channel=a&after=x", "cursor");
    refused(&format!("channel=a&after={good}="), "cursor");
    assert!(ReadRequest::parse("channel=a", Some("x")).is_err());

    refused("channel=a&token=%00", "token");
    refused("channel=a&token=a%0Ab", "token");
    refused("channel=a&token=%C2%85", "token");

    for broken in [
        "%",
        "%4",
        "%4g",
        "%g4",
        "%%41",
        "%+1",
        "%-1",
        "%C3",
        "%ff",
        "%ed%a0%80",
        "%C0%80",
        "%é",
    ] {
        refused(&format!("channel=a&token={broken}"), "query");
        refused(&format!("channel=a&unknown={broken}"), "query");
        refused(&format!("channel=a&{broken}=1"), "query");
    }
}

#[test]
fn errors_are_told_inline_or_by_status() {
    for (query, inline) in [
        ("", Some(false)),
        ("channel=a&limit=x", Some(false)),
        ("errors=inline", Some(true)),
        ("channel=/&errors=%69nline&x", Some(true)),
        ("errors=", None),
        ("errors", None),
        ("errors=Inline", None),
        ("errors=inline&errors=inline", None),
        ("errors=status", None),
        ("errors=inline&x=%", None),
    ] {
        match inline_errors(query) {
            Ok(told) => assert_eq!(Some(told), inline, "{query}"),
            Err(Error::Invalid(_)) => assert_eq!(inline, None, "{query}"),
            Err(error) => panic!("{query}: {error:?}"),
        }
    }
}

#[test]
fn publishing_takes_one_channel_and_a_token() {
    let good = |query: &str| PublishQuery::parse(query).expect("a good query");
    let query = PublishQuery {
        channel: channel("a"),
        token: None,
    };
    assert_eq!(good("channel=a"), query);
    assert_eq!(good("channel=a&token="), query);
    assert_eq!(
        good("channel=a&wait=x&token=t"),
        PublishQuery {
            token: Some("t".to_owned()),
            ..query
        }
    );
    for query in [
        "",
        "token=t",
        "channel=",
        "channel=a&channel=b",
        "channel=a&token=1&token=1",
        "channel=a&x=%",
    ] {
        assert!(
            matches!(PublishQuery::parse(query), Err(Error::Invalid(_))),
            "{query}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn any_text_is_a_request_within_its_limits_or_refused(
        query in prop_oneof![
            any::<String>(),
            "(channel=[a-c%@]{0,3}|limit=[0-9+%]{0,5}|wait=[0-9]{0,3}|before=[0-9]{0,21}|after=A?Q?|[&=%+]|token=.{0,4}|heartbeat=[0-9]{0,3}|errors=(inline)?|&){0,8}",
        ],
        header in prop::option::of(any::<String>()),
    ) {
        let _ = PublishQuery::parse(&query);
        match ReadRequest::parse(&query, header.as_deref()) {
            Ok(request) => {
                prop_assert!((1..=64).contains(&request.channels.len()));
                prop_assert!((1..=1000).contains(&request.limit));
                prop_assert!(request.wait <= 55 && request.history <= 1000);
                prop_assert!((1..=55).contains(&request.heartbeat.then));
                prop_assert!(request.token != Some(String::new()));
            }
            Err(error) => prop_assert_eq!(error.status(), 400),
        }
    }

    #[test]
    fn a_token_comes_through_its_encoding(token in "\\PC{1,20}") {
        let encoded: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
        prop_assert_eq!(read(&format!("channel=a&token={encoded}")).token, Some(token));
    }
}

#[test]
fn who_takes_part_tells_what_it_knows_of_each_channel() {
    let known = |query: &str| read(query).presence.expect("it takes part");
    for query in [
        "channel=a&presence",
        "channel=a&presence=",
        "channel=a&presence=0",
    ] {
        assert_eq!(known(query), Known::default(), "{query}");
        assert_eq!(known(query).digest(0, 1), None, "{query}");
    }
    let digests = ["0123456789a", "-_ABCDEFGHI"];
    let two = Known::of(digests);
    assert_eq!(two.as_str(), "0123456789a-_ABCDEFGHI");
    let read = known(&format!("channel=a&channel=b&presence={}", two.as_str()));
    assert_eq!(read, two);
    assert_eq!([0, 1].map(|index| read.digest(index, 2)), digests.map(Some));
    // Of other channels it says nothing.
    assert_eq!(read.digest(0, 1), None);
    assert_eq!(read.digest(0, 3), None);
    assert_eq!(known("channel=a&presence=7").digest(0, 1), None);
    for presence in ["%20", "a.b", "%C3%A9", &"a".repeat(64 * 11 + 1)] {
        refused(&format!("channel=a&presence={presence}"), "presence");
    }
    refused("channel=a&presence=0&presence=0", "presence");
    let most = "a".repeat(64 * 11);
    assert_eq!(known(&format!("channel=a&presence={most}")).as_str(), most);
}
