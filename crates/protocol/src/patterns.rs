//! Which channels are meant, in a deployment's variables and in credentials.

/// Channel patterns, each one of:
///
/// * a channel's name;
/// * `PREFIX*`: all channels whose name begins so;
/// * `*`: all channels but those whose name begins with `@`. Those carry direct messages, and only a
///   pattern that itself begins with `@` reaches them.
///
/// Kept as text with one space between two patterns: a pattern holds none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns(String);

/// Neither a channel's name nor the beginning of one and a `*`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a channel pattern is a name, or the beginning of one and a *")]
pub struct BadPattern;

impl Patterns {
    /// These patterns.
    ///
    /// # Errors
    /// One of them is none.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPattern> {
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
    ///
    /// # Errors
    /// One of them is none.
    pub fn parse(list: &str) -> Result<Self, BadPattern> {
        Self::new(
            list.split([',', ' ', '\t', '\r', '\n'])
                .filter(|pattern| !pattern.is_empty()),
        )
    }

    /// Whether one of them matches a channel's name.
    #[must_use]
    pub fn match_channel(&self, channel: &str) -> bool {
        self.0
            .split(' ')
            .any(|pattern| match pattern.strip_suffix('*') {
                Some("") => !channel.starts_with('@'),
                Some(prefix) => channel.starts_with(prefix),
                None => !pattern.is_empty() && channel == pattern,
            })
    }

    /// The patterns as text that [`Patterns::from_text`] takes back.
    #[must_use]
    pub fn as_text(&self) -> &str {
        &self.0
    }

    /// What [`Patterns::as_text`] gave; of any other text, what it spells out.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// What either of the two matches.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
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
}
