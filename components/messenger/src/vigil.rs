//! Waiting for what is read to change.

use crate::bindings::exports::witter::messaging::messenger::Error;
use crate::bindings::witter::messaging::wakeup::{Outcome, Watch};
use crate::clock;

/// An armed watch, and up to where was read after it was armed. Kept from one wait to the next, so that who is told of
/// each change reads the store once for each.
pub(crate) struct Vigil<P> {
    watch: Watch,
    /// None: what was read may be out of date.
    pub(crate) read_to: Option<P>,
    idle: u32,
}

impl<P> Vigil<P> {
    pub(crate) fn new(key: &str) -> Self {
        Self {
            watch: Watch::new(key),
            read_to: None,
            idle: 0,
        }
    }

    /// That a wait brought something.
    pub(crate) fn news(&mut self) {
        self.idle = 0;
    }

    /// Waits for a hint, or until the deadline by `clock::uptime`; tells whether the time is over. What was read is out of
    /// date then.
    pub(crate) async fn wait(&mut self, deadline: u64) -> Result<bool, Error> {
        let left = deadline.saturating_sub(clock::uptime());
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        let over = match self.watch.wait(self.idle, left).await {
            Outcome::Changed => false,
            Outcome::TimedOut => true,
            Outcome::Closing => return Err(Error::Closing),
        };
        self.idle = self.idle.saturating_add(1);
        self.read_to = None;
        Ok(over)
    }
}
