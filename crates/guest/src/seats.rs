//! Who waits for the same news.

use slab::Slab;
use std::cell::RefCell;
use std::task::Waker;

/// How many readers write before the network has their bytes. Larger: the first wait for more others; smaller: more turns.
const ROUSED: usize = 16;

/// A place for each who may wait, and the waker of each who does.
#[derive(Default)]
pub(crate) struct Seats(RefCell<Slab<Option<Waker>>>);

impl Seats {
    /// A new place. It is to be given back by [`Self::leave`].
    pub(crate) fn take(&self) -> usize {
        self.0.borrow_mut().insert(None)
    }

    pub(crate) fn leave(&self, seat: usize) {
        self.0.borrow_mut().try_remove(seat);
    }

    pub(crate) fn are_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Keeps the waker of who waits from now on.
    pub(crate) fn wait(&self, seat: usize, waker: &Waker) {
        if let Some(seat) = self.0.borrow_mut().get_mut(seat) {
            match seat {
                Some(kept) if kept.will_wake(waker) => {}
                _ => *seat = Some(waker.clone()),
            }
        }
    }

    /// Wakes who waits.
    ///
    /// Not all at once: what a reader writes reaches the network when the host has its turn, so all would wait until the
    /// last one has written.
    pub(crate) async fn rouse(&self) {
        let mut waiting = self.take_waiting().into_iter();
        loop {
            waiting.by_ref().take(ROUSED).for_each(Waker::wake);
            if waiting.len() == 0 {
                return;
            }
            give_way().await;
        }
    }

    fn take_waiting(&self) -> Vec<Waker> {
        let mut seats = self.0.borrow_mut();
        seats
            .iter_mut()
            .filter_map(|(_, seat)| seat.take())
            .collect()
    }
}

/// Gives the host a turn, when those who were woken have had theirs.
///
/// An instance's tasks are futures in one `FuturesUnordered`, which returns to the host when it was twice that one of
/// them woke itself.
async fn give_way() {
    wit_bindgen::yield_async().await;
    wit_bindgen::yield_async().await;
}
