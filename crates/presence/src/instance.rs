//! What one instance tells the others: who attends here, and that it lives.

use crate::documents::{self, Directory, Lease};
use crate::leases::Leases;
use crate::live::Moves;
use crate::observe::View;
use crate::roster::Local;
use crate::{BEAT_MS, DEAD_MS, GRACE_MS, PACE_MS, World, key};
use futures::future;
use futures::lock::Mutex;
use mailbox::{Documents, Store, StoreError};
use protocol::Person;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

/// Rosters that are written at once. More: the lease waits for them; fewer: many channels take long.
const AT_ONCE: usize = 32;
/// What was not counted up for so long is taken for dead by others, sooner or later, in milliseconds.
const SLEPT_MS: u64 = DEAD_MS - 1_000;
/// More channels than this, and those in which nobody is are forgotten.
const MOST_CHANNELS: usize = 10_000;

/// The live state of all channels, as one instance knows it. Cheap to clone.
pub struct Presence<S: Store, W>(pub(crate) Rc<Inner<S, W>>);

pub(crate) struct Inner<S: Store, W> {
    pub(crate) store: S,
    pub(crate) documents: Documents<S, W>,
    pub(crate) world: W,
    own: RefCell<Own>,
    beating: Mutex<()>,
    pub(crate) leases: RefCell<Leases>,
    channels: RefCell<BTreeMap<String, Rc<Channel>>>,
}

/// What the instance is to itself.
#[derive(Default)]
struct Own {
    /// As directories name it; drawn when it is needed.
    name: String,
    /// Names that it had, whose leases are still there.
    former: Vec<String>,
    beat: u64,
    /// How often anything was told.
    told: u64,
    /// When the lease was counted up last; none: this name has none yet.
    beaten: Option<u64>,
    /// Whether a task looks after all this.
    keeping: bool,
    /// How many people there are, in all channels.
    people: usize,
    /// Channels in which there is something to tell.
    dirty: BTreeSet<String>,
    /// When graces end, and a number that tells those of one moment apart.
    parting: BTreeMap<(u64, u64), (Rc<Channel>, String)>,
    parted: u64,
}

/// One channel.
#[derive(Default)]
pub(crate) struct Channel {
    pub(crate) name: String,
    local: RefCell<Local>,
    written: RefCell<Written>,
    writing: Mutex<()>,
    pub(crate) view: RefCell<View>,
    pub(crate) reading: Mutex<()>,
    pub(crate) moves: Moves,
}

/// What others were told.
#[derive(Default)]
struct Written {
    /// The version of the local roster that they know.
    version: u64,
    /// Under which name and revision.
    current: Option<(String, u64)>,
    /// The last revision that was written, if only in vain.
    revision: u64,
    /// Names under which this instance may stand in the directory.
    names: BTreeSet<String>,
    /// Rosters that may be in the store.
    rosters: BTreeSet<(String, u64)>,
}

/// That somebody attends a channel; dropping it is leaving.
pub struct Attendance<S: Store + 'static, W: World + 'static> {
    presence: Rc<Inner<S, W>>,
    seat: Option<(Rc<Channel>, String)>,
}

/// What a change of a directory ends with.
enum Refused {
    Store(StoreError),
    /// This instance is not in it any more: somebody took it for dead.
    Swept,
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<S: Store, W> Clone for Presence<S, W> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: Store, W> fmt::Debug for Presence<S, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence").finish_non_exhaustive()
    }
}

impl<S: Store, W: World> fmt::Debug for Attendance<S, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attendance").finish_non_exhaustive()
    }
}

impl<S: Store + 'static, W: World + 'static> Presence<S, W> {
    /// The store is that of the documents.
    pub fn new(store: S, documents: Documents<S, W>, world: W) -> Self {
        Self(Rc::new(Inner {
            store,
            documents,
            world,
            own: RefCell::default(),
            beating: Mutex::default(),
            leases: RefCell::default(),
            channels: RefCell::default(),
        }))
    }

