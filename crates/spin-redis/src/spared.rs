//! When no connection is opened, since Redis did not answer the last who tried.
//!
//! To wait in vain, one after the other, would hold up those who need nothing of Redis.

use crate::Error;
use std::cell::Cell;
use wasip3::clocks::monotonic_clock;

/// What fails sooner was refused, in nanoseconds: a Redis that is being started again may be asked again at once.
const SOON: u64 = 1_000_000_000;
/// How long no connection is opened after one that was waited for in vain, in nanoseconds. Shorter: an instance is
/// held most of the time while nobody answers; longer: a Redis that is back waits for those who publish.
const SPARED: u64 = 5_000_000_000;

/// Whether to try to connect.
#[derive(Default)]
pub(crate) struct Spared {
    until: Cell<u64>,
}

/// An attempt to connect. Unless told otherwise it was in vain: who gives up waiting drops it.
pub(crate) struct Attempt<'a> {
    spared: &'a Spared,
    begun: u64,
}

impl Spared {
    /// Begins to connect.
    ///
    /// # Errors
    /// It is too soon after one that was in vain.
    pub(crate) fn attempt(&self) -> Result<Attempt<'_>, Error> {
        let begun = monotonic_clock::now();
        self.check(begun)?;
        Ok(Attempt {
            spared: self,
            begun,
        })
    }

    fn check(&self, now: u64) -> Result<(), Error> {
        if now < self.until.get() {
            return Err(Error::Redis("no answer".to_owned()));
        }
        Ok(())
    }

    fn failed(&self, begun: u64, now: u64) {
        if now.saturating_sub(begun) > SOON {
            self.until.set(now.saturating_add(SPARED));
        }
    }
}

impl Attempt<'_> {
    /// There is a connection.
    pub(crate) fn succeeded(self) {
        self.spared.until.set(0);
        std::mem::forget(self);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.spared.failed(self.begun, monotonic_clock::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_spared_and_who_refuses_is_not() {
        #[track_caller]
        fn check(took: u64, is_spared: bool) {
            let (spared, begun) = (Spared::default(), 7 * SOON);
            spared.failed(begun, begun + took);
            let checked = |later| spared.check(begun + took + later).is_err();
            assert_eq!(checked(0), is_spared);
            assert_eq!(checked(SPARED - 1), is_spared);
            assert!(!checked(SPARED));
        }
        check(0, false);
        check(SOON, false);
        check(SOON + 1, true);
        check(130 * SOON, true);
    }
}
