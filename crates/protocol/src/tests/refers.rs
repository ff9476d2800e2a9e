use crate::{Ask, Draft, Drafts, Error, Kind, Refers, Verb};

fn about(kind: Kind, offset: u64, body: &str) -> Draft {
    Draft {
        id: "1".to_owned(),
        body: body.to_owned(),
        refers: Some(Refers { kind, offset }),
    }
}

/// What each way of publishing makes of a draft with this body and these references, all alike.
#[track_caller]
fn parsed(refers: &str, body: &str) -> Result<Draft, u16> {
    let draft = format!(r#"{{"id":"1","refers":{refers},"body":{body}}}"#);
    let one = |drafts: Result<Drafts, Error>| match drafts.map_err(|error| error.status())? {
        Drafts::One(draft) => Ok(draft),
        Drafts::Many(mut drafts) => Ok(drafts.remove(0)),
    };
    let posted = one(Drafts::parse(draft.as_bytes()));
    assert_eq!(one(Drafts::parse(format!("[{draft}]").as_bytes())), posted);
    let said = |drafts: &str| {
        let ask = Ask::parse(&format!(r#"{{"publish":{{"channel":"a",{drafts}}}}}"#));
        match ask.map_err(|(_, error)| error)?.verb {
            Verb::Publish { drafts, .. } => Ok(drafts),
            verb => panic!("{verb:?}"),
        }
    };
    assert_eq!(one(said(&draft[1..draft.len() - 1])), posted);
    assert_eq!(one(said(&format!(r#""drafts":[{draft}]"#))), posted);
    let escaped =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
    let query = format!("id=1&body={}&refers={}", escaped(body), escaped(refers));
    assert_eq!(one(Drafts::from_query(&query)), posted);
    posted
}

#[test]
fn a_draft_may_be_about_another_message() {
    for (refers, body, draft) in [
        (
            r#"{"kind":"edit","offset":1}"#,
            "[ 2 ]",
            about(Kind::Edit, 1, "[2]"),
        ),
        (
            r#"{ "offset" : 9007199254740991 , "kind" : "\u0072eply", "more": 1 }"#,
            "null",
            about(Kind::Reply, (1 << 53) - 1, "null"),
        ),
        (
            r#"{"kind":"delete","offset":7}"#,
            " null ",
            about(Kind::Delete, 7, "null"),
        ),
        (
            r#"{"kind":"reaction","offset":7}"#,
            "null",
            about(Kind::Reaction, 7, "null"),
        ),
        (
            r#"{"kind":"reaction","offset":7}"#,
            "\"\u{1f44d}\"",
            about(Kind::Reaction, 7, "\"\u{1f44d}\""),
        ),
        (
            r#"{"kind":"reaction","offset":7}"#,
            r#""\ud83d\udc4d""#,
            about(Kind::Reaction, 7, r#""\ud83d\udc4d""#),
        ),
    ] {
        assert_eq!(parsed(refers, body), Ok(draft), "{refers} {body}");
    }
    let longest = format!("\"{}\"", "\u{1f44d}".repeat(32));
    assert!(parsed(r#"{"kind":"reaction","offset":7}"#, &longest).is_ok());
}

#[test]
fn what_refers_to_no_message_is_refused() {
    for refers in [
        "null",
        "1",
        "[]",
        "{}",
        r#""edit""#,
        r#"{"kind":"edit"}"#,
        r#"{"offset":1}"#,
        r#"{"kind":"Edit","offset":1}"#,
        r#"{"kind":"","offset":1}"#,
        r#"{"kind":1,"offset":1}"#,
        r#"{"kind":null,"offset":1}"#,
        r#"{"kind":"edit","offset":0}"#,
        r#"{"kind":"edit","offset":-1}"#,
        r#"{"kind":"edit","offset":1.0}"#,
        r#"{"kind":"edit","offset":1e0}"#,
        r#"{"kind":"edit","offset":"1"}"#,
        r#"{"kind":"edit","offset":null}"#,
        r#"{"kind":"edit","offset":9007199254740992}"#,
        r#"{"kind":"edit","offset":99999999999999999999}"#,
        r#"{"kind":"edit","kind":"edit","offset":1}"#,
        r#"{"kind":"edit","offset":1,"offset":1}"#,
    ] {
        assert_eq!(parsed(refers, "null"), Err(422), "{refers}");
    }
    for query in [
        "id=1&body=1&refers={",
        "id=1&body=1&refers=",
        "id=1&body=1&refers=1&refers=1",
    ] {
        let refused = Drafts::from_query(query).map_err(|error| error.status());
        assert_eq!(refused, Err(400), "{query}");
    }
    let twice = br#"{"id":"1","body":1,"refers":1,"refers":1}"#;
    assert_eq!(
        Drafts::parse(twice).map_err(|error| error.status()),
        Err(422)
    );
}

#[test]
fn what_a_message_of_its_kind_does_not_say_is_refused() {
    let long = format!("\"{}\"", "x".repeat(33));
    for (kind, body) in [
        ("delete", "0"),
        ("delete", "{}"),
        ("delete", "\"null\""),
        ("reaction", "\"\""),
        ("reaction", "1"),
        ("reaction", "true"),
        ("reaction", "[\"x\"]"),
        ("reaction", r#""\ud800""#),
        ("reaction", long.as_str()),
    ] {
        let refers = format!(r#"{{"kind":"{kind}","offset":1}}"#);
        assert_eq!(parsed(&refers, body), Err(422), "{kind} {body}");
    }
}
