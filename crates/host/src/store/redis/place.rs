//! Where a store is, and by what names its keys are known there.

use redis::{Client, IntoConnectionInfo, RedisError};
use redis_forms::{pattern, wakeups};

/// The label whose keys have the names that components give them, as in Spin's own Redis store, which knows no
/// labels. It is the only one that every application has.
const PLAIN: &str = "default";

/// What a key of any other label begins with. No label is empty: between two of these, an empty one marks a
/// plain key that happens to begin with such a byte itself.
const MARK: char = '\0';

/// The part of a server that one application has: all keys that begin with a prefix, mostly with none.
#[derive(Clone, Debug)]
pub(super) struct Place {
    prefix: String,
}

impl Place {
    /// Reads `redis://[user:password@]host[:port][/database][?prefix=…]`, or `rediss://` for TLS.
    pub(super) fn parse(url: &str) -> Result<(Self, Client), RedisError> {
        let malformed = || RedisError::from((redis::ErrorKind::InvalidClientConfig, "malformed"));
        let mut url = redis::parse_redis_url(url).ok_or_else(malformed)?;
        let mut prefix = String::new();
        for (name, value) in url.query_pairs() {
            if name != "prefix" {
                // Not told which: it may be half of a password that has a question mark.
                return Err((
                    redis::ErrorKind::InvalidClientConfig,
                    "unknown parameter: there is `prefix` only, and in a password `?` is %3F",
                )
                    .into());
            }
            prefix = value.into_owned();
        }
        url.set_query(None);
        let info = url.into_connection_info()?;
        let settings = info.tcp_settings().clone().set_nodelay(true);
        let client = Client::open(info.set_tcp_settings(settings))?;
        Ok((Self { prefix }, client))
    }

    /// A key's name on the server.
    pub(super) fn name(&self, label: &str, key: &str) -> String {
        let Self { prefix } = self;
        match label {
            PLAIN if !key.starts_with(MARK) => format!("{prefix}{key}"),
            PLAIN => format!("{prefix}{MARK}{MARK}{key}"),
            label => format!("{prefix}{MARK}{label}{MARK}{key}"),
        }
    }

    /// The label and the key that have this name. None: it is another application's, or no value.
    pub(super) fn entry<'a>(&self, name: &'a str) -> Option<(&'a str, &'a str)> {
        let name = name.strip_prefix(&self.prefix)?;
        let Some(marked) = name.strip_prefix(MARK) else {
            return (name != wakeups::NAME).then_some((PLAIN, name));
        };
        let (label, key) = marked.split_once(MARK)?;
        Some((if label.is_empty() { PLAIN } else { label }, key))
    }

    /// A pattern (of Redis' `SCAN`) that every name of a label fits, and hardly any other.
    pub(super) fn pattern(&self, label: &str) -> String {
        match label {
            PLAIN => self.pattern_of_all(),
            label => pattern(&format!("{}{MARK}{label}{MARK}", self.prefix)),
        }
    }

    /// A pattern that every name fits.
    pub(super) fn pattern_of_all(&self) -> String {
        pattern(&self.prefix)
    }

    /// Whether every name is taken for one of its own, those of other applications too.
    pub(super) fn is_everything(&self) -> bool {
        self.prefix.is_empty()
    }

    /// Whether names of the one are the other's too.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&self.prefix)
    }

    /// The channel by which those who move the store see each other. Databases have their channels in common.
    pub(super) fn claims(&self, database: i64) -> String {
        format!("{}witter:migration:{database}", self.prefix)
    }

    /// The channel, and the stream, by which nodes wake each other.
    pub(super) fn wakeups(&self) -> String {
        format!("{}{}", self.prefix, wakeups::NAME)
    }
}

/// A store's URL without the password in it, to be told.
pub(crate) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password may hold what is not allowed in it: the last @ before the host ends it.
    let at = rest[..host].rfind('@').or_else(|| rest.rfind('@'));
    match at {
        Some(at) => format!("{scheme}://…@{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(prefix: &str) -> Place {
        Place {
            prefix: prefix.to_owned(),
        }
    }

    #[test]
    fn the_keys_of_the_default_label_are_those_of_spin() {
        assert_eq!(place("").name("default", "w1/p/room"), "w1/p/room");
        assert_eq!(place("app:").name("default", "w1/p/room"), "app:w1/p/room");
        assert_eq!(place("app:").entry("app:witter:wakeup"), None);
    }

    #[test]
    fn without_a_prefix_the_keys_of_others_cannot_be_told_apart() {
        assert_eq!(place("a:").entry("b:x"), None);
        assert!(!place("a:").is_everything());
        assert_eq!(place("").entry("b:x"), Some(("default", "b:x")));
        assert!(place("").is_everything());
        for (one, other, overlaps) in [("", "a:", true), ("a", "ab", true), ("a:", "b:", false)] {
            assert_eq!(place(one).overlaps(&place(other)), overlaps);
            assert_eq!(place(other).overlaps(&place(one)), overlaps);
        }
    }

    #[test]
    fn every_key_has_a_name_of_its_own_and_is_found_by_it() {
        let keys = ["", "a", "\0", "\0\0", "\0other\0a", "default", "*"];
        let mut names = std::collections::HashSet::new();
        for prefix in ["", "p:"] {
            for label in ["default", "other", "others"] {
                for key in keys {
                    let place = place(prefix);
                    let name = place.name(label, key);
                    assert_eq!(place.entry(&name), Some((label, key)), "{name:?}");
                    assert!(name != place.wakeups() && names.insert(name));
                }
            }
        }
    }

    #[test]
    fn what_a_pattern_means_itself_is_escaped() {
        assert_eq!(place("").pattern("default"), "*");
        assert_eq!(place("a*[b]?\\").pattern("default"), "a\\*\\[b\\]\\?\\\\*");
        assert_eq!(place("a:").pattern("other"), "a:\0other\0*");
    }

    #[test]
    fn a_url_tells_the_prefix_and_nothing_else() {
        let (place, client) =
            Place::parse("redis://ann:secret@example.org:7000/3?prefix=app%3A").expect("it is one");
        assert_eq!(place.prefix, "app:");
        let info = client.get_connection_info();
        assert_eq!(info.addr().to_string(), "example.org:7000");
        let settings = info.redis_settings();
        assert_eq!((settings.db(), settings.username()), (3, Some("ann")));
        assert_eq!(settings.password(), Some("secret"));
        assert!(info.tcp_settings().nodelay());
        for malformed in [
            "redis://",
            "redis://host/db",
            "redis://host?prefx=a",
            "http://host",
        ] {
            Place::parse(malformed).expect_err(malformed);
        }
        let error = Place::parse("redis://ann:se?cret@host").expect_err("it has a question mark");
        assert!(!format!("{error} {error:?}").contains("cret"), "{error:?}");
    }

    #[test]
    fn a_password_is_not_told() {
        for (url, told) in [
            ("redis://host/1?prefix=a", "redis://host/1?prefix=a"),
            ("redis://:secret@host/1", "redis://…@host/1"),
            ("rediss://ann:se@cret@host", "rediss://…@host"),
            ("rediss://ann:se/cr@et@host", "rediss://…@host"),
            ("sqlite:a@b", "sqlite:a@b"),
        ] {
            assert_eq!(without_password(url), told);
        }
    }
}
