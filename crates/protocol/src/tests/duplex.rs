use super::texts::spaced_and_compact;
use crate::{
    Ask, Channel, Cursor, Draft, Drafts, Error, Position, Reference, Reply, Start, Stored, Verb,
};
use proptest::prelude::*;

fn lobby() -> Channel {
    "lobby".parse().expect("a name")
}

fn place() -> (Position, Cursor) {
    let position = Position {
        epoch: 1,
        offset: 2,
        tag: 3,
    };
    (position, Cursor::from_iter([(lobby(), position)]))
}

fn draft(id: &str, body: &str) -> Draft {
    Draft {
        id: id.to_owned(),
        body: body.to_owned(),
        refers: None,
    }
}

fn published(drafts: Drafts) -> Verb {
    let channel = lobby();
    Verb::Publish { channel, drafts }
}

#[track_caller]
fn parsed(text: &str) -> Verb {
    Ask::parse(text).expect("a question").verb
}

#[track_caller]
fn refused(text: &str, reference: &str, error: &Error) {
    let (told, found) = Ask::parse(text).expect_err(text);
    assert_eq!(&found, error, "{text}");
    let answer = Reply::Failed(&found).to_json(&told);
    let begin = format!("{{{reference}\"error\":\"{}\"", error.code());
    assert!(answer.starts_with(&begin), "{text}: {answer}");
}

