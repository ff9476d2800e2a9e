//! Whether the readers of an instance may go on: until their credentials end, and for as long as nothing is taken
//! from them.
//!
//! One waiting call asks whose standing changes, for all of them. An idle reader is not asked for: it is woken when
//! its sender is told, or when its credential ends.

use crate::hub::{Hub, TICKS_PER_SECOND};
use crate::messenger;
use crate::types::Error;
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::task::Waker;

/// The longest that one call waits, in milliseconds. A listener outlives its last reader by up to this much.
const WAIT_MS: u32 = 15_000;
/// How long the store is left alone after it failed, in ticks.
const PAUSE: u64 = TICKS_PER_SECOND;

#[derive(Default)]
pub(crate) struct Standing {
    members: RefCell<Slab<Member>>,
    /// When their credentials end, in milliseconds since 1970.
    ends: RefCell<BTreeSet<(u64, usize)>>,
    /// What is known, as the messenger calls it.
    known: Cell<Option<u64>>,
    /// How often anything changed.
    version: Cell<u64>,
    listening: Cell<bool>,
}

struct Member {
    sender: Option<Rc<str>>,
    ends: Option<u64>,
    in_question: bool,
    waker: Option<Waker>,
}

/// A reader's place among those who are told; leaving is dropping it.
pub(crate) struct Membership {
    hub: Rc<Hub>,
    key: usize,
}

impl Standing {
    /// To be noted before a reader's standing is asked for.
    pub(crate) fn version(&self) -> u64 {
        self.version.get()
    }

    /// Wakes those whose credentials have ended by now, in milliseconds since 1970.
    pub(crate) fn end(&self, now: u64) {
        let mut ends = self.ends.borrow_mut();
        while let Some(&(at, key)) = ends.first() {
            if at > now {
                break;
            }
            ends.pop_first();
            if let Some(member) = self.members.borrow_mut().get_mut(key) {
                member.question();
            }
        }
    }

    /// Something changed: for these senders, or perhaps for any.
    fn change(&self, senders: Option<&[String]>) {
        self.version.set(self.version.get() + 1);
        for (_, member) in &mut *self.members.borrow_mut() {
            let Some(sender) = &member.sender else {
                continue;
            };
            if senders.is_none_or(|senders| senders.iter().any(|told| **told == **sender)) {
                member.question();
            }
        }
    }

    /// As if somebody had listened, and been told that this sender's standing changed.
    #[cfg(test)]
    pub(crate) fn tell(&self, sender: &str) {
        self.listening.set(true);
        self.change(Some(&[sender.to_owned()]));
    }

    fn is_watched(&self) -> bool {
        let members = self.members.borrow();
        members.iter().any(|(_, member)| member.sender.is_some())
    }
}

impl Member {
    fn question(&mut self) {
        self.in_question = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Membership {
    /// Enters a reader whose standing was asked for after this version was noted.
    pub(crate) fn enter(sender: Option<Rc<str>>, ends: Option<u64>, version: u64) -> Self {
        let hub = Hub::shared();
        let standing = &hub.standing;
        let listens = sender.is_some();
        let key = standing.members.borrow_mut().insert(Member {
            in_question: listens && version != standing.version(),
            sender,
            ends,
            waker: None,
        });
        standing.ends.borrow_mut().extend(ends.map(|at| (at, key)));
        if listens && !standing.listening.replace(true) {
            hub.spawn(listen(Rc::clone(&hub)));
        }
        Self { hub, key }
    }

    /// Whether the reader's standing has to be asked for; if not, the waker is kept until it has.
    pub(crate) fn poll_question(&self, waker: &Waker) -> bool {
        let mut members = self.hub.standing.members.borrow_mut();
        let Some(member) = members.get_mut(self.key) else {
            return false;
        };
        match &member.waker {
            _ if member.in_question => {}
            Some(kept) if kept.will_wake(waker) => {}
            _ => member.waker = Some(waker.clone()),
        }
        member.in_question
    }

    /// Whether its sender's standing is watched, and nothing is known against it.
    pub(crate) fn is_unquestioned(&self) -> bool {
        let standing = &self.hub.standing;
        let members = standing.members.borrow();
        let member = members.get(self.key);
        standing.listening.get()
            && member.is_some_and(|member| member.sender.is_some() && !member.in_question)
    }

    /// That it is to be asked for, or is about to be.
    pub(crate) fn set_question(&self, in_question: bool) {
        if let Some(member) = self.hub.standing.members.borrow_mut().get_mut(self.key) {
            member.in_question = in_question;
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let standing = &self.hub.standing;
        let member = standing.members.borrow_mut().try_remove(self.key);
        if let Some(at) = member.and_then(|member| member.ends) {
            standing.ends.borrow_mut().remove(&(at, self.key));
        }
    }
}

/// Hears of changes for as long as there is somebody whom they may concern.
async fn listen(hub: Rc<Hub>) {
    let standing = &hub.standing;
    while standing.is_watched() {
        match messenger::changed(standing.known.get(), WAIT_MS).await {
            Ok(messenger::Changes { known, senders }) => {
                standing.known.set(Some(known));
                match senders.as_deref() {
                    Some([]) => {}
                    senders => standing.change(senders),
                }
            }
            // The readers are told by their rooms.
            Err(Error::Closing) => break,
            // What is not known now is told later: nothing is forgotten.
            Err(_) => hub.sleep(PAUSE).await,
        }
    }
    standing.listening.set(false);
}
