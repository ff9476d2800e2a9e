//! RFC 6455 section 4, RFC 8441 section 5, and the negotiation of RFC 7692 sections 5 and 7.1.

use ws::handshake::{Accepted, Bootstrap, Refused, accept};

type Headers<'a> = &'a [(&'a str, &'a str)];

const VERSION: (&str, &str) = ("sec-websocket-version", "13");
const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
const ACCEPT: (&str, &str) = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
const PROTOCOL: &str = "sec-websocket-protocol";
const EXTENSIONS: &str = "sec-websocket-extensions";

fn open(
    bootstrap: Bootstrap,
    method: &str,
    headers: Headers<'_>,
) -> Result<Accepted<'static>, Refused> {
    let header = |name: &str| {
        let named = headers.iter().filter(|header| header.0 == name);
        named.map(|header| header.1.as_bytes().to_vec()).collect()
    };
    accept(bootstrap, method, header, &["witter.v1", "chat"])
}

#[track_caller]
fn answered(accepted: &Accepted<'_>, headers: Headers<'_>) {
    let told: Vec<_> = accepted
        .headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(told, headers);
}

#[test]
fn an_upgrade_proves_that_the_key_was_read() {
    let accepted = open(Bootstrap::Upgrade, "GET", &[VERSION, KEY]).expect("accepted");
    answered(&accepted, &[ACCEPT]);
    assert_eq!((accepted.protocol, accepted.deflate), (None, None));

    let spaced = [
        ("sec-websocket-version", " 13 "),
        ("sec-websocket-key", "\tdGhlIHNhbXBsZSBub25jZQ== "),
    ];
    answered(
        &open(Bootstrap::Upgrade, "GET", &spaced).expect("accepted"),
        &[ACCEPT],
    );
}

#[test]
fn an_extended_connect_needs_no_key_and_gets_no_proof() {
    for headers in [
        &[VERSION][..],
        &[VERSION, KEY],
        &[VERSION, ("sec-websocket-key", "?")],
    ] {
        let accepted = open(Bootstrap::Connect, "CONNECT", headers).expect("accepted");
        answered(&accepted, &[]);
    }
}

