use crate::{Error, Origin, Origins};
use proptest::prelude::*;

const GOOD: &[&str] = &[
    "https://chat.example",
    "http://chat.example",
    "https://chat.example:8443",
    "http://chat.example:443",
    "https://chat.example:80",
    "http://localhost:3000",
    "http://127.0.0.1:1",
    "http://[::1]",
    "http://[2001:db8::1]:65535",
    "https://xn--bcher-kva.example",
    "https://a_b.example",
    "chrome-extension://abcdefghijklmnop",
    "capacitor://localhost",
];

const BAD: &[&str] = &[
    "",
    "*",
    "null",
    "/",
    "//chat.example",
    "chat.example",
    "https:",
    "https://",
    "https:///",
    "://chat.example",
    "https://chat.example/",
    "https://chat.example/page",
    "https://chat.example?",
    "https://chat.example#",
    "https://ann@chat.example",
    "https://Chat.example",
    "HTTPS://chat.example",
    "https://chat.example:",
    "https://chat.example:0",
    "https://chat.example:443",
    "http://chat.example:80",
    "https://chat.example:0443",
    "https://chat.example:+1",
    "https://chat.example:65536",
    "https://chat.example:x",
    "https://:8443",
    "https://[::1",
    "https://::1]",
    "https://[::1]]",
    "https://[x]",
    "https://chat.example'",
    "https://chat.example\"",
    "https://chat.example\\",
    "https://chat.example<",
    "https://chat.example ",
    " https://chat.example",
    "https://chat.example\n",
    "https://chat.example\0",
    "https://chat.\u{e9}xample",
    "https://chat.example,https://chat.example",
    "data:,x",
    "javascript:alert(1)",
];

#[test]
fn an_origin_is_what_browsers_write() {
    for text in GOOD {
        let origin: Origin = text
            .parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(origin.to_string(), *text);
    }
    let host = "a".repeat(253);
    assert!(format!("https://{host}:65535").parse::<Origin>().is_ok());
    let long = format!("https://{}", "a".repeat(300));
    for text in BAD.iter().copied().chain([long.as_str()]) {
        assert!(
            matches!(text.parse::<Origin>(), Err(Error::Invalid(_))),
            "{text}"
        );
    }
}

#[test]
fn any_origin_is_allowed_without_a_name() {
    let origins: Origins = "*".parse().expect("all");
    for origin in [None, Some("https://chat.example"), Some("null")] {
        assert_eq!(origins.allow(origin).as_deref(), Some("*"));
    }
}

#[test]
fn of_listed_origins_each_is_allowed_by_name_and_no_other() {
    let origins: Origins = GOOD.join(" , ").parse().expect("a list");
    for origin in GOOD {
        assert_eq!(origins.allow(Some(origin)).as_deref(), Some(*origin));
    }
    assert_eq!(origins.allow(None), None);
    for origin in BAD.iter().chain(&[
        "https://else.example",
        "https://chat.example:8444",
        "https://chat.example.else.example",
        "https://elsechat.example",
    ]) {
        assert_eq!(origins.allow(Some(origin)), None, "{origin}");
    }
}

#[test]
fn a_page_is_the_servers_own_where_it_names_the_same_host_and_port() {
    for (origin, authority, own) in [
        ("https://chat.example", "chat.example", true),
        ("https://chat.example", "Chat.Example", true),
        ("https://chat.example", "chat.example:443", true),
        ("https://chat.example", "chat.example:80", false),
        ("http://chat.example", "chat.example", true),
        ("http://chat.example", "chat.example:80", true),
        ("http://chat.example:3000", "chat.example:3000", true),
        ("http://chat.example:3000", "chat.example", false),
        ("http://chat.example", "chat.example:3000", false),
        ("http://[::1]:3000", "[::1]:3000", true),
        ("http://[::1]", "[::1]", true),
        ("https://chat.example.else.example", "chat.example", false),
        ("https://elsechat.example", "chat.example", false),
        ("capacitor://localhost", "localhost", false),
        ("https://chat.example", "", false),
        ("https://chat.example", ":443", false),
    ] {
        let parsed: Origin = origin.parse().expect("an origin");
        assert_eq!(parsed.is_of(authority), own, "{origin} {authority}");
    }
}

#[test]
fn those_are_let_in_that_are_listed_or_the_servers_own() {
    let listed: Origins = "https://chat.example".parse().expect("a list");
    for (origin, admitted) in [
        ("https://chat.example", true),
        ("https://own.example", true),
        ("http://own.example", true),
        ("http://chat.example", false),
        ("https://else.example", false),
    ] {
        let parsed: Origin = origin.parse().expect("an origin");
        assert_eq!(listed.admit(&parsed, "own.example"), admitted, "{origin}");
        assert!(Origins::Any.admit(&parsed, ""), "{origin}");
    }
}

#[test]
fn a_list_with_anything_else_in_it_is_refused() {
    for bad in BAD
        .iter()
        .filter(|bad| !bad.contains([',', ' ', '\n', '*']))
    {
        for list in [
            (*bad).to_owned(),
            format!("https://chat.example,{bad}"),
            format!("{bad},https://chat.example"),
        ] {
            assert!(list.parse::<Origins>().is_err(), "{list}");
        }
    }
    assert!("*,https://chat.example".parse::<Origins>().is_err());
}

proptest! {
    #[test]
    fn an_origin_stands_in_quotes_as_it_is(
        text in prop_oneof![any::<String>(), "https?://[a-zé0-9.:'\"\\\\<\\[\\]_-]{0,20}"],
    ) {
        if let Ok(origin) = text.parse::<Origin>() {
            prop_assert_eq!(origin.as_str(), &text);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !b"'\"\\<>&,".contains(&byte)));
        }
    }
}
