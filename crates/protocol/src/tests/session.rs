use crate::{Error, Session, parse_session, session_from_query};

#[track_caller]
fn named(body: &str, name: &str) {
    assert_eq!(
        parse_session(body.as_bytes()),
        Ok(name.to_owned()),
        "{body}"
    );
}

#[track_caller]
fn refused(body: &[u8], status: u16) {
    let told = parse_session(body).as_ref().map_err(Error::status).cloned();
    assert_eq!(told, Err(status), "{}", String::from_utf8_lossy(body));
}

#[test]
fn a_name_comes_without_the_white_space_around_it() {
    named(r#"{"name":"Ann"}"#, "Ann");
    named(
        " {\n\"x\":[1],\"n\\u0061me\" : \"\u{a0} Ann\\tLee \"}"
            .replace("\\t", " ")
            .as_str(),
        "Ann Lee",
    );
    named(
        r#"{"name":"\ud83d\ude00 O'Neil </script>"}"#,
        "😀 O'Neil </script>",
    );
    named(
        &format!(r#"{{"name":"{}"}}"#, "é".repeat(64)),
        &"é".repeat(64),
    );
}

#[test]
fn what_is_not_json_is_400_and_what_is_no_name_422() {
    let text = |body: &str, status| refused(body.as_bytes(), status);
    refused(b"", 400);
    refused(b"{\"name\":\"\xff\"}", 400);
    text(r#"{"name":"Ann"}x"#, 400);
    text(r#"{"name":"Ann""#, 400);
    text("{\"name\":\"a\nb\"}", 400);
    text("\u{feff}{\"name\":\"Ann\"}", 400);
    for body in [
        "null",
        "[]",
        r#"["Ann"]"#,
        r#""Ann""#,
        "{}",
        r#"{"name":null}"#,
        r#"{"name":7}"#,
        r#"{"name":["Ann"]}"#,
        r#"{"name":""}"#,
        r#"{"name":" \u3000 "}"#,
        r#"{"name":"a\u0000b"}"#,
        r#"{"name":"a\u009fb"}"#,
        r#"{"name":"\ud800"}"#,
        r#"{"name":"Ann","name":"Ben"}"#,
    ] {
        text(body, 422);
    }
    text(&format!(r#"{{"name":"{}"}}"#, "é".repeat(65)), 422);
}

#[test]
fn a_query_names_the_guest_as_a_body_does() {
    for (query, name) in [
        ("name=Ann", "Ann"),
        ("x&callback=f&name=+Ann%20Lee%0a", "Ann Lee"),
        ("name=O%27Neil+%3C/script%3E", "O'Neil </script>"),
        (&format!("name={}", "%C3%A9".repeat(64)), &"é".repeat(64)),
    ] {
        assert_eq!(session_from_query(query), Ok(name.to_owned()), "{query}");
    }
    for (query, status) in [
        ("", 422),
        ("Name=Ann", 422),
        ("name=", 422),
        ("name=%20", 422),
        ("name=a%00b", 422),
        (&format!("name={}", "a".repeat(65)), 422),
        ("name=Ann&name=Ann", 400),
        ("name=%", 400),
        ("name=%ff", 400),
    ] {
        let told = session_from_query(query)
            .as_ref()
            .map_err(Error::status)
            .cloned();
        assert_eq!(told, Err(status), "{query}");
    }
}

#[test]
fn a_session_is_told_in_json() {
    let session = Session {
        token: "a.b.c".to_owned(),
        sender: "guest-\"1\"".to_owned(),
        name: "Ann\n".to_owned(),
        expires_at: u64::MAX,
    };
    assert_eq!(
        session.to_json(),
        r#"{"token":"a.b.c","sender":"guest-\"1\"","name":"Ann\u000a","expires_at":18446744073709551615}"#
    );
}
