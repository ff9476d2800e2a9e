//! The channel log over a key-value store, without clock, randomness or I/O of its own.
//!
//! # What it promises
//! * A message whose publisher has a [`Receipt`] is in the store, and every reader of the channel meets it
//!   once, in the one order of the offsets, or is told a [`Gap`] that covers it.
//! * Offsets begin at 1 and are dense: no holes, so no reader ever waits for a writer that died.
//! * The same id of the same sender is stored once while the window holds it, and for
//!   [`Window::id_age_ms`] whatever the window's count.
//!
//! # How
//! A channel has a *pointer*, which names its epoch; under the epoch one *tail document*, and *segments*.
//!
//! 1. The tail holds the newest messages, where the window begins and how far deletion got. A publish is
//!    one compare-and-swap of it. A reader that keeps up reads it and nothing else.
//! 2. Segments are immutable. One is written *before* the swap that drops its messages from the tail, and
//!    a swap drops only messages that were already in the document it read. Where a segment ends depends
//!    on its messages alone: all writers that ever write it write the same.
//! 3. No outcome of a swap is believed. The tail is read again, and the attempt looks for the last message
//!    of its batch, by `(sender, id)` and tag, at its offset: in the tail or, where that has moved on, in a
//!    segment. A tag covers the tag before it, so equal tags tell of equal logs up to there, and of the
//!    whole batch.
//! 4. An attempt reads the tail first, then the older ids; and again after each lost swap. Only where this instance wrote
//!    the tail last, and holds it since that was verified, and where it and the ids up to it say that all is new and has
//!    room, the first attempt goes on from that one unread: a swap that is won was made where it still stood, so what
//!    they say is true. One of which anything else is said is not verified: on a tail that was not read, the same
//!    messages may have followed long ago, and gone.
//! 5. The window begins later only by a verified swap; deletion follows, of segments that the document
//!    names as doomed, and the document forgets them only after that.
//! 6. A birth is an election: `increment(pointer, 0)` makes an integer key without overwriting one, a
//!    candidate writes its empty tail under a random epoch, swaps the pointer from 0 to it and reads it
//!    again. The pointer decides. Readers cause no birth.
//! 7. What the store has lost is told as a gap. A segment: the next publish that misses it begins the window behind all
//!    segments. A tail: the next publish has another epoch elected in the place of its own. A pointer: who cuts a segment
//!    looks whether it is there, and sets it again. A reader that misses one meanwhile is told that the store is at
//!    fault.
//!
//! # What it asks of the store
//! Linearizable reads, and a swap that replaces an existing value only where it is as it was read for that.
//! What a swap *answers* may be wrong, and every operation may fail before or after its effect.

mod birth;
mod codec;
mod documents;
mod ids;
mod integers;
mod known;
mod lane;
mod log;
mod publish;
mod read;
mod retention;

pub use documents::Documents;
use futures::future::LocalBoxFuture;
pub use integers::Integers;
pub use lane::yield_once;
pub use retention::{BadRetention, Retention};
use std::collections::HashMap;
use std::rc::Rc;
use std::{cell::RefCell, fmt};

/// The largest body, in bytes.
pub const LARGEST_BODY: usize = 65_536;

/// Where the log is kept. Keys have at most 120 bytes of printable ASCII.
#[expect(
    async_fn_in_trait,
    reason = "single-threaded by design: no future here need be Send"
)]
pub trait Store {
    /// What it takes to replace a value: `wasi:keyvalue`'s `cas`.
    type Held;
    /// The value of a key.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// The same, to be replaced, now or much later.
    async fn hold(&self, key: &str) -> Result<Option<(Vec<u8>, Self::Held)>, StoreError>;
    /// Writes a value whatever was there.
    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError>;
    /// Removes a key; nothing where it is absent.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;
    /// Adds to an integer key, which begins at 0, and answers the sum.
    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError>;
    /// Replaces a value where it equals what was read when it was held. The outcome is a hint.
    async fn swap(&self, held: Self::Held, value: &[u8]) -> Result<Swap, StoreError>;
}

/// What a store says of a swap. Some say `Lost` of one that was won, so nobody is told by it that anything is stored, or
/// is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The value was replaced.
    Won,
    /// It was another.
    Lost,
}

