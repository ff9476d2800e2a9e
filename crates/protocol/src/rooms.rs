//! What is asked of rooms, conversations of two, and those who moderate them.

use crate::{Channel, Error, json};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::ops::RangeInclusive;

/// The longest identity, in bytes.
const LONGEST_SENDER: usize = 64;
/// The longest title, in characters (Unicode scalar values).
const LONGEST_TITLE: usize = 64;
/// For how long somebody is banned or muted, in seconds: ten years at most, else for good.
const SECONDS: RangeInclusive<u64> = 1..=10 * 365 * 24 * 60 * 60;
/// How slowly one speaks, in seconds: six hours at most.
const SLOW: RangeInclusive<u64> = 0..=6 * 60 * 60;

/// A command about rooms. Its name and members are those of the JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomCommand {
    /// `create {"private","channel","title"}`: a room; its channel is named where it is public, and drawn where it
    /// is private.
    Create {
        /// None: a private one.
        channel: Option<Channel>,
        /// 1 to 64 characters without control characters.
        title: Option<String>,
    },
    /// `join {"channel"}`
    Join(Channel),
    /// `leave {"channel"}`
    Leave(Channel),
    /// `invite {"channel","sender"}`
    Invite(Whom),
    /// `remove {"channel","sender"}`
    Remove(Whom),
    /// `role {"channel","sender","role"}`
    Role(Whom, Role),
    /// `room {"channel"}`
    Room(Channel),
    /// `rooms {"after"}`, the last optional
    Rooms {
        /// The channel of the last room of the page before.
        after: Option<Channel>,
    },
    /// `direct {"sender"}`
    Direct(String),
    /// `block {"sender"}`
    Block(String),
    /// `unblock {"sender"}`
    Unblock(String),
    /// `ban {"channel","sender","seconds"}`, the last optional
    Ban(Whom, Option<u64>),
    /// `unban {"channel","sender"}`
    Unban(Whom),
    /// `mute {"channel","sender","seconds"}`, the last optional
    Mute(Whom, Option<u64>),
    /// `unmute {"channel","sender"}`
    Unmute(Whom),
    /// `slow {"channel","seconds"}`
    Slow(Channel, u32),
}

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whom {
    /// The room's channel.
    pub channel: Channel,
    /// An identity: 1 to 64 bytes of printable ASCII.
    pub sender: String,
}

/// What a member is in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `member`
    Member,
    /// `moderator`
    Moderator,
    /// `owner`
    Owner,
}

impl RoomCommand {
    /// The verbs.
    pub(crate) const VERBS: [&'static str; 16] = [
        "create", "join", "leave", "invite", "remove", "role", "room", "rooms", "direct", "block",
        "unblock", "ban", "unban", "mute", "unmute", "slow",
    ];

    /// Reads what stands behind one of the verbs; none: it is another verb.
    ///
    /// # Errors
    /// 422 for another shape, 400 for a channel's name that is none.
    pub(crate) fn parse(verb: &str, value: &RawValue) -> Option<Result<Self, Error>> {
        let parsed = match verb {
            "create" => create(value),
            "join" => channel(value).map(Self::Join),
            "leave" => channel(value).map(Self::Leave),
            "invite" => whom(value).map(Self::Invite),
            "remove" => whom(value).map(Self::Remove),
            "role" => whom(value).and_then(|whom| Ok(Self::Role(whom, role(value)?))),
            "room" => channel(value).map(Self::Room),
            "rooms" => after(value),
            "direct" => sender(value).map(Self::Direct),
            "block" => sender(value).map(Self::Block),
            "unblock" => sender(value).map(Self::Unblock),
            "ban" => whom(value).and_then(|whom| Ok(Self::Ban(whom, seconds(value, SECONDS)?))),
            "unban" => whom(value).map(Self::Unban),
            "mute" => whom(value).and_then(|whom| Ok(Self::Mute(whom, seconds(value, SECONDS)?))),
            "unmute" => whom(value).map(Self::Unmute),
            "slow" => channel(value).and_then(|channel| {
                let seconds = seconds(value, SLOW)?.ok_or_else(|| missing("seconds"))?;
                // The range is far below.
                Ok(Self::Slow(
                    channel,
                    u32::try_from(seconds).unwrap_or(u32::MAX),
                ))
            }),
            _ => return None,
        };
        Some(parsed)
    }
}

