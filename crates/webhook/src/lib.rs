//! The delivery of new messages to an HTTP endpoint: at least once, each channel's in order, signed, without end.
//!
//! # What it promises
//! * A message that is acknowledged after [`Outbox::marked`] is sent until the endpoint accepts it, whatever dies in
//!   between, or is told to it as a gap where the mailbox trimmed it first.
//! * A channel's batches come in order. A batch that comes again has the id that it had: what was seen before can be
//!   told by its id alone.
//! * A channel that is hooked for the first time begins with the first message that is published then.
//! * An endpoint that is away costs publishers nothing, and is asked less and less often, up to every five minutes.
//!
//! # How
//! Three kinds of documents stand beside the mailbox's logs, each changed by a verified swap.
//!
//! 1. A channel's *progress*: the place behind the last message that was accepted, and the batch that is being sent.
//!    A batch is written down before it is sent for the first time, and sent as it was written until it is accepted:
//!    so all who ever send it send the same, under the same id. Its acceptance moves the place from exactly where the
//!    batch began: of two who deliver the same, one moves it.
//! 2. The *index* names the channels that may have something to be sent. Before a message is acknowledged its channel
//!    stands there. It is taken out in two steps: who finds nothing more to send writes down that it is about to
//!    close the entry, under a number drawn for it, looks once more, and takes the entry out only where it still has
//!    that number. A publisher who finds an entry about to be closed opens it again. So a publisher who finds it
//!    open knows that whoever closes it will look after the message was stored.
//! 3. The *lease* says who delivers. One instance delivers all channels, a few at a time: the endpoint is one, and so is
//!    the pace at which it is asked. The holder counts the lease up; who saw it stand still for [`DEAD_MS`] of its own
//!    clock takes it. Nothing but effort depends on it: two who deliver at once send the same batches.
//!
//! Who publishes where the progress is not there yet writes it *before* the message is stored, as the end of the log:
//! so nobody's first message stands before the place where another began.
//!
//! An instance that publishes, or that is asked to, runs an *agent* until the index is empty: it delivers, or watches
//! who does. Hints tell a holder of channels that others put into the index, and may be lost.

mod agent;
mod answer;
mod batch;
mod endpoint;
mod index;
mod lease;
mod outbox;
mod pace;
mod progress;

pub use answer::Answer;
pub use batch::Batch;
pub use endpoint::{BadEndpoint, Endpoint};
pub use index::SHARDS;
pub use outbox::Outbox;

/// The most messages of one batch.
pub const MOST_MESSAGES: usize = 100;
/// A batch is closed once it holds so many bytes of bodies; one body may exceed it by 65,536.
pub const MOST_BYTES: usize = 256 * 1024;
/// The most channels that are sent at once. More: a burst of channels takes as many connections; fewer: one channel whose
/// endpoint answers slowly slows the others.
pub const MOST_AT_ONCE: usize = 8;
/// How often a holder counts its lease up.
pub const BEAT_MS: u64 = 2_000;
/// A lease that stood still for so long while it was looked at is nobody's. Shorter: who is slow is taken over from, and
/// batches are sent twice; longer: what a dead instance left waits as long.
pub const DEAD_MS: u64 = 8_000;
/// How often others look at the lease.
pub const LOOK_MS: u64 = 1_500;
/// A lease that was counted up so long ago, by the clocks of two instances, is nobody's at first sight: where instances
/// live for a second only, none of them is there to see it stand still. Who errs sends a batch twice.
pub const ANCIENT_MS: u64 = 60_000;
/// The index is read again after so long, whatever hints came.
pub const BACKUP_MS: u64 = 5_000;
/// How long to wait after a first failure; each further one doubles it.
pub const FIRST_WAIT_MS: u64 = 1_000;
/// The longest wait between two attempts.
pub const LONGEST_WAIT_MS: u64 = 300_000;
/// The longest wait that an endpoint may ask for by `Retry-After`. Longer: a slip of the endpoint's stops all for as long.
pub const LONGEST_ASKED_MS: u64 = 3_600_000;

/// Time, chance, tasks and hints.
#[expect(
    async_fn_in_trait,
    reason = "single-threaded by design: no future here need be Send"
)]
pub trait World: mailbox::Env {
    /// What a hint ends the waiting of.
    type Watch;
    /// Milliseconds that only go forward.
    fn uptime(&self) -> u64;
    /// A watch that counts from now.
    fn watch(&self) -> Self::Watch;
    /// Tells all watches that the index has changed, if they can be told.
    fn notify(&self);
    /// Waits for a hint since the last wait, for at most so long. `idle` is how many waits in a row brought nothing.
    async fn hinted(&self, watch: &Self::Watch, idle: u32, wait_ms: u32);
}

/// Who the messages go to.
#[expect(
    async_fn_in_trait,
    reason = "single-threaded by design: no future here need be Send"
)]
pub trait Receiver {
    /// Which one: of another name, what an earlier one said counts no more. Not empty.
    fn name(&self) -> String;
    /// Whether a channel's messages go there. What does not is dropped from the index.
    fn takes(&self, channel: &str) -> bool;
    /// Sends a batch, and takes no longer than some 20 seconds for it.
    async fn send(&self, batch: &Batch) -> Answer;
}