/// A store that failed, and in what words. The operation may have had its effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Time, chance and tasks.
#[expect(
    async_fn_in_trait,
    reason = "single-threaded by design: no future here need be Send"
)]
pub trait Env {
    /// Milliseconds since 1970; may jump either way.
    fn now(&self) -> u64;
    /// 64 random bits.
    fn random(&self) -> u64;
    /// Waits.
    async fn sleep(&self, ms: u32);
    /// How much of a channel is kept, where that is not the [`Window`]'s. Writers need not agree on it: what one
    /// lets go is gone for all.
    fn retention(&self, _channel: &str) -> Option<Retention> {
        None
    }
    /// Runs a task to its end, or until the instance dies: a publisher that goes away takes with it
    /// nothing that others wait for.
    fn spawn(&self, task: LocalBoxFuture<'static, ()>);
}

/// How much of a channel is kept.
#[derive(Clone, Debug)]
pub struct Window {
    /// What is kept of a channel that [`Env::retention`] says nothing of.
    pub retention: Retention,
    /// Ids are remembered at least so long, whatever the window, in milliseconds. Shorter than a client
    /// keeps retrying: messages double.
    pub id_age_ms: u64,
    /// The tail is cut before it exceeds this. Larger: each publish writes more; smaller: readers that
    /// lag a little read segments. All writers of a store must agree on this and the next.
    pub tail_messages: usize,
    /// The same in bytes.
    pub tail_bytes: usize,
    /// A page is closed once it holds so many bytes of messages.
    pub page_bytes: usize,
    /// How many ids an instance knows of all channels together, some 45 bytes each, before it forgets those of all but
    /// one. More: more memory; fewer: more reads where many full channels are published to.
    pub ids: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            retention: Retention {
                messages: 1_000,
                age_ms: 24 * 60 * 60 * 1_000,
            },
            id_age_ms: 10 * 60 * 1_000,
            tail_messages: 64,
            tail_bytes: 64 * 1024,
            page_bytes: 64 * 1024,
            ids: 1_500_000,
        }
    }
}

/// A message that is not stored yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// At most 255 bytes; random enough that the sender never draws one twice.
    pub id: String,
    /// At most 255 bytes.
    pub sender: String,
    /// At most 32,767 bytes.
    pub name: String,
    /// At most [`LARGEST_BODY`] bytes, opaque.
    pub body: String,
    /// The message that this one is about.
    pub refers: Option<Refers>,
}

/// That a message is about another of its channel. What it means is the caller's; nothing here looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refers {
    /// How.
    pub kind: u8,
    /// Which.
    pub offset: u64,
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number in the channel, from 1.
    pub offset: u64,
    /// The sender's id for it.
    pub id: String,
    /// Who sent it.
    pub sender: String,
    /// What the sender is called.
    pub name: String,
    /// Milliseconds since 1970; never less than the message before.
    pub sent_at: u64,
    /// The body as it was given.
    pub body: String,
    /// The message that this one is about, as it was given.
    pub refers: Option<Refers>,
}

/// A place in a channel: behind the message with this offset, or before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// The log's incarnation; 0: the channel was not born when this was taken.
    pub epoch: u64,
    /// The offset of the last message before this place.
    pub offset: u64,
    /// A digest of that message; 0 before the first.
    pub tag: u32,
}

/// That a message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where.
    pub offset: u64,
    /// It had been stored before; or, in a store that now and then says `Lost` of a swap that it won, perhaps just now.
    pub duplicate: bool,
}

/// Why a message is not known to be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The sender used this id before, for another body.
    #[error("the id was used for another body")]
    IdReused,
    /// The draft is over a limit.
    #[error("the message is too large")]
    TooLarge,
    /// The store failed or is too contended; the message may or may not be stored. The same id again is safe.
    #[error("{0}")]
    Unavailable(String),
}

/// The store failed; nothing is known, and the place stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(pub String);

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the end.
    Live,
    /// So many messages before the end.
    Newest(u32),
    /// Behind this place.
    After(Position),
}

/// Messages that a reader will not see: those after one offset up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last offset that it may have seen.
    pub after: u64,
    /// The offset behind which it goes on.
    pub resumed: u64,
}

/// Messages in order, without holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What is missing before the page.
    pub gap: Option<Gap>,
    /// Just before the first message.
    pub from: Position,
    /// Each with the place behind it.
    pub messages: Vec<(Position, Message)>,
    /// Where the next page begins.
    pub next: Position,
    /// There is more now.
    pub more: bool,
}

/// Messages before some offset, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Without holes.
    pub messages: Vec<Message>,
    /// Read on before this offset; none: the window begins here.
    pub before: Option<u64>,
}

/// The logs of all channels in one store, as one instance sees them. Cheap to clone.
pub struct Mailbox<S: Store, E>(Rc<Inner<S, E>>);

impl<S: Store, E> Clone for Mailbox<S, E> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: Store, E> fmt::Debug for Mailbox<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

