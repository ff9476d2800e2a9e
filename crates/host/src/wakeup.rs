//! `witter:messaging/wakeup`: who waits for which key, in every instance of every component.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;
use wasmtime::component::{Accessor, HasSelf, Resource};

use crate::bindings::witter::messaging::wakeup::{Host, HostWatch, HostWatchWithStore, Outcome};
use crate::metrics::Counter;
use crate::nodes::Outbox;
use crate::state::State;

/// The keys that are watched. Clones are the same table.
///
/// A key is in the table for as long as a watch on it exists: a notification of any other key is one
/// look-up that finds nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wakeups(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    keys: Mutex<HashMap<String, Arc<Key>>>,
    /// By which the other nodes are told, where there may be some.
    others: Option<Arc<Outbox>>,
    /// What the others told.
    heard: Counter,
    closing: AtomicBool,
}

#[derive(Debug, Default)]
struct Key {
    /// How often it was notified.
    generation: AtomicU64,
    notified: Notify,
    watches: AtomicUsize,
    times: Mutex<Times>,
}

/// When a key was notified the last few times, by the generation that it got. Who has not seen more of them waits
/// at least since the first of these.
#[derive(Debug, Default)]
struct Times([Option<Instant>; 4]);

/// A watch on one key.
#[derive(Debug)]
#[expect(
    unreachable_pub,
    reason = "the generated bindings re-export it, privately"
)]
pub struct Watch {
    wakeups: Wakeups,
    name: String,
    key: Arc<Key>,
    /// The generation that the last wait, or the watch's making, has seen.
    seen: Arc<AtomicU64>,
}

/// What a wait needs of its watch, which may be dropped meanwhile.
struct Waiting {
    wakeups: Wakeups,
    key: Arc<Key>,
    seen: Arc<AtomicU64>,
}

impl Wakeups {
    /// No key is watched yet; what is notified here, others are told.
    pub(crate) fn told_to(others: Arc<Outbox>) -> Self {
        Self(Arc::new(Inner {
            others: Some(others),
            ..Inner::default()
        }))
    }

    /// Wakes every watch on `key`, at the other nodes too.
    pub(crate) fn notify(&self, key: &str) {
        self.notify_here(key);
        if let Some(others) = &self.0.others {
            others.push(key);
        }
    }

    /// Wakes every watch of this host on `key`.
    pub(crate) fn notify_here(&self, key: &str) {
        let key = self.keys().get(key).cloned();
        if let Some(key) = key {
            key.notify();
        }
    }

    /// Wakes every watch of this host on `key`, since another node says so.
    pub(crate) fn hear(&self, key: &str) {
        self.0.heard.increment();
        self.notify_here(key);
    }

    /// How many notifications came from other nodes. One of all keys is none.
    pub(crate) fn heard(&self) -> u64 {
        self.0.heard.get()
    }

    /// How many keys somebody watches.
    pub(crate) fn keys_watched(&self) -> u64 {
        self.keys().len() as u64
    }

    /// Wakes every watch of this host.
    pub(crate) fn notify_all(&self) {
        for key in self.keys().values() {
            key.notify();
        }
    }

    /// Counts from now on.
    pub(crate) fn watch(&self, name: String) -> Watch {
        let key = {
            let mut keys = self.keys();
            let key = keys.entry(name.clone()).or_default().clone();
            key.watches.fetch_add(1, Ordering::Relaxed);
            key
        };
        let seen = Arc::new(AtomicU64::new(key.generation.load(Ordering::Acquire)));
        Watch {
            wakeups: self.clone(),
            name,
            key,
            seen,
        }
    }

