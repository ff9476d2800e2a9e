use crate::Error;
use std::fmt;
use std::str::FromStr;

/// The longest name, in bytes. Longer: 64 names no longer fit one cursor in a URI.
const LONGEST: usize = 64;

/// The name of a channel: 1 to 64 bytes of `A-Z a-z 0-9 - . _ ~`, the first of which may be an `@`
/// instead, with at least one byte behind it.
///
/// All but the `@` are unreserved characters (RFC 3986, section 2.3): a name stands in a URI, a key or a
/// file name as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(String);

impl Channel {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a name.
    fn accepts(name: &str) -> bool {
        let rest = name.strip_prefix('@').unwrap_or(name);
        name.len() <= LONGEST
            && !rest.is_empty()
            && rest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    }
}

impl FromStr for Channel {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        if Self::accepts(name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(Error::Invalid(
                "channel: a name has 1 to 64 bytes of A-Z a-z 0-9 - . _ ~ and may begin with @"
                    .to_owned(),
            ))
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
