//! What one instance sees of a channel.

use crate::documents::{self, Directory, Lease, Marks, Roster};
use crate::instance::{Channel, Inner, Presence, directory_name, lease_key, roster_key};
use crate::leases::Verdict;
use crate::live::marks_name;
use crate::{BACKUP_MS, BEAT_MS, PACE_MS, TYPING_MS, World};
use mailbox::{Store, StoreError};
use protocol::{Mark, State};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A directory is read again so often where what it names is not there: it moves on meanwhile.
const ATTEMPTS: usize = 4;
/// What lapsed by so much, by the clocks of two instances, is not shown to who sees it for the first time; they may
/// disagree by as much, in milliseconds.
const LAPSED_MS: u64 = 10_000;

/// The state of a channel as it is seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The state.
    pub state: Rc<State>,
    /// Its digest.
    pub digest: String,
    /// It may be another without a hint after so many milliseconds: look again.
    pub again_ms: u64,
}

/// What is known of a channel.
#[derive(Default)]
pub(crate) struct View {
    /// When the reading began that this is of; none: something was told since.
    read: Option<u64>,
    /// How often this instance told something.
    told: u64,
    directory: Directory,
    /// Rosters, each with its revision.
    rosters: BTreeMap<String, (u64, Roster)>,
    /// A roster is missing.
    is_torn: bool,
    marks: BTreeMap<String, Mark>,
    marks_read: Vec<u8>,
    /// When each saying was seen first.
    said: BTreeMap<u64, u64>,
    state: Rc<State>,
    digest: String,
}

impl View {
    /// Something was written that it may not have.
    pub(crate) fn outdate(&mut self) {
        self.read = None;
        self.told += 1;
    }
}

impl<S: Store + 'static, W: World + 'static> Presence<S, W> {
    /// The state of a channel, as it was told to who waited for a hint: `hinted`, there may be news of any kind; else
    /// only time has passed. Make a watch of the [`key`] first, then look, then wait.
    ///
    /// # Errors
    /// The store failed.
    pub async fn look(&self, channel: &str, hinted: bool) -> Result<Seen, StoreError> {
        let inner = &self.0;
        let channel = inner.channel(channel);
        let _turn = channel.reading.lock().await;
        let age = channel.age(inner.world.uptime());
        if hinted && let Some(rest) = age.and_then(|age| PACE_MS.checked_sub(age)) {
            inner.world.sleep(rest as u32).await;
        }
        inner
            .see(&channel, if hinted { 0 } else { BACKUP_MS })
            .await
    }

    /// The state of a channel with all that was told by this instance, at most [`PACE_MS`] old.
    ///
    /// # Errors
    /// The store failed.
    pub async fn now(&self, channel: &str) -> Result<Seen, StoreError> {
        let inner = &self.0;
        inner.write(channel).await?;
        let channel = inner.channel(channel);
        let _turn = channel.reading.lock().await;
        inner.see(&channel, PACE_MS).await
    }
}

impl Channel {
    /// How old what is known is.
    fn age(&self, now: u64) -> Option<u64> {
        let read = self.view.borrow().read;
        read.map(|read| now.saturating_sub(read))
    }
}

impl<S: Store + 'static, W: World + 'static> Inner<S, W> {
    /// Sees a channel as it was at most so long ago.
    async fn see(&self, channel: &Channel, oldest: u64) -> Result<Seen, StoreError> {
        let now = self.world.uptime();
        let directory = {
            let view = channel.view.borrow();
            let is_old = channel.age(now).is_none_or(|age| age >= oldest);
            (!is_old && !view.is_torn).then(|| view.directory.clone())
        };
        let is_known = match directory {
            Some(directory) => self.judge(&directory).await?,
            None => false,
        };
        if !is_known {
            self.read(channel).await?;
        }
        self.sweep(channel).await;
        Ok(self.told(channel))
    }

    /// Reads all that is not known.
    async fn read(&self, channel: &Channel) -> Result<(), StoreError> {
        let begun = self.world.uptime();
        let told = channel.view.borrow().told;
        let known_as = channel.known_as();
        for attempt in 1.. {
            let name = directory_name(&channel.name);
            let directory: Directory =
                documents::decode(self.documents.read(&name).await?.as_deref());
            if !self.judge(&directory).await? {
                continue;
            }
            let is_whole = self.rosters(channel, &directory).await?;
            if !is_whole && attempt < ATTEMPTS {
                continue;
            }
            let mut view = channel.view.borrow_mut();
            view.is_torn = !is_whole;
            view.rosters
                .retain(|name, _| directory.instances.contains_key(name));
            view.directory = directory;
            break;
        }
        // Only one who was told as here, before and after, was swept.
        if known_as.is_some()
            && known_as == channel.known_as()
            && let Some(name) = known_as
            && !channel
                .view
                .borrow()
                .directory
                .instances
                .contains_key(&name)
            && self.is_own(&name)
        {
            self.renew();
        }
        let marks = self
            .documents
            .read(&marks_name(&channel.name))
            .await?
            .unwrap_or_default();
        let mut view = channel.view.borrow_mut();
        if marks != view.marks_read {
            view.marks = documents::decode::<Marks>(Some(&marks)).by_sender();
            view.marks_read = marks;
        }
        view.read = (view.told == told).then_some(begun);
        Ok(())
    }

