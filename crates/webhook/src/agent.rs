//! Who delivers, or watches who does, until there is nothing left.

use crate::batch::Batch;
use crate::index::{self, Shard};
use crate::lease::{self, Judge, Lease};
use crate::outbox::Inner;
use crate::pace::Pace;
use crate::progress::{self, Extent, Progress};
use crate::{
    Answer, BACKUP_MS, BEAT_MS, DEAD_MS, LOOK_MS, MOST_AT_ONCE, MOST_BYTES, MOST_MESSAGES,
    Receiver, World,
};
use futures::StreamExt as _;
use futures::future::{Either, select};
use futures::stream::FuturesUnordered;
use mailbox::{Gap, Message, Position, Start, Store, StoreError};
use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::pin;
use std::rc::Rc;

/// The index is read at most so often for hints.
const PACE_MS: u64 = 100;
/// An agent that watches another looks at the index with one look of so many at the lease.
const LOOKS: u32 = 5;
/// Each lost attempt means that another moved the channel on.
const ATTEMPTS: u32 = 8;

/// How delivering ended.
enum End {
    /// The index is empty.
    Done,
    /// The endpoint wants nothing more.
    Gone,
    /// Another holds the lease, or it cannot be counted up.
    Lost,
}

/// What became of an attempt to take the lease.
enum Taken {
    Mine(u64),
    Others,
    /// Nobody is to deliver.
    Gone,
}

/// What became of a channel's turn.
enum Turn {
    Answered(Answer),
    /// There was nothing to be sent, and it is out of the index.
    Closed,
    /// There was nothing to be sent, and then there was.
    Open,
    Failed,
}

/// What stands behind a channel's progress.
enum Found {
    Nothing,
    /// Messages are gone: the place to go on from.
    Skip(Gap, Position),
    Messages(Vec<(Position, Message)>),
}

pub(crate) async fn run<S, E, R>(inner: Rc<Inner<S, E, R>>)
where
    S: Store + 'static,
    E: World + 'static,
    R: Receiver + 'static,
{
    // Whoever has it run has an answer to give. Nor may a component's task end in the moment in which it began.
    mailbox::yield_once().await;
    while inner.again.replace(false) {
        inner.attend().await;
    }
    inner.running.set(false);
}

