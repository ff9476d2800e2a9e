//! What is asked for beside reading and publishing.

use crate::query::Query;
use crate::{Error, LiveCommand, Revoke, RoomCommand, json};

/// What somebody wants done: an object of one member, the verb, whose value is an object of arguments.
///
/// | command | answer |
/// |---|---|
/// | `{"me":{}}` | `{"sender","name","channel"}`, who the caller is and their own channel, and `"expires_at"` in milliseconds since 1970, where the credential ends |
/// | `{"revoke":{"sender":S}}`, with `"before"` and `"until"` or without | `{"sender","before"}`: [`Revoke`]; 403 for who does not administer |
/// | `typing`, `read` | see [`LiveCommand`] |
/// | `create`, `join`, … | see [`RoomCommand`] |
///
/// Each needs a credential: 401. Arguments of other names are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Tells the caller who they are.
    Me,
    /// Ends credentials before their time.
    Revoke(Revoke),
    /// Of the live state of a channel.
    Live(LiveCommand),
    /// Of rooms, conversations of two, and those who moderate them.
    Room(RoomCommand),
}

/// The longest command, in bytes of JSON text: names and a few numbers.
const LONGEST_COMMAND: usize = 4096;

impl Command {
    /// Reads JSON text. Whoever passes a command on reads it first, for the errors' sake: the messenger trusts
    /// nobody, and tells all of them as 400.
    ///
    /// # Errors
    /// 400 for what is not JSON; 413 over 4,096 bytes; 422 for another shape, a verb that is not known, an
    /// argument that is missing or of another kind.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > LONGEST_COMMAND {
            return Err(Error::TooLarge);
        }
        let verbs = [
            &["me", "revoke"][..],
            &LiveCommand::VERBS,
            &RoomCommand::VERBS,
        ]
        .concat();
        let (verb, arguments) = json::one_of(json::value(text.as_bytes())?, &verbs)?;
        if let Some(command) = RoomCommand::parse(verb, arguments) {
            return command.map(Self::Room);
        }
        match verb {
            "me" => json::members(arguments, []).map(|[]| Self::Me),
            "revoke" => Revoke::parse(arguments).map(Self::Revoke),
            _ => LiveCommand::parse(verb, arguments).map(Self::Live),
        }
    }
}

/// The credential in a query, without its `?`, and the command in it, for who cannot send a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandQuery {
    /// The credential, not empty, without control characters.
    pub token: Option<String>,
    /// The parameter `command`: what [`Command::parse`] reads.
    pub command: Option<String>,
}

impl CommandQuery {
    /// Reads a query.
    ///
    /// # Errors
    /// 400 for what the grammar does not allow.
    pub fn parse(query: &str) -> Result<Self, Error> {
        let query = Query::parse(query)?;
        Ok(Self {
            token: query.token()?,
            command: query.one("command")?.map(str::to_owned),
        })
    }
}

/// The answer to [`Command::Me`].
#[derive(Clone, Copy, Debug)]
pub struct Me<'a> {
    /// What envelopes carry as `sender`.
    pub sender: &'a str,
    /// What envelopes carry as `name`.
    pub name: &'a str,
    /// The channel in which they are told what concerns them.
    pub channel: &'a str,
    /// When the credential ends, in milliseconds since 1970.
    pub expires_at: Option<u64>,
}

impl Me<'_> {
    /// The answer as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let object = json::Object::new()
            .text("sender", self.sender)
            .text("name", self.name)
            .text("channel", self.channel);
        match self.expires_at {
            Some(expires_at) => object.number("expires_at", expires_at),
            None => object,
        }
        .end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_object_of_one_verb() {
        for (text, expected) in [
            (r#"{"me":{}}"#, Ok(Command::Me)),
            (r#" { "me" : { "more" : 1 } } "#, Ok(Command::Me)),
            ("{}", Err(422)),
            ("[]", Err(422)),
            (r#"{"me":null}"#, Err(422)),
            (r#"{"me":[]}"#, Err(422)),
            (r#"{"me":{},"me":{}}"#, Err(422)),
            (r#"{"fly":{}}"#, Err(422)),
            (r#"{"me":{},"revoke":{"sender":"ann"}}"#, Err(422)),
            ("", Err(400)),
            ("me", Err(400)),
            (r#"{"me":{}"#, Err(400)),
            (&format!("{{\"me\":{{}}}}{}", " ".repeat(4096)), Err(413)),
        ] {
            let parsed = Command::parse(text).map_err(|error| error.status());
            assert_eq!(parsed, expected, "{text}");
        }
    }

    #[test]
    fn a_query_has_one_command() {
        for (query, expected) in [
            ("command=%7B%22me%22:%7B%7D%7D", Ok(Some("{\"me\":{}}"))),
            ("token=t&command=", Ok(Some(""))),
            ("token=t", Ok(None)),
            ("command=1&command=2", Err(400)),
            ("command=%", Err(400)),
        ] {
            let read = CommandQuery::parse(query).map_err(|error| error.status());
            let command = read.map(|query| query.command);
            assert_eq!(
                command,
                expected.map(|text| text.map(str::to_owned)),
                "{query}"
            );
        }
    }
}
