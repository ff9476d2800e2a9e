//! By whose right a reader reads; and what is kept of it from one poll to the next.
//!
//! A poll that may be held comes back with the same credential for the same channels. It is not asked about again: while
//! it was away its standing was watched, as that of a reader that stays.

use crate::hub::{Hub, TICKS_PER_SECOND, time};
use crate::messenger::{self, Feed, Reading};
use crate::standing::Membership;
use crate::types::{self, Caller};
use protocol::Channel;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

/// How long a poll may be away, at least, in ticks; twice that at most. Shorter: who comes back over a slow line is
/// asked about again. Longer: what is kept of those who do not.
const KEPT: u64 = 5 * TICKS_PER_SECOND;
/// For how long polls begin without being asked about again, in ticks. A policy may decide by more than what standing
/// tells; longer is what it decides late.
const GOOD: u64 = 60 * TICKS_PER_SECOND;
/// What is kept of those who are away, as [`weight`] counts it, in bytes. Who leaves when there is more is asked about
/// again. Smaller: they are fewer than come back; larger: somebody who follows ever other channels takes an instance's
/// memory.
const MOST_AWAY: usize = 16 * 1024 * 1024;
/// What a channel takes, its feed on both sides included, and what a pass does besides, about.
const CHANNEL_BYTES: usize = 640;

pub(crate) struct Pass {
    caller: Caller,
    sender: Option<Rc<str>>,
    expires_at: Option<u64>,
    /// What was known of everybody's standing before this reader's was asked for.
    version: u64,
    /// The tick up to which it is good for polls that come back.
    good_until: u64,
    /// Taken when it begins to wait.
    membership: Option<Membership>,
}

/// The passes of polls that are away.
#[derive(Default)]
pub(crate) struct Away {
    passes: RefCell<HashMap<Key, Kept>>,
    /// What they weigh together.
    weight: Cell<usize>,
    forgetting: Cell<bool>,
}

/// What a poll has to say to be taken for one that was here: its credential, its address, its channels.
type Key = (Option<String>, Option<String>, Vec<Channel>);

struct Kept {
    pass: Pass,
    feeds: Vec<Rc<Feed>>,
    /// The tick at which somebody left it.
    since: u64,
}

impl Pass {
    /// Asks whether somebody may read all of these channels, and for their feeds.
    pub(crate) async fn ask(
        caller: Caller,
        channels: &[Channel],
    ) -> Result<(Self, Vec<Rc<Feed>>), types::Error> {
        let hub = Hub::shared();
        let (version, good_until) = (hub.standing.version(), hub.now() + GOOD);
        let names = channels.iter().map(ToString::to_string).collect();
        let Reading {
            feeds,
            sender,
            expires_at,
        } = messenger::follow(caller.clone(), names).await?;
        let pass = Self {
            caller,
            sender: sender.map(Rc::from),
            expires_at,
            version,
            good_until,
            membership: None,
        };
        Ok((pass, feeds.into_iter().map(Rc::new).collect()))
    }

    /// What was kept of one who left a moment ago, if it holds.
    pub(crate) fn kept(caller: &Caller, channels: &[Channel]) -> Option<(Self, Vec<Rc<Feed>>)> {
        Hub::shared().away.find(caller, channels)
    }

    /// Keeps it for who leaves and is about to come back; not for whom nobody would tell that it holds no longer.
    pub(crate) fn keep(mut self, channels: Vec<Channel>, feeds: Vec<Rc<Feed>>) {
        self.membership();
        if self.holds() {
            let key = key(&self.caller, &channels);
            Hub::shared().away.keep(key, self, feeds);
        }
    }

    /// Whether it is known to be good, since it would have been told if it were not.
    fn holds(&self) -> bool {
        let membership = self.membership.as_ref();
        membership.is_some_and(Membership::is_unquestioned)
            && Hub::shared().now() < self.good_until
            && !self.has_expired()
    }

    pub(crate) fn has_expired(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= time())
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Where it is told of changes; none for whom nothing changes.
    pub(crate) fn membership(&mut self) -> Option<&Membership> {
        if self.sender.is_none() && self.expires_at.is_none() {
            return None;
        }
        let enter = || Membership::enter(self.sender.clone(), self.expires_at, self.version);
        Some(self.membership.get_or_insert_with(enter))
    }