impl<S: Store + 'static, E: World + 'static, R: Receiver + 'static> Inner<S, E, R> {
    async fn attend(&self) {
        // Armed before the index is read for the first time.
        let watch = self.world.watch();
        let mut judge = Judge::default();
        let mut looks = 0;
        loop {
            if looks % LOOKS == 0 {
                match self.listed().await {
                    Ok(listed) if listed.is_empty() => return,
                    Ok(_) => {}
                    Err(_) => {
                        self.sleep(LOOK_MS).await;
                        continue;
                    }
                }
            }
            looks += 1;
            match self.take(&mut judge).await {
                Ok(Taken::Mine(number)) => {
                    let beating = pin!(self.beat(number));
                    let delivering = pin!(self.deliver(&watch));
                    let end = match select(beating, delivering).await {
                        Either::Left(((), _)) => End::Lost,
                        Either::Right((end, _)) => end,
                    };
                    match end {
                        End::Done => self.release(number, String::new()).await,
                        End::Gone => {
                            self.release(number, self.receiver.name()).await;
                            return;
                        }
                        End::Lost => {}
                    }
                    (judge, looks) = (Judge::default(), 0);
                }
                Ok(Taken::Gone) => return,
                Ok(Taken::Others) | Err(_) => self.sleep(LOOK_MS).await,
            }
        }
    }

    async fn sleep(&self, ms: u64) {
        self.world
            .sleep(u32::try_from(ms).unwrap_or(u32::MAX))
            .await;
    }

    /// Takes the lease where it is free.
    async fn take(&self, judge: &mut Judge) -> Result<Taken, StoreError> {
        let content = self.documents.read(lease::NAME).await?;
        let found: Lease = index::read(lease::NAME, content.as_deref())?;
        if found.gone == self.receiver.name() {
            return Ok(Taken::Gone);
        }
        let now = self.world.now();
        if !judge.is_free(&found, self.world.uptime(), now) {
            return Ok(Taken::Others);
        }
        let number = self.world.random() | 1;
        let mine = Lease {
            holder: number,
            beat: found.beat.wrapping_add(1),
            counted_at: now,
            gone: String::new(),
        };
        let mut taken = false;
        let take = |old: Option<&[u8]>| -> Result<_, StoreError> {
            let current: Lease = index::read(lease::NAME, old)?;
            taken = current == mine || current == found;
            Ok((current == found).then(|| index::written(&mine)))
        };
        self.documents.update(lease::NAME, take).await?;
        Ok(if taken {
            Taken::Mine(number)
        } else {
            Taken::Others
        })
    }

    /// Counts the lease up, until it is another's or cannot be counted up for so long that it may be.
    async fn beat(&self, number: u64) {
        let mut counted = self.world.uptime();
        loop {
            self.sleep(BEAT_MS).await;
            let mut held = false;
            let count = |old: Option<&[u8]>| -> Result<_, StoreError> {
                let mut lease: Lease = index::read(lease::NAME, old)?;
                held = lease.holder == number;
                lease.beat = lease.beat.wrapping_add(1);
                lease.counted_at = self.world.now();
                Ok(held.then(|| index::written(&lease)))
            };
            match self.documents.update(lease::NAME, count).await {
                Ok(()) if held => counted = self.world.uptime(),
                Ok(()) => return,
                Err(_) if self.world.uptime() - counted > DEAD_MS / 2 => return,
                Err(_) => {}
            }
        }
    }

    /// Gives the lease back. Where that fails, the others wait until it is dead.
    async fn release(&self, number: u64, gone: String) {
        let release = |old: Option<&[u8]>| -> Result<_, StoreError> {
            let mut lease: Lease = index::read(lease::NAME, old)?;
            let held = lease.holder == number;
            lease.holder = 0;
            lease.gone.clone_from(&gone);
            Ok(held.then(|| index::written(&lease)))
        };
        self.documents.update(lease::NAME, release).await.ok();
    }

    /// Sends what is there, channel by channel, a few at once, each as soon as its pace and the endpoint's allow.
    async fn deliver(&self, watch: &E::Watch) -> End {
        let mut endpoint = Pace::default();
        let mut paces: HashMap<String, Pace> = HashMap::new();
        let mut queue: VecDeque<String> = VecDeque::new();
        // Those in the queue.
        let mut queued: HashSet<String> = HashSet::new();
        // Those having their turn, and whether the index was seen to have them meanwhile.
        let mut active: HashMap<String, bool> = HashMap::new();
        let mut turns = FuturesUnordered::new();
        let mut stale = true;
        let mut read_at: Option<u64> = None;
        let mut idle = 0;
        loop {
            let mut now = self.world.uptime();
            if stale && read_at.is_none_or(|at| now >= at + PACE_MS) {
                if let Ok(listed) = self.listed().await {
                    stale = false;
                    queue.retain(|channel| listed.contains(channel));
                    queued.retain(|channel| listed.contains(channel));
                    paces.retain(|channel, _| listed.contains(channel));
                    for channel in listed {
                        if let Some(seen) = active.get_mut(&channel) {
                            *seen = true;
                        } else if queued.insert(channel.clone()) {
                            queue.push_back(channel);
                        }
                    }
                }
                now = self.world.uptime();
                read_at = Some(now);
            }
            if !stale && queue.is_empty() && turns.is_empty() {
                return End::Done;
            }
            // One that fails is asked for one channel at a time, in turn: no channel's batch stops the others for good.
            let most = if endpoint.is_failing() {
                1
            } else {
                MOST_AT_ONCE
            };
            let mut next = now + if stale { PACE_MS } else { BACKUP_MS };
            if endpoint.due() > now {
                next = next.min(endpoint.due());
            } else {
                for _ in 0..queue.len() {
                    if turns.len() >= most {
                        break;
                    }
                    let Some(channel) = queue.pop_front() else {
                        break;
                    };
                    let due = paces.get(&channel).map_or(0, |pace| pace.due());
                    if due > now {
                        next = next.min(due);
                        queue.push_back(channel);
                    } else {
                        queued.remove(&channel);
                        active.insert(channel.clone(), false);
                        turns.push(self.turn(channel, now));
                    }
                }
            }
            let wait = u32::try_from(next.saturating_sub(now).max(1)).unwrap_or(u32::MAX);
            // A hint would change nothing while the index is to be read anyway.
            let waiting = match stale {
                true => Either::Left(self.world.sleep(wait)),
                false => Either::Right(self.world.hinted(watch, idle, wait)),
            };
            let finished = if turns.is_empty() {
                waiting.await;
                None
            } else {
                match select(turns.next(), pin!(waiting)).await {
                    Either::Left((finished, _)) => finished,
                    Either::Right(_) => None,
                }
            };
            let Some((channel, begun, turn)) = finished else {
                (stale, idle) = (true, idle.saturating_add(1));
                continue;
            };
            idle = 0;
            let now = self.world.uptime();
            let seen = active.remove(&channel).unwrap_or_default();
            match turn {
                Turn::Answered(Answer::Accepted) => {
                    endpoint.succeed();
                    paces.remove(&channel);
                }
                Turn::Answered(Answer::Refused) => {
                    // It is there, and lets others pass.
                    endpoint.succeed();
                    let pace = paces.entry(channel.clone()).or_default();
                    pace.fail(begun, now, None, self.world.random());
                }
                Turn::Answered(Answer::Away { after_ms }) => {
                    endpoint.fail(begun, now, after_ms, self.world.random());
                }
                Turn::Answered(Answer::Gone) => return End::Gone,
                Turn::Closed if !seen => continue,
                Turn::Closed | Turn::Open => {}
                Turn::Failed => {
                    let pace = paces.entry(channel.clone()).or_default();
                    pace.fail(begun, now, None, self.world.random());
                }
            }
            queued.insert(channel.clone());
            queue.push_back(channel);
        }
    }

    async fn turn(&self, channel: String, begun: u64) -> (String, u64, Turn) {
        let turn = self.have_turn(&channel).await;
        (channel, begun, turn.unwrap_or(Turn::Failed))
    }

    /// Sends the next batch of a channel, or takes it out of the index where there is none.
    async fn have_turn(&self, channel: &str) -> Result<Turn, StoreError> {
        if !self.receiver.takes(channel) {
            return self.drop_entry(channel).await;
        }
        let Some((sending, batch)) = self.next_batch(channel).await? else {
            return self.close(channel).await;
        };
        let answer = self.receiver.send(&batch).await;
        if answer == Answer::Accepted {
            // Of two who sent the same, the second finds it moved.
            let beyond = Progress::up_to(batch.end);
            self.change(channel, &sending, &beyond).await?;
        }
        Ok(Turn::Answered(answer))
    }

    /// The batch that is to be sent, written down before it is sent for the first time.
    async fn next_batch(&self, channel: &str) -> Result<Option<(Progress, Batch)>, StoreError> {
        let name = progress::name(channel);
        for _ in 0..ATTEMPTS {
            let content = self.documents.read(&name).await?;
            let progress: Progress = index::read(&name, content.as_deref())?;
            let messages = match self.find(channel, &progress).await? {
                Found::Nothing => return Ok(None),
                Found::Skip(gap, from) => {
                    let skipped = progress.skip(gap, from);
                    self.change(channel, &progress, &skipped).await?;
                    continue;
                }
                Found::Messages(messages) => messages,
            };
            let (Some((_, first)), Some((last, _))) = (messages.first(), messages.last()) else {
                return Ok(None);
            };
            let extent = Extent {
                epoch: last.epoch,
                first: first.offset,
                last: last.offset,
            };
            let sending = match progress.batch {
                Some(batch) if (batch.epoch, batch.last) == (extent.epoch, extent.last) => progress,
                // Of a log that was rolled back: what was being sent is not there any more.
                Some(_) => {
                    let without = progress.sending(None);
                    self.change(channel, &progress, &without).await?;
                    continue;
                }
                None => {
                    let sending = progress.sending(Some(extent));
                    if !self.change(channel, &progress, &sending).await? {
                        continue;
                    }
                    sending
                }
            };
            let batch = Batch::new(
                channel,
                sending.batch.unwrap_or(extent),
                sending.gap(),
                messages,
            );
            return Ok(Some((sending, batch)));
        }
        Err(StoreError("too many deliver at once".to_owned()))
    }

    /// Reads on from a channel's progress: to the end of what is being sent, or as much as may be sent at once.
    async fn find(&self, channel: &str, progress: &Progress) -> Result<Found, StoreError> {
        let mut messages = Vec::new();
        let mut bytes = 0;
        let mut place = progress.at();
        loop {
            let left = u32::try_from(MOST_MESSAGES - messages.len()).unwrap_or(u32::MAX);
            let page = self.mailbox.read(channel, Start::After(place), left).await;
            let page = page.map_err(|error| StoreError(error.0))?;
            if let Some(gap) = page.gap {
                // Behind the first page: trimmed meanwhile. The next look begins with it.
                return match messages.is_empty() {
                    true => Ok(Found::Skip(gap, page.from)),
                    false => Err(StoreError("the log was trimmed meanwhile".to_owned())),
                };
            }
            for (at, message) in page.messages {
                let is_full = match progress.batch {
                    Some(batch) if batch.epoch == at.epoch => message.offset > batch.last,
                    _ => bytes >= MOST_BYTES,
                };
                if is_full {
                    return Ok(Found::Messages(messages));
                }
                bytes += message.body.len();
                messages.push((at, message));
            }
            if messages.is_empty() {
                return Ok(Found::Nothing);
            }
            if !page.more || messages.len() >= MOST_MESSAGES {
                return Ok(Found::Messages(messages));
            }
            place = page.next;
        }
    }

    /// Moves a channel's progress on from exactly where it was; whether it is there now.
    async fn change(
        &self,
        channel: &str,
        before: &Progress,
        after: &Progress,
    ) -> Result<bool, StoreError> {
        let name = progress::name(channel);
        let mut moved = false;
        let change = |old: Option<&[u8]>| -> Result<_, StoreError> {
            let current: Progress = index::read(&name, old)?;
            moved = current == *before || current == *after;
            Ok((current == *before).then(|| index::written(after)))
        };
        self.documents.update(&name, change).await?;
        Ok(moved)
    }

    /// Takes a channel out of the index, unless a message is stored meanwhile.
    async fn close(&self, channel: &str) -> Result<Turn, StoreError> {
        let number = self.world.random();
        let begun = self.change_entry(channel, |shard| shard.begin_to_close(channel, number));
        if !begun.await? {
            return Ok(Turn::Closed);
        }
        // Whoever found the entry open had stored their message by then.
        let name = progress::name(channel);
        let content = self.documents.read(&name).await?;
        let progress: Progress = index::read(&name, content.as_deref())?;
        if let Found::Messages(_) | Found::Skip(..) = self.find(channel, &progress).await? {
            self.change_entry(channel, |shard| {
                shard.is_closing(channel, number) && shard.open(channel)
            })
            .await?;
            return Ok(Turn::Open);
        }
        self.change_entry(channel, |shard| {
            shard.is_closing(channel, number) && shard.channels.remove(channel).is_some()
        })
        .await?;
        Ok(Turn::Closed)
    }

    /// Takes a channel out of the index whose messages are not to be sent.
    async fn drop_entry(&self, channel: &str) -> Result<Turn, StoreError> {
        self.change_entry(channel, |shard| shard.channels.remove(channel).is_some())
            .await?;
        Ok(Turn::Closed)
    }

    /// Changes the document of the index that a channel is in; whether there was anything to change at the end.
    async fn change_entry(
        &self,
        channel: &str,
        mut change: impl FnMut(&mut Shard) -> bool,
    ) -> Result<bool, StoreError> {
        let name = index::name(index::shard_of(channel));
        let mut changed = false;
        let update = |old: Option<&[u8]>| -> Result<_, StoreError> {
            let mut shard: Shard = index::read(&name, old)?;
            changed = change(&mut shard);
            Ok(changed.then(|| index::written(&shard)))
        };
        self.documents.update(&name, update).await?;
        Ok(changed)
    }
}
