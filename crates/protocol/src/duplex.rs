//! What the two sides of a WebSocket say beside frames.

use crate::json::Object;
use crate::publish::{Draft, Drafts};
use crate::request::{HISTORY, Start};
use crate::{Channel, Command, Cursor, Error, json};
use serde_json::value::RawValue;

/// The longest `ref`, in bytes of JSON text.
const LONGEST_REF: usize = 64;

/// What a client asks for on an open connection: one text message, one JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What the answer repeats, so that the client knows which question it belongs to.
    pub reference: Reference,
    /// The question.
    pub verb: Verb,
}

/// The member `ref` of a question: a number or a string of at most 64 bytes as JSON, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference(Option<String>);

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `{"publish":{"channel","id","body","refers"}}`, the last optional, or
    /// `{"publish":{"channel","drafts":[{"id","body","refers"},…]}}`
    Publish {
        /// Where.
        channel: Channel,
        /// What: one, or 1 to 100 that are stored in their order.
        drafts: Drafts,
    },
    /// `{"subscribe":{"channel","after","history"}}`, the last two optional, as in a query
    Subscribe {
        /// The channel.
        channel: Channel,
        /// Where to begin reading it.
        start: Start,
    },
    /// `{"unsubscribe":{"channel"}}`
    Unsubscribe {
        /// The channel.
        channel: Channel,
    },
    /// `{"command":{…}}`: JSON text that [`Command::parse`] reads
    Command(String),
}

/// What the server answers to one question.
#[derive(Clone, Debug)]
pub enum Reply<'a> {
    /// `{"ref","published":…}`: what [`Drafts::answer`] tells of those that were asked for.
    Published(&'a str),
    /// `{"ref","subscribed":"channel","cursor"}`: its messages follow.
    Subscribed {
        /// The channel.
        channel: &'a Channel,
        /// The reader's whole cursor.
        cursor: &'a Cursor,
    },
    /// `{"ref","unsubscribed":"channel","cursor"}`: no more of its messages follow.
    Unsubscribed {
        /// The channel.
        channel: &'a Channel,
        /// The reader's whole cursor.
        cursor: &'a Cursor,
    },
    /// `{"ref","answer":{…}}`: what came of a command.
    Answered(&'a str),
    /// `{"ref","error","detail"}`
    Failed(&'a Error),
}

impl Ask {
    /// Reads a text message.
    ///
    /// # Errors
    /// As for a request: 400 for what is not JSON or not in the grammar, 422 for another shape, 413 for one
    /// draft whose body has over 65,536 bytes; with the reference where it can be read.
    pub fn parse(text: &str) -> Result<Self, (Reference, Error)> {
        let names = ["ref", "publish", "subscribe", "unsubscribe", "command"];
        let none = |error| (Reference::default(), error);
        let value = json::value(text.as_bytes()).map_err(none)?;
        let [reference, publish, subscribe, unsubscribe, command] =
            json::members(value, names).map_err(none)?;
        let reference = Reference::read(reference).map_err(none)?;
        let verb = match (publish, subscribe, unsubscribe, command) {
            (Some(publish), None, None, None) => Verb::publish(publish),
            (None, Some(subscribe), None, None) => Verb::subscribe(subscribe),
            (None, None, Some(unsubscribe), None) => Verb::unsubscribe(unsubscribe),
            (None, None, None, Some(command)) => Verb::command(command),
            _ => Err(Error::Unprocessable(
                "one of publish, subscribe, unsubscribe, command is expected".to_owned(),
            )),
        };
        match verb {
            Ok(verb) => Ok(Self { reference, verb }),
            Err(error) => Err((reference, error)),
        }
    }
}

impl Reference {
    fn read(value: Option<&RawValue>) -> Result<Self, Error> {
        let text = value.map(RawValue::get);
        let is_one = |text: &str| {
            text.len() <= LONGEST_REF
                && text.starts_with(|first: char| {
                    first == '"' || first == '-' || first.is_ascii_digit()
                })
        };
        if text.is_some_and(|text| !is_one(text)) {
            return Err(Error::Unprocessable(format!(
                "ref: a number or a string of at most {LONGEST_REF} bytes as JSON is expected"
            )));
        }
        Ok(Self(text.map(str::to_owned)))
    }
}

impl Verb {
    fn publish(value: &RawValue) -> Result<Self, Error> {
        let names = ["channel", "id", "body", "refers", "drafts"];
        let [channel, id, body, refers, drafts] = json::members(value, names)?;
        let drafts = match (drafts, id.or(body).or(refers)) {
            (None, _) => Drafts::one(Draft::from_value(value)?)?,
            (Some(drafts), None) => Drafts::many(drafts)?,
            (Some(_), Some(_)) => {
                return Err(Error::Unprocessable(
                    "drafts: not together with id, body or refers".to_owned(),
                ));
            }
        };
        Ok(Self::Publish {
            channel: named(channel)?,
            drafts,
        })
    }

    fn subscribe(value: &RawValue) -> Result<Self, Error> {
        let [channel, after, history] = json::members(value, ["channel", "after", "history"])?;
        let channel = named(channel)?;
        let after = match after {
            Some(after) => Cursor::decode(&text("after", after)?)?.get(&channel),
            None => None,
        };
        let history = match history {
            Some(history) => serde_json::from_str(history.get())
                .ok()
                .filter(|history| HISTORY.contains(history))
                .ok_or_else(|| {
                    Error::Invalid(format!(
                        "history: a number from {} to {} is expected",
                        HISTORY.start(),
                        HISTORY.end()
                    ))
                })?,
            None => 0,
        };
        Ok(Self::Subscribe {
            channel,
            start: Start::at(after, history),
        })
    }

    fn command(value: &RawValue) -> Result<Self, Error> {
        Command::parse(value.get())?;
        Ok(Self::Command(value.get().to_owned()))
    }

    fn unsubscribe(value: &RawValue) -> Result<Self, Error> {
        let [channel] = json::members(value, ["channel"])?;
        Ok(Self::Unsubscribe {
            channel: named(channel)?,
        })
    }
}

pub(crate) fn named(channel: Option<&RawValue>) -> Result<Channel, Error> {
    let channel = channel.ok_or_else(|| Error::Unprocessable("channel: missing".to_owned()))?;
    text("channel", channel)?.parse()
}

fn text(name: &str, value: &RawValue) -> Result<String, Error> {
    serde_json::from_str(value.get())
        .map_err(|_| Error::Unprocessable(format!("{name}: not a string")))
}

impl Reply<'_> {
    /// The answer as one JSON object.
    #[must_use]
    pub fn to_json(&self, reference: &Reference) -> String {
        let object = match &reference.0 {
            Some(reference) => Object::new().raw("ref", reference),
            None => Object::new(),
        };
        match self {
            Self::Published(receipts) => object.raw("published", receipts),
            Self::Subscribed { channel, cursor } => object
                .text("subscribed", channel.as_str())
                .text("cursor", &cursor.encode()),
            Self::Unsubscribed { channel, cursor } => object
                .text("unsubscribed", channel.as_str())
                .text("cursor", &cursor.encode()),
            Self::Answered(answer) => object.raw("answer", answer),
            Self::Failed(error) => error.members(object),
        }
        .end()
    }
}