#[test]
fn a_draft_is_published_token_for_token() {
    let text = "{\"ref\":1,\"publish\":{\"channel\":\"lobby\",\"id\":\"a\",\"body\":{ \"x\" : 1e400, \"x\":\"\\ud800\"}}}";
    let one = Drafts::One(draft("a", r#"{"x":1e400,"x":"\ud800"}"#));
    assert_eq!(parsed(text), published(one));
}

#[test]
fn drafts_are_published_together_in_their_order() {
    let many = |count: usize| {
        let drafts = (0..count).map(|n| draft(&n.to_string(), "0"));
        published(Drafts::Many(drafts.collect()))
    };
    let ask = |count: usize| {
        let drafts: Vec<_> = (0..count)
            .map(|n| format!(r#"{{"id":"{n}","body": 0}}"#))
            .collect();
        format!(
            r#"{{"publish":{{"drafts":[{}],"channel":"lobby"}}}}"#,
            drafts.join(",")
        )
    };
    // An array of one is answered with an array.
    for count in [1, 2, 100] {
        assert_eq!(parsed(&ask(count)), many(count));
    }
    for count in [0, 101] {
        let (_, error) = Ask::parse(&ask(count)).expect_err("so many");
        assert_eq!(error.status(), 422, "{count}");
    }
    // One that is too long fails alone, where it would be stored.
    let long = format!("\"{}\"", "x".repeat(65_535));
    let text = format!(
        r#"{{"publish":{{"channel":"lobby","drafts":[{{"id":"a","body":{long}}},{{"id":"b","body":0}}]}}}}"#
    );
    let drafts = vec![draft("a", &long), draft("b", "0")];
    assert_eq!(parsed(&text), published(Drafts::Many(drafts)));
}

#[test]
fn a_subscription_begins_as_a_query_does() {
    let (position, cursor) = place();
    let cursor = cursor.encode();
    for (members, start) in [
        (String::new(), Start::Live),
        (r#","history":0"#.to_owned(), Start::Live),
        (r#","history":7"#.to_owned(), Start::Newest(7)),
        (format!(r#","after":"{cursor}""#), Start::After(position)),
        (
            format!(r#","after":"{cursor}","history":7"#),
            Start::After(position),
        ),
    ] {
        let verb = parsed(&format!(
            r#"{{"subscribe":{{"channel":"lobby"{members}}}}}"#
        ));
        let channel = lobby();
        assert_eq!(verb, Verb::Subscribe { channel, start }, "{members}");
    }
    // A cursor of other channels says nothing of this one.
    let verb = parsed(&format!(
        r#"{{"subscribe":{{"channel":"attic","after":"{cursor}"}}}}"#
    ));
    assert!(matches!(
        verb,
        Verb::Subscribe {
            start: Start::Live,
            ..
        }
    ));
}

#[test]
fn a_reference_is_repeated_token_for_token() {
    for reference in [
        "1",
        "-1.50",
        r#""a\u0000</script>""#,
        "12345678901234567890",
    ] {
        let text = format!(r#"{{"ref": {reference} ,"unsubscribe":{{"channel":"lobby"}}}}"#);
        let ask = Ask::parse(&text).expect("a question");
        let (channel, cursor) = (lobby(), Cursor::default());
        let answer = Reply::Unsubscribed {
            channel: &channel,
            cursor: &cursor,
        };
        let expected = format!(
            r#"{{"ref":{reference},"unsubscribed":"lobby","cursor":"{}"}}"#,
            cursor.encode()
        );
        assert_eq!(answer.to_json(&ask.reference), expected);
    }
}

#[test]
fn what_is_no_question_is_refused_with_its_reference() {
    let shape = |why: &str| Error::Unprocessable(why.to_owned());
    let one = shape("one of publish, subscribe, unsubscribe, command is expected");
    refused("{}", "", &one);
    refused(r#"{"ref":1}"#, r#""ref":1,"#, &one);
    refused(
        r#"{"ref":1,"subscribe":{"channel":"a"},"unsubscribe":{"channel":"a"}}"#,
        r#""ref":1,"#,
        &one,
    );
    refused("[]", "", &shape("an object is expected"));
    for reference in [
        "[]",
        "{}",
        "true",
        "null",
        &format!("\"{}\"", "x".repeat(63)),
    ] {
        let why = "ref: a number or a string of at most 64 bytes as JSON is expected";
        refused(&format!(r#"{{"ref":{reference}}}"#), "", &shape(why));
    }
    refused(
        r#"{"ref":"a","subscribe":{}}"#,
        r#""ref":"a","#,
        &shape("channel: missing"),
    );
    refused(
        r#"{"subscribe":{"channel":7}}"#,
        "",
        &shape("channel: not a string"),
    );
    refused(
        r#"{"publish":{"channel":"lobby","id":"a"}}"#,
        "",
        &shape("body: missing"),
    );
    let both = shape("drafts: not together with id, body or refers");
    for with in [r#""id":"a""#, r#""body":0"#, r#""body":0,"id":"a""#] {
        let drafts = r#""drafts":[{"id":"b","body":0}]"#;
        refused(
            &format!(r#"{{"ref":1,"publish":{{"channel":"lobby",{with},{drafts}}}}}"#),
            r#""ref":1,"#,
            &both,
        );
    }
    refused(
        r#"{"publish":{"drafts":[{"id":"b","body":0}]}}"#,
        "",
        &shape("channel: missing"),
    );
    for drafts in [
        "null",
        "0",
        "{}",
        r#"{"id":"b","body":0}"#,
        "[[]]",
        r#"[{"id":"b"}]"#,
    ] {
        let text = format!(r#"{{"publish":{{"channel":"lobby","drafts":{drafts}}}}}"#);
        let (_, error) = Ask::parse(&text).expect_err(&text);
        assert_eq!(error.status(), 422, "{text}");
    }
    let large = format!(
        r#"{{"publish":{{"channel":"lobby","id":"a","body":"{}"}}}}"#,
        "x".repeat(65_535)
    );
    refused(&large, "", &Error::TooLarge);
    for text in [
        "",
        "{",
        "nothing",
        r#"{"ref":1}{"#,
        r#"{"subscribe":{"channel":"a b"}}"#,
        r#"{"subscribe":{"channel":"a","after":"?"}}"#,
        r#"{"subscribe":{"channel":"a","history":1001}}"#,
        r#"{"subscribe":{"channel":"a","history":"1"}}"#,
    ] {
        let (_, error) = Ask::parse(text).expect_err(text);
        assert!(matches!(error, Error::Invalid(_)), "{text}: {error:?}");
    }
}

#[test]
fn answers_are_told_by_what_was_done() {
    let (_, cursor) = place();
    let channel = lobby();
    let none = Reference::default();
    let stored = Stored {
        offset: 7,
        duplicate: false,
    };
    let told = |drafts: Drafts, results: &[Result<Stored, Error>]| {
        let (_, receipts) = drafts
            .answer(&channel, results.iter().cloned())
            .expect("it is stored");
        Reply::Published(&receipts).to_json(&none)
    };
    assert_eq!(
        told(Drafts::One(draft("a", "0")), &[Ok(stored)]),
        r#"{"published":{"channel":"lobby","offset":7,"id":"a"}}"#
    );
    let many = Drafts::Many(vec![draft("a", "0"), draft("b", "0")]);
    assert_eq!(
        told(many, &[Ok(stored), Err(Error::IdReused)]),
        r#"{"published":[{"channel":"lobby","offset":7,"id":"a"},{"error":"id-reused","detail":"the id was used before, for another body","id":"b"}]}"#
    );
    let subscribed = Reply::Subscribed {
        channel: &channel,
        cursor: &cursor,
    };
    let expected = format!(r#"{{"subscribed":"lobby","cursor":"{}"}}"#, cursor.encode());
    assert_eq!(subscribed.to_json(&none), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn drafts_go_in_as_in_the_body_of_a_request(
        bodies in prop::collection::vec(spaced_and_compact(), 1..5),
    ) {
        let drafts: Vec<_> = (0..)
            .zip(&bodies)
            .map(|(n, (spaced, _))| format!(r#"{{"body":{spaced},"id":"{n}"}}"#))
            .collect();
        let array = format!("[{}]", drafts.join(","));
        let posted = Drafts::parse(array.as_bytes()).expect("good drafts");
        let text = format!(r#"{{"publish":{{"channel":"lobby","drafts":{array}}}}}"#);
        prop_assert_eq!(parsed(&text), published(posted));
    }

    #[test]
    fn any_text_is_a_question_or_refused(
        text in "([\\[\\]{},:\"0 ]|\"(ref|publish|subscribe|channel|drafts|id|body|a)\"|\\{\"publish\":\\{\"channel\":\"a\",\"drafts\":\\[){0,20}",
    ) {
        match Ask::parse(&text) {
            Ok(Ask { verb: Verb::Publish { drafts, .. }, .. }) => {
                prop_assert!((1..=100).contains(&drafts.iter().len()));
            }
            Ok(_) => {}
            Err((_, error)) => prop_assert!([400, 422].contains(&error.status())),
        }
    }
}
