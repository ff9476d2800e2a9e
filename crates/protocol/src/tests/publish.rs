use super::texts::{hostile, spaced_and_compact};
use crate::json::compact;
use crate::{Channel, Draft, Drafts, Error, LONGEST_BODY, Stored};
use proptest::prelude::*;
use std::borrow::Cow;

fn draft(id: &str, body: &str) -> Draft {
    Draft {
        id: id.to_owned(),
        body: body.to_owned(),
        refers: None,
    }
}

#[track_caller]
fn parsed(text: &str, drafts: &Drafts) {
    assert_eq!(
        Drafts::parse(text.as_bytes()).as_ref(),
        Ok(drafts),
        "{text}"
    );
}

#[track_caller]
fn refused(text: impl AsRef<[u8]>, status: u16) {
    let text = text.as_ref();
    match Drafts::parse(text) {
        // The detail is of a length that does not depend on the text.
        Err(error) if error.status() == status && error.to_string().len() < 200 => {}
        other => panic!("{}: {other:?}", String::from_utf8_lossy(text)),
    }
}

#[test]
fn an_object_is_one_draft_and_an_array_many() {
    parsed(
        r#"{"id":"1","body":null}"#,
        &Drafts::One(draft("1", "null")),
    );
    parsed(
        " [ {\"body\" : { \"a b\" : [ 1 , \" \" ] } , \"id\" : \"!~\" , \"more\" : {\"id\":2}},\t{\"id\":\"2\",\"body\":0}\r\n]",
        &Drafts::Many(vec![draft("!~", r#"{"a b":[1," "]}"#), draft("2", "0")]),
    );
    parsed(
        r#"{"\u0069d":"\u0031","b\u006fdy":"\u0031"}"#,
        &Drafts::One(draft("1", r#""\u0031""#)),
    );
    parsed(
        r#"{"id":"\"\\","body":{"id":1,"id":1}}"#,
        &Drafts::One(draft("\"\\", r#"{"id":1,"id":1}"#)),
    );
    let id = "i".repeat(64);
    parsed(
        &format!(r#"{{"id":"{id}","body":1}}"#),
        &Drafts::One(draft(&id, "1")),
    );
    let many: Vec<_> = (0..100)
        .map(|n| format!(r#"{{"id":"{n}","body":{n}}}"#))
        .collect();
    let drafts = (0..100)
        .map(|n: u8| draft(&n.to_string(), &n.to_string()))
        .collect();
    parsed(&format!("[{}]", many.join(",")), &Drafts::Many(drafts));
}

#[test]
fn what_is_not_json_is_400_and_another_shape_422() {
    for text in [
        "",
        " ",
        "{",
        "{]",
        "nul",
        "'a'",
        "{\"id\":\"1\",\"body\":1,}",
        "{\"id\":\"1\",\"body\":}",
        "{\"id\":\"1\",\"body\":01}",
        "{\"id\":\"1\",\"body\":1.}",
        "{\"id\":\"1\",\"body\":NaN}",
        "{\"id\":\"1\",\"body\":\"\n\"}",
        "{\"id\":\"1\",\"body\":\"\0\"}",
        "{\"id\":\"1\",\"body\":\"\\x\"}",
        "{\"id\":\"1\",\"body\":\"\\ud80\"}",
        "{\"id\":\"1\",\"body\":1}{}",
        "{\"id\":\"1\",\"body\":1}\0",
        "\u{feff}{\"id\":\"1\",\"body\":1}",
        "[{\"id\":\"1\",\"body\":1}",
        "[{\"id\":\"1\",\"body\":1},]",
    ] {
        refused(text, 400);
    }
    refused(b"{\"id\":\"1\",\"body\":\"\xff\"}", 400);
    refused(b"{\"id\":\"1\",\"body\":\"\xed\xa0\x80\"}", 400);
    refused("[".repeat(100_000), 400);
    refused("{\"\":".repeat(100_000), 400);

    for text in [
        "null",
        "1",
        "\"\"",
        "[]",
        "{}",
        "[[]]",
        "[1]",
        "[[\"1\",1]]",
        "[\"1\",1]",
        "{\"id\":\"1\"}",
        "{\"body\":1}",
        "{\"id\":1,\"body\":1}",
        "{\"id\":null,\"body\":1}",
        "{\"id\":[\"1\"],\"body\":1}",
        "{\"id\":\"\",\"body\":1}",
        "{\"id\":\"a b\",\"body\":1}",
        "{\"id\":\"é\",\"body\":1}",
        "{\"id\":\"\\u0000\",\"body\":1}",
        "{\"id\":\"\\u007f\",\"body\":1}",
        "{\"id\":\"\\ud800\",\"body\":1}",
        "{\"id\":\"1\",\"id\":\"1\",\"body\":1}",
        "{\"id\":\"1\",\"body\":1,\"body\":1}",
        "{\"id\":\"1\",\"body\":1,\"b\\u006fdy\":1}",
        "[{\"id\":\"1\",\"body\":1},{\"id\":\"\",\"body\":1}]",
    ] {
        refused(text, 422);
    }
    refused(format!(r#"{{"id":"{}","body":1}}"#, "i".repeat(65)), 422);
    refused(
        format!("[{}]", vec![r#"{"id":"1","body":1}"#; 101].join(",")),
        422,
    );
    refused(format!("[{}0]", "0,".repeat(500_000)), 422);
    refused("[".repeat(100_000) + &"]".repeat(100_000), 422);
    refused(format!("\"{}\"", "x".repeat(1000)), 422);
    refused(format!(r#"{{"id":"{}","body":1}}"#, "x".repeat(1000)), 422);
}

#[test]
fn a_body_is_measured_without_its_white_space_and_one_too_long_fails_alone() {
    let largest = format!("\"{}\"", "x".repeat(LONGEST_BODY - 2));
    let larger = format!("\"{}\"", "x".repeat(LONGEST_BODY - 1));
    let spaces = " \n".repeat(1000);
    parsed(
        &format!(r#"{{"id":"1","body":{spaces}{largest}{spaces}}}"#),
        &Drafts::One(draft("1", &largest)),
    );
    refused(format!(r#"{{"id":"1","body":{larger}}}"#), 413);
    parsed(
        &format!(r#"[{{"id":"1","body":{larger}}},{{"id":"2","body":2}}]"#),
        &Drafts::Many(vec![draft("1", &larger), draft("2", "2")]),
    );
}

#[test]
fn a_draft_checked_alone_follows_the_same_rules() {
    let checked = |id: &str, body: &str| Draft::checked(id.to_owned(), body.to_owned(), None);
    assert_eq!(checked("1", " [ 1 ] "), Ok(draft("1", "[1]")));
    assert_eq!(checked("", "1").map_err(|error| error.status()), Err(422));
    assert_eq!(checked("1", "").map_err(|error| error.status()), Err(400));
    assert_eq!(
        checked("1", "1 2").map_err(|error| error.status()),
        Err(400)
    );
    for body in hostile() {
        assert_eq!(checked("1", &body), Ok(draft("1", &body)));
    }
}

#[test]
fn text_without_white_space_between_tokens_is_not_copied() {
    for body in hostile() {
        assert!(matches!(compact(&body), Cow::Borrowed(_)));
    }
}

#[test]
fn the_answer_tells_each_draft_its_own_outcome() {
    let channel: Channel = "lobby".parse().expect("a name");
    let new = |offset| {
        Ok(Stored {
            offset,
            duplicate: false,
        })
    };
    let old = |offset| {
        Ok(Stored {
            offset,
            duplicate: true,
        })
    };
    let one = Drafts::One(draft("\"", "1"));
    let two = Drafts::Many(vec![draft("a", "1"), draft("b", "2")]);
    let receipt = r#"{"channel":"lobby","offset":7,"id":"\""}"#;
    assert_eq!(
        one.answer(&channel, [new(7)]),
        Ok((201, receipt.to_owned()))
    );
    assert_eq!(
        one.answer(&channel, [old(7)]),
        Ok((200, receipt.to_owned()))
    );
    assert_eq!(
        one.answer(&channel, [Err(Error::TooLarge)]),
        Err(Error::TooLarge)
    );
    assert_eq!(
        one.answer(&channel, []).map_err(|error| error.status()),
        Err(503)
    );

    let both =
        r#"[{"channel":"lobby","offset":7,"id":"a"},{"channel":"lobby","offset":8,"id":"b"}]"#;
    assert_eq!(
        two.answer(&channel, [new(7), new(8)]),
        Ok((201, both.to_owned()))
    );
    assert_eq!(
        two.answer(&channel, [old(7), new(8)]),
        Ok((201, both.to_owned()))
    );
    assert_eq!(
        two.answer(&channel, [new(7), old(8)]),
        Ok((201, both.to_owned()))
    );
    assert_eq!(
        two.answer(&channel, [old(7), old(8)]),
        Ok((200, both.to_owned()))
    );
    let failed =
        r#"[{"error":"id-reused","detail":"the id was used before, for another body","id":"a"},"#;
    let some = format!(r#"{failed}{{"channel":"lobby","offset":8,"id":"b"}}]"#);
    assert_eq!(
        two.answer(&channel, [Err(Error::IdReused), old(8)]),
        Ok((200, some))
    );
    let none =
        format!(r#"{failed}{{"error":"unavailable","detail":"gone","retry_after":1,"id":"b"}}]"#);
    let gone = Error::Unavailable("gone".to_owned());
    assert_eq!(
        two.answer(&channel, [Err(Error::IdReused), Err(gone)]),
        Ok((409, none))
    );
    let ids: Vec<_> = two.iter().chain(&one).map(|draft| &*draft.id).collect();
    assert_eq!(ids, ["a", "b", "\""]);
}

#[test]
fn a_query_holds_one_draft() {
    for (query, expected) in [
        ("id=1&body=null", draft("1", "null")),
        (
            "channel=a&callback=f&body=%7B%22a%22:+[1,%202]%7D&id=!~",
            draft("!~", r#"{"a":[1,2]}"#),
        ),
        ("id=%22&body=%22%5Cud800%22", draft("\"", r#""\ud800""#)),
    ] {
        assert_eq!(
            Drafts::from_query(query),
            Ok(Drafts::One(expected)),
            "{query}"
        );
    }
    let body = |length: usize| format!("id=a&body=%22{}%22", "x".repeat(length - 2));
    assert!(Drafts::from_query(&body(LONGEST_BODY)).is_ok());
    for (query, status) in [
        ("", 422),
        ("id=a", 422),
        ("body=0", 422),
        ("id=&body=0", 422),
        ("id=a+b&body=0", 422),
        ("id=%C3%A9&body=0", 422),
        (&format!("id={}&body=0", "a".repeat(65)), 422),
        ("id=a&body=", 400),
        ("id=a&body=x", 400),
        ("id=a&body=1+1", 400),
        ("id=a&body=%22%0a%22", 400),
        ("id=a&id=a&body=0", 400),
        ("id=a&body=0&body=0", 400),
        ("id=a&body=%", 400),
        (&body(LONGEST_BODY + 1), 413),
    ] {
        let told = Drafts::from_query(query).map_err(|error| error.status());
        assert_eq!(told, Err(status), "{query}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn only_the_white_space_between_tokens_goes((spaced, compact) in spaced_and_compact()) {
        parsed(&format!(r#"{{"id":"1","body":{spaced}}}"#), &Drafts::One(draft("1", &compact)));
        parsed(&format!(r#"[{{"body":{spaced},"id":"1"}}]"#), &Drafts::Many(vec![draft("1", &compact)]));
        prop_assert_eq!(Draft::checked("1".to_owned(), spaced, None), Ok(draft("1", &compact)));
    }

    #[test]
    fn any_bytes_are_drafts_or_refused(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..100),
            "([\\[\\]{},:\"0 ]|\"id\"|\"body\"|\"1\"|\\{\"id\":\"1\",\"body\":){0,20}".prop_map(String::into_bytes),
        ],
    ) {
        match Drafts::parse(&bytes) {
            Ok(drafts) => prop_assert!((1..=100).contains(&drafts.iter().len())),
            Err(error) => prop_assert!([400, 422].contains(&error.status())),
        }
    }
}
