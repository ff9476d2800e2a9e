//! JSON texts that have broken framings before, and JSON texts drawn at random.

use crate::LONGEST_BODY;
use proptest::prelude::*;
use proptest::sample::select;

/// Bodies without white space between tokens, the deepest and the largest among them.
pub(super) fn hostile() -> Vec<String> {
    let mut bodies: Vec<String> = [
        r#""</script><script>alert(1)</script>""#,
        r#""<!--<script>""#,
        r#""]]>""#,
        r#""\r\n\r\ndata: forged\r\rid: forged\n\n""#,
        r#""\u000d\u000a\u0000""#,
        "\"\u{2028}\u{2029}\u{85}\u{7f}\u{feff}\"",
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\uD83D\uDE00 😀 👩‍👩‍👧‍👦 \ud83d""#,
        "\"\u{202e}\u{1b}\"".replace('\u{1b}', "\\u001b").as_str(),
        r#""""#,
        r#""\\""#,
        r#""\\\" : [ , ] ""#,
        r#""'); alert(1); ('""#,
        r#"{"":{"":[]}}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"\ud800":null,"id":"x","body":"y","cursor":"z"}"#,
        r#"{"__proto__":{"polluted":true}}"#,
        "123456789012345678901234567890.000000000000000000000000000001e+999999",
        "-0",
        "-0.0E-0",
        "null",
        "true",
        "false",
        "[]",
        "{}",
    ]
    .map(str::to_owned)
    .into();
    bodies.push("[".repeat(10_000) + &"]".repeat(10_000));
    bodies.push("{\"\":".repeat(10_000) + "0" + &"}".repeat(10_000));
    bodies.push(format!("\"{}\"", "x".repeat(LONGEST_BODY - 2)));
    bodies.push(format!("\"{}\"", "\u{2028}".repeat((LONGEST_BODY - 2) / 3)));
    bodies
}

/// A JSON text twice: with white space drawn between its tokens, and with none.
pub(super) fn spaced_and_compact() -> impl Strategy<Value = (String, String)> {
    tokens().prop_flat_map(|tokens| {
        let gaps = prop::collection::vec(
            select(&["", "", " ", "\t", "\n", "\r\n", " \r"][..]),
            tokens.len() + 1,
        );
        (Just(tokens), gaps).prop_map(|(tokens, gaps)| {
            let spaced = gaps
                .iter()
                .copied()
                .zip(tokens.iter().map(String::as_str).chain([""]));
            (
                spaced.flat_map(|(gap, token)| [gap, token]).collect(),
                tokens.concat(),
            )
        })
    })
}

fn tokens() -> impl Strategy<Value = Vec<String>> {
    fn token(text: impl Into<String>) -> Vec<String> {
        vec![text.into()]
    }
    let leaf = prop_oneof![
        select(&["null", "true", "false"][..]).prop_map(token),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,4})?".prop_map(token),
        string().prop_map(token),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        let array = prop::collection::vec(inner.clone(), 0..8);
        let object = prop::collection::vec((string(), inner), 0..8);
        prop_oneof![
            array.prop_map(|items| enclosed("[", items, "]")),
            object.prop_map(|members| {
                let members = members.into_iter().map(|(name, value)| {
                    let mut member = vec![name, ":".to_owned()];
                    member.extend(value);
                    member
                });
                enclosed("{", members, "}")
            }),
        ]
    })
}

fn enclosed(open: &str, items: impl IntoIterator<Item = Vec<String>>, close: &str) -> Vec<String> {
    let mut tokens = vec![open.to_owned()];
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            tokens.push(",".to_owned());
        }
        tokens.extend(item);
    }
    tokens.push(close.to_owned());
    tokens
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[^\\x00-\\x1f\"\\\\]{0,8}",
        "\\\\[\"\\\\/bfnrt]",
        "\\\\u[0-9a-fA-F]{4}",
        "\\\\u[dD][89a-fA-F][0-9a-f]{2}",
        select(
            &[
                "</script>",
                "\u{2028}",
                "\u{2029}",
                "\u{85}",
                ": ",
                ", ",
                "data: "
            ][..]
        )
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}
