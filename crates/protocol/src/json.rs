//! JSON text (RFC 8259) handled as text: what goes through is not taken apart and put together again.

use crate::Error;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// An object that is being written, members in the order of the calls.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Self {
        Self(String::from("{"))
    }

    /// Room for this many bytes of text beside names and numbers.
    pub(crate) fn with_room(bytes: usize) -> Self {
        let mut object = Self(String::with_capacity(128 + bytes));
        object.0.push('{');
        object
    }

    /// A member whose value is JSON text already.
    pub(crate) fn raw(mut self, name: &str, json: &str) -> Self {
        self.name(name);
        self.0.push_str(json);
        self
    }

    pub(crate) fn text(mut self, name: &'static str, text: &str) -> Self {
        self.name(name);
        quote(text, &mut self.0);
        self
    }

    pub(crate) fn number(self, name: &'static str, number: u64) -> Self {
        self.raw(name, &number.to_string())
    }

    pub(crate) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        quote(name, &mut self.0);
        self.0.push(':');
    }
}

/// An array of these JSON texts.
pub(crate) fn array(items: impl IntoIterator<Item: AsRef<str>>) -> String {
    let mut out = String::from("[");
    for item in items {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(item.as_ref());
    }
    out.push(']');
    out
}

/// Writes a string with its quotes. Control characters are escaped, all else stands as it is.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut copied = 0;
    for (index, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[copied..index]);
        copied = index + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            _ => out.push_str(&format!("\\u{byte:04x}")),
        }
    }
    out.push_str(&text[copied..]);
    out.push('"');
}

/// JSON text without its white space between tokens; the text itself where there is none.
pub(crate) fn compact(json: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut in_string = false;
    let mut escaped = false;
    for (index, byte) in json.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            if copied == 0 {
                out.reserve(json.len());
            }
            out.push_str(&json[copied..index]);
            copied = index + 1;
        } else {
            in_string = byte == b'"';
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(&json[copied..]);
    Cow::Owned(out)
}

/// One JSON value, of whatever shape and depth.
///
/// # Errors
/// 400 for what is not JSON, or not UTF-8.
pub(crate) fn value(text: &[u8]) -> Result<&RawValue, Error> {
    let text = std::str::from_utf8(text)
        .map_err(|error| Error::Invalid(format!("the text is not UTF-8: {error}")))?;
    serde_json::from_str(text)
        .map_err(|error| Error::Invalid(format!("the text is not JSON: {error}")))
}

/// The members of these names, each of which may come once or not at all; others are ignored.
///
/// # Errors
/// 422 where the value is no object, or has one of the names twice.
pub(crate) fn members<'a, const N: usize>(
    value: &'a RawValue,
    names: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], Error> {
    if !value.get().starts_with('{') {
        return Err(Error::Unprocessable("an object is expected".to_owned()));
    }
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    Members(names)
        .deserialize(&mut deserializer)
        .map_err(|error| Error::Unprocessable(error.to_string()))
}

/// The one member of these names, and its name; others are ignored.
///
/// # Errors
/// 422 where the value is no object, or has none of the names, or more than one.
pub(crate) fn one_of<'a>(
    value: &'a RawValue,
    names: &[&'static str],
) -> Result<(&'static str, &'a RawValue), Error> {
    if !value.get().starts_with('{') {
        return Err(Error::Unprocessable("an object is expected".to_owned()));
    }
    let found = serde_json::Deserializer::from_str(value.get())
        .deserialize_map(OneOf(names))
        .map_err(|error| Error::Unprocessable(error.to_string()))?;
    found.ok_or_else(|| Error::Unprocessable(format!("one of {} is expected", names.join(", "))))
}

/// The items of an array.
///
/// # Errors
/// 422 where the value is no array, or has more items than this; they are not read then.
pub(crate) fn items(value: &RawValue, most: usize) -> Result<Vec<&RawValue>, Error> {
    serde_json::Deserializer::from_str(value.get())
        .deserialize_seq(Items { most })
        .map_err(|error| Error::Unprocessable(error.to_string()))
}

struct Items {
    most: usize,
}

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of at most {}", self.most)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            if items.len() == self.most {
                return Err(de::Error::invalid_length(self.most + 1, &self));
            }
            items.push(item);
        }
        Ok(items)
    }
}

struct OneOf<'n>(&'n [&'static str]);

impl<'de> Visitor<'de> for OneOf<'_> {
    /// None: no such member, or more than one.
    type Value = Option<(&'static str, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut count = 0;
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value::<&RawValue>()?;
            if let Some(known) = self.0.iter().find(|known| **known == name) {
                found = Some((*known, value));
                count += 1;
            }
        }
        Ok(found.filter(|_| count == 1))
    }
}

struct Members<const N: usize>([&'static str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Members<N> {
    type Value = [Option<&'de RawValue>; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Members<N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value::<&RawValue>()?;
            if let Some(index) = self.0.iter().position(|known| *known == name)
                && found[index].replace(value).is_some()
            {
                return Err(de::Error::duplicate_field(self.0[index]));
            }
        }
        Ok(found)
    }
}