    /// Attends a channel, until the attendance is dropped; nobody, where it is nobody who can be seen.
    pub fn attend(&self, channel: &str, person: Option<&Person>) -> Attendance<S, W> {
        let presence = Rc::clone(&self.0);
        let seat = person.map(|person| {
            let channel = presence.channel(channel);
            presence.enter(&channel, person);
            (channel, person.sender.clone())
        });
        Attendance { presence, seat }
    }
}

impl<S: Store + 'static, W: World + 'static> Drop for Attendance<S, W> {
    fn drop(&mut self) {
        if let Some((channel, sender)) = self.seat.take() {
            self.presence.leave(&channel, sender);
        }
    }
}

impl<S: Store + 'static, W: World + 'static> Inner<S, W> {
    pub(crate) fn channel(&self, name: &str) -> Rc<Channel> {
        let mut channels = self.channels.borrow_mut();
        if let Some(channel) = channels.get(name) {
            return Rc::clone(channel);
        }
        if channels.len() >= MOST_CHANNELS {
            channels.retain(|_, channel| Rc::strong_count(channel) > 1 || !channel.is_idle());
        }
        let channel = Rc::new(Channel {
            name: name.to_owned(),
            ..Channel::default()
        });
        channels.insert(name.to_owned(), Rc::clone(&channel));
        channel
    }

    /// Tells others that there is something new in a channel.
    pub(crate) fn notify(&self, channel: &str) {
        self.own.borrow_mut().told += 1;
        self.world.notify(&key(channel));
    }

    fn enter(self: &Rc<Self>, channel: &Channel, person: &Person) {
        let came = channel.local.borrow_mut().enter(person);
        let mut own = self.own.borrow_mut();
        own.people += usize::from(came);
        if channel.is_dirty() {
            own.dirty.insert(channel.name.clone());
        }
        if !std::mem::replace(&mut own.keeping, true) {
            self.world.spawn(Box::pin(Rc::clone(self).keep()));
        }
    }

    fn leave(&self, channel: &Rc<Channel>, sender: String) {
        let due = self.world.uptime() + GRACE_MS;
        if channel.local.borrow_mut().leave(&sender, due) {
            let mut own = self.own.borrow_mut();
            own.parted += 1;
            let number = own.parted;
            let parting = (Rc::clone(channel), sender);
            own.parting.insert((due, number), parting);
        }
    }

    /// Ends the graces that are over.
    fn part(&self) {
        let now = self.world.uptime();
        let mut own = self.own.borrow_mut();
        while let Some(first) = own.parting.first_entry()
            && first.key().0 <= now
        {
            let due = first.key().0;
            let (channel, sender) = first.remove();
            if channel.local.borrow_mut().part(&sender, due) {
                own.people -= 1;
                own.dirty.insert(channel.name.clone());
            }
        }
    }

    /// Looks after what others are told, until there is nothing left to tell.
    async fn keep(self: Rc<Self>) {
        let mut failing = None;
        loop {
            self.world.sleep(PACE_MS as u32).await;
            self.part();
            let now = self.world.uptime();
            failing = match self.work().await {
                Ok(()) => None,
                Err(_) => failing.or(Some(now)),
            };
            let is_over = {
                let own = self.own.borrow();
                // Where the store is away, the others find out by the lease.
                let given_up = failing.is_some_and(|since| now - since > DEAD_MS);
                own.people == 0 && (own.dirty.is_empty() || given_up)
            };
            if is_over {
                // What of this fails is swept by others.
                let _ = self.retire().await;
                let mut own = self.own.borrow_mut();
                if own.people == 0 {
                    own.keeping = false;
                    return;
                }
            }
        }
    }

