//! Wakeups for any host: look again after a while, sooner where something happened lately.
//!
//! Nothing is told between instances; `notify` is therefore empty, and a wait is a pause. One read per
//! followed channel and pause is the whole cost.

mod bindings;

use bindings::exports::witter::messaging::wakeup::{Guest, GuestWatch, Outcome};
use std::time::Duration;
use wasip3::clocks::monotonic_clock;

/// The pause while a channel talks. Shorter: reads that find nothing; longer: a chat feels slow.
const SHORTEST: Duration = Duration::from_millis(25);
/// The pause of a silent channel. Longer: the first message after a silence is late by as much.
const LONGEST: Duration = Duration::from_secs(1);
/// So many waits in vain double the pause: a channel is polled at full speed for 200 ms after a message.
const PATIENCE: u32 = 8;

struct Timer;
struct Watch;

impl Guest for Timer {
    type Watch = Watch;

    fn notify(_key: String) {}
}

impl GuestWatch for Watch {
    fn new(_key: String) -> Self {
        Watch
    }

    async fn wait(&self, idle: u32, timeout_ms: u32) -> Outcome {
        let pause = SHORTEST
            .saturating_mul(1 << (idle / PATIENCE).min(10))
            .min(LONGEST);
        let timeout = Duration::from_millis(timeout_ms.into());
        let wait = pause.min(timeout);
        monotonic_clock::wait_for(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)).await;
        if wait == timeout {
            Outcome::TimedOut
        } else {
            Outcome::Changed
        }
    }
}