#[test]
fn a_request_against_the_rules_is_refused_by_a_status_that_says_which() {
    use Refused::{Malformed, Method, Missing, Version};
    let key = |value| ("sec-websocket-key", value);
    let version = |value| ("sec-websocket-version", value);
    let cases: &[(&str, Headers<'_>, Refused)] = &[
        ("POST", &[VERSION, KEY], Method("GET")),
        ("get", &[VERSION, KEY], Method("GET")),
        ("CONNECT", &[VERSION, KEY], Method("GET")),
        ("GET", &[KEY], Missing("sec-websocket-version")),
        ("GET", &[KEY, version("8")], Version),
        ("GET", &[KEY, version("14")], Version),
        ("GET", &[KEY, version("013")], Version),
        ("GET", &[KEY, version("13, 8")], Version),
        ("GET", &[KEY, version("")], Version),
        ("GET", &[KEY, version("8"), VERSION], Version),
        ("GET", &[VERSION], Missing("sec-websocket-key")),
        ("GET", &[VERSION, KEY, KEY], Malformed("sec-websocket-key")),
        ("GET", &[VERSION, key("")], Malformed("sec-websocket-key")),
        (
            "GET",
            &[VERSION, key("dGhlIHNhbXBsZSBub25jZQ")],
            Malformed("sec-websocket-key"),
        ),
        (
            "GET",
            &[VERSION, key("dGhlIHNhbXBsZSBub25jZ===")],
            Malformed("sec-websocket-key"),
        ),
        (
            "GET",
            &[VERSION, key("dGhlIHNhbXBsZSBub25j")],
            Malformed("sec-websocket-key"),
        ),
        (
            "GET",
            &[VERSION, key("dGhlIHNhbXBsZSBub25jZWU=")],
            Malformed("sec-websocket-key"),
        ),
        (
            "GET",
            &[VERSION, key("dGhlIHNhbXBsZSBub25j ZQ==")],
            Malformed("sec-websocket-key"),
        ),
        (
            "GET",
            &[VERSION, key("dGhlIHNhbXBsZSBub25jZQ==, x")],
            Malformed("sec-websocket-key"),
        ),
        (
            "GET",
            &[VERSION, key("_____________________w==")],
            Malformed("sec-websocket-key"),
        ),
        (
            "GET",
            &[VERSION, KEY, (PROTOCOL, "a b")],
            Malformed(PROTOCOL),
        ),
        (
            "GET",
            &[VERSION, KEY, (PROTOCOL, "\"chat\"")],
            Malformed(PROTOCOL),
        ),
        (
            "GET",
            &[VERSION, KEY, (PROTOCOL, "chat/2")],
            Malformed(PROTOCOL),
        ),
        (
            "GET",
            &[VERSION, KEY, (PROTOCOL, "chät")],
            Malformed(PROTOCOL),
        ),
        (
            "GET",
            &[VERSION, KEY, (PROTOCOL, "chat, chat")],
            Malformed(PROTOCOL),
        ),
        (
            "GET",
            &[VERSION, KEY, (PROTOCOL, "chat"), (PROTOCOL, "chat")],
            Malformed(PROTOCOL),
        ),
        (
            "GET",
            &[VERSION, KEY, (EXTENSIONS, "a;")],
            Malformed(EXTENSIONS),
        ),
        (
            "GET",
            &[VERSION, KEY, (EXTENSIONS, ";a")],
            Malformed(EXTENSIONS),
        ),
        (
            "GET",
            &[VERSION, KEY, (EXTENSIONS, "a; b=")],
            Malformed(EXTENSIONS),
        ),
        (
            "GET",
            &[VERSION, KEY, (EXTENSIONS, "a; =b")],
            Malformed(EXTENSIONS),
        ),
        (
            "GET",
            &[VERSION, KEY, (EXTENSIONS, "a; b=\"c")],
            Malformed(EXTENSIONS),
        ),
        (
            "GET",
            &[VERSION, KEY, (EXTENSIONS, "a; b=\"c\\")],
            Malformed(EXTENSIONS),
        ),
        (
            "GET",
            &[VERSION, KEY, (EXTENSIONS, "a; b=\"\"")],
            Malformed(EXTENSIONS),
        ),
        (
            "GET",
            &[VERSION, KEY, (EXTENSIONS, "a; b=\"c d\"")],
            Malformed(EXTENSIONS),
        ),
        (
            "GET",
            &[VERSION, KEY, (EXTENSIONS, "a b")],
            Malformed(EXTENSIONS),
        ),
        (
            "GET",
            &[VERSION, KEY, (EXTENSIONS, "a=b")],
            Malformed(EXTENSIONS),
        ),
        (
            "GET",
            &[VERSION, KEY, (EXTENSIONS, "permessage-deflate, {}")],
            Malformed(EXTENSIONS),
        ),
    ];
    for (method, headers, refused) in cases {
        assert_eq!(
            open(Bootstrap::Upgrade, method, headers),
            Err(*refused),
            "{method} {headers:?}"
        );
    }
    assert_eq!(
        open(Bootstrap::Connect, "GET", &[VERSION]),
        Err(Method("CONNECT"))
    );
    assert_eq!(
        open(Bootstrap::Connect, "CONNECT", &[]),
        Err(Missing("sec-websocket-version"))
    );

    let answers = [
        (Method("GET"), 405, Some(("allow", "GET"))),
        (Version, 426, Some(VERSION)),
        (Missing(PROTOCOL), 400, None),
        (Malformed(PROTOCOL), 400, None),
    ];
    for (refused, status, header) in answers {
        assert_eq!(
            (refused.status(), refused.header()),
            (status, header),
            "{refused}"
        );
    }
}

#[test]
fn a_header_of_any_bytes_is_refused() {
    let header = |name: &str| match name {
        "sec-websocket-version" => vec![b"13".to_vec()],
        _ => vec![b"\xff\xfe".to_vec()],
    };
    let refused = accept(Bootstrap::Upgrade, "GET", header, &[]);
    assert_eq!(refused, Err(Refused::Malformed("sec-websocket-key")));
}

#[test]
fn the_key_of_the_standard_whose_last_bits_are_not_zero_is_one() {
    let key = ("sec-websocket-key", "AQIDBAUGBwgJCgsMDQ4PEC==");
    assert!(open(Bootstrap::Upgrade, "GET", &[VERSION, key]).is_ok());
}

#[test]
fn the_first_protocol_of_the_client_that_the_server_speaks_is_told() {
    let cases: &[(&[&str], Option<&str>)] = &[
        (&[], None),
        (&[""], None),
        (&["soap"], None),
        (&["Chat"], None),
        (&["chat"], Some("chat")),
        (&["chat, witter.v1"], Some("chat")),
        (&["witter.v1,chat"], Some("witter.v1")),
        (&["soap", "witter.v1"], Some("witter.v1")),
        (&[" , soap ,,\twitter.v1 ,", "", "chat"], Some("witter.v1")),
    ];
    for (values, expected) in cases {
        let headers: Vec<_> = [VERSION]
            .into_iter()
            .chain(values.iter().map(|value| (PROTOCOL, *value)))
            .collect();
        let accepted = open(Bootstrap::Connect, "CONNECT", &headers).expect("accepted");
        assert_eq!(accepted.protocol, *expected, "{values:?}");
        let told: Vec<_> = expected
            .iter()
            .map(|protocol| (PROTOCOL, *protocol))
            .collect();
        answered(&accepted, &told);
    }
}

#[test]
fn as_many_protocols_may_be_asked_for_as_anybody_speaks() {
    let asked = |count: usize| {
        let others: Vec<_> = (1..count).map(|number| format!("other-{number}")).collect();
        let others = others.join(",");
        // In one header or in several, they are one list.
        [
            vec![others.clone(), "chat".to_owned()],
            vec![format!("{others}, chat")],
        ]
        .map(|values| {
            let headers: Vec<_> = [VERSION]
                .into_iter()
                .chain(values.iter().map(|value| (PROTOCOL, value.as_str())))
                .collect();
            let accepted = open(Bootstrap::Connect, "CONNECT", &headers);
            accepted.map(|accepted| accepted.protocol)
        })
    };
    assert_eq!(asked(64), [Ok(Some("chat")); 2]);
    assert_eq!(asked(65), [Err(Refused::Malformed(PROTOCOL)); 2]);
    assert_eq!(asked(20_000), [Err(Refused::Malformed(PROTOCOL)); 2]);
}

#[test]
fn the_first_offer_of_compression_that_the_server_can_do_is_agreed() {
    const PLAIN: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let with = |parameters: &str| Some((format!("{PLAIN}{parameters}"), 15, 15));
    let server = |bits: u8| Some((format!("{PLAIN}; server_max_window_bits={bits}"), bits, 15));
    let client = |bits: u8| Some((format!("{PLAIN}; client_max_window_bits={bits}"), 15, bits));
    let mut cases = vec![
        (vec![], None),
        (vec![""], None),
        (vec!["x-webkit-deflate-frame"], None),
        (vec!["Permessage-Deflate"], None),
        (vec!["permessage-deflate"], with("")),
        (
            vec!["permessage-deflate; server_no_context_takeover"],
            with(""),
        ),
        (
            vec!["permessage-deflate; client_no_context_takeover"],
            with(""),
        ),
        (
            vec!["permessage-deflate;client_no_context_takeover;server_no_context_takeover"],
            with(""),
        ),
        (vec!["permessage-deflate; client_max_window_bits"], with("")),
        (
            vec!["permessage-deflate; client_max_window_bits=\"1\\0\""],
            client(10),
        ),
        (
            vec!["permessage-deflate ; server_max_window_bits = 12 ;client_max_window_bits"],
            server(12),
        ),
        (
            vec!["permessage-deflate; client_max_window_bits=9; server_max_window_bits=10"],
            Some((
                format!("{PLAIN}; server_max_window_bits=10; client_max_window_bits=9"),
                10,
                9,
            )),
        ),
        // Declined, and nothing after it.
        (vec!["permessage-deflate; server_max_window_bits=8"], None),
        (vec!["permessage-deflate; server_max_window_bits"], None),
        (
            vec!["permessage-deflate; server_no_context_takeover=1"],
            None,
        ),
        (
            vec!["permessage-deflate; client_no_context_takeover=\"true\""],
            None,
        ),
        (
            vec!["permessage-deflate; client_no_context_takeover; client_no_context_takeover"],
            None,
        ),
        (
            vec!["permessage-deflate; server_max_window_bits=10; server_max_window_bits=10"],
            None,
        ),
        (vec!["permessage-deflate; window=10"], None),
        (vec!["permessage-deflate; Client_Max_Window_Bits"], None),
        // Declined, and what comes after it agreed.
        (
            vec!["permessage-deflate; server_max_window_bits=8, permessage-deflate"],
            with(""),
        ),
        (
            vec![
                "permessage-deflate; unknown",
                "permessage-deflate; server_max_window_bits=9",
            ],
            server(9),
        ),
        (vec!["other; a=1; b, permessage-deflate"], with("")),
        (
            vec!["permessage-deflate, permessage-deflate; server_max_window_bits=9"],
            with(""),
        ),
    ];
    let offers: Vec<_> = (0..=17)
        .flat_map(|bits| [("server", bits), ("client", bits)])
        .map(|(side, bits)| {
            (
                side,
                bits,
                format!("permessage-deflate; {side}_max_window_bits={bits}"),
            )
        })
        .collect();
    for (side, bits, offer) in &offers {
        let agreed = match (*side, bits) {
            ("server", 9..=15) => server(*bits),
            ("client", 8..=15) => client(*bits),
            _ => None,
        };
        cases.push((vec![offer], agreed));
    }
    for value in [
        "09",
        "+9",
        "-9",
        "9.0",
        "1e1",
        "256",
        "99999999999999999999",
        "a",
    ] {
        let side = ["server", "client"];
        for offer in side.map(|side| format!("permessage-deflate; {side}_max_window_bits={value}"))
        {
            cases.push((vec![offer.leak()], None));
        }
    }
    for (values, expected) in cases {
        let headers: Vec<_> = [VERSION]
            .into_iter()
            .chain(values.iter().map(|value| (EXTENSIONS, *value)))
            .collect();
        let accepted = open(Bootstrap::Connect, "CONNECT", &headers).expect("accepted");
        let agreed = accepted.deflate.map(|deflate| {
            (
                deflate.to_string(),
                deflate.server_window_bits(),
                deflate.client_window_bits(),
            )
        });
        assert_eq!(agreed, expected, "{values:?}");
        let told: Vec<_> = expected
            .iter()
            .map(|(value, ..)| (EXTENSIONS, value.as_str()))
            .collect();
        answered(&accepted, &told);
    }
}
