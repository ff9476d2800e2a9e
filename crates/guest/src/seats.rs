//! Who waits for the same news.

use crate::hub::Hub;
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
    /// last one has written. Nor does the caller go on before the last have theirs.
    pub(crate) async fn rouse(&self, hub: &Hub) {
        let mut waiting = self.take_waiting().into_iter();
        while waiting.len() > 0 {
            waiting.by_ref().take(ROUSED).for_each(Waker::wake);
            hub.give_way().await;
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
