//! Taking back what was signed.

use crate::{Error, json};
use serde_json::value::RawValue;

/// The longest sender, in bytes.
const LONGEST_SENDER: usize = 64;

/// Whose credentials do not hold any longer. All times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoke {
    /// What envelopes carry as `sender`: 1 to 64 bytes of printable ASCII.
    pub sender: String,
    /// Those that were issued before this, and those that do not tell when; 0 lifts it. None: now.
    pub before: Option<u64>,
    /// When the last of them has expired by itself, and this may be forgotten. None: never.
    pub until: Option<u64>,
}

impl Revoke {
    /// Reads `{"sender","before"?,"until"?}`.
    ///
    /// # Errors
    /// 422 for another shape.
    pub(crate) fn parse(arguments: &RawValue) -> Result<Self, Error> {
        let [sender, before, until] = json::members(arguments, ["sender", "before", "until"])?;
        let sender = sender.and_then(|sender| serde_json::from_str::<String>(sender.get()).ok());
        let sender = sender.filter(|sender| {
            (1..=LONGEST_SENDER).contains(&sender.len())
                && sender.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        });
        let time = |name, value: Option<&RawValue>| {
            let time = value.map(|value| serde_json::from_str(value.get()));
            time.transpose().map_err(|_| {
                Error::Unprocessable(format!("{name}: milliseconds since 1970 are expected"))
            })
        };
        Ok(Self {
            sender: sender.ok_or_else(|| {
                Error::Unprocessable(format!(
                    "sender: 1 to {LONGEST_SENDER} bytes of printable ASCII are expected"
                ))
            })?,
            before: time("before", before)?,
            until: time("until", until)?,
        })
    }
}

/// The answer to a [`Revoke`].
#[derive(Clone, Copy, Debug)]
pub struct Revoked<'a> {
    /// Whose.
    pub sender: &'a str,
    /// Those issued before this, in milliseconds since 1970.
    pub before: u64,
}

impl Revoked<'_> {
    /// The answer as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::Object::new()
            .text("sender", self.sender)
            .number("before", self.before)
            .end()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Command, Revoke, Revoked};

    #[test]
    fn whose_credentials_are_revoked_has_to_be_told_and_the_times_may() {
        let long = "s".repeat(64);
        for (arguments, sender, before, until) in [
            (r#"{"sender":"ann"}"#, "ann", None, None),
            (r#"{"sender":"a b","before":0}"#, "a b", Some(0), None),
            (
                r#"{"sender":"ann","until":2,"before":1,"more":null}"#,
                "ann",
                Some(1),
                Some(2),
            ),
            (&format!("{{\"sender\":\"{long}\"}}"), &long, None, None),
        ] {
            let expected = Revoke {
                sender: sender.to_owned(),
                before,
                until,
            };
            let command = format!("{{\"revoke\":{arguments}}}");
            assert_eq!(
                Command::parse(&command),
                Ok(Command::Revoke(expected)),
                "{command}"
            );
        }
        for arguments in [
            "{}",
            "null",
            r#"{"sender":""}"#,
            r#"{"sender":7}"#,
            r#"{"sender":"é"}"#,
            &format!("{{\"sender\":\"{long}s\"}}"),
            r#"{"sender":"ann","before":-1}"#,
            r#"{"sender":"ann","before":1.5}"#,
            r#"{"sender":"ann","before":"1"}"#,
            r#"{"sender":"ann","before":null}"#,
            r#"{"sender":"ann","until":18446744073709551616}"#,
        ] {
            let command = format!("{{\"revoke\":{arguments}}}");
            let status = Command::parse(&command).map_err(|error| error.status());
            assert_eq!(status, Err(422), "{command}");
        }
    }

    #[test]
    fn what_was_revoked_is_told() {
        let told = Revoked {
            sender: "a \"b\"",
            before: 7,
        };
        assert_eq!(told.to_json(), r#"{"sender":"a \"b\"","before":7}"#);
    }
}