    /// Ends every wait, those under way and those to come: the host is about to stop.
    pub(crate) fn close(&self) {
        self.0.closing.store(true, Ordering::Release);
        for key in self.keys().values() {
            key.notified.notify_waiters();
        }
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<String, Arc<Key>>> {
        // Every change of the table is one step.
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    fn notify(&self) {
        {
            let mut times = self.times();
            let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
            *times.of(generation) = Some(Instant::now());
        }
        self.notified.notify_waiters();
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        // Each is set in one step.
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long ago the first notification was that somebody who has seen `seen` of them has not.
    fn since(&self, seen: u64, now: u64) -> Option<Duration> {
        let mut times = self.times();
        let first = (seen + 1).max((now + 1).saturating_sub(times.0.len() as u64));
        times.of(first).map(|time| time.elapsed())
    }
}

impl Times {
    fn of(&mut self, generation: u64) -> &mut Option<Instant> {
        let length = self.0.len() as u64;
        &mut self.0[(generation % length) as usize]
    }
}

impl Watch {
    fn waiting(&self) -> Waiting {
        Waiting {
            wakeups: self.wakeups.clone(),
            key: self.key.clone(),
            seen: self.seen.clone(),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Under the table's lock, which `watch` counts under: nobody takes up a key that is taken away.
        let mut keys = self.wakeups.keys();
        if self.key.watches.fetch_sub(1, Ordering::Relaxed) == 1 {
            keys.remove(&self.name);
        }
    }
}

impl Waiting {
    /// How the wait ended, and for how long it could have ended already.
    async fn wait(self, most: Duration) -> (Outcome, Option<Duration>) {
        let woken = async {
            loop {
                let notified = self.key.notified.notified();
                let mut notified = std::pin::pin!(notified);
                // From here on no notification is missed, so the state is looked at after this.
                notified.as_mut().enable();
                if self.wakeups.0.closing.load(Ordering::Acquire) {
                    return (Outcome::Closing, None);
                }
                let now = self.key.generation.load(Ordering::Acquire);
                let seen = self.seen.swap(now, Ordering::AcqRel);
                if seen != now {
                    return (Outcome::Changed, self.key.since(seen, now));
                }
                notified.await;
            }
        };
        let ended = timeout(most, woken).await;
        ended.unwrap_or((Outcome::TimedOut, None))
    }
}

impl Host for State {
    fn notify(&mut self, key: String) -> wasmtime::Result<()> {
        self.grants.counters.notified(&key);
        self.grants.wakeups.notify(&key);
        Ok(())
    }
}

impl HostWatch for State {
    fn new(&mut self, key: String) -> wasmtime::Result<Resource<Watch>> {
        Ok(self.table.push(self.grants.wakeups.watch(key))?)
    }

    fn drop(&mut self, watch: Resource<Watch>) -> wasmtime::Result<()> {
        self.table.delete(watch)?;
        Ok(())
    }
}

impl<T: 'static> HostWatchWithStore<T> for HasSelf<State> {
    async fn wait(
        accessor: &Accessor<T, Self>,
        watch: Resource<Watch>,
        _idle: u32,
        timeout_ms: u32,
    ) -> wasmtime::Result<Outcome> {
        let (waiting, name, grants) = accessor.with(|mut access| {
            let state = access.get();
            let watch = state.table.get(&watch)?;
            wasmtime::error::Ok((watch.waiting(), watch.name.clone(), state.grants.clone()))
        })?;
        let most = Duration::from_millis(timeout_ms.into());
        let (outcome, delay) = waiting.wait(most).await;
        grants.counters.waited(&name, outcome, delay);
        Ok(outcome)
    }
}

#[cfg(test)]
impl Watch {
    /// Whether it is notified within some time, since it was asked the last time.
    pub(crate) async fn is_woken(&self, most: Duration) -> bool {
        self.waiting().wait(most).await.0 == Outcome::Changed
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn is_pending(
        future: std::pin::Pin<&mut impl Future<Output = (Outcome, Option<Duration>)>>,
    ) -> bool {
        matches!(
            future.poll(&mut Context::from_waker(Waker::noop())),
            Poll::Pending
        )
    }

    #[tokio::test]
    async fn a_notification_before_the_first_wait_ends_it_at_once() {
        let wakeups = Wakeups::default();
        let watch = wakeups.watch("a".into());
        wakeups.notify("a");
        wakeups.notify("a");
        assert_eq!(watch.waiting().wait(LONG).await.0, Outcome::Changed);
        assert_eq!(
            watch.waiting().wait(Duration::ZERO).await.0,
            Outcome::TimedOut
        );
    }

    #[tokio::test]
    async fn one_notification_wakes_every_watch_on_its_key_and_no_other() {
        let wakeups = Wakeups::default();
        let (one, two, other) = (
            wakeups.watch("a".into()),
            wakeups.watch("a".into()),
            wakeups.watch("b".into()),
        );
        let mut first = pin!(one.waiting().wait(LONG));
        let mut second = pin!(two.waiting().wait(LONG));
        let mut third = pin!(other.waiting().wait(LONG));
        assert!(
            is_pending(first.as_mut()) && is_pending(second.as_mut()) && is_pending(third.as_mut())
        );
        wakeups.notify("a");
        assert_eq!(first.await.0, Outcome::Changed);
        assert_eq!(second.await.0, Outcome::Changed);
        assert!(is_pending(third.as_mut()));
    }

    #[tokio::test]
    async fn a_key_is_kept_as_long_as_a_watch_on_it() {
        let wakeups = Wakeups::default();
        let (one, two) = (wakeups.watch("a".into()), wakeups.watch("a".into()));
        drop(one);
        wakeups.notify("a");
        assert_eq!(two.waiting().wait(LONG).await.0, Outcome::Changed);
        drop(two);
        assert!(wakeups.keys().is_empty());
        wakeups.notify("a");
        assert!(wakeups.keys().is_empty());
    }

    #[tokio::test]
    async fn closing_ends_the_waits_under_way_and_those_to_come() {
        let wakeups = Wakeups::default();
        let watch = wakeups.watch("a".into());
        let mut waiting = pin!(watch.waiting().wait(LONG));
        assert!(is_pending(waiting.as_mut()));
        wakeups.close();
        assert_eq!(waiting.await.0, Outcome::Closing);
        assert_eq!(
            wakeups.watch("b".into()).waiting().wait(LONG).await.0,
            Outcome::Closing
        );
    }

    #[tokio::test]
    async fn a_delay_counts_from_the_first_notification_that_was_not_seen() {
        let pause = Duration::from_millis(2);
        for notifications in 1..=6 {
            let wakeups = Wakeups::default();
            let watch = wakeups.watch("a".into());
            let begun = Instant::now();
            for _ in 0..notifications {
                wakeups.notify("a");
                std::thread::sleep(pause);
            }
            let (outcome, delay) = watch.waiting().wait(LONG).await;
            assert_eq!(outcome, Outcome::Changed);
            let delay = delay.expect("it was notified");
            assert!(delay >= pause * notifications.min(4), "{delay:?}");
            assert!(delay <= begun.elapsed(), "{delay:?}");
            let waited = watch.waiting().wait(Duration::ZERO).await;
            assert_eq!(waited, (Outcome::TimedOut, None));
        }
    }
}
