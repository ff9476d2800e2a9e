//! Who waits for which key in this instance.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The keys that are watched: each is here for as long as a watch on it exists.
#[derive(Debug, Default)]
pub(crate) struct Watches(RefCell<BTreeMap<String, Rc<Key>>>);

#[derive(Debug, Default)]
struct Key {
    /// How often it was notified.
    generation: Cell<u64>,
    /// Who waits, by the number of their watch. One for each: a wait whose time is over leaves its waker here.
    waiting: RefCell<BTreeMap<u64, Waker>>,
    /// The number of the next watch.
    next: Cell<u64>,
}

/// A watch on one key. It counts from its making.
#[derive(Debug)]
pub(crate) struct Watch {
    watches: Rc<Watches>,
    name: String,
    key: Rc<Key>,
    number: u64,
    /// The generation that was last seen.
    seen: Cell<u64>,
}

impl Watches {
    pub(crate) fn watch(self: &Rc<Self>, name: String) -> Watch {
        let key = Rc::clone(self.0.borrow_mut().entry(name.clone()).or_default());
        let seen = key.generation.clone();
        let number = key.next.get();
        key.next.set(number + 1);
        Watch {
            watches: Rc::clone(self),
            name,
            key,
            number,
            seen,
        }
    }

    pub(crate) fn notify(&self, name: &str) {
        let key = self.0.borrow().get(name).map(Rc::clone);
        if let Some(key) = key {
            key.notify();
        }
    }

    pub(crate) fn notify_all(&self) {
        let keys: Vec<_> = self.0.borrow().values().map(Rc::clone).collect();
        keys.iter().for_each(|key| key.notify());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

impl Key {
    fn notify(&self) {
        self.generation.set(self.generation.get() + 1);
        self.waiting.take().into_values().for_each(Waker::wake);
    }
}

impl Watch {
    /// Ready when the key was notified since the watch was made, or since this was last ready. Who asked last is woken.
    pub(crate) fn poll_changed(&self, cx: &Context<'_>) -> Poll<()> {
        let now = self.key.generation.get();
        if self.seen.replace(now) != now {
            return Poll::Ready(());
        }
        let mut waiting = self.key.waiting.borrow_mut();
        waiting.insert(self.number, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.key.waiting.borrow_mut().remove(&self.number);
        // The table's and this one.
        if Rc::strong_count(&self.key) == 2 {
            self.watches.0.borrow_mut().remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Bell {
        fn rung(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn polled(watch: &Watch, bell: &Arc<Bell>) -> bool {
        let waker = Waker::from(Arc::clone(bell));
        watch.poll_changed(&Context::from_waker(&waker)).is_ready()
    }

    #[test]
    fn a_notification_before_the_first_wait_ends_it_at_once() {
        let (watches, bell) = (Rc::new(Watches::default()), Arc::default());
        let watch = watches.watch("a".into());
        watches.notify("a");
        watches.notify("a");
        assert!(polled(&watch, &bell));
        assert!(!polled(&watch, &bell));
    }

    #[test]
    fn one_notification_wakes_every_watch_on_its_key_and_no_other() {
        let watches = Rc::new(Watches::default());
        let [a, also_a, b] = ["a", "a", "b"].map(|name| watches.watch(name.into()));
        let [one, two, other] = [(); 3].map(|()| Arc::<Bell>::default());
        assert!(!polled(&a, &one) && !polled(&also_a, &two) && !polled(&b, &other));
        assert!(!polled(&a, &one));
        watches.notify("a");
        assert_eq!((one.rung(), two.rung(), other.rung()), (1, 1, 0));
        assert!(polled(&a, &one) && polled(&also_a, &two) && !polled(&b, &other));
        watches.notify_all();
        assert_eq!((one.rung(), two.rung(), other.rung()), (1, 1, 1));
    }

    #[test]
    fn of_all_who_waited_by_a_watch_the_last_is_kept() {
        let watches = Rc::new(Watches::default());
        let (watch, other) = (watches.watch("a".into()), watches.watch("a".into()));
        let bell = Arc::default();
        assert!(!polled(&other, &bell));
        // Each wait is another task's, and ends by its time.
        let bells: Vec<Arc<Bell>> = (0..1000).map(|_| Arc::default()).collect();
        assert!(bells.iter().all(|bell| !polled(&watch, bell)));
        let kept = || {
            let is_kept = |bell: &Arc<Bell>| Arc::strong_count(bell) > 1;
            bells.iter().position(is_kept)
        };
        assert_eq!(kept(), Some(999));
        watches.notify("a");
        let rung: Vec<_> = bells.iter().map(|bell| bell.rung()).collect();
        assert!(rung[..999].iter().all(|rung| *rung == 0) && rung[999] == 1);
        assert_eq!((bell.rung(), kept()), (1, None));
        assert!(polled(&watch, &bells[0]) && !polled(&watch, &bells[0]));
        assert_eq!(kept(), Some(0));
        drop(watch);
        assert_eq!(kept(), None);
        assert!(polled(&other, &bell));
    }

    #[test]
    fn a_key_is_kept_as_long_as_a_watch_on_it() {
        let (watches, bell) = (Rc::new(Watches::default()), Arc::default());
        let (one, two) = (watches.watch("a".into()), watches.watch("a".into()));
        drop(one);
        watches.notify("a");
        assert!(polled(&two, &bell));
        assert!(!watches.is_empty());
        drop(two);
        assert!(watches.is_empty());
        watches.notify("a");
        assert!(watches.is_empty());
    }
}
