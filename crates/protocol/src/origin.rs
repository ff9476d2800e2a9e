use crate::Error;
use std::fmt;
use std::str::FromStr;

/// Longer than the longest name of a host (253 bytes) with scheme and port.
const LONGEST: usize = 300;

/// Where a page comes from, as a browser writes it (RFC 6454, section 6.2): `https://chat.example` or
/// `http://127.0.0.1:3000`, in lower case, without a path, the scheme's own port left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// As the browser writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether pages of this origin are those of a server that its clients know by this name: a host, and its port
    /// unless it is the scheme's own. The scheme is the page's: the server knows only that of the last hop.
    #[must_use]
    pub fn is_of(&self, authority: &str) -> bool {
        is_own(&self.0, authority)
    }

    fn accepts(text: &str) -> bool {
        let Some((scheme, rest)) = text.split_once("://") else {
            return false;
        };
        let (host, port) = match rest.rsplit_once(':') {
            // The colons within brackets are an IPv6 address's own.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let own = match scheme {
            "http" => "80",
            "https" => "443",
            _ => "",
        };
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_address = |inner: &str| {
            inner
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b':')
        };
        let bracketed = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        text.len() <= LONGEST
            && scheme.starts_with(|first: char| first.is_ascii_lowercase())
            && scheme
                .bytes()
                .all(|byte| is_name(byte) || b"+-.".contains(&byte))
            && !host.is_empty()
            && match bracketed {
                Some(inner) => is_address(inner),
                None => host
                    .bytes()
                    .all(|byte| is_name(byte) || b"-._".contains(&byte)),
            }
            && port.is_none_or(|port| {
                port != own
                    && port.starts_with(|first: char| matches!(first, '1'..='9'))
                    && port.parse::<u16>().is_ok()
            })
    }
}

impl FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if Self::accepts(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::Invalid(
                "origin: one as browsers write it is expected, such as https://chat.example"
                    .to_owned(),
            ))
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which pages of other origins may use this server by CORS (Fetch standard, "CORS protocol").
///
/// Credentials are bearer tokens that a page has to know, never cookies that it could ride on: any origin
/// is as safe as any client that is no browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All.
    Any,
    /// These.
    Listed(Vec<Origin>),
}

impl Origins {
    /// What `Access-Control-Allow-Origin` tells a page of this origin; none: it is left out.
    #[must_use]
    pub fn allow(&self, origin: Option<&str>) -> Option<String> {
        match self {
            Self::Any => Some("*".to_owned()),
            Self::Listed(listed) => {
                let origin = origin?;
                let found = listed.iter().find(|listed| listed.as_str() == origin)?;
                Some(found.to_string())
            }
        }
    }

    /// Whether a page of this origin is handed messages of a server that its clients know by `authority`.
    #[must_use]
    pub fn admit(&self, origin: &Origin, authority: &str) -> bool {
        self.allow(Some(origin.as_str())).is_some() || origin.is_of(authority)
    }
}

/// As [`Origin::is_of`], of what a browser says of its page in the header `Origin`.
#[must_use]
pub fn is_own(origin: &str, authority: &str) -> bool {
    let (own, named) = match origin.split_once("://") {
        Some(("http", named)) => (":80", named),
        Some(("https", named)) => (":443", named),
        _ => return false,
    };
    named.eq_ignore_ascii_case(authority.strip_suffix(own).unwrap_or(authority))
}

impl FromStr for Origins {
    type Err = Error;

    /// `*`, or origins separated by commas.
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        text.split(',')
            .map(|origin| origin.trim().parse())
            .collect::<Result<_, _>>()
            .map(Self::Listed)
    }
}