struct Inner<S: Store, E> {
    store: S,
    env: E,
    window: Window,
    /// Caches and queues, by channel. All can be dropped at any time but for publishes under way.
    channels: RefCell<HashMap<String, Rc<Channel>>>,
    /// What was elected of documents: it never changes, unless the store is wiped.
    documents: RefCell<HashMap<String, u64>>,
    known: RefCell<known::Known<S::Held>>,
}

/// What an instance remembers of a channel.
#[derive(Default)]
struct Channel {
    /// Decided once and for all, unless the store was wiped.
    epoch: std::cell::Cell<Option<u64>>,
    ids: RefCell<ids::Ids>,
    lane: RefCell<lane::Lane>,
}

/// More channels, or documents, than this and the caches start anew.
const MOST_CHANNELS: usize = 10_000;

impl<S: Store + 'static, E: Env + 'static> Mailbox<S, E> {
    /// All writers of one store use the same window.
    pub fn new(store: S, env: E, window: Window) -> Self {
        Self(Rc::new(Inner {
            store,
            env,
            window,
            channels: RefCell::default(),
            documents: RefCell::default(),
            known: RefCell::default(),
        }))
    }

    /// Stores drafts in their order, as one step of the log where that is possible. Calls that wait
    /// together go into one swap, in the order of their first polls.
    pub async fn publish(
        &self,
        channel: &str,
        drafts: Vec<Draft>,
    ) -> Vec<Result<Receipt, PublishError>> {
        lane::publish(&self.0, channel, drafts).await
    }

    /// Where a draft was stored before, if it was, and is remembered. Stores nothing.
    ///
    /// # Errors
    /// As [`Self::publish`] for such a draft.
    pub async fn stored(
        &self,
        channel: &str,
        draft: &Draft,
    ) -> Result<Option<Receipt>, PublishError> {
        self.0.stored(channel, draft).await
    }

    /// What stands behind a place, at most `limit` messages and about [`Window::page_bytes`].
    ///
    /// # Errors
    /// The store failed.
    pub async fn read(&self, channel: &str, start: Start, limit: u32) -> Result<Page, ReadError> {
        self.0.read(channel, start, limit).await
    }

    /// The last `limit` messages below an offset, or of all.
    ///
    /// # Errors
    /// The store failed.
    pub async fn history(
        &self,
        channel: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<History, ReadError> {
        self.0.history(channel, before, limit).await
    }

    /// The documents beside the logs.
    #[must_use]
    pub fn documents(&self) -> Documents<S, E> {
        Documents::new(&self.0)
    }

    /// 32 random bytes on which all instances agree, drawn at the first call ever.
    ///
    /// # Errors
    /// The store failed.
    pub async fn secret(&self, name: &str) -> Result<[u8; 32], ReadError> {
        Ok(self.0.secret(name).await?)
    }
}

impl<S: Store, E: Env> Inner<S, E> {
    fn retention(&self, channel: &str) -> Retention {
        let own = self.env.retention(channel);
        own.unwrap_or(self.window.retention)
    }
}

impl<S: Store, E> Inner<S, E> {
    fn channel(&self, name: &str) -> Rc<Channel> {
        let mut channels = self.channels.borrow_mut();
        if let Some(channel) = channels.get(name) {
            return Rc::clone(channel);
        }
        if channels.len() >= MOST_CHANNELS {
            channels.retain(|_, channel| !channel.lane.borrow().is_idle());
        }
        Rc::clone(channels.entry(name.to_owned()).or_default())
    }
}

/// Whether two values are equal. As `==`, whose library function goes byte by byte where this is WebAssembly: for a
/// tail that takes longer than all else that is done with it.
pub(crate) fn equal(one: &[u8], other: &[u8]) -> bool {
    let (ones, one_left) = one.as_chunks::<8>();
    let (others, other_left) = other.as_chunks::<8>();
    let word = |chunk: &[u8; 8]| u64::from_le_bytes(*chunk);
    one.len() == other.len()
        && ones
            .iter()
            .zip(others)
            .all(|(one, other)| word(one) == word(other))
        && one_left == other_left
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self(error.0)
    }
}

#[cfg(test)]
mod tests {
    use super::equal;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equal_is_what_the_operator_says(
            one: Vec<u8>,
            other in prop::option::of(any::<Vec<u8>>()),
            changed: prop::sample::Index,
            bit in 0_u8..8,
        ) {
            let mut other = other.unwrap_or_else(|| one.clone());
            prop_assert_eq!(equal(&one, &other), one == other);
            if !other.is_empty() {
                let at = changed.index(other.len());
                other[at] ^= 1 << bit;
            }
            prop_assert_eq!(equal(&one, &other), one == other);
        }
    }
}
