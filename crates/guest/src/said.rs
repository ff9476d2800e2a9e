//! What clients of WebSockets have said that is not done: messages that are not whole, and what waits for its turn.
//!
//! All of it has one room. Where that is full, who holds the most of it is cut: so whoever says little is heard, however
//! much others say.

use crate::hub::TICKS_PER_SECOND;
use slab::Slab;
use std::cell::RefCell;
use std::pin::pin;
use std::task::{Poll, Waker};

/// What all of an instance may hold, in bytes; what is being published takes as much again. Larger: a crowd that says
/// much takes an instance's memory; smaller: fewer may publish long arrays at once.
const MOST: usize = 48 * 1024 * 1024;

/// How long a message may take to arrive, in ticks: as long as a request's body.
const PATIENCE: u64 = 30 * TICKS_PER_SECOND;

/// How much is unfolded for a client in a tick, in bytes beyond what it sent: 1 MiB a second, for which it sends 1 KiB
/// and a hundredth of a processor works. More, and a few clients have it all; less, and who publishes much waits.
const UNFOLDED: u64 = 256 * 1024;

/// How much of it at once: as much as a message has. Less, and a long array waits for the one before; more is work for
/// nothing, for each connection that is opened.
pub(crate) const AT_ONCE: u64 = 1024 * 1024;

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

#[derive(Default)]
struct Room {
    all: usize,
    clients: Slab<Client>,
}

#[derive(Default)]
struct Client {
    bytes: usize,
    is_cut: bool,
    waker: Option<Waker>,
}

impl Room {
    fn hold(&mut self, key: usize, bytes: usize) -> bool {
        let Some(client) = self.clients.get_mut(key).filter(|client| !client.is_cut) else {
            return false;
        };
        self.all = self.all - client.bytes + bytes;
        client.bytes = bytes;
        while self.all > MOST && self.cut_largest() {}
        self.clients.get(key).is_some_and(|client| !client.is_cut)
    }

    /// Has the client cut that holds the most; false: all of it is being done.
    fn cut_largest(&mut self) -> bool {
        let clients = self.clients.iter_mut().map(|(_, client)| client);
        let Some(largest) = clients.max_by_key(|client| client.bytes) else {
            return false;
        };
        if largest.bytes == 0 {
            return false;
        }
        // It is about to be given back.
        self.all -= std::mem::take(&mut largest.bytes);
        largest.is_cut = true;
        if let Some(waker) = largest.waker.take() {
            waker.wake();
        }
        true
    }
}

/// What one client said that nobody has begun with; leaving is dropping it.
pub(crate) struct Said {
    key: usize,
    bytes: usize,
}

impl Said {
    pub(crate) fn nothing() -> Self {
        let key = ROOM.with_borrow_mut(|room| room.clients.insert(Client::default()));
        Self { key, bytes: 0 }
    }

    /// From now on it is so many bytes. Tells whether it may be; if not, all is to be given back.
    pub(crate) fn hold(&mut self, bytes: usize) -> bool {
        if std::mem::replace(&mut self.bytes, bytes) == bytes && bytes == 0 {
            return true;
        }
        ROOM.with_borrow_mut(|room| room.hold(self.key, bytes))
    }

    /// Whether all is to be given back; if not, the waker is kept until it is.
    pub(crate) fn poll_cut(&self, waker: &Waker) -> bool {
        if self.bytes == 0 {
            return false;
        }
        ROOM.with_borrow_mut(|room| {
            let Some(client) = room.clients.get_mut(self.key) else {
                return false;
            };
            match &client.waker {
                _ if client.is_cut => {}
                Some(kept) if kept.will_wake(waker) => {}
                _ => client.waker = Some(waker.clone()),
            }
            client.is_cut
        })
    }

    /// What comes of it; none where all is to be given back before.
    pub(crate) async fn unless_cut<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if self.poll_cut(cx.waker()) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        ROOM.with_borrow_mut(|room| {
            if let Some(client) = room.clients.try_remove(self.key) {
                room.all -= client.bytes;
            }
        });
    }
}

/// What is being done, which goes on if its client leaves. Done, it is dropped.
pub(crate) struct Begun(usize);

impl Begun {
    pub(crate) fn of(bytes: usize) -> Self {
        ROOM.with_borrow_mut(|room| room.all += bytes);
        Self(bytes)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        ROOM.with_borrow_mut(|room| room.all -= self.0);
    }
}

/// By when a message that has begun to come is to be whole.
#[derive(Default)]
pub(crate) struct Deadline {
    at: Option<u64>,
    /// The last tick at which it was to be looked at.
    alarm: u64,
}

impl Deadline {
    /// Begins with a message, and ends with it.
    pub(crate) fn follow(&mut self, is_unfinished: bool, now: u64) {
        self.at = match self.at {
            at @ Some(_) if is_unfinished => at,
            _ => is_unfinished.then_some(now + PATIENCE),
        };
    }

    /// Begins anew, where the client was not listened to.
    pub(crate) fn put_off(&mut self) {
        self.at = None;
    }

    pub(crate) fn is_over(&self, now: u64) -> bool {
        self.at.is_some_and(|at| at <= now)
    }

    /// When to look at it again; none where it is looked at before. So there is one alarm at a time, however many
    /// messages come.
    pub(crate) fn alarm(&mut self, now: u64) -> Option<u64> {
        let at = self.at.filter(|_| self.alarm <= now)?;
        self.alarm = at;
        Some(at)
    }
}

/// How much is unfolded for one client, which sends little for it: it is listened to no faster than that.
#[derive(Default)]
pub(crate) struct Pace {
    /// All that was unfolded is worked off at this tick times [`UNFOLDED`].
    due: u64,
    /// The last tick at which it was to be looked at.
    alarm: u64,
}

