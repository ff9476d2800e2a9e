//! How much of each channel is kept, as the deployment says.

use crate::bindings::exports::witter::messaging::messenger::Error;
use crate::config::variable;
use mailbox::Retention;
use std::cell::Cell;

/// What is kept of public channels, and of those whose name begins with `@`. None: what is usual.
#[derive(Clone, Copy)]
struct Kept {
    public: Option<Retention>,
    private: Option<Retention>,
}

thread_local! {
    static KEPT: Cell<Option<Kept>> = const { Cell::new(None) };
}

/// Reads it once; to be called before anything is published.
pub(crate) fn learn() -> Result<(), Error> {
    if KEPT.get().is_none() {
        KEPT.set(Some(Kept {
            public: variable("retention")?,
            private: variable("private_retention")?,
        }));
    }
    Ok(())
}

/// What is kept of a channel.
pub(crate) fn of(channel: &str) -> Option<Retention> {
    let kept = KEPT.get()?;
    if channel.starts_with('@') {
        kept.private
    } else {
        kept.public
    }
}
