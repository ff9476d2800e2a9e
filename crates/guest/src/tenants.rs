//! Futures that live in one task, and wake each other.

use futures::future::{self, LocalBoxFuture};
use futures::stream::{FuturesUnordered, StreamExt as _};
use futures::task::{ArcWake, AtomicWaker, waker_ref};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

/// An instance's task is a set of futures, which returns to the host when one of them woke itself so many times
/// (`FuturesUnordered::poll_next`).
const TURN: u64 = 2;

/// Polled until none is ready. Then only is it the host's turn.
///
/// An instance's task is a set of futures too, but of those that wake each other it returns to the host after one round,
/// to be called once more, which costs more than most of them do.
#[derive(Default)]
pub(crate) struct Tenants {
    arrivals: RefCell<Vec<LocalBoxFuture<'static, ()>>>,
    living: RefCell<FuturesUnordered<LocalBoxFuture<'static, ()>>>,
    bell: Arc<Bell>,
    /// How often they were polled.
    turn: Cell<u64>,
    /// Who waits for the next time.
    giving_way: RefCell<Vec<Waker>>,
}

#[derive(Default)]
struct Bell {
    /// Whether one is ready.
    rung: AtomicBool,
    /// Whether they are being polled: nobody has to be told then.
    heard: AtomicBool,
    task: AtomicWaker,
}

impl ArcWake for Bell {
    fn wake_by_ref(bell: &Arc<Self>) {
        bell.rung.store(true, Ordering::Relaxed);
        if !bell.heard.load(Ordering::Relaxed) {
            bell.task.wake();
        }
    }
}

impl Tenants {
    pub(crate) fn take_in(&self, tenant: impl Future<Output = ()> + 'static) {
        self.arrivals.borrow_mut().push(Box::pin(tenant));
        ArcWake::wake_by_ref(&self.bell);
    }

    /// Polls whoever is ready, until nobody is; tells how many are left.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> usize {
        let bell = &self.bell;
        bell.task.register(cx.waker());
        bell.heard.store(true, Ordering::Relaxed);
        self.turn.set(self.turn.get() + 1);
        self.giving_way.take().into_iter().for_each(Waker::wake);
        let mut living = self.living.borrow_mut();
        loop {
            bell.rung.store(false, Ordering::Relaxed);
            living.extend(self.arrivals.take());
            let waker = waker_ref(bell);
            let polled = living.poll_next_unpin(&mut Context::from_waker(&waker));
            let one_ended = matches!(polled, Poll::Ready(Some(())));
            if !one_ended && !bell.rung.load(Ordering::Relaxed) {
                break;
            }
        }
        bell.heard.store(false, Ordering::Relaxed);
        if !self.giving_way.borrow().is_empty() {
            cx.waker().wake_by_ref();
        }
        living.len()
    }

    /// Gives the host a turn, when all who are ready have had theirs.
    pub(crate) async fn give_way(&self) {
        let over = self.turn.get() + TURN;
        future::poll_fn(|cx| {
            if self.turn.get() >= over {
                return Poll::Ready(());
            }
            self.giving_way.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Lets go of whoever is left.
    pub(crate) fn clear(&self) {
        self.living.borrow_mut().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::awoken::Awoken;
    use futures::channel::mpsc;
    use futures::pending;
    use std::rc::Rc;

    /// A task with tenants, what they did, and how often it was woken.
    #[derive(Default)]
    struct House {
        tenants: Rc<Tenants>,
        done: Rc<RefCell<Vec<&'static str>>>,
        woken: Awoken,
    }

    impl House {
        fn poll(&self) -> usize {
            self.tenants.poll(&Context::from_waker(&self.woken.waker()))
        }

        fn does(&self) -> impl Fn(&'static str) + Clone + 'static {
            let done = Rc::clone(&self.done);
            move |what| done.borrow_mut().push(what)
        }

        fn done(&self) -> Vec<&'static str> {
            self.done.take()
        }

        fn woken(&self) -> usize {
            self.woken.take()
        }
    }

    #[test]
    fn those_who_wake_each_other_do_not_leave_the_task() {
        let house = House::default();
        let (to_one, mut from_other) = mpsc::unbounded();
        let (to_other, mut from_one) = mpsc::unbounded();
        for (name, to, from) in [
            ("one", to_other, &mut from_other),
            ("other", to_one, &mut from_one),
        ] {
            let (does, mut from) = (house.does(), std::mem::replace(from, mpsc::unbounded().1));
            house.tenants.take_in(async move {
                for _ in 0..100 {
                    to.unbounded_send(()).expect("it is heard");
                    from.next().await;
                }
                does(name);
            });
        }
        assert_eq!(house.poll(), 0);
        assert_eq!(house.done().len(), 2);
        assert_eq!(house.woken(), 0);
    }

    #[test]
    fn who_arrives_is_polled_at_once_and_from_elsewhere_the_task_is_woken() {
        let house = House::default();
        let (tenants, does) = (Rc::clone(&house.tenants), house.does());
        house.tenants.take_in(async move {
            let arrival = does.clone();
            tenants.take_in(async move { arrival("arrived within") });
            future::pending::<()>().await;
        });
        assert_eq!(house.poll(), 1);
        assert_eq!(house.done(), ["arrived within"]);
        assert_eq!(house.woken(), 0);
        let does = house.does();
        house.tenants.take_in(async move { does("arrived") });
        assert_eq!(house.woken(), 1);
        assert_eq!(house.poll(), 1);
        assert_eq!(house.done(), ["arrived"]);
        house.tenants.clear();
        assert_eq!(house.poll(), 0);
        assert_eq!(house.woken(), 0);
    }

    #[test]
    fn who_wakes_itself_leaves_nobody_unpolled() {
        let house = House::default();
        for _ in 0..3 {
            house.tenants.take_in(async {
                for _ in 0..10 {
                    future::poll_fn(|cx| {
                        cx.waker().wake_by_ref();
                        Poll::Ready(())
                    })
                    .await;
                    pending!();
                }
            });
        }
        let does = house.does();
        house.tenants.take_in(async move { does("polled") });
        assert_eq!(house.poll(), 0);
        assert_eq!(house.done(), ["polled"]);
        assert_eq!(house.woken(), 0);
    }

    #[test]
    fn who_gives_way_goes_on_when_the_host_had_its_turn_and_the_others_theirs() {
        let house = House::default();
        let (to, mut from) = mpsc::unbounded();
        let (tenants, does) = (Rc::clone(&house.tenants), house.does());
        house.tenants.take_in(async move {
            for what in ["first", "second", "third"] {
                does(what);
                to.unbounded_send(()).expect("it is heard");
                tenants.give_way().await;
            }
        });
        let does = house.does();
        house.tenants.take_in(async move {
            while from.next().await.is_some() {
                does("heard");
            }
        });
        for done in ["first", "second", "third"] {
            assert_eq!(house.poll(), 2);
            assert_eq!(house.done(), [done, "heard"]);
            for _ in 1..TURN {
                assert_eq!(house.woken(), 1);
                assert_eq!(house.poll(), 2);
                assert!(house.done().is_empty());
            }
            assert_eq!(house.woken(), 1);
        }
        assert_eq!(house.poll(), 0);
        assert_eq!(house.woken(), 0);
    }
}
