//! Wakeups through Redis: whoever notifies says so there, and each instance in which somebody waits hears it by one
//! waiting command, for all keys.
//!
//! Where Redis cannot be listened to, a wait is a pause: then the store, which mostly is the same Redis, is asked.

mod bindings;
mod hints;
mod listener;
mod watches;

use bindings::exports::witter::messaging::wakeup::{Guest, GuestWatch, Outcome};
use futures::future::{Either, poll_fn, select};
use listener::Listener;
use std::pin::pin;
use std::time::Duration;
use wasip3::clocks::monotonic_clock;

/// How long a wait lasts while Redis is not listened to. Shorter: reads in vain, of a store that is mostly away as
/// well; longer: where a Redis lets nobody wait, each message is late by as much.
const PAUSE: Duration = Duration::from_millis(500);

struct Wakeups;
struct Watch(watches::Watch);

impl Guest for Wakeups {
    type Watch = Watch;

    fn notify(key: String) {
        Listener::shared().notify(&key);
    }
}

impl GuestWatch for Watch {
    fn new(key: String) -> Self {
        Watch(Listener::shared().watches.watch(key))
    }

    async fn wait(&self, _idle: u32, timeout_ms: u32) -> Outcome {
        // Of a call that is answered at once, Wasmtime (48 to 50) keeps some bytes for good.
        wit_bindgen::yield_async().await;
        let timeout = Duration::from_millis(timeout_ms.into());
        let wait = if Listener::shared().listen() {
            timeout
        } else {
            timeout.min(PAUSE)
        };
        let changed = poll_fn(|cx| self.0.poll_changed(cx));
        match select(changed, pin!(sleep(wait))).await {
            Either::Right(_) if wait == timeout => Outcome::TimedOut,
            Either::Left(_) | Either::Right(_) => Outcome::Changed,
        }
    }
}

async fn sleep(time: Duration) {
    monotonic_clock::wait_for(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)).await;
}