impl Pace {
    /// So many bytes came out of what it sent, beyond what that was.
    pub(crate) fn unfold(&mut self, bytes: usize, now: u64) {
        self.due = self.due.max(now * UNFOLDED) + bytes as u64;
    }

    /// Whether it is not listened to.
    pub(crate) fn is_ahead(&self, now: u64) -> bool {
        self.due > now * UNFOLDED + AT_ONCE
    }

    /// When to look at it again, where it is not listened to; none where it is looked at then.
    pub(crate) fn alarm(&mut self, now: u64) -> Option<u64> {
        if !self.is_ahead(now) || self.alarm > now {
            return None;
        }
        self.alarm = now + 1;
        Some(self.alarm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use futures::task::noop_waker_ref;
    use std::future::{pending, ready};

    const MIB: usize = 1024 * 1024;

    fn is_cut(said: &Said) -> bool {
        said.poll_cut(noop_waker_ref())
    }

    fn all() -> usize {
        ROOM.with_borrow(|room| room.all)
    }

    #[test]
    fn who_says_the_most_is_cut_and_whoever_says_little_is_heard() {
        let mut little = Said::nothing();
        little.hold(4_000);
        let mut greedy: Vec<Said> = (0..1_000).map(|_| Said::nothing()).collect();
        // Each message grows.
        for bytes in [512, 4_096, 65_536, MIB, 2 * MIB] {
            for said in &mut greedy {
                said.hold(bytes);
                assert!(all() <= MOST);
            }
        }
        let kept = greedy.iter().filter(|said| !is_cut(said)).count();
        assert!(kept >= 16, "{kept}");
        let mut more = Said::nothing();
        assert!(more.hold(MIB) && little.hold(4_000));
        assert!(!is_cut(&little) && !is_cut(&more));
        drop(greedy);
        assert_eq!(all(), 4_000 + MIB);
    }

    #[test]
    fn what_is_being_done_takes_room_and_is_not_cut() {
        let (mut one, mut other) = (Said::nothing(), Said::nothing());
        assert!(one.hold(2 * MIB));
        let begun: Vec<Begun> = (0..MOST / MIB).map(|_| Begun::of(MIB)).collect();
        assert!(!other.hold(1));
        assert!(is_cut(&one) && is_cut(&other));
        drop(begun);
        // Who was cut counts no more.
        assert!(!one.hold(2 * MIB));
        assert_eq!(all(), 0);
        let mut next = Said::nothing();
        assert!(next.hold(3 * MIB) && !is_cut(&next));
        drop((one, other, next));
        assert_eq!(all(), 0);
    }

    #[test]
    fn who_is_cut_is_told_in_the_middle_of_something_else() {
        let (mut said, mut other) = (Said::nothing(), Said::nothing());
        said.hold(MIB);
        assert_eq!(said.unless_cut(ready(1)).now_or_never(), Some(Some(1)));
        let mut waits = Box::pin(said.unless_cut(pending::<()>()));
        assert_eq!(waits.as_mut().now_or_never(), None);
        let _begun = Begun::of(MOST - MIB);
        assert!(other.hold(1));
        assert_eq!(waits.now_or_never(), Some(None));
    }

    #[test]
    fn a_message_has_its_time_and_not_more() {
        let mut deadline = Deadline::default();
        assert_eq!((deadline.is_over(9), deadline.alarm(9)), (false, None));
        deadline.follow(true, 10);
        // More of it changes nothing.
        deadline.follow(true, 10 + PATIENCE - 1);
        assert!(!deadline.is_over(10 + PATIENCE - 1));
        assert!(deadline.is_over(10 + PATIENCE));
        // It was whole, and the next one has begun.
        deadline.follow(false, 50);
        assert!(!deadline.is_over(10 + PATIENCE));
        deadline.follow(true, 60);
        assert!(!deadline.is_over(59 + PATIENCE));
        assert!(deadline.is_over(60 + PATIENCE));
        deadline.put_off();
        deadline.follow(true, 70);
        assert!(!deadline.is_over(69 + PATIENCE));
        assert!(deadline.is_over(70 + PATIENCE));
    }

    #[test]
    fn one_alarm_is_set_at_a_time_and_none_is_missing() {
        let mut deadline = Deadline::default();
        let mut alarms = Vec::new();
        let mut now = 0;
        // A message a tick, but for the last one, which is never whole.
        let last = 5 * PATIENCE + 1;
        while !deadline.is_over(now) {
            now += 1;
            if now <= last {
                deadline.follow(false, now);
            }
            deadline.follow(true, now);
            alarms.extend(deadline.alarm(now));
        }
        assert_eq!(now, last + PATIENCE);
        assert!(alarms.contains(&now) && alarms.len() <= 8, "{alarms:?}");
    }

    #[test]
    fn who_sends_little_that_unfolds_to_much_is_listened_to_at_a_pace() {
        let mut pace = Pace::default();
        let mut unfolded = 0;
        let mut alarms = Vec::new();
        for now in 1_000..1_100 {
            // As often as it is listened to.
            while !pace.is_ahead(now) {
                pace.unfold(MIB, now);
                unfolded += MIB as u64;
            }
            alarms.extend(pace.alarm(now));
            assert_eq!(pace.alarm(now), None);
        }
        assert_eq!(unfolded, AT_ONCE + 100 * UNFOLDED);
        assert!(alarms.into_iter().eq(1_001..=1_100));
        // What it did not use before is no more than all have at once.
        let now = 1_000_000;
        pace.unfold(AT_ONCE as usize, now);
        assert!(!pace.is_ahead(now) && pace.alarm(now).is_none());
        pace.unfold(1, now);
        assert!(pace.is_ahead(now) && !pace.is_ahead(now + 1));
    }
}