fn create(value: &RawValue) -> Result<RoomCommand, Error> {
    let [private, channel, title] = json::members(value, ["private", "channel", "title"])?;
    let private = private.map(|private| read::<bool>("private", private, "a boolean"));
    let channel = match (private.transpose()?.unwrap_or(false), channel) {
        (true, None) => None,
        (true, Some(_)) => {
            return Err(Error::Unprocessable(
                "channel: that of a private room is drawn by the server".to_owned(),
            ));
        }
        (false, channel) => Some(named(channel)?),
    };
    let title = title.map(|title| {
        let title: String = read("title", title, "a string")?;
        let length = title.chars().take(LONGEST_TITLE + 1).count();
        if (1..=LONGEST_TITLE).contains(&length) && !title.chars().any(char::is_control) {
            Ok(title)
        } else {
            Err(Error::Unprocessable(format!(
                "title: 1 to {LONGEST_TITLE} characters without control characters are expected"
            )))
        }
    });
    Ok(RoomCommand::Create {
        channel,
        title: title.transpose()?,
    })
}

fn after(value: &RawValue) -> Result<RoomCommand, Error> {
    let [after] = json::members(value, ["after"])?;
    let after = after.map(|after| read::<String>("after", after, "a string")?.parse());
    Ok(RoomCommand::Rooms {
        after: after.transpose()?,
    })
}

fn channel(value: &RawValue) -> Result<Channel, Error> {
    let [channel] = json::members(value, ["channel"])?;
    named(channel)
}

fn named(channel: Option<&RawValue>) -> Result<Channel, Error> {
    let channel = channel.ok_or_else(|| missing("channel"))?;
    read::<String>("channel", channel, "a string")?.parse()
}

fn sender(value: &RawValue) -> Result<String, Error> {
    let [sender] = json::members(value, ["sender"])?;
    let sender = sender.ok_or_else(|| missing("sender"))?;
    let sender: String = read("sender", sender, "a string")?;
    let printable = sender.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if printable && (1..=LONGEST_SENDER).contains(&sender.len()) {
        return Ok(sender);
    }
    Err(Error::Unprocessable(format!(
        "sender: 1 to {LONGEST_SENDER} bytes of printable ASCII are expected"
    )))
}

fn whom(value: &RawValue) -> Result<Whom, Error> {
    Ok(Whom {
        channel: channel(value)?,
        sender: sender(value)?,
    })
}

fn role(value: &RawValue) -> Result<Role, Error> {
    let [role] = json::members(value, ["role"])?;
    let role = role.ok_or_else(|| missing("role"))?;
    match read::<String>("role", role, "a string")?.as_str() {
        "member" => Ok(Role::Member),
        "moderator" => Ok(Role::Moderator),
        "owner" => Ok(Role::Owner),
        _ => Err(Error::Unprocessable(
            "role: one is member, moderator or owner".to_owned(),
        )),
    }
}

fn seconds(value: &RawValue, range: RangeInclusive<u64>) -> Result<Option<u64>, Error> {
    let [seconds] = json::members(value, ["seconds"])?;
    let Some(seconds) = seconds else {
        return Ok(None);
    };
    let wanted = format!("a number from {} to {}", range.start(), range.end());
    let seconds = read("seconds", seconds, &wanted)?;
    if range.contains(&seconds) {
        Ok(Some(seconds))
    } else {
        Err(unlike("seconds", &wanted))
    }
}

fn read<T: DeserializeOwned>(name: &str, value: &RawValue, wanted: &str) -> Result<T, Error> {
    serde_json::from_str(value.get()).map_err(|_| unlike(name, wanted))
}

fn unlike(name: &str, wanted: &str) -> Error {
    Error::Unprocessable(format!("{name}: {wanted} is expected"))
}

fn missing(name: &str) -> Error {
    Error::Unprocessable(format!("{name}: missing"))
}
