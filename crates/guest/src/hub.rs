//! The one task of an instance in which all its readers live.
//!
//! Waking another request's task goes through the host; waking a neighbour in one's own task is a flag.
//! So a request's task only opens its reader, hands it over and ends; what is left of an idle reader is
//! its future and the host's end of its body. The task belongs to the request that found no hub, and
//! ends with the last reader.

use crate::live::Stage;
use crate::pass::Away;
use crate::room::Room;
use crate::standing::Standing;
use crate::tenants::Tenants;
use futures::channel::oneshot;
use futures::future;
use protocol::Channel;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{SystemTime, UNIX_EPOCH};
use wasip3::clocks::monotonic_clock;

/// How far apart ticks are, in nanoseconds. Deadlines fall on ticks: longer makes them late, shorter
/// wakes an idle instance more often.
const TICK: u64 = 250_000_000;
/// Ticks in a second.
pub(crate) const TICKS_PER_SECOND: u64 = 1_000_000_000 / TICK;

#[derive(Default)]
pub(crate) struct Hub {
    rooms: RefCell<BTreeMap<Channel, Rc<Room>>>,
    stages: RefCell<BTreeMap<Channel, Rc<Stage>>>,
    tenants: Tenants,
    running: Cell<bool>,
    tick: Cell<u64>,
    sleepers: RefCell<BTreeMap<u64, Vec<Waker>>>,
    /// Whether the readers may go on.
    pub(crate) standing: Standing,
    /// Who is about to come back.
    pub(crate) away: Away,
}

/// Milliseconds since 1970.
pub(crate) fn time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

impl Hub {
    pub(crate) fn shared() -> Rc<Self> {
        thread_local! {
            static HUB: Rc<Hub> = Rc::default();
        }
        HUB.with(Rc::clone)
    }

    /// Runs a future in the hub's task.
    pub(crate) fn spawn(self: &Rc<Self>, tenant: impl Future<Output = ()> + 'static) {
        self.tenants.take_in(tenant);
        if !self.running.replace(true) {
            // A task that has one future only is called once more whenever that waits (`FuturesUnordered::poll_next`).
            let (end, ended) = oneshot::channel::<()>();
            wit_bindgen::spawn_local(ended);
            let hub = Rc::clone(self);
            wit_bindgen::spawn_local(async move {
                hub.run().await;
                drop(end);
            });
        }
    }

    /// Gives the host a turn, in which what was written goes to the network, when all who are ready have had theirs.
    pub(crate) async fn give_way(&self) {
        self.tenants.give_way().await;
    }

    /// The room of a channel, if anybody here follows it.
    pub(crate) fn room(&self, channel: &Channel) -> Option<Rc<Room>> {
        self.rooms.borrow().get(channel).map(Rc::clone)
    }

    /// How many rooms there are.
    pub(crate) fn rooms(&self) -> usize {
        self.rooms.borrow().len()
    }

    pub(crate) fn open_room(&self, channel: Channel, room: &Rc<Room>) {
        self.rooms.borrow_mut().insert(channel, Rc::clone(room));
    }

    pub(crate) fn close_room(&self, channel: &Channel) {
        self.rooms.borrow_mut().remove(channel);
    }

    /// The live state of a channel, if anybody here takes part in it.
    pub(crate) fn stage(&self, channel: &Channel) -> Option<Rc<Stage>> {
        self.stages.borrow().get(channel).map(Rc::clone)
    }

    pub(crate) fn open_stage(&self, channel: Channel, stage: &Rc<Stage>) {
        self.stages.borrow_mut().insert(channel, Rc::clone(stage));
    }

    pub(crate) fn close_stage(&self, channel: &Channel) {
        self.stages.borrow_mut().remove(channel);
    }

    /// Ticks since the instance began, while anybody is here to count them.
    pub(crate) fn now(&self) -> u64 {
        self.tick.get()
    }

    /// Wakes at this tick, or at the next one where it is over.
    pub(crate) fn wake_at(&self, tick: u64, waker: &Waker) {
        self.sleepers
            .borrow_mut()
            .entry(tick)
            .or_default()
            .push(waker.clone());
    }

    /// Waits for a number of ticks.
    pub(crate) async fn sleep(&self, ticks: u64) {
        let until = self.now() + ticks;
        future::poll_fn(|cx| {
            if self.now() >= until {
                return Poll::Ready(());
            }
            self.wake_at(until, cx.waker());
            Poll::Pending
        })
        .await;
    }

    async fn run(self: Rc<Self>) {
        self.tenants.take_in(Rc::clone(&self).count());
        // Who counts is one of them.
        let rest = |cx: &mut Context<'_>| match self.tenants.poll(cx) {
            0 | 1 => Poll::Ready(()),
            _ => Poll::Pending,
        };
        future::poll_fn(rest).await;
        self.running.set(false);
        self.tenants.clear();
    }

    /// Counts the ticks, and wakes who waits for them.
    async fn count(self: Rc<Self>) {
        let mut next = monotonic_clock::now();
        loop {
            // A host that was suspended skips the ticks that nobody saw.
            next = (next + TICK).max(monotonic_clock::now());
            monotonic_clock::wait_until(next).await;
            self.tick.set(self.tick.get() + 1);
            let later = self.sleepers.borrow_mut().split_off(&(self.tick.get() + 1));
            let due = self.sleepers.replace(later);
            due.into_values().flatten().for_each(Waker::wake);
            // Credentials end by the clock on the wall, which goes on while a host is suspended.
            self.standing.end(time());
        }
    }
}
