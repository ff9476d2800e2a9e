//! Time and chance, for the mailbox and the policy.

use crate::bindings::witter::messaging::wakeup;
use crate::kept;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::poll_immediate;
use std::pin::{Pin, pin};
use std::time::{SystemTime, UNIX_EPOCH};
use wasip3::clocks::monotonic_clock;
use wasip3::random::random;

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds that only go forward, for deadlines.
pub(crate) fn uptime() -> u64 {
    monotonic_clock::now() / 1_000_000
}

/// Waits for so many milliseconds.
pub(crate) async fn sleep(ms: u64) {
    monotonic_clock::wait_for(ms * 1_000_000).await;
}

/// Sixteen fresh random bytes.
pub(crate) fn entropy() -> Vec<u8> {
    random::get_random_bytes(16)
}

/// A name that nobody else draws, and nobody finds by trying: 16 characters.
pub(crate) fn drawn() -> String {
    URL_SAFE_NO_PAD.encode(random::get_random_bytes(12))
}

/// Lets a call from another component return later than at once; to be awaited in each.
///
/// Of one that has returned when its caller goes on, Wasmtime (48 to 50, `start_call`) keeps the task for good:
/// some 400 bytes, and the instance ends when there are a million. A task that begins something in the same moment (`spawn`)
/// goes on with that, and with this, before the host has its turn.
pub(crate) async fn later() {
    wit_bindgen::yield_async().await;
}

/// As [`later`], for work that mostly waits for something itself: only where it does not is it held up.
pub(crate) async fn not_at_once<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    match poll_immediate(work.as_mut()).await {
        Some(done) => {
            later().await;
            done
        }
        None => work.await,
    }
}

/// What the mailbox knows of the world.
pub(crate) struct World;

impl mailbox::Env for World {
    fn now(&self) -> u64 {
        now()
    }

    fn random(&self) -> u64 {
        random::get_random_u64()
    }

    async fn sleep(&self, ms: u32) {
        sleep(ms.into()).await;
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()>>>) {
        wit_bindgen::spawn_local(task);
    }

    fn retention(&self, channel: &str) -> Option<mailbox::Retention> {
        kept::of(channel)
    }
}

impl presence::World for World {
    fn uptime(&self) -> u64 {
        uptime()
    }

    fn notify(&self, key: &str) {
        wakeup::notify(key);
    }
}
