use crate::config::{self, ConfigError};
use crate::filter::Filter;
use crate::json;
use proptest::prelude::*;
use serde_json::Value;
use std::sync::LazyLock;

const WORDS: &str = "bad, worse ,Straße,two words,c++,größe,fish,жук";

fn filter(words: &str, links: &str) -> Filter {
    try_filter(words, links).expect("the variables are well-formed")
}

fn try_filter(words: &str, links: &str) -> Result<Filter, ConfigError> {
    config::read(|name| {
        Ok(match name {
            "filtered_words" => Some(words.to_owned()),
            "allowed_links" => Some(links.to_owned()),
            _ => None,
        })
    })
}

fn masking() -> &'static Filter {
    static FILTER: LazyLock<Filter> = LazyLock::new(|| filter(WORDS, ""));
    &FILTER
}

/// What is stored of a body.
fn stored(filter: &Filter, body: &str) -> String {
    let changed = filter.review(body).expect("nothing is refused");
    assert_ne!(changed.as_deref(), Some(body), "none tells of no change");
    changed.unwrap_or_else(|| body.to_owned())
}

#[test]
fn words_that_stand_whole_are_masked() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let body = Value::from(text).to_string();
        let stored = stored(masking(), &body);
        let read: String = serde_json::from_str(&stored).expect("what is stored is JSON");
        assert_eq!(read, expected);
    }
    for (text, expected) in [
        ("bad", "***"),
        ("a bad day", "a *** day"),
        ("bad,bad.BAD\nbAd-bad_bad", "***,***.***\n***-***_***"),
        ("badly unbad bad1 1bad badé", "badly unbad bad1 1bad badé"),
        ("the worse, the bad", "the *****, the ***"),
        ("two words and two  words", "********* and two  words"),
        ("c++ c++17 objc++", "*** ***17 objc++"),
        ("", ""),
        ("(bad)\u{0}\"bad\"\\bad", "(***)\u{0}\"***\"\\***"),
        // Other cases, where they have another length too.
        ("STRASSE straße STRAẞE", "******* ****** ******"),
        ("ЖУК жук Жуки", "*** *** Жуки"),
        // The same letters, written otherwise.
        ("gro\u{308}ße GRÖSSE", "***** ******"),
        ("ｂａｄ 𝐛𝐚𝐝 ⓑⓐⓓ", "*** *** ***"),
        ("ﬁsh ﬁſh of ﬁshes", "*** *** of ﬁshes"),
        // What cannot be seen does not part a word, nor is it one of its characters.
        ("b\u{200b}a\u{ad}d ba\u{fe0f}d", "*** ***"),
        (
            "\u{200b}bad\u{200b} x\u{200b}bad",
            "\u{200b}***\u{200b} x\u{200b}bad",
        ),
        // Another letter, and half of one.
        ("bád bad\u{301} \u{301}bad", "bád bad\u{301} \u{301}bad"),
        ("ﬁ fis", "ﬁ fis"),
        ("bad\u{1f600}bad", "***\u{1f600}***"),
    ] {
        check(text, expected);
    }
}

