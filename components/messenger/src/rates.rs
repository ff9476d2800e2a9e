//! How often somebody may do something, as the deployment says.
//!
//! Each instance counts for itself and forgets with its end: what one is asked is known to no other. So an identity
//! may do as much in each of them, and where a host makes an instance for each request, nothing is limited.

use crate::bindings::exports::witter::messaging::messenger::{Caller, Error};
use crate::clock;
use crate::config::variable;
use standing::{Limits, address};
use std::cell::{OnceCell, RefCell};

/// What is counted.
#[derive(Clone, Copy)]
pub(crate) enum Deed {
    /// A message, each of an array, whether it turns out to be stored before or not.
    Publish,
    /// A command.
    Command,
}

/// Counts, from the first deed on.
#[derive(Default)]
pub(crate) struct Rates {
    publish: OnceCell<RefCell<Limits>>,
    command: OnceCell<RefCell<Limits>>,
}

impl Rates {
    /// Whether so many may be done now, all or none.
    pub(crate) fn admit(
        &self,
        deed: Deed,
        sender: Option<&str>,
        caller: &Caller,
        count: usize,
    ) -> Result<(), Error> {
        self.judged(deed, caller, |limits, address, now| {
            limits.admit(sender, address, count, now)
        })
    }

    /// The same, and nothing is done yet: whoever sends a flood is refused before the store is asked about them.
    pub(crate) fn look(
        &self,
        deed: Deed,
        sender: Option<&str>,
        caller: &Caller,
        count: usize,
    ) -> Result<(), Error> {
        self.judged(deed, caller, |limits, address, now| {
            limits.look(sender, address, count, now)
        })
    }

    fn judged(
        &self,
        deed: Deed,
        caller: &Caller,
        judge: impl FnOnce(&mut Limits, Option<&str>, u64) -> Result<(), u32>,
    ) -> Result<(), Error> {
        let (limits, [by_sender, by_address]) = match deed {
            Deed::Publish => (&self.publish, ["publish_rate", "publish_rate_per_address"]),
            Deed::Command => (&self.command, ["command_rate", "command_rate_per_address"]),
        };
        let limits = match limits.get() {
            Some(limits) => limits,
            None => {
                let read = Limits::new(variable(by_sender)?, variable(by_address)?);
                limits.get_or_init(|| RefCell::new(read))
            }
        };
        let address = caller.address.as_deref().and_then(address);
        judge(
            &mut limits.borrow_mut(),
            address.as_deref(),
            clock::uptime(),
        )
        .map_err(Error::RateLimited)
    }
}
