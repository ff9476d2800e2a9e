//! A query taken apart, strictly.

use crate::Error;
use std::borrow::Cow;

/// The pairs of a query, decoded, in their order.
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Empty pieces between `&` are skipped; a piece without `=` is a name with an empty value.
    pub(crate) fn parse(query: &'a str) -> Result<Self, Error> {
        query
            .split('&')
            .filter(|piece| !piece.is_empty())
            .map(|piece| {
                let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
                Ok((decode(name)?, decode(value)?))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Every value of a parameter.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| &**value)
    }

    /// The value of a parameter that has at most one.
    pub(crate) fn one(&self, name: &str) -> Result<Option<&str>, Error> {
        let mut values = self.all(name);
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => Err(Error::Invalid(format!("{name}: more than one value"))),
        }
    }

    /// The credential; an empty one is none.
    pub(crate) fn token(&self) -> Result<Option<String>, Error> {
        let token = self.one("token")?.filter(|token| !token.is_empty());
        if token.is_some_and(|token| token.chars().any(char::is_control)) {
            return Err(Error::Invalid("token: a control character".to_owned()));
        }
        Ok(token.map(str::to_owned))
    }
}

/// Percent-decoding (RFC 3986, section 2.1) with `+` for a space (WHATWG URL, section 5.1).
fn decode(text: &str) -> Result<Cow<'_, str>, Error> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => {
                    return Err(Error::Invalid(
                        "query: % without two hexadecimal digits".to_owned(),
                    ));
                }
            },
            _ => byte,
        });
    }
    String::from_utf8(out)
        .map(Cow::Owned)
        .map_err(|_| Error::Invalid("query: not UTF-8".to_owned()))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}
