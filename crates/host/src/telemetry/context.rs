//! Which trace a request belongs to (W3C Trace Context, `traceparent`).

use http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A span, as others are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) trace: u128,
    pub(super) span: u64,
    /// Whether it is told to anybody.
    pub(super) is_traced: bool,
}

impl Context {
    /// That of whoever sent a request with these headers, if they told one.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut told = headers.get_all(TRACEPARENT).iter();
        let text = told.next()?.to_str().ok()?;
        // Two are none.
        if told.next().is_some() {
            return None;
        }
        Self::read(text.trim())
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = hexadecimal(parts.next()?, 2)?;
        let trace = hexadecimal(parts.next()?, 32)?;
        let span = hexadecimal(parts.next()?, 16)?;
        let flags = hexadecimal(parts.next()?, 2)?;
        // A later version may have more behind.
        let is_whole = version > 0 || parts.next().is_none();
        let is_one = version != 0xff && trace != 0 && span != 0 && is_whole;
        is_one.then_some(Self {
            trace,
            span: u64::try_from(span).ok()?,
            is_traced: flags & 1 == 1,
        })
    }

    /// A span of its own in the parent's trace, or in a new one; traced.
    pub(super) fn below(parent: Option<&Self>) -> Self {
        Self {
            trace: parent.map_or_else(|| fastrand::u128(1..), |parent| parent.trace),
            span: fastrand::u64(1..),
            is_traced: true,
        }
    }

    /// Tells those who get these headers.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let flags = u8::from(self.is_traced);
        let text = format!("00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span);
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(TRACEPARENT, value);
        }
    }
}

/// Lower case, and of that many digits.
fn hexadecimal(text: &str, digits: usize) -> Option<u128> {
    let is_one = |letter: u8| matches!(letter, b'0'..=b'9' | b'a'..=b'f');
    let is_well_formed = text.len() == digits && text.bytes().all(is_one);
    is_well_formed
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
    const SPAN: u64 = 0xb7ad_6b71_6920_3331;

    #[test]
    fn a_parent_is_read_as_the_standard_says() {
        let some = |is_traced| {
            Some(Context {
                trace: TRACE,
                span: SPAN,
                is_traced,
            })
        };
        for (text, expected) in [
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                some(true),
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
                some(false),
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03",
                some(true),
            ),
            (
                "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what",
                some(true),
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what",
                None,
            ),
            (
                "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                None,
            ),
            (
                "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                None,
            ),
            (
                "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                None,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                None,
            ),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", None),
            (
                "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                None,
            ),
            ("", None),
        ] {
            assert_eq!(Context::read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_two_are_none() {
        let parent = Context {
            trace: TRACE,
            span: SPAN,
            is_traced: true,
        };
        let own = Context::below(Some(&parent));
        assert!(own.trace == TRACE && own.span != SPAN);
        let mut headers = HeaderMap::new();
        own.write(&mut headers);
        assert_eq!(Context::of(&headers), Some(own));
        headers.append(TRACEPARENT, HeaderValue::from_static("00"));
        assert_eq!(Context::of(&headers), None);
    }
}
