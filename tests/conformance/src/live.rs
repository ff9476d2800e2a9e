//! The live state of a channel, put together from what a reader is told, as a page does.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::Fault;

/// What a reader knows of a channel's live state, and what it was told on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// How many are here.
    pub count: u64,
    /// Names by sender.
    pub here: BTreeMap<String, String>,
    /// The senders of those who are typing.
    pub typing: BTreeSet<String>,
    /// By sender: read, and delivered.
    pub marks: BTreeMap<String, (u64, u64)>,
    /// The senders of those who came, one after the other.
    pub joined: Vec<String>,
    /// The senders of those who left, one after the other.
    pub left: Vec<String>,
}

/// Somebody who can be seen.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    sender: String,
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    read: u64,
    delivered: u64,
}

/// A whole state, or what is new.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Of which channel.
    pub channel: String,
    count: Option<u64>,
    here: Option<Vec<Person>>,
    joined: Option<Vec<Person>>,
    left: Option<Vec<Person>>,
    typing: Option<Vec<Person>>,
    marks: Option<BTreeMap<String, Mark>>,
}

impl State {
    /// Whether it is a whole state.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.here.is_some()
    }
}

impl Live {
    /// Takes what is told.
    ///
    /// # Errors
    /// Where it does not fit to what was told before.
    pub fn hear(&mut self, state: State) -> Result<(), Fault> {
        let nonsense = |why: &str| Err(Fault::Nonsense(format!("{why}: {state:?}")));
        let is_whole = state.is_whole();
        if is_whole {
            let changes = state.joined.is_some() || state.left.is_some();
            let parts = [
                state.count.is_some(),
                state.typing.is_some(),
                state.marks.is_some(),
            ];
            if changes || parts.contains(&false) {
                return nonsense("not a whole state");
            }
        } else if state.count.is_none() && (state.joined.is_some() || state.left.is_some()) {
            return nonsense("a change without its count");
        }
        if let Some(here) = &state.here {
            let here: BTreeMap<_, _> = here
                .iter()
                .map(|one| (one.sender.clone(), one.name.clone()))
                .collect();
            let came = here.keys().filter(|one| !self.here.contains_key(*one));
            self.joined.extend(came.cloned());
            let left = self.here.keys().filter(|one| !here.contains_key(*one));
            self.left.extend(left.cloned());
            self.here = here;
            self.marks.clear();
        }
        for person in state.left.iter().flatten() {
            if self.here.remove(&person.sender).is_none() {
                return nonsense("who left was not here");
            }
            self.left.push(person.sender.clone());
        }
        for person in state.joined.iter().flatten() {
            let name = person.name.clone();
            if self.here.insert(person.sender.clone(), name.clone()) == Some(name) {
                return nonsense("who joined was here");
            }
            self.joined.push(person.sender.clone());
        }
        self.count = state.count.unwrap_or(self.count);
        if self.count < self.here.len() as u64 {
            return nonsense("more are here than are counted");
        }
        if let Some(typing) = &state.typing {
            self.typing = typing.iter().map(|one| one.sender.clone()).collect();
        }
        for (sender, mark) in state.marks.iter().flatten() {
            if mark.delivered < mark.read {
                return nonsense("read before it was delivered");
            }
            self.marks
                .insert(sender.clone(), (mark.read, mark.delivered));
        }
        Ok(())
    }

    /// Who is here, by sender.
    #[must_use]
    pub fn senders(&self) -> Vec<&str> {
        self.here.keys().map(String::as_str).collect()
    }
}
