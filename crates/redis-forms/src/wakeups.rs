//! What hosts and instances tell each other by Redis.
//!
//! A message is who tells, in 16 hexadecimal digits, and the names as an array of JSON; nothing in its place means
//! all names. It goes two ways of one name: it is published, for the hosts that keep their store in Redis; and it is a
//! line of a stream, for instances of `wakeup-redis`: `spin:redis` has commands and their answers, and what is
//! published comes as neither. There is a stream as long as an instance reads it: else no line is written.

use serde::Serialize;

/// The name of both, behind the prefix. No key of a store is called so.
pub const NAME: &str = "witter:wakeup";
/// The one field of a line.
pub const FIELD: &str = "message";
/// So many lines are kept, and some more. Fewer: an instance that is slow to read on takes all for changed more
/// often; more: memory of Redis, some 100 bytes for each.
pub const KEPT: &str = "1000";
/// How many digits stand for who tells.
const SENDER: usize = 16;

/// Tells, in one step, so that it costs one answer. Its one key is [`NAME`] behind the prefix, its arguments are
/// those of [`arguments`]. Where the stream cannot be written, since the server is full or the name is taken, those who
/// are subscribed have been told: an error would have it told again.
pub const TELL: &str = "\
redis.call('PUBLISH', KEYS[1], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', ARGV[3], ARGV[1])
end";

/// What [`TELL`] is told with a message.
#[must_use]
pub fn arguments(message: &str) -> [&str; 3] {
    [message, KEPT, FIELD]
}

/// What a message says to who reads it.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// They said it themselves, or it is no message.
    Nothing,
    /// These were notified.
    Names(Vec<String>),
    /// Any may have been.
    All,
}

/// A message of whoever is called so; without names it tells of all.
#[must_use]
pub fn write<N: Serialize>(own: &str, names: Option<&[N]>) -> String {
    let names = names.map(|names| serde_json::json!(names).to_string());
    format!("{own}{}", names.unwrap_or_default())
}

/// What a message says to whoever is called so. One's own costs a comparison.
#[must_use]
pub fn read(message: &[u8], own: &str) -> Told {
    match message.split_at_checked(SENDER) {
        Some((sender, _)) if sender == own.as_bytes() => Told::Nothing,
        Some((_, [])) => Told::All,
        Some((_, names)) => serde_json::from_slice(names).map_or(Told::Nothing, Told::Names),
        None => Told::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "0123456789abcdef";
    const OTHER: &str = "fedcba9876543210";

    #[test]
    fn messages_of_others_are_understood_and_nothing_else() {
        let names = ["a", "\"\n\0\u{e9}"];
        let owned = names.map(str::to_owned).to_vec();
        let told = |text: &str| read(text.as_bytes(), OWN);
        let none: [&str; 0] = [];
        let all: Option<&[&str]> = None;
        assert_eq!(told(&write(OTHER, Some(&names))), Told::Names(owned));
        assert_eq!(told(&write(OTHER, Some(&none))), Told::Names(Vec::new()));
        assert_eq!(told(&write(OTHER, all)), Told::All);
        assert_eq!(told(OTHER), Told::All);
        assert_eq!(told(&write(OWN, Some(&names))), Told::Nothing);
        assert_eq!(told(&write(OWN, all)), Told::Nothing);
        for strange in ["", "x", "fedcba9876543210{}", "fedcba9876543210[1]"] {
            assert_eq!(told(strange), Told::Nothing, "{strange}");
        }
        assert_eq!(read(b"fedcba9876543210[\"\xff\"]", OWN), Told::Nothing);
    }

    #[test]
    fn a_message_has_the_form_that_is_told() {
        let expected = "fedcba9876543210[\"a\",\"\\\"\"]";
        assert_eq!(write(OTHER, Some(&["a", "\""])), expected);
    }
}
