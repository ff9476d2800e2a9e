//! What publishers do so that nothing is forgotten.

use crate::index::{self, Shard};
use crate::progress::{self, Progress};
use crate::{Receiver, SHARDS, World, agent};
use futures::future::try_join_all;
use mailbox::{Documents, Mailbox, Start, Store, StoreError};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::rc::Rc;

/// More channels than this and what is known of them is forgotten.
const MOST_KNOWN: usize = 10_000;

/// The messages that are to be sent, as one instance sees them. Cheap to clone.
pub struct Outbox<S: Store, E, R>(Rc<Inner<S, E, R>>);

impl<S: Store, E, R> Clone for Outbox<S, E, R> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: Store, E, R> fmt::Debug for Outbox<S, E, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

pub(crate) struct Inner<S: Store, E, R> {
    pub(crate) mailbox: Mailbox<S, E>,
    pub(crate) documents: Documents<S, E>,
    pub(crate) world: E,
    pub(crate) receiver: R,
    /// Channels whose progress is written: it stays.
    hooked: RefCell<HashSet<String>>,
    pub(crate) running: Cell<bool>,
    /// Something came while the agent was about to end.
    pub(crate) again: Cell<bool>,
}

impl<S: Store + 'static, E: World + 'static, R: Receiver + 'static> Outbox<S, E, R> {
    /// Of what is published in this mailbox.
    pub fn new(mailbox: Mailbox<S, E>, world: E, receiver: R) -> Self {
        Self(Rc::new(Inner {
            documents: mailbox.documents(),
            mailbox,
            world,
            receiver,
            hooked: RefCell::default(),
            running: Cell::default(),
            again: Cell::default(),
        }))
    }

    /// Whether a channel's messages are to be sent.
    #[must_use]
    pub fn takes(&self, channel: &str) -> bool {
        self.0.receiver.takes(channel)
    }

    /// To be called before a message is stored: all that is stored from now on is sent. One read at the first call for a
    /// channel, and nothing later.
    ///
    /// # Errors
    /// The store failed; nothing is to be stored then.
    pub async fn hook(&self, channel: &str) -> Result<(), StoreError> {
        let inner = &self.0;
        if inner.hooked.borrow().contains(channel) {
            return Ok(());
        }
        let name = progress::name(channel);
        if inner.documents.read(&name).await?.is_none() {
            let end = inner.mailbox.read(channel, Start::Live, 1).await;
            let end = end.map_err(|error| StoreError(error.0))?.next;
            let begin = |old: Option<&[u8]>| -> Result<_, StoreError> {
                let first = || index::written(&Progress::up_to(end));
                Ok(old.is_none().then(first))
            };
            inner.documents.update(&name, begin).await?;
        }
        let mut hooked = inner.hooked.borrow_mut();
        if hooked.len() >= MOST_KNOWN {
            hooked.clear();
        }
        hooked.insert(channel.to_owned());
        Ok(())
    }

    /// To be called after a message was stored, or found to be, and before that is told to anybody: it will be sent,
    /// whatever dies from now on. One read where the channel waits already.
    ///
    /// # Errors
    /// The store failed: the message is stored, and it is not known that it will be sent. Who sends it again comes here
    /// again.
    pub async fn marked(&self, channel: &str) -> Result<(), StoreError> {
        let marked = self.mark(channel).await;
        // Also where it is not known: it may stand there.
        self.wake();
        marked
    }

    async fn mark(&self, channel: &str) -> Result<(), StoreError> {
        let inner = &self.0;
        let name = index::name(index::shard_of(channel));
        let content = inner.documents.read(&name).await?;
        if index::read::<Shard>(&name, content.as_deref())?.is_open(channel) {
            return Ok(());
        }
        let open = |old: Option<&[u8]>| -> Result<_, StoreError> {
            let mut shard: Shard = index::read(&name, old)?;
            let opened = shard.open(channel);
            Ok(opened.then(|| index::written(&shard)))
        };
        inner.documents.update(&name, open).await?;
        inner.world.notify();
        Ok(())
    }

    /// Has the agent run, if it does not. It ends by itself when there is nothing left.
    pub fn wake(&self) {
        let inner = &self.0;
        inner.again.set(true);
        if !inner.running.replace(true) {
            inner.world.spawn(Box::pin(agent::run(Rc::clone(inner))));
        }
    }

    /// How many channels may have something to be sent.
    ///
    /// # Errors
    /// The store failed.
    pub async fn pending(&self) -> Result<usize, StoreError> {
        Ok(self.0.listed().await?.len())
    }

    /// Whether the agent runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.0.running.get()
    }
}

impl<S: Store + 'static, E: World + 'static, R> Inner<S, E, R> {
    /// The channels in the index.
    pub(crate) async fn listed(&self) -> Result<BTreeSet<String>, StoreError> {
        let shards = (0..SHARDS).map(|shard| async move {
            let name = index::name(shard);
            let content = self.documents.read(&name).await?;
            index::read::<Shard>(&name, content.as_deref())
        });
        let shards = try_join_all(shards).await?;
        Ok(shards
            .into_iter()
            .flat_map(|shard| shard.channels.into_keys())
            .collect())
    }
}
