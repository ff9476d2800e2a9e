use crate::Error;
use crate::json::{self, Object};
use serde_json::value::RawValue;
use std::fmt;

/// The longest reaction, in characters (Unicode scalar values): an emoji of many parts has some ten.
const LONGEST_REACTION: usize = 32;

/// That a message is about an earlier one of its channel: `{"kind":…,"offset":…}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refers {
    /// How.
    pub kind: Kind,
    /// Which, by its offset: from 1 to 2^53 - 1, so that every reader of JSON can hold it.
    pub offset: u64,
}

/// How a message is about another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `edit`: its body takes the place of the other's.
    Edit,
    /// `delete`: the other is not to be shown; the body is `null`.
    Delete,
    /// `reaction`: what its sender makes of the other, a string of 1 to 32 characters; `null` takes it back.
    Reaction,
    /// `reply`: it answers the other, and is a message in its own right.
    Reply,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Edit, Self::Delete, Self::Reaction, Self::Reply];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::Reaction => "reaction",
            Self::Reply => "reply",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Refers {
    /// Reads the member `refers` of a draft.
    ///
    /// # Errors
    /// 422 for another shape.
    pub(crate) fn from_value(value: &RawValue) -> Result<Self, Error> {
        let [kind, offset] = json::members(value, ["kind", "offset"])?;
        let kind = kind.and_then(|kind| serde_json::from_str::<String>(kind.get()).ok());
        let kind = kind.and_then(|name| Kind::ALL.into_iter().find(|kind| kind.name() == name));
        let kind = kind.ok_or_else(|| {
            Error::Unprocessable("refers: its kind is edit, delete, reaction or reply".to_owned())
        })?;
        let offset = offset.and_then(|offset| serde_json::from_str(offset.get()).ok());
        let offset = offset.filter(|offset| (1..1 << 53).contains(offset));
        let offset = offset.ok_or_else(|| {
            Error::Unprocessable("refers: its offset is that of a message, from 1".to_owned())
        })?;
        Ok(Self { kind, offset })
    }

    /// Checks what a message of this kind may say.
    pub(crate) fn check(self, body: &str) -> Result<(), Error> {
        let good = match self.kind {
            Kind::Edit | Kind::Reply => true,
            Kind::Delete => body == "null",
            Kind::Reaction => {
                body == "null"
                    || serde_json::from_str::<String>(body).is_ok_and(|reaction| {
                        let length = reaction.chars().take(LONGEST_REACTION + 1).count();
                        (1..=LONGEST_REACTION).contains(&length)
                    })
            }
        };
        if good {
            return Ok(());
        }
        Err(Error::Unprocessable(match self.kind {
            Kind::Reaction => format!(
                "body: a reaction is a string of 1 to {LONGEST_REACTION} characters, or null"
            ),
            kind => format!("body: a {kind} has none but null"),
        }))
    }

    /// `{"kind","offset"}`
    pub(crate) fn to_json(self) -> String {
        Object::new()
            .text("kind", self.kind.name())
            .number("offset", self.offset)
            .end()
    }
}