    /// Looks at the leases of others where that is due; whether the directory may be taken for true behind it: not where
    /// one of them told something, nor where one was found dead, whose people may be elsewhere by now.
    async fn judge(&self, directory: &Directory) -> Result<bool, StoreError> {
        let mut is_true = true;
        for name in directory.instances.keys() {
            let now = self.world.uptime();
            if self.is_own(name) || !self.leases.borrow().is_due(name, now) {
                continue;
            }
            let lease = self.store.get(&lease_key(name)).await?;
            let lease: Option<Lease> = lease.map(|lease| documents::decode(Some(&lease)));
            let now = self.world.uptime();
            let wall = self.world.now();
            is_true &= !self.leases.borrow_mut().look(name, lease, now, wall);
        }
        Ok(is_true)
    }

    /// Reads the rosters that a directory names and that are not known; whether none is missing.
    async fn rosters(&self, channel: &Channel, directory: &Directory) -> Result<bool, StoreError> {
        let mut is_whole = true;
        for (name, revision) in &directory.instances {
            let known = channel.view.borrow().rosters.get(name).map(|known| known.0);
            if known == Some(*revision) || self.verdict(name) != Verdict::Alive {
                continue;
            }
            let roster = self
                .store
                .get(&roster_key(&channel.name, name, *revision))
                .await?;
            match roster {
                Some(roster) => {
                    let roster = documents::decode(Some(&roster));
                    let mut view = channel.view.borrow_mut();
                    view.rosters.insert(name.clone(), (*revision, roster));
                }
                None => is_whole = false,
            }
        }
        Ok(is_whole)
    }

    fn verdict(&self, name: &str) -> Verdict {
        if self.is_own(name) {
            return Verdict::Alive;
        }
        self.leases.borrow().verdict(name)
    }

    /// Takes those out of a directory who are dead. What fails is done by whoever finds them next.
    async fn sweep(&self, channel: &Channel) {
        let dead: BTreeMap<String, u64> = {
            let view = channel.view.borrow();
            let instances = view.directory.instances.iter();
            instances
                .filter(|(name, _)| self.verdict(name) == Verdict::Dead)
                .map(|(name, revision)| (name.clone(), *revision))
                .collect()
        };
        if dead.is_empty() {
            return;
        }
        let swept = async {
            for (name, &revision) in &dead {
                self.store.delete(&lease_key(name)).await?;
                // It may have died while it wrote the next one.
                for revision in [revision, revision + 1] {
                    self.store
                        .delete(&roster_key(&channel.name, name, revision))
                        .await?;
                }
            }
            let name = directory_name(&channel.name);
            self.documents
                .update(&name, |old| {
                    let mut directory: Directory = documents::decode(old);
                    let before = directory.instances.len();
                    directory
                        .instances
                        .retain(|name, revision| dead.get(name) != Some(revision));
                    let changed = directory.instances.len() != before;
                    Ok::<_, StoreError>(changed.then(|| documents::encode(&directory)))
                })
                .await
        };
        let swept: Result<(), StoreError> = swept.await;
        if swept.is_ok() {
            let mut view = channel.view.borrow_mut();
            view.directory
                .instances
                .retain(|name, revision| dead.get(name) != Some(revision));
            self.notify(&channel.name);
        }
    }

    /// Puts together what is known.
    fn told(&self, channel: &Channel) -> Seen {
        let now = self.world.uptime();
        let wall = self.world.now();
        let mut view = channel.view.borrow_mut();
        let view = &mut *view;
        let mut state = State {
            marks: view.marks.clone(),
            ..State::default()
        };
        for (name, (_, roster)) in &view.rosters {
            let is_here = view.directory.instances.contains_key(name);
            if is_here && self.verdict(name) == Verdict::Alive {
                state.here.extend(roster.here.iter().cloned());
                state.others += roster.others;
            }
        }
        let mut again = view.read.map_or(now + PACE_MS, |read| read + BACKUP_MS);
        let typing = &view.directory.typing;
        view.said
            .retain(|said, _| typing.iter().any(|typist| typist.said == *said));
        for typist in typing {
            let lapses = *view.said.entry(typist.said).or_insert(now) + TYPING_MS;
            if lapses > now && typist.until + LAPSED_MS > wall {
                state
                    .typing
                    .insert(typist.sender.clone(), typist.name.clone());
                again = again.min(lapses);
            }
        }
        if view.is_torn {
            again = again.min(now + PACE_MS);
        }
        let names = view.directory.instances.keys();
        if names.len() > 0 {
            again = again.min(now + BEAT_MS);
        }
        again = again.min(self.leases.borrow().next(names).unwrap_or(again));
        if view.digest.is_empty() || state != *view.state {
            view.digest = state.digest();
            view.state = Rc::new(state);
        }
        Seen {
            state: Rc::clone(&view.state),
            digest: view.digest.clone(),
            again_ms: again.saturating_sub(now),
        }
    }
}