    /// Tells what is to be told.
    async fn work(&self) -> Result<(), StoreError> {
        self.beat().await?;
        let dirty: Vec<_> = {
            let own = self.own.borrow();
            own.dirty.iter().take(AT_ONCE).cloned().collect()
        };
        let written = dirty.iter().map(|name| self.write(name));
        future::join_all(written)
            .await
            .into_iter()
            .collect::<Result<(), _>>()?;
        let former = {
            let mut own = self.own.borrow_mut();
            if own.dirty.is_empty() {
                std::mem::take(&mut own.former)
            } else {
                Vec::new()
            }
        };
        self.drop_leases(former).await
    }

    async fn drop_leases(&self, names: Vec<String>) -> Result<(), StoreError> {
        for name in names {
            self.store.delete(&lease_key(&name)).await?;
        }
        Ok(())
    }

    /// Lets the name go.
    async fn retire(&self) -> Result<(), StoreError> {
        let former = {
            let mut own = self.own.borrow_mut();
            own.rename();
            std::mem::take(&mut own.former)
        };
        self.drop_leases(former).await
    }

    /// Goes on under a new name: the others may take this one for dead.
    pub(crate) fn renew(&self) {
        let mut own = self.own.borrow_mut();
        own.rename();
        for channel in self.channels.borrow().values() {
            if channel.written.borrow().current.is_some() {
                channel.local.borrow_mut().touch();
                own.dirty.insert(channel.name.clone());
            }
        }
    }

    /// Counts the lease up, where that is due.
    async fn beat(&self) -> Result<(), StoreError> {
        let _turn = self.beating.lock().await;
        let now = self.world.uptime();
        let (name, beaten) = {
            let own = self.own.borrow();
            (own.name.clone(), own.beaten)
        };
        if let Some(beaten) = beaten {
            let age = now.saturating_sub(beaten);
            if age < BEAT_MS {
                return Ok(());
            }
            let is_lost = age > SLEPT_MS || self.store.get(&lease_key(&name)).await?.is_none();
            if is_lost && self.own.borrow().name == name {
                self.renew();
            }
        }
        let (name, lease) = {
            let mut own = self.own.borrow_mut();
            if own.name.is_empty() {
                own.name = format!("{:016x}", self.world.random());
            }
            own.beat += 1;
            let lease = Lease {
                beat: own.beat,
                told: own.told,
                at: self.world.now(),
            };
            (own.name.clone(), lease)
        };
        let now = self.world.uptime();
        self.store
            .set(&lease_key(&name), &documents::encode(&lease))
            .await?;
        let mut own = self.own.borrow_mut();
        if own.name == name {
            own.beaten = Some(now);
        }
        Ok(())
    }

    /// The name of this instance, with a lease.
    async fn named(&self) -> Result<String, StoreError> {
        loop {
            {
                let own = self.own.borrow();
                if own.beaten.is_some() {
                    return Ok(own.name.clone());
                }
            }
            self.beat().await?;
        }
    }

    /// Whether this is the instance's own name.
    pub(crate) fn is_own(&self, name: &str) -> bool {
        self.own.borrow().name == name
    }

    /// Tells who attends a channel here, where others do not know it.
    pub(crate) async fn write(&self, name: &str) -> Result<(), StoreError> {
        let channel = self.channel(name);
        let _turn = channel.writing.lock().await;
        let version = channel.local.borrow().version();
        if version != channel.written.borrow().version {
            let roster = channel.local.borrow().roster();
            if roster.here.is_empty() {
                self.withdraw(&channel).await?;
            } else {
                self.enlist(&channel, &documents::encode(&roster)).await?;
            }
            channel.written.borrow_mut().version = version;
            channel.view.borrow_mut().outdate();
            self.notify(name);
        }
        // What came meanwhile is told the next time.
        if !channel.is_dirty() {
            self.own.borrow_mut().dirty.remove(name);
        }
        Ok(())
    }

