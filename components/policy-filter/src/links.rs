//! Links, found in text as programs that turn addresses into links find them, and read as browsers read
//! them.

use url::{Host, Url};

/// The schemes whose slashes browsers add or turn where they are wrong (the URL standard, "special"), as far
/// as people follow them.
const FORGIVEN: [&str; 3] = ["http", "https", "ftp"];

/// No host that the domain name system knows has a longer address with a name and a password before it
/// that anybody writes. Longer: reading many of them takes longer; shorter: some are refused.
const LONGEST_AUTHORITY: usize = 1024;

/// What ends an authority (RFC 3986, section 3.2), and what no host has in it.
const STRICT_END: &str = "/?#<>^|";

/// The same as browsers have it, which take one slash for the other.
const END: &str = "/\\?#<>^|";

/// The hosts that links may lead to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Links(Vec<Pattern>);

#[derive(Debug, PartialEq, Eq)]
enum Pattern {
    /// This host.
    Host(String),
    /// All hosts whose name ends so, with the dot.
    Below(String),
}

/// Neither a host's name nor `*.` and one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither the name of a host nor one behind *.")]
pub(crate) struct BadHost(String);

/// Why a text is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("links to {0} are not allowed here")]
    Outside(String),
    #[error("it is not clear where a link leads")]
    Unclear,
}

impl Links {
    /// A list separated by commas; none where it is empty and links may lead anywhere. `none` is a list
    /// without hosts.
    pub(crate) fn parse(list: &str) -> Result<Option<Self>, BadHost> {
        let list = list.trim();
        if list == "none" {
            return Ok(Some(Self(Vec::new())));
        }
        let entries = list
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        let patterns = entries
            .map(|entry| {
                let below = entry.strip_prefix("*.");
                match (Host::parse(below.unwrap_or(entry)), below) {
                    (Ok(Host::Domain(name)), _) if !name.bytes().all(is_of_name) => None,
                    (Ok(Host::Domain(name)), Some(_)) => {
                        Some(Pattern::Below(format!(".{}", absolute(&name))))
                    }
                    (Ok(host), None) => Some(Pattern::Host(absolute(&host.to_string()).to_owned())),
                    _ => None,
                }
                .ok_or_else(|| BadHost(entry.to_owned()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok((!patterns.is_empty()).then_some(Self(patterns)))
    }

    /// Refuses a text with a link to another host.
    pub(crate) fn check(&self, text: &str) -> Result<(), Refusal> {
        for authority in with_scheme(text).chain(with_www(text)) {
            self.allow(&host(authority)?)?;
        }
        match without_scheme(text).map(host) {
            // A name without a dot, or none at all, is how a comment begins.
            Some(Ok(host)) if host.contains(['.', '[']) => self.allow(&host),
            _ => Ok(()),
        }
    }

    fn allow(&self, host: &str) -> Result<(), Refusal> {
        if self.0.iter().any(|pattern| pattern.matches(absolute(host))) {
            return Ok(());
        }
        Err(Refusal::Outside(host.to_owned()))
    }
}

/// The host that a browser goes to.
fn host(authority: &str) -> Result<String, Refusal> {
    if authority.len() > LONGEST_AUTHORITY || authority.contains('\\') {
        return Err(Refusal::Unclear);
    }
    let url = Url::parse(&format!("http://{authority}")).map_err(|_| Refusal::Unclear)?;
    url.host_str().map(str::to_owned).ok_or(Refusal::Unclear)
}

impl Pattern {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Host(name) => host == name,
            Self::Below(end) => host.len() > end.len() && host.ends_with(end),
        }
    }
}

/// Parsers let more through than anybody can have.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
}

/// A name that ends in a dot is the same without.
fn absolute(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// `scheme://authority`; for schemes that forgive it with other slashes, or none.
fn with_scheme(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(':').filter_map(|(colon, _)| {
        let before = text[..colon].rsplit(|char| !is_of_scheme(char)).next()?;
        let after = &text[colon + 1..];
        let behind = after.trim_start_matches(['/', '\\']);
        let is_forgiven = FORGIVEN.iter().any(|scheme| {
            let start = before.len().checked_sub(scheme.len());
            let ends = start.is_some_and(|start| before[start..].eq_ignore_ascii_case(scheme));
            ends && (behind.len() < after.len() || before.len() == scheme.len())
        });
        if is_forgiven {
            authority(behind, END)
        } else if before.contains(|char: char| char.is_ascii_alphabetic()) {
            authority(after.strip_prefix("//")?, STRICT_END)
        } else {
            None
        }
    })
}

fn is_of_scheme(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.')
}

/// `www.host`, where no longer name or address ends so.
fn with_www(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(['w', 'W']).filter_map(|(start, _)| {
        let rest = &text[start..];
        let www = rest.get(..4)?.eq_ignore_ascii_case("www.");
        let is_inside = |char: char| char.is_alphanumeric() || "-._/\\@".contains(char);
        let authority =
            (www && !text[..start].ends_with(is_inside)).then(|| authority(rest, END))??;
        (authority.len() > "www".len()).then_some(authority)
    })
}

/// `//authority` at the beginning, where the text may be an address as a whole.
fn without_scheme(text: &str) -> Option<&str> {
    let text = text.trim_start_matches(|char: char| char <= ' ');
    let slashes = ['/', '\\'];
    authority(text.strip_prefix(slashes)?.strip_prefix(slashes)?, END)
}

/// What stands for the host at the beginning of a text, and the name, password and port with it: up to one of
/// these ends, or white space; without the sentence's own signs behind it.
fn authority<'a>(text: &'a str, ends: &str) -> Option<&'a str> {
    let is_end = |char: char| char.is_whitespace() || char.is_control() || ends.contains(char);
    let authority = text.split(is_end).next()?;
    let is_bracketed = authority.contains('[');
    let authority = authority
        .trim_end_matches(|char: char| !(char.is_alphanumeric() || is_bracketed && char == ']'));
    (!authority.is_empty()).then_some(authority)
}
