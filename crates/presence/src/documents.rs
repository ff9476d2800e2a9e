//! What is in the store, as JSON.
//!
//! All of it can be told again by whoever is there: what cannot be read counts as not there, and is overwritten.

use crate::{MOST_MARKS, MOST_TYPING};
use protocol::Mark;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which instances have somebody in a channel, and who is typing there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Directory {
    /// The revisions of the instances' rosters, by the instances' names.
    pub instances: BTreeMap<String, u64>,
    /// Those who said last that they type, the latest last.
    pub typing: Vec<Typist>,
}

/// Somebody who said to be typing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Typist {
    /// Who.
    pub sender: String,
    /// What they are called.
    pub name: String,
    /// Drawn each time it is said: an observer counts from when it sees a new one.
    pub said: u64,
    /// When it lapses by the clock of who wrote it, in milliseconds since 1970.
    pub until: u64,
}

/// Who attends a channel in one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Roster {
    /// Senders and names, in the order in which they came.
    pub here: Vec<(String, String)>,
    /// How many more.
    pub others: u64,
}

/// That an instance lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lease {
    /// Counted up while it lives.
    pub beat: u64,
    /// Counted up where it told anything: who sees it move has missed a hint, or is about to get it.
    pub told: u64,
    /// When, by its own clock, in milliseconds since 1970.
    pub at: u64,
}

/// How far people have come in a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Marks {
    /// The incarnation of the log that the offsets are of.
    pub epoch: u64,
    /// Sender, read, delivered; the one that moved last is last.
    pub marks: Vec<(String, u64, u64)>,
}

/// A document as it is stored.
#[must_use]
pub fn encode(document: &impl Serialize) -> Vec<u8> {
    // Maps with keys of text, and numbers: there is nothing in them that JSON has not.
    serde_json::to_vec(document).unwrap_or_default()
}

/// A document; an empty one where there is none, or none that can be read.
#[must_use]
pub fn decode<D: Default + for<'a> Deserialize<'a>>(bytes: Option<&[u8]>) -> D {
    bytes
        .and_then(|bytes| serde_json::from_slice(bytes).ok())
        .unwrap_or_default()
}

impl Directory {
    /// Somebody who said to be typing; they may have lapsed.
    pub(crate) fn typist(&self, sender: &str) -> Option<&Typist> {
        self.typing.iter().find(|one| one.sender == sender)
    }

    /// Takes somebody as typing, or no longer; forgets who lapsed before `now` by a margin for clocks that disagree.
    pub(crate) fn say(&mut self, sender: &str, typist: Option<Typist>, lapsed: u64) {
        self.typing
            .retain(|one| one.sender != sender && one.until > lapsed);
        self.typing.extend(typist);
        let most = self.typing.len().saturating_sub(MOST_TYPING);
        self.typing.drain(..most);
    }
}

impl Marks {
    /// Somebody's mark.
    #[must_use]
    pub fn get(&self, sender: &str) -> Mark {
        let found = self.marks.iter().find(|(one, ..)| one == sender);
        found.map_or_else(Mark::default, |&(_, read, delivered)| Mark {
            read,
            delivered,
        })
    }

    /// Moves marks forward; whether any moved. Those of another incarnation of the log are forgotten.
    pub(crate) fn advance(&mut self, epoch: u64, moves: &BTreeMap<String, Mark>) -> bool {
        let mut moved = false;
        if self.epoch != epoch {
            self.epoch = epoch;
            moved = !self.marks.is_empty();
            self.marks.clear();
        }
        for (sender, mark) in moves {
            let known = self.get(sender);
            let furthest = known.furthest(*mark);
            if furthest != known {
                moved = true;
                self.marks.retain(|(one, ..)| one != sender);
                self.marks
                    .push((sender.clone(), furthest.read, furthest.delivered));
            }
        }
        let most = self.marks.len().saturating_sub(MOST_MARKS);
        self.marks.drain(..most);
        moved
    }

    /// The marks by sender.
    pub(crate) fn by_sender(&self) -> BTreeMap<String, Mark> {
        let marks = self.marks.iter();
        marks
            .map(|(sender, read, delivered)| {
                let mark = Mark {
                    read: *read,
                    delivered: *delivered,
                };
                (sender.clone(), mark)
            })
            .collect()
    }
}
