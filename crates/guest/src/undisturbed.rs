//! A stream that is polled only when it asked for that.

use futures::stream::Stream;
use futures::task::{ArcWake, AtomicWaker, waker_ref};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

/// Leaves a stream alone until it wakes. A task that waits for one of several things polls them all, and of a stream
/// of the host's that is a call of the host each time, to be woken once more.
pub(crate) struct Undisturbed<S> {
    stream: S,
    bell: Arc<Bell>,
}

struct Bell {
    /// Whether the stream is to be polled.
    rung: AtomicBool,
    waiting: AtomicWaker,
}

impl<S> Undisturbed<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            bell: Arc::new(Bell {
                rung: AtomicBool::new(true),
                waiting: AtomicWaker::new(),
            }),
        }
    }
}

impl ArcWake for Bell {
    fn wake_by_ref(bell: &Arc<Self>) {
        bell.rung.store(true, Ordering::Release);
        bell.waiting.wake();
    }
}

impl<S: Stream + Unpin> Stream for Undisturbed<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let Self { stream, bell } = &mut *self;
        // First, so that it does not ring between the look and this.
        bell.waiting.register(cx.waker());
        if !bell.rung.swap(false, Ordering::Acquire) {
            return Poll::Pending;
        }
        let waker = waker_ref(bell);
        let item = ready!(Pin::new(stream).poll_next(&mut Context::from_waker(&waker)));
        // It rings for none that it has already.
        bell.rung.store(true, Ordering::Release);
        Poll::Ready(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::awoken::Awoken;
    use futures::FutureExt as _;
    use futures::channel::mpsc;
    use futures::stream::{self, StreamExt as _};
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn it_gives_what_the_stream_gives_to_its_end() {
        let all = Undisturbed::new(stream::iter(0..5))
            .collect()
            .now_or_never();
        assert_eq!(all, Some(vec![0, 1, 2, 3, 4]));
    }

    #[test]
    fn it_polls_the_stream_once_for_each_time_that_this_woke_or_gave_something() {
        let (to, mut from) = mpsc::unbounded();
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        let mut undisturbed = Undisturbed::new(stream::poll_fn(move |cx| {
            counted.set(counted.get() + 1);
            from.poll_next_unpin(cx)
        }));
        for round in 0..3 {
            for _ in 0..10 {
                assert_eq!(undisturbed.next().now_or_never(), None);
            }
            assert_eq!(polls.get(), 1 + 3 * round);
            to.unbounded_send("a").expect("it is read");
            to.unbounded_send("b").expect("it is read");
            assert_eq!(undisturbed.next().now_or_never(), Some(Some("a")));
            assert_eq!(undisturbed.next().now_or_never(), Some(Some("b")));
            assert_eq!(polls.get(), 3 + 3 * round);
        }
    }

    #[test]
    fn whoever_polled_last_is_woken_and_nobody_without_reason() {
        let (to, from) = mpsc::unbounded();
        let mut undisturbed = Undisturbed::new(from);
        let (first, second) = (Awoken::default(), Awoken::default());
        let woken = || (first.count(), second.count());
        for waiting in [&first, &second] {
            let waker = waiting.waker();
            let polled = undisturbed.poll_next_unpin(&mut Context::from_waker(&waker));
            assert_eq!(polled, Poll::Pending);
        }
        assert_eq!(woken(), (0, 0));
        to.unbounded_send(7).expect("it is read");
        assert_eq!(woken(), (0, 1));
        assert_eq!(undisturbed.next().now_or_never(), Some(Some(7)));
        assert_eq!(woken(), (0, 1));
    }
}
