//! What people say of themselves while they are in a channel: that they type, and how far they have read.

use crate::duplex::named;
use crate::json::{self, Object};
use crate::{Channel, Error, Mark};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A command about the live state of a channel. Its name and members are those of the JSON.
///
/// | command | answer |
/// |---|---|
/// | `{"typing":{"channel"}}` | `{"channel","typing":true,"seconds"}`: the others are told so for so many seconds |
/// | `{"typing":{"channel","over":true}}` | `{"channel","typing":false}`: not any more, as after a message |
/// | `{"read":{"channel","offset","delivered"}}` | `{"channel","read","delivered"}`: how far the caller has come, over all devices; of the last two one may be missing |
///
/// Typing needs the right to publish there, a mark the right to read. A mark moves forward only: 400 beyond the newest
/// message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveCommand {
    /// `typing {"channel","over"}`, the last optional
    Typing {
        /// Where.
        channel: Channel,
        /// Not any more.
        over: bool,
    },
    /// `read {"channel","offset","delivered"}`, one of the last two optional
    Read {
        /// Where.
        channel: Channel,
        /// How far the caller has read, and has what was delivered.
        mark: Mark,
    },
}

impl LiveCommand {
    /// The verbs.
    pub(crate) const VERBS: [&'static str; 2] = ["typing", "read"];

    /// Reads what stands behind one of the verbs.
    ///
    /// # Errors
    /// 422 for another shape, 400 for a channel's name that is none.
    pub(crate) fn parse(verb: &str, value: &RawValue) -> Result<Self, Error> {
        if verb == "typing" {
            typing(value)
        } else {
            read(value)
        }
    }
}

fn typing(value: &RawValue) -> Result<LiveCommand, Error> {
    let [channel, over] = json::members(value, ["channel", "over"])?;
    Ok(LiveCommand::Typing {
        channel: named(channel)?,
        over: optional("over", over, "a boolean")?.unwrap_or(false),
    })
}

fn read(value: &RawValue) -> Result<LiveCommand, Error> {
    let names = ["channel", "offset", "delivered"];
    let [channel, offset, delivered] = json::members(value, names)?;
    let channel = named(channel)?;
    let offset = optional("offset", offset, "an offset")?;
    let delivered = optional("delivered", delivered, "an offset")?;
    if offset.or(delivered).is_none() {
        return Err(Error::Unprocessable(
            "offset, delivered: one of them is needed".to_owned(),
        ));
    }
    let mark = Mark {
        read: offset.unwrap_or(0),
        delivered: delivered.unwrap_or(0),
    };
    Ok(LiveCommand::Read {
        channel,
        mark: mark.furthest(Mark::default()),
    })
}

fn optional<T: DeserializeOwned>(
    name: &str,
    value: Option<&RawValue>,
    what: &str,
) -> Result<Option<T>, Error> {
    value
        .map(|value| serde_json::from_str(value.get()))
        .transpose()
        .map_err(|_| Error::Unprocessable(format!("{name}: {what} is expected")))
}

/// The answer to [`LiveCommand::Typing`].
#[derive(Clone, Copy, Debug)]
pub struct Typing<'a> {
    /// Where.
    pub channel: &'a Channel,
    /// How long others are told so, in seconds; none: they are told no longer.
    pub seconds: Option<u64>,
}

impl Typing<'_> {
    /// The answer as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let object = Object::new().text("channel", self.channel.as_str());
        match self.seconds {
            Some(seconds) => object.raw("typing", "true").number("seconds", seconds),
            None => object.raw("typing", "false"),
        }
        .end()
    }
}

/// The answer to [`LiveCommand::Read`].
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// Where.
    pub channel: &'a Channel,
    /// How far the caller has come, over all devices.
    pub mark: Mark,
}

impl Read<'_> {
    /// The answer as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let object = Object::new().text("channel", self.channel.as_str());
        self.mark.members(object).end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Command;

    fn typing(over: bool) -> Result<Command, u16> {
        let channel = "a".parse().expect("a channel");
        Ok(Command::Live(LiveCommand::Typing { channel, over }))
    }

    fn read(read: u64, delivered: u64) -> Result<Command, u16> {
        let channel = "a".parse().expect("a channel");
        let mark = Mark { read, delivered };
        Ok(Command::Live(LiveCommand::Read { channel, mark }))
    }

    #[test]
    fn who_reads_has_it_delivered() {
        for (text, expected) in [
            (r#"{"typing":{"channel":"a"}}"#, typing(false)),
            (r#"{"typing":{"channel":"a","over":false}}"#, typing(false)),
            (r#"{"typing":{"over":true,"channel":"a"}}"#, typing(true)),
            (r#"{"typing":{}}"#, Err(422)),
            (r#"{"typing":{"channel":"a b"}}"#, Err(400)),
            (r#"{"typing":{"channel":"a","over":1}}"#, Err(422)),
            (r#"{"read":{"channel":"a","offset":7}}"#, read(7, 7)),
            (r#"{"read":{"channel":"a","delivered":7}}"#, read(0, 7)),
            (
                r#"{"read":{"channel":"a","offset":7,"delivered":9}}"#,
                read(7, 9),
            ),
            (
                r#"{"read":{"channel":"a","offset":9,"delivered":7}}"#,
                read(9, 9),
            ),
            (r#"{"read":{"channel":"a"}}"#, Err(422)),
            (r#"{"read":{"offset":1}}"#, Err(422)),
            (r#"{"read":{"channel":"a","offset":-1}}"#, Err(422)),
            (r#"{"read":{"channel":"a","offset":"1"}}"#, Err(422)),
            (r#"{"read":{"channel":"a","offset":1.5}}"#, Err(422)),
            (
                r#"{"read":{"channel":"a","offset":18446744073709551616}}"#,
                Err(422),
            ),
            (r#"{"read":{"channel":"a","offset":1},"me":{}}"#, Err(422)),
        ] {
            let parsed = Command::parse(text).map_err(|error| error.status());
            assert_eq!(parsed, expected, "{text}");
        }
    }

    #[test]
    fn answers_tell_what_is_known_now() {
        let channel = &"a".parse().expect("a channel");
        let seconds = Some(6);
        let typing = Typing { channel, seconds };
        assert_eq!(
            typing.to_json(),
            r#"{"channel":"a","typing":true,"seconds":6}"#
        );
        let seconds = None;
        let typing = Typing { channel, seconds };
        assert_eq!(typing.to_json(), r#"{"channel":"a","typing":false}"#);
        let mark = Mark {
            read: 7,
            delivered: 9,
        };
        let read = Read { channel, mark };
        assert_eq!(read.to_json(), r#"{"channel":"a","read":7,"delivered":9}"#);
    }
}
