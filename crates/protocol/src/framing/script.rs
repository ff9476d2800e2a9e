//! What goes through a script: names that it calls, and text that it holds.

use crate::Error;
use crate::query::Query;

/// Longer than the names that libraries draw, and no room for a program.
const LONGEST_CALLBACK: usize = 128;

/// The parameter `callback`: names of ASCII letters, digits, `_` and `$`, not beginning with a digit, with
/// dots between if allowed. Of what a script may call (ECMA-262, section 12.7) this is the part that no
/// escaping rule can turn into something else.
pub(super) fn callback(query: &Query<'_>, dots: bool) -> Result<Option<String>, Error> {
    let Some(text) = query.one("callback")? else {
        return Ok(None);
    };
    let is_name = |name: &str| {
        !name.starts_with(|first: char| first.is_ascii_digit())
            && !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$')
    };
    let most = if dots { usize::MAX } else { 1 };
    let mut names = text.split('.');
    if text.len() <= LONGEST_CALLBACK && names.clone().count() <= most && names.all(is_name) {
        return Ok(Some(text.to_owned()));
    }
    let kind = if dots { "a dotted" } else { "an undotted" };
    Err(Error::Invalid(format!(
        "callback: {kind} identifier of at most {LONGEST_CALLBACK} bytes is expected"
    )))
}

/// Appends text to a string literal between single quotes (ECMA-262, section 12.9.4), in a script of its own
/// or within HTML (WHATWG HTML, section 4.12.1.3: neither `</script` nor `<!--` may come up in it).
///
/// The text is JSON, which has double quotes all over and single ones hardly ever. Old engines end a
/// literal at U+2028 and U+2029.
pub(super) fn literal(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (index, byte) in bytes.iter().enumerate() {
        let (length, escape): (usize, &[u8]) = match byte {
            b'\\' => (1, b"\\\\"),
            b'\'' => (1, b"\\'"),
            b'<' => (1, b"\\x3c"),
            b'\r' => (1, b"\\r"),
            b'\n' => (1, b"\\n"),
            0 => (1, b"\\x00"),
            0xe2 if bytes[index..].starts_with("\u{2028}".as_bytes()) => (3, b"\\u2028"),
            0xe2 if bytes[index..].starts_with("\u{2029}".as_bytes()) => (3, b"\\u2029"),
            _ => continue,
        };
        out.extend_from_slice(&bytes[copied..index]);
        out.extend_from_slice(escape);
        copied = index + length;
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// JSON text as an expression: parsing it gives just what it says. As an object literal, a member
/// `__proto__` would set the prototype, and two of them are no script at all.
pub(super) fn expression(json: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"JSON.parse('");
    literal(json, out);
    out.extend_from_slice(b"')");
}
