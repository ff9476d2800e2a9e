//! What people do: they type, and they read.

use crate::documents::{self, Directory, Marks, Typist};
use crate::instance::{Inner, Presence, directory_name};
use crate::{TYPING_MS, World};
use futures::lock::Mutex;
use mailbox::{Store, StoreError};
use protocol::{Mark, Person};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Who says to be typing is written down at most so often. Longer than half of what it lasts: it lapses between.
const SAID_MS: u64 = 2_000;
/// How long somebody who typed is kept in the directory behind what it lasts, for clocks that disagree.
const KEPT_MS: u64 = 60_000;

/// What moves in a channel.
#[derive(Default)]
pub(crate) struct Moves {
    /// Marks that are not known to be stored, by the log's incarnation.
    pending: RefCell<BTreeMap<u64, BTreeMap<String, Mark>>>,
    writing: Mutex<()>,
    /// As they were written last.
    marks: RefCell<Marks>,
}

impl Moves {
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.borrow().is_empty()
    }
}

impl<S: Store + 'static, W: World + 'static> Presence<S, W> {
    /// Somebody is typing; or not any more, where it is `over`. Lapses after [`TYPING_MS`].
    ///
    /// # Errors
    /// The store failed.
    pub async fn typing(
        &self,
        channel: &str,
        person: &Person,
        over: bool,
    ) -> Result<(), StoreError> {
        let inner = &self.0;
        let wall = inner.world.now();
        let typist = (!over).then(|| Typist {
            sender: person.sender.clone(),
            name: person.name.clone(),
            said: inner.world.random(),
            until: wall + TYPING_MS,
        });
        let said = |directory: &mut Directory| {
            let known = directory.typist(&person.sender).zip(typist.as_ref());
            if known.is_none_or(|(known, new)| known.until + SAID_MS <= new.until) {
                directory.say(&person.sender, typist.clone(), wall.saturating_sub(KEPT_MS));
            }
        };
        inner.say(channel, said).await
    }

    /// These have sent messages, and are not typing them any more.
    ///
    /// # Errors
    /// The store failed.
    pub async fn spoke(&self, channel: &str, senders: &BTreeSet<String>) -> Result<(), StoreError> {
        let inner = &self.0;
        let oldest = inner.world.now().saturating_sub(KEPT_MS);
        let said = |directory: &mut Directory| {
            for sender in senders {
                directory.say(sender, None, oldest);
            }
        };
        inner.say(channel, said).await
    }

    /// Moves somebody's mark forward in the log of this incarnation; how far it is, over all devices. Calls that wait
    /// together are written together.
    ///
    /// # Errors
    /// The store failed; the mark may move or not.
    pub async fn mark(
        &self,
        channel: &str,
        sender: &str,
        epoch: u64,
        mark: Mark,
    ) -> Result<Mark, StoreError> {
        let inner = &self.0;
        let channel = inner.channel(channel);
        let moves = &channel.moves;
        {
            let mut pending = moves.pending.borrow_mut();
            let known = pending
                .entry(epoch)
                .or_default()
                .entry(sender.to_owned())
                .or_default();
            *known = known.furthest(mark);
        }
        let _turn = moves.writing.lock().await;
        let batch = moves.pending.borrow().get(&epoch).cloned();
        // Whoever went before may have taken this one along.
        if let Some(batch) = batch {
            let name = marks_name(&channel.name);
            let mut moved = false;
            let written = inner
                .documents
                .update(&name, |old| {
                    let mut marks: Marks = documents::decode(old);
                    let change = marks.advance(epoch, &batch);
                    let encoded = change.then(|| documents::encode(&marks));
                    *moves.marks.borrow_mut() = marks;
                    moved |= change;
                    Ok::<_, StoreError>(encoded)
                })
                .await;
            if moved {
                channel.view.borrow_mut().outdate();
                inner.notify(&channel.name);
            }
            // What is not known to be stored is tried again by the next one.
            written?;
            let mut pending = moves.pending.borrow_mut();
            if let Some(waiting) = pending.get_mut(&epoch) {
                waiting.retain(|sender, mark| batch.get(sender) != Some(mark));
                if waiting.is_empty() {
                    pending.remove(&epoch);
                }
            }
        }
        Ok(moves.marks.borrow().get(sender).furthest(mark))
    }
}

impl<S: Store + 'static, W: World + 'static> Inner<S, W> {
    /// Changes who types.
    async fn say(&self, channel: &str, said: impl Fn(&mut Directory)) -> Result<(), StoreError> {
        let mut moved = false;
        let name = directory_name(channel);
        self.documents
            .update(&name, |old| {
                let mut directory: Directory = documents::decode(old);
                let before = directory.typing.clone();
                said(&mut directory);
                let changed = directory.typing != before;
                moved |= changed;
                Ok::<_, StoreError>(changed.then(|| documents::encode(&directory)))
            })
            .await?;
        if moved {
            self.channel(channel).view.borrow_mut().outdate();
            self.notify(channel);
        }
        Ok(())
    }
}

/// The name of the document of a channel's marks: [`Marks`].
#[must_use]
pub fn marks_name(channel: &str) -> String {
    format!("marks/{channel}")
}
