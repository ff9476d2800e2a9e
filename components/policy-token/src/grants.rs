//! In which channels somebody may do what.

use std::fmt;

/// Channel patterns, each one of:
///
/// * a channel's name;
/// * `PREFIX*`: all channels whose name begins so;
/// * `*`: all channels but those whose name begins with `@`. Those carry direct messages, and only a
///   pattern that itself begins with `@` reaches them.
///
/// Kept as text with one space between two patterns: a pattern holds none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patterns(String);

/// Neither a channel's name nor the beginning of one and a `*`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a channel pattern is a name, or the beginning of one and a *")]
pub(crate) struct BadPattern;

impl Patterns {
    pub(crate) fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPattern> {
        let mut text = String::new();
        for pattern in patterns {
            if !is_pattern(pattern) {
                return Err(BadPattern);
            }
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(pattern);
        }
        Ok(Self(text))
    }

    /// Patterns separated by commas, white space or both.
    pub(crate) fn parse(list: &str) -> Result<Self, BadPattern> {
        Self::new(
            list.split([',', ' ', '\t', '\r', '\n'])
                .filter(|pattern| !pattern.is_empty()),
        )
    }

    pub(crate) fn match_channel(&self, channel: &str) -> bool {
        self.0
            .split(' ')
            .any(|pattern| match pattern.strip_suffix('*') {
                Some("") => !channel.starts_with('@'),
                Some(prefix) => channel.starts_with(prefix),
                None => !pattern.is_empty() && channel == pattern,
            })
    }

    /// What either of the two matches.
    pub(crate) fn or(&self, other: &Self) -> Self {
        match (self.0.as_str(), other.0.as_str()) {
            (one, "") | ("", one) => Self(one.to_owned()),
            (one, other) => Self(format!("{one} {other}")),
        }
    }
}

/// The grammar of channel names (1 to 64 bytes of `A-Z a-z 0-9 - . _ ~` and a leading `@`), with a `*`
/// at the end that may stand for any number of them.
fn is_pattern(pattern: &str) -> bool {
    let (prefix, any) = match pattern.strip_suffix('*') {
        Some(prefix) => (prefix, true),
        None => (pattern, false),
    };
    let name = prefix.strip_prefix('@').unwrap_or(prefix);
    prefix.len() <= 64
        && (any || !name.is_empty())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// What somebody may do, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    pub(crate) read: Patterns,
    pub(crate) publish: Patterns,
    pub(crate) create: Patterns,
    pub(crate) moderate: Patterns,
}

/// The notes that the messenger hands back: a line for each action.
impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            read,
            publish,
            create,
            moderate,
        } = self;
        write!(f, "{}\n{}\n{}\n{}", read.0, publish.0, create.0, moderate.0)
    }
}

impl Grants {
    /// Reads notes of this module's own writing; anything else grants nothing that it does not spell out.
    pub(crate) fn from_notes(notes: &str) -> Self {
        let lines: Vec<_> = notes.split('\n').collect();
        let [read, publish, create, moderate] = lines[..] else {
            return Self::default();
        };
        let patterns = |line: &str| Patterns(line.to_owned());
        Self {
            read: patterns(read),
            publish: patterns(publish),
            create: patterns(create),
            moderate: patterns(moderate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(patterns: &str, channel: &str, matched: bool) {
        let parsed = Patterns::parse(patterns).expect("the patterns of this table are well-formed");
        assert_eq!(
            parsed.match_channel(channel),
            matched,
            "{patterns:?} on {channel:?}"
        );
    }

    #[test]
    fn patterns_match_by_name_or_by_beginning() {
        for (patterns, channel, matched) in [
            ("", "lobby", false),
            ("", "", false),
            (" , ", "lobby", false),
            ("lobby", "lobby", true),
            ("lobby", "Lobby", false),
            ("lobby", "lobby2", false),
            ("lobby", "lobb", false),
            ("lobby", "@lobby", false),
            ("news.*", "news.sport", true),
            ("news.*", "news.", true),
            ("news.*", "news", false),
            ("news.*", "@news.sport", false),
            ("*", "lobby", true),
            ("*", "@ann", false),
            ("@*", "@ann", true),
            ("@*", "ann", false),
            ("@ann", "@ann", true),
            ("@ann", "@anna", false),
            ("@ann", "ann", false),
            ("@an*", "@anna", true),
            ("lobby news.*", "news.sport", true),
            ("lobby,news.*", "lobby", true),
            ("lobby,\n news.*", "lobby2", false),
            ("* @ann", "@ann", true),
            ("* @ann", "@bob", false),
        ] {
            check(patterns, channel, matched);
        }
    }

    #[test]
    fn only_names_and_beginnings_of_names_are_patterns() {
        let longest = "a".repeat(64);
        for good in [
            "a",
            "*",
            "@*",
            "@a",
            "A-Z.0_9~",
            &longest,
            &format!("{longest}*"),
        ] {
            assert!(is_pattern(good), "{good:?}");
        }
        let longer = "a".repeat(65);
        for bad in [
            "", "@", "**", "a*b", "*a", "a@b", "@@", "@@a", "a b", "a/b", "é", "a\n", "a,b",
            &longer,
        ] {
            assert_eq!(Patterns::new([bad]), Err(BadPattern), "{bad:?}");
        }
    }

    #[test]
    fn grants_survive_the_way_through_the_messenger() {
        let parse = |list| Patterns::parse(list).expect("well-formed");
        for [read, publish, create, moderate] in [
            ["", "", "", ""],
            ["a", "", "", ""],
            ["", "b", "", ""],
            ["", "", "c", "d"],
            ["a b* @c", "* @*", "@*", "*"],
        ] {
            let grants = Grants {
                read: parse(read),
                publish: parse(publish),
                create: parse(create),
                moderate: parse(moderate),
            };
            assert_eq!(Grants::from_notes(&grants.to_string()), grants);
        }
        for foreign in ["", "*", "*\n*", "*\n*\n*\n*\n*"] {
            assert_eq!(Grants::from_notes(foreign), Grants::default());
        }
    }
}