    /// Puts a roster in the place of the one before.
    async fn enlist(&self, channel: &Channel, roster: &[u8]) -> Result<(), StoreError> {
        let own = self.named().await?;
        let (revision, told) = {
            let mut written = channel.written.borrow_mut();
            written.revision += 1;
            let revision = written.revision;
            written.names.insert(own.clone());
            written.rosters.insert((own.clone(), revision));
            (revision, written.current.clone())
        };
        let is_known = told.is_some_and(|(name, _)| name == own);
        let others = channel.names_but(&own);
        self.store
            .set(&roster_key(&channel.name, &own, revision), roster)
            .await?;
        let changed = self
            .documents
            .update(&directory_name(&channel.name), |old| {
                let mut directory: Directory = documents::decode(old);
                if is_known && !directory.instances.contains_key(&own) {
                    return Err(Refused::Swept);
                }
                let before = directory.clone();
                directory.instances.retain(|name, _| !others.contains(name));
                directory.instances.insert(own.clone(), revision);
                Ok((directory != before).then(|| documents::encode(&directory)))
            })
            .await;
        match changed {
            Ok(()) => {}
            Err(Refused::Store(error)) => return Err(error),
            Err(Refused::Swept) => {
                if self.is_own(&own) {
                    self.renew();
                }
                return Err(StoreError("this instance was taken for dead".to_owned()));
            }
        }
        {
            let mut written = channel.written.borrow_mut();
            written.names.retain(|name| !others.contains(name));
            written.current = Some((own.clone(), revision));
        }
        self.clear(channel, Some((own, revision))).await
    }

    /// Takes this instance out of a channel's directory.
    async fn withdraw(&self, channel: &Channel) -> Result<(), StoreError> {
        let names = channel.written.borrow().names.clone();
        if !names.is_empty() {
            self.documents
                .update(&directory_name(&channel.name), |old| {
                    let mut directory: Directory = documents::decode(old);
                    let before = directory.instances.len();
                    directory.instances.retain(|name, _| !names.contains(name));
                    let changed = directory.instances.len() != before;
                    Ok::<_, StoreError>(changed.then(|| documents::encode(&directory)))
                })
                .await?;
            let mut written = channel.written.borrow_mut();
            written.names.clear();
            written.current = None;
        }
        self.clear(channel, None).await
    }

    /// Deletes the rosters that nobody reads any more.
    async fn clear(
        &self,
        channel: &Channel,
        current: Option<(String, u64)>,
    ) -> Result<(), StoreError> {
        let old: Vec<_> = {
            let written = channel.written.borrow();
            let rosters = written.rosters.iter();
            rosters
                .filter(|&roster| Some(roster) != current.as_ref())
                .cloned()
                .collect()
        };
        for (name, revision) in old {
            self.store
                .delete(&roster_key(&channel.name, &name, revision))
                .await?;
            channel
                .written
                .borrow_mut()
                .rosters
                .remove(&(name, revision));
        }
        Ok(())
    }
}

impl Own {
    /// Lets the name go; its lease stays for the time being.
    fn rename(&mut self) {
        self.beaten = None;
        let name = std::mem::take(&mut self.name);
        if !name.is_empty() {
            self.former.push(name);
        }
    }
}

impl Channel {
    fn is_dirty(&self) -> bool {
        self.local.borrow().version() != self.written.borrow().version
    }

    fn is_idle(&self) -> bool {
        self.local.borrow().is_empty() && !self.is_dirty() && self.moves.is_empty()
    }

    fn names_but(&self, own: &str) -> BTreeSet<String> {
        let mut names = self.written.borrow().names.clone();
        names.remove(own);
        names
    }

    /// Under which name others know this instance, where no change of it is under way.
    pub(crate) fn known_as(&self) -> Option<String> {
        let _turn = self.writing.try_lock()?;
        let written = self.written.borrow();
        written.current.as_ref().map(|(name, _)| name.clone())
    }
}

pub(crate) fn directory_name(channel: &str) -> String {
    format!("state/{channel}")
}

pub(crate) fn lease_key(instance: &str) -> String {
    format!("w1/lease/{instance}")
}

pub(crate) fn roster_key(channel: &str, instance: &str, revision: u64) -> String {
    format!("w1/here/{channel}/{instance}/{revision}")
}
