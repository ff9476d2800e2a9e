//! The document of a person.

use crate::{Damaged, MOST_BLOCKED, MOST_ROOMS, MOST_WAITING, Refusal, encode};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

/// Where somebody is, and whom they do not hear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    v: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rooms: Vec<Entry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blocked: Vec<String>,
}

/// A room, or a conversation of two, as one of its people has it. An array in the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    from = "(String, u64, Standing, Option<String>)",
    into = "(String, u64, Standing, Option<String>)"
)]
pub struct Entry {
    /// The channel.
    pub channel: String,
    /// The offset of the last message before they came: what they have not read begins behind it.
    pub since: u64,
    /// How they are in it.
    pub standing: Standing,
    /// Who is on the other side of a conversation of two.
    pub other: Option<String>,
}

/// How somebody is in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// By their own will.
    In,
    /// They may come.
    Invited,
    /// Another began a conversation of two, and they have not answered.
    Opened,
}

impl Default for Person {
    fn default() -> Self {
        Self {
            v: VERSION,
            name: None,
            rooms: Vec::new(),
            blocked: Vec::new(),
        }
    }
}

impl Person {
    /// Reads a document.
    ///
    /// # Errors
    /// It is none, or against the limits of one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let person: Self = serde_json::from_slice(bytes).map_err(|_| Damaged("person"))?;
        let sound = person.v == VERSION
            && person.rooms.len() <= MOST_ROOMS
            && person.blocked.len() <= MOST_BLOCKED;
        sound.then_some(person).ok_or(Damaged("person"))
    }

    /// The document.
    ///
    /// # Errors
    /// [`Refusal::Full`] where it is larger than [`LARGEST`](crate::LARGEST).
    pub fn encode(&self) -> Result<Vec<u8>, Refusal> {
        encode(self)
    }

    /// What they are called, as they were last known.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Notes what they are called. False: it is known.
    pub fn set_name(&mut self, name: &str) -> bool {
        let known = self.name.as_deref() == Some(name);
        self.name = Some(name.to_owned());
        !known
    }

    /// Where they are, the oldest first.
    #[must_use]
    pub fn rooms(&self) -> &[Entry] {
        &self.rooms
    }

    /// A room of theirs.
    #[must_use]
    pub fn room(&self, channel: &str) -> Option<&Entry> {
        self.rooms.iter().find(|one| one.channel == channel)
    }

    /// Adds a room. One that is there stays as it is, but who enters by their own will is in it then. False:
    /// nothing changes.
    ///
    /// # Errors
    /// [`Refusal::Full`]; [`Refusal::Waiting`] where others put as many there as they may.
    pub fn enter(&mut self, entry: Entry) -> Result<bool, Refusal> {
        if let Some(known) = self.rooms.iter_mut().find(|e| e.channel == entry.channel) {
            let changes = entry.standing == Standing::In && known.standing != Standing::In;
            if changes {
                // What another wrote before they answered stays unread.
                if known.standing == Standing::Invited {
                    known.since = entry.since;
                }
                known.standing = Standing::In;
            }
            return Ok(changes);
        }
        if entry.standing != Standing::In {
            let waiting = self.rooms.iter().filter(|e| e.standing != Standing::In);
            if waiting.count() >= MOST_WAITING {
                return Err(Refusal::Waiting);
            }
        }
        if self.rooms.len() >= MOST_ROOMS {
            return Err(Refusal::Full);
        }
        self.rooms.push(entry);
        Ok(true)
    }

    /// Takes a room away. False: it was not there.
    pub fn forget(&mut self, channel: &str) -> bool {
        let before = self.rooms.len();
        self.rooms.retain(|one| one.channel != channel);
        self.rooms.len() != before
    }

    /// Takes away a conversation that another began and that they have not answered. False: it is none.
    pub fn decline(&mut self, channel: &str) -> bool {
        self.take_opened(|one| one.channel == channel)
    }

    fn take_opened(&mut self, such: impl Fn(&Entry) -> bool) -> bool {
        let before = self.rooms.len();
        self.rooms
            .retain(|one| one.standing != Standing::Opened || !such(one));
        self.rooms.len() != before
    }

    /// Whom they do not hear.
    #[must_use]
    pub fn blocked(&self) -> &[String] {
        &self.blocked
    }

    /// Whether they do not hear somebody.
    #[must_use]
    pub fn blocks(&self, sender: &str) -> bool {
        self.blocked.iter().any(|one| one == sender)
    }

    /// Hears somebody no longer. A conversation that they began and that was not answered goes: it would take the place
    /// of another's. False: it is so.
    ///
    /// # Errors
    /// [`Refusal::Full`].
    pub fn block(&mut self, sender: &str) -> Result<bool, Refusal> {
        let known = self.blocks(sender);
        if !known {
            if self.blocked.len() >= MOST_BLOCKED {
                return Err(Refusal::Full);
            }
            self.blocked.push(sender.to_owned());
        }
        let gone = self.take_opened(|one| one.other.as_deref() == Some(sender));
        Ok(gone || !known)
    }

    /// Hears somebody again. False: they were not blocked.
    pub fn unblock(&mut self, sender: &str) -> bool {
        let before = self.blocked.len();
        self.blocked.retain(|one| one != sender);
        self.blocked.len() != before
    }
}

impl From<(String, u64, Standing, Option<String>)> for Entry {
    fn from(parts: (String, u64, Standing, Option<String>)) -> Self {
        let (channel, since, standing, other) = parts;
        Self {
            channel,
            since,
            standing,
            other,
        }
    }
}

impl From<Entry> for (String, u64, Standing, Option<String>) {
    fn from(one: Entry) -> Self {
        (one.channel, one.since, one.standing, one.other)
    }
}