#[test]
fn all_that_is_not_masked_stays_as_it_was_written() {
    #[track_caller]
    fn check(body: &str, expected: &str) {
        assert_eq!(stored(masking(), body), expected);
    }
    for (body, expected) in [
        // In whatever spelling.
        (r#""\u0062ad""#, r#""***""#),
        (r#""\u0062\u0061\u0064 \u0042\u0041\u0044""#, r#""*** ***""#),
        (r#""\\bad\/bad\"bad\tbad""#, r#""\\***\/***\"***\t***""#),
        (r#""\\u0062ad""#, r#""\\u0062ad""#),
        (r#""\ud835\udc1b\ud835\udc1a\ud835\udc1d""#, r#""***""#),
        // Surrogates alone, and in the wrong order, are letters of no word.
        (
            r#""\ud83d bad \udc00\ud83d""#,
            r#""\ud83d *** \udc00\ud83d""#,
        ),
        (r#""\ud83dbad\ud83d\u0062ad""#, r#""\ud83d***\ud83d***""#),
        (r#""\uD83D\uDE00bad""#, r#""\uD83D\uDE00***""#),
        // At any depth, but in no name of a member.
        (
            r#"{"bad":"bad","a":["bad",{"\u0062ad":{"bad":["x","bad"]}}]}"#,
            r#"{"bad":"***","a":["***",{"\u0062ad":{"bad":["x","***"]}}]}"#,
        ),
        (
            r#"{ "bad" : "bad" , "x" : [ ] }"#,
            r#"{ "bad" : "***" , "x" : [ ] }"#,
        ),
        // Twice the same name, and what numbers of other programs would lose.
        (
            r#"{"a":"bad","a":1.0,"__proto__":"bad","n":12345678901234567890.10e+400}"#,
            r#"{"a":"***","a":1.0,"__proto__":"***","n":12345678901234567890.10e+400}"#,
        ),
        ("-0.0", "-0.0"),
        ("null", "null"),
        (r#"{"a":"</script>\u2028"}"#, r#"{"a":"</script>\u2028"}"#),
    ] {
        check(body, expected);
    }
}

#[test]
fn no_depth_is_too_deep() {
    let depth = 30_000;
    for (open, close) in [("[", "]"), (r#"{"bad":"#, "}")] {
        let body = |inside: &str| open.repeat(depth) + inside + &close.repeat(depth);
        assert_eq!(stored(masking(), &body(r#""bad""#)), body(r#""***""#));
    }
}

#[test]
fn links_lead_where_they_may() {
    let somewhere = filter(
        "",
        "good.example, *.fine.example,127.0.0.1,[::1], bücher.example,localhost",
    );
    #[track_caller]
    fn check(filter: &Filter, text: &str, outside: Option<&str>) {
        let body = Value::from(text).to_string();
        let refusal = filter
            .review(&body)
            .err()
            .map(|refusal| refusal.to_string());
        let expected = outside.map(|host| match host {
            "?" => "it is not clear where a link leads".to_owned(),
            host => format!("links to {host} are not allowed here"),
        });
        assert_eq!(refusal, expected, "{text:?}");
    }
    for text in [
        "",
        "no link, nor one of these: http: //, a://, ://x, https://, http://... 12:30 a:b c//d",
        "news:today views:5 C:/windows c:\\windows mailto:a@evil.example javascript:0 data:,x",
        "evil.example is only a name, so is a@evil.example; e.g. this",
        "https://good.example",
        "see (https://good.example), \"HTTPS://GOOD.EXAMPLE/path?x#y\" and <https://good.example>.",
        "[it](https://good.example) [https://good.example] https://good.example!\nnext line",
        "https://good.example:8080/ https://ann:secret@good.example https://good.example./",
        "https://a.fine.example https://b.a.fine.example ftp://good.example wss://good.example",
        "http://127.0.0.1:3000 http://0x7f.1/ http://[::1]/x [http://localhost/]",
        "https://bücher.example https://xn--bcher-kva.example https://BU\u{308}CHER.example",
        "https://ｇood。example https://go%6fd.example",
        "https:good.example https:\\\\good.example http:///good.example",
        "www. WWW awww.cute",
    ] {
        check(&somewhere, text, None);
    }
    for (text, host) in [
        ("https://evil.example", "evil.example"),
        ("go to HTTP://EVIL.example/now", "evil.example"),
        ("xhttps://evil.example", "evil.example"),
        ("https://good.example https://evil.example", "evil.example"),
        (
            "https://good.example,evil.example",
            "good.example,evil.example",
        ),
        (
            "https://good.example.evil.example",
            "good.example.evil.example",
        ),
        ("https://evilgood.example", "evilgood.example"),
        ("https://fine.example", "fine.example"),
        ("https://notfine.example", "notfine.example"),
        ("https://good.example@evil.example/", "evil.example"),
        ("https://good.example:80@evil.example", "evil.example"),
        ("https://good.example%40evil.example", "?"),
        (
            "https://good.example/?to=https://evil.example",
            "evil.example",
        ),
        ("https:evil.example", "evil.example"),
        ("https:/evil.example", "evil.example"),
        ("https:\\\\evil.example", "evil.example"),
        ("http:\\/evil.example", "evil.example"),
        ("ht\ttps://evil.example", "evil.example"),
        ("steam://evil.example", "evil.example"),
        ("//evil.example/x", "evil.example"),
        (" \\\\evil.example", "evil.example"),
        ("(www.evil.example)", "www.evil.example"),
        ("WWW.evil.example", "www.evil.example"),
        ("https://[::2]/", "[::2]"),
        ("https://[::1", "?"),
        ("https://2130706434/", "127.0.0.2"),
        ("https://ev\u{ad}il.example", "evil.example"),
        ("https://еvil.example", "xn--vil-qdd.example"),
        ("https://good.example:99999", "?"),
        ("https://good.example:x", "?"),
    ] {
        check(&somewhere, text, Some(host));
    }
    check(
        &somewhere,
        &format!("https://{}@good.example", "x".repeat(2000)),
        Some("?"),
    );

    let nowhere = filter("", "none");
    check(&nowhere, "https://good.example", Some("good.example"));
    check(&nowhere, "no link", None);
    check(&filter("", " "), "https://evil.example", None);
}

#[test]
fn links_are_found_in_every_string_but_the_names_of_members() {
    let filter = filter("bad", "good.example");
    for refused in [
        r#"["https:\/\/evil.example"]"#,
        r#"{"a":[{"b":"\u0068ttps:\u002f/evil.example"}]}"#,
        // What is refused is not masked.
        r#"["bad","https://evil.example"]"#,
    ] {
        filter.review(refused).expect_err(refused);
    }
    let named = r#"{"https://evil.example":"https://good.example"}"#;
    assert_eq!(filter.review(named), Ok(None));
    let both = r#"["bad","https://good.example/bad"]"#;
    assert_eq!(
        stored(&filter, both),
        r#"["***","https://good.example/***"]"#
    );
}

#[test]
fn variables_that_are_not_understood_are_named() {
    let error = |words: &str, links: &str| {
        try_filter(words, links)
            .err()
            .map(|error| error.to_string())
    };
    for fine in ["", " , ,", "a", "a,,b"] {
        assert_eq!(error(fine, ""), None);
    }
    for fine in [
        "",
        "none",
        " a.example ,b.example,",
        "*.example",
        "EXAMPLE.",
    ] {
        assert_eq!(error("", fine), None, "{fine}");
    }
    assert_eq!(
        error("a,\u{200b}", "").as_deref(),
        Some(r#"filtered_words: "\u{200b}" has nothing that can be seen"#)
    );
    for wrong in [
        "https://a.example",
        "a.example/x",
        "a.example:80",
        "*",
        "*.",
        "a.*.example",
        "*.127.0.0.1",
        "a b",
    ] {
        assert_eq!(
            error("", &format!("fine.example,{wrong}")),
            Some(format!(
                "allowed_links: {wrong:?} is neither the name of a host nor one behind *."
            ))
        );
    }
    let away = config::read(|_| Err("away".to_owned())).err();
    assert_eq!(
        away.map(|error| error.to_string()).as_deref(),
        Some("the configuration cannot be read: away")
    );
    // A variable that is not defined is one that is empty.
    let filter = config::read(|_| Ok(None)).expect("there is nothing to misunderstand");
    assert_eq!(filter.review(r#""bad https://evil.example""#), Ok(None));
}

/// A string as JSON, each character by itself or as escapes.
fn spelled() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        3 => prop::sample::select(vec!["bad", "worse", "BAD", "two words", "good", "c++"])
            .prop_map(str::to_owned),
        2 => prop::sample::select(vec![" ", ",", "-", "_", "\n", "\"", "\\", "/", "x", "1", "é", "\u{301}"])
            .prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    let character = |(char, is_escaped): (char, bool)| {
        if is_escaped {
            let mut units = [0; 2];
            let units = char.encode_utf16(&mut units);
            units.iter().map(|unit| format!("\\u{unit:04x}")).collect()
        } else {
            let quoted = Value::from(String::from(char)).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        }
    };
    let surrogate = (0xd800_u32..0xe000).prop_map(|unit| format!("\\u{unit:04X}"));
    let text = prop::collection::vec(part, 0..6)
        .prop_map(|parts| parts.concat().chars().collect::<Vec<_>>())
        .prop_flat_map(move |chars| {
            chars
                .into_iter()
                .map(|char| (Just(char), prop::bool::weighted(0.2)).prop_map(character))
                .collect::<Vec<_>>()
        })
        .prop_map(|characters| characters.concat());
    prop_oneof![
        8 => text.clone(),
        1 => (text, surrogate).prop_map(|(text, surrogate)| text + &surrogate),
    ]
    .prop_map(|inside| format!("\"{inside}\""))
}

/// Any JSON text up to a few levels deep, whatever its spelling and white space.
fn any_json() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<f64>()
            .prop_filter("JSON has none", |number| number.is_finite())
            .prop_map(|number| format!("{number:?}")),
        "-?[1-9][0-9]{0,30}(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
    ];
    let leaf = prop_oneof![
        1 => prop::sample::select(vec!["null", "true", "false"]).prop_map(str::to_owned),
        1 => number,
        6 => spelled(),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let space = prop::sample::select(vec!["", "", " ", "\n", "\t "]);
        let item = (space.clone(), inner.clone(), space.clone())
            .prop_map(|(before, item, behind)| format!("{before}{item}{behind}"));
        let member = (spelled(), space, item.clone())
            .prop_map(|(name, space, value)| format!("{name}{space}:{value}"));
        prop_oneof![
            prop::collection::vec(item, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..4)
                .prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// A body cut into what stands between its strings, and the texts of those that are values.
fn taken_apart(body: &str) -> (Vec<String>, Vec<String>) {
    let mut between = Vec::new();
    let mut texts = Vec::new();
    let mut from = 0;
    for range in json::strings(body) {
        between.push(body[from..range.start].to_owned());
        from = range.end;
        let characters = json::characters(body, range);
        texts.push(characters.iter().map(|character| character.char).collect());
    }
    between.push(body[from..].to_owned());
    (between, texts)
}

/// The masks of a text that has only what ASCII has, the slow way.
fn masked(text: &str) -> Vec<char> {
    let chars: Vec<char> = text.chars().collect();
    let lower: Vec<char> = text.to_ascii_lowercase().chars().collect();
    let mut masked = chars.clone();
    for word in ["bad", "worse", "two words", "c++", "fish"] {
        let word: Vec<char> = word.chars().collect();
        let touches = |own: char, other: Option<&char>| {
            own.is_alphanumeric() && other.is_some_and(|other| other.is_alphanumeric())
        };
        for start in 0..chars.len() {
            let end = start + word.len();
            if lower.get(start..end) == Some(&word)
                && !touches(word[0], start.checked_sub(1).map(|before| &chars[before]))
                && !touches(word[word.len() - 1], chars.get(end))
            {
                masked[start..end].fill('*');
            }
        }
    }
    masked
}

/// All strings of a value.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

proptest! {
    #[test]
    fn only_words_in_strings_change(body in any_json()) {
        let changed = masking().review(&body).expect("nothing is refused");
        let stored = changed.as_deref().unwrap_or(&body);
        prop_assert_ne!(changed.as_deref(), Some(body.as_str()));
        prop_assert!(stored.len() <= body.len());
        serde_json::from_str::<&serde_json::value::RawValue>(stored).expect("it is JSON still");
        let (between, texts) = taken_apart(&body);
        let (between_stored, texts_stored) = taken_apart(stored);
        prop_assert_eq!(between, between_stored);
        for (text, stored) in texts.iter().zip(&texts_stored) {
            if text.is_ascii() {
                prop_assert_eq!(masked(text), stored.chars().collect::<Vec<_>>());
            }
        }
        // What was masked once has nothing more to mask.
        prop_assert_eq!(masking().review(stored), Ok(None));
    }

    #[test]
    fn the_spelling_of_a_word_does_not_matter(body in any_json()) {
        // Only a string that has no surrogate alone can be read by others.
        if let Ok(value) = serde_json::from_str::<Value>(&body) {
            let plain = value.to_string();
            let stored = |body: &str| {
                let changed = masking().review(body).expect("nothing is refused");
                let stored = changed.as_deref().unwrap_or(body);
                texts(&serde_json::from_str(stored).expect("it is JSON"))
            };
            prop_assert_eq!(stored(&body), stored(&plain));
        }
    }

    #[test]
    fn arbitrary_text_ends_in_an_answer(text in any::<String>(), json in "[\\[\\]{}\":,\\\\u0-9a-f ]{0,40}") {
        for body in [&text, &json] {
            for filter in [masking(), &filter("bad", "none")] {
                if let Ok(Some(changed)) = filter.review(body) {
                    prop_assert!(changed.len() < 2 * body.len() + 2);
                }
            }
        }
    }

    #[test]
    fn arbitrary_addresses_lead_somewhere(
        scheme in prop::sample::select(vec!["https://", "http:\\\\", "//", "www.", "x://", "https:"]),
        rest in "[a-z0-9.@:/\\\\\\[\\]%, \u{ad}\u{3002}é-]{0,30}",
    ) {
        let text = format!("{scheme}{rest}");
        // Where a browser goes on following the text as a whole, the filter knew.
        let base = url::Url::parse("https://page.example").expect("it is an address");
        let host = base.join(&text).ok().and_then(|url| url.host_str().map(str::to_owned));
        if let Some(host) = host.filter(|_| scheme != "www." && !text.contains(' ')) {
            let refused = filter("", "none").review(&Value::from(text.as_str()).to_string()).is_err();
            // What has an empty label but the root's is no host (RFC 1034, section 3.1), nor what ends otherwise than all
            // names (RFC 1123, section 2.1) and addresses do; and without a scheme nor a dot it is a comment.
            let name = host.strip_suffix('.').unwrap_or(&host);
            let is_name = name.ends_with(|end: char| end.is_alphanumeric() || end == ']')
                && !name.contains('%')
                && !name.split('.').any(str::is_empty)
                && (scheme.contains(':') || host.trim_end_matches('.').contains(['.', '[']));
            prop_assert!(refused || host == "page.example" || !is_name, "{} {}", text, host);
        }
    }
}
