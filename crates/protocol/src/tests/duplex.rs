use crate::{Ask, Channel, Cursor, Error, Position, Receipt, Reference, Reply, Start, Verb};

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
    let Verb::Publish { channel, draft } = parsed(text) else {
        panic!("it publishes")
    };
    assert_eq!((channel, draft.id.as_str()), (lobby(), "a"));
    assert_eq!(draft.body, r#"{"x":1e400,"x":"\ud800"}"#);
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
    let one = shape("one of publish, subscribe, unsubscribe is expected");
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
        let why = "ref: a number or a string of at most 64 bytes is expected";
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
    let receipt = Receipt {
        channel: "lobby",
        offset: 7,
        id: "a",
    };
    assert_eq!(
        Reply::Published(receipt).to_json(&none),
        r#"{"published":{"channel":"lobby","offset":7,"id":"a"}}"#
    );
    let subscribed = Reply::Subscribed {
        channel: &channel,
        cursor: &cursor,
    };
    let expected = format!(r#"{{"subscribed":"lobby","cursor":"{}"}}"#, cursor.encode());
    assert_eq!(subscribed.to_json(&none), expected);
}