    /// Puts it in question where anybody's standing changed after this version was noted: what was asked for since
    /// may have been answered before.
    pub(crate) fn question_since(&self, version: u64) {
        if version != Hub::shared().standing.version() {
            self.question(true);
        }
    }

    pub(crate) fn question(&self, in_question: bool) {
        if let Some(membership) = &self.membership {
            membership.set_question(in_question);
        }
    }
}

/// What is kept of somebody who is away, about. The key is there twice.
fn weight((credential, address, channels): &Key) -> usize {
    let texts = [credential, address].into_iter().flatten();
    let texts: usize = texts.map(String::len).sum();
    let names: usize = channels.iter().map(|name| name.as_str().len()).sum();
    2 * (texts + names) + (1 + channels.len()) * CHANNEL_BYTES
}

fn key(caller: &Caller, channels: &[Channel]) -> Key {
    let Caller {
        credential,
        address,
    } = caller.clone();
    (credential, address, channels.to_vec())
}

impl Away {
    /// What was kept stays, since several may read by the same right.
    fn find(&self, caller: &Caller, channels: &[Channel]) -> Option<(Pass, Vec<Rc<Feed>>)> {
        let passes = self.passes.borrow();
        let kept = passes.get(&key(caller, channels))?;
        let pass = kept.pass.holds().then(|| Pass {
            caller: caller.clone(),
            sender: kept.pass.sender.clone(),
            expires_at: kept.pass.expires_at,
            version: Hub::shared().standing.version(),
            good_until: kept.pass.good_until,
            membership: None,
        });
        pass.map(|pass| (pass, kept.feeds.clone()))
    }

    fn keep(&self, key: Key, pass: Pass, feeds: Vec<Rc<Feed>>) {
        let hub = Hub::shared();
        let since = hub.now();
        let kept = Kept { pass, feeds, since };
        match self.passes.borrow_mut().entry(key) {
            // Another may have left the same.
            Entry::Occupied(mut entry) => drop(entry.insert(kept)),
            Entry::Vacant(entry) => {
                let weight = self.weight.get() + weight(entry.key());
                if weight <= MOST_AWAY {
                    self.weight.set(weight);
                    entry.insert(kept);
                }
            }
        }
        if !self.forgetting.replace(true) {
            hub.spawn(forget(Rc::clone(&hub)));
        }
    }

    /// Lets go of those who left so long ago.
    fn forget(&self, now: u64) {
        self.passes.borrow_mut().retain(|key, kept| {
            let stays = kept.since + KEPT > now;
            if !stays {
                self.weight.set(self.weight.get() - weight(key));
            }
            stays
        });
    }
}

/// Lets go of those who did not come back.
async fn forget(hub: Rc<Hub>) {
    let away = &hub.away;
    while !away.passes.borrow().is_empty() {
        hub.sleep(KEPT).await;
        away.forget(hub.now());
    }
    away.forgetting.set(false);
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker_ref;

    #[test]
    fn what_was_asked_for_before_a_change_is_asked_about_again() {
        let standing = &Hub::shared().standing;
        standing.tell("bob");
        let mut pass = Pass {
            caller: Caller {
                credential: None,
                address: None,
            },
            sender: Some(Rc::from("ann")),
            expires_at: None,
            version: standing.version(),
            good_until: 0,
            membership: None,
        };
        let is_in_question = |pass: &mut Pass| {
            let membership = pass.membership();
            membership.is_some_and(|membership| membership.poll_question(noop_waker_ref()))
        };
        let noted = standing.version();
        pass.question_since(noted);
        assert!(!is_in_question(&mut pass));
        // It changes while one more channel is asked for, and is asked about: of those that there are.
        standing.tell("ann");
        assert!(is_in_question(&mut pass));
        pass.question(false);
        assert!(!is_in_question(&mut pass));
        // The channel that was asked for is added.
        pass.question_since(noted);
        assert!(is_in_question(&mut pass));
    }
}
