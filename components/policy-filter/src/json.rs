//! The strings of JSON text (RFC 8259), found and read where they stand: nothing is taken apart and put
//! together again, so whatever is not masked stays as it was written.

use std::ops::Range;

/// A character of a string, and the bytes that write it: itself, or one escape, or two for a pair of
/// surrogates. A surrogate alone is read as U+FFFD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Character {
    pub(crate) char: char,
    pub(crate) range: Range<usize>,
}

/// The insides of the strings that are values, at any depth: those that no colon follows. No stack is
/// needed to tell, so no depth is too deep.
pub(crate) fn strings(json: &str) -> impl Iterator<Item = Range<usize>> {
    let bytes = json.as_bytes();
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + find(&bytes[from..], b'"')? + 1;
            let mut end = start;
            while *bytes.get(end)? != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            from = end + 1;
            let mut after = bytes[from..].iter();
            let next = after.find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
            if next != Some(&b':') {
                return Some(start..end);
            }
        }
    })
}

fn find(bytes: &[u8], byte: u8) -> Option<usize> {
    bytes.iter().position(|other| *other == byte)
}

/// The characters of a string of which this is the inside.
pub(crate) fn characters(json: &str, inside: Range<usize>) -> Vec<Character> {
    let mut characters = Vec::with_capacity(inside.len());
    let mut at = inside.start;
    while let Some(rest) = json.get(at..inside.end).filter(|rest| !rest.is_empty()) {
        let (char, length) = first(rest);
        characters.push(Character {
            char,
            range: at..at + length,
        });
        at += length;
    }
    characters
}

/// The first character of a text that is not empty, and how many bytes write it.
fn first(text: &str) -> (char, usize) {
    let unknown = char::REPLACEMENT_CHARACTER;
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some('\\'), Some('u')) => match (code_unit(text), text.get(6..).and_then(code_unit)) {
            // A pair of surrogates (RFC 8259, section 7).
            (Some(high @ 0xd800..=0xdbff), Some(low @ 0xdc00..=0xdfff)) => {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                (char::from_u32(code).unwrap_or(unknown), 12)
            }
            (Some(code), _) => (char::from_u32(code).unwrap_or(unknown), 6),
            (None, _) => (unknown, 2),
        },
        (Some('\\'), Some(escaped)) => {
            let char = match escaped {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => other,
            };
            (char, 1 + escaped.len_utf8())
        }
        (Some(char), _) => (char, char.len_utf8()),
        (None, _) => (unknown, 1),
    }
}

/// What `\u` and four digits at the beginning of a text write.
fn code_unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let digits = digits
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then_some(digits)?;
    u32::from_str_radix(digits, 16).ok()
}
