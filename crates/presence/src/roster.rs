//! Who attends a channel in this instance.

use crate::MOST_LISTED;
use crate::documents::Roster;
use protocol::Person;
use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Local {
    people: BTreeMap<String, Present>,
    /// How many ever came.
    arrivals: u64,
    /// How often anything changed that others are told.
    version: u64,
}

struct Present {
    name: String,
    attendances: usize,
    arrival: u64,
    /// When the grace ends.
    leaves: Option<u64>,
}

impl Local {
    pub(crate) fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// That others are to be told once more.
    pub(crate) fn touch(&mut self) {
        self.version += 1;
    }

    /// One more attendance of somebody; whether they were not here before.
    pub(crate) fn enter(&mut self, person: &Person) -> bool {
        if let Some(present) = self.people.get_mut(&person.sender) {
            present.attendances += 1;
            present.leaves = None;
            if present.name != person.name {
                present.name.clone_from(&person.name);
                self.version += 1;
            }
            return false;
        }
        let present = Present {
            name: person.name.clone(),
            attendances: 1,
            arrival: self.arrivals,
            leaves: None,
        };
        self.arrivals += 1;
        self.version += 1;
        self.people.insert(person.sender.clone(), present);
        true
    }

    /// One attendance less; whether it was the last, and the grace begins, which ends at `due`.
    pub(crate) fn leave(&mut self, sender: &str, due: u64) -> bool {
        let Some(present) = self.people.get_mut(sender) else {
            return false;
        };
        present.attendances = present.attendances.saturating_sub(1);
        let last = present.attendances == 0;
        if last {
            present.leaves = Some(due);
        }
        last
    }

    /// The end of a grace that was to end then; whether the person is gone.
    pub(crate) fn part(&mut self, sender: &str, due: u64) -> bool {
        let gone = self
            .people
            .get(sender)
            .is_some_and(|present| present.leaves == Some(due));
        if gone {
            self.people.remove(sender);
            self.version += 1;
        }
        gone
    }

    /// What others are told: those who came first, so that nobody who comes takes the place of another.
    pub(crate) fn roster(&self) -> Roster {
        let mut people: Vec<_> = self.people.iter().collect();
        if people.len() > MOST_LISTED {
            people.sort_unstable_by_key(|(_, present)| present.arrival);
        }
        let others = people.len().saturating_sub(MOST_LISTED) as u64;
        let here = people.into_iter().take(MOST_LISTED);
        Roster {
            here: here
                .map(|(sender, present)| (sender.clone(), present.name.clone()))
                .collect(),
            others,
        }
    }
}
