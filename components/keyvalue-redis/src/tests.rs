use super::*;

fn bytes(text: &str) -> Value {
    Value::Bytes(text.into())
}

fn app() -> Prefix {
    Prefix::new("app:".to_owned())
}

#[test]
fn a_value_is_there_or_not() {
    assert_eq!(got(vec![bytes("a")]), Ok(Some(b"a".into())));
    assert_eq!(got(vec![bytes("")]), Ok(Some(Vec::new())));
    assert_eq!(got(vec![Value::Nil]), Ok(None));
    for odd in [
        vec![],
        vec![Value::Int(1)],
        vec![Value::Status("OK".to_owned())],
        vec![Value::Nil, Value::Nil],
    ] {
        assert_eq!(got(odd), Err(Error::Form("GET")));
    }
}

#[test]
fn what_is_there_is_counted() {
    assert_eq!(existed(vec![Value::Int(0)]), Ok(false));
    assert_eq!(existed(vec![Value::Int(1)]), Ok(true));
    assert_eq!(existed(vec![Value::Nil]), Err(Error::Form("EXISTS")));
}

#[test]
fn many_values_come_with_their_keys_in_the_order_asked() {
    let keys = || vec!["b".to_owned(), "none".to_owned(), "a".to_owned()];
    let command = Command::repeatable("MGET").args(["app:b", "app:none", "app:a"]);
    assert_eq!(get_many(&app(), &keys()), command);
    assert_eq!(
        got_many(keys(), vec![bytes("2"), Value::Nil, bytes("1")]),
        Ok(vec![
            ("b".to_owned(), Some(b"2".into())),
            ("none".to_owned(), None),
            ("a".to_owned(), Some(b"1".into())),
        ])
    );
    for odd in [
        vec![],
        vec![bytes("2"), bytes("1")],
        vec![bytes("2"), Value::Nil, Value::Int(1)],
    ] {
        assert_eq!(got_many(keys(), odd), Err(Error::Form("MGET")));
    }
}

#[test]
fn many_are_set_by_one_command() {
    let pairs = vec![
        ("a".to_owned(), b"1".to_vec()),
        ("b".to_owned(), b"\0\xff".to_vec()),
    ];
    let command = Command::once("MSET")
        .args(["app:a", "1", "app:b"])
        .arg(b"\0\xff");
    assert_eq!(set_many(&app(), pairs), command);
}

#[test]
fn an_increment_answers_the_sum() {
    let command = Command::once("INCRBY").args(["app:n", "-9223372036854775808"]);
    assert_eq!(increment(&app(), "n", i64::MIN), command);
    assert_eq!(incremented(vec![Value::Int(-3)]), Ok(-3));
    assert_eq!(incremented(vec![bytes("3")]), Err(Error::Form("INCRBY")));
}

#[test]
fn a_swap_from_nothing_is_none_from_an_empty_value() {
    let common = || Command::once("EVAL").args([SWAP, "1", "app:k", "new"]);
    let from = |expected| swap(&app(), "k", expected, b"new".to_vec());
    assert_eq!(from(None), common().arg("0"));
    assert_eq!(from(Some(b"")), common().arg("1").arg(""));
    assert_eq!(from(Some(b"old")), common().arg("1").arg("old"));
}

#[test]
fn a_lost_swap_tells_what_is_there() {
    assert_eq!(swapped(vec![Value::Int(1)]), Ok(Swapped::Won));
    assert_eq!(
        swapped(vec![Value::Int(0), bytes("other")]),
        Ok(Swapped::Lost(Some(b"other".into())))
    );
    assert_eq!(
        swapped(vec![Value::Int(0), Value::Nil]),
        Ok(Swapped::Lost(None))
    );
    for odd in [
        vec![],
        vec![Value::Int(0)],
        vec![Value::Int(2)],
        vec![Value::Int(1), Value::Nil],
        vec![Value::Int(0), Value::Int(1)],
    ] {
        assert_eq!(swapped(odd), Err(Error::Form("EVAL")));
    }
}

#[test]
fn a_listing_goes_on_where_the_page_before_ended() {
    let command = list(&app(), "17").expect("it is a cursor");
    assert_eq!(
        command,
        Command::repeatable("SCAN").args(["17", "MATCH", "app:*", "COUNT", STEP, "TYPE", "string"])
    );
    for odd in ["", "a", "-1", "0 MATCH *", "18446744073709551616"] {
        list(&app(), odd).expect_err("no cursor");
    }

    let page = listed(&app(), vec![bytes("9"), bytes("app:a"), bytes("app:")]);
    let expected = Page {
        keys: vec!["a".to_owned(), String::new()],
        next: Some("9".to_owned()),
    };
    assert_eq!(page, Ok(expected));
    let last = Page {
        keys: Vec::new(),
        next: None,
    };
    assert_eq!(listed(&app(), vec![bytes("0")]), Ok(last));
}

#[test]
fn keys_that_are_no_text_are_not_listed() {
    let answer = vec![bytes("0"), Value::Bytes(b"app:\xff".into()), bytes("app:b")];
    let page = listed(&app(), answer).expect("it is a page");
    assert_eq!(page.keys, ["b"]);
    for odd in [vec![], vec![Value::Int(0)], vec![bytes("0"), Value::Nil]] {
        assert_eq!(listed(&app(), odd), Err(Error::Form("SCAN")));
    }
}
