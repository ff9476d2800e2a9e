//! Whether the answers of a mailbox are true.

use crate::store::Faults;
use crate::truth::{Checked, Entry, Log, ensure};
use mailbox::{Draft, Gap, History, Message, Page, Position, PublishError, Receipt, Start, Window};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A rollback of the store, as far as one channel is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rolled {
    pub(crate) epoch: u64,
    pub(crate) end: u64,
}

/// What is known of a channel.
#[derive(Default)]
pub(crate) struct Channel {
    pub(crate) name: String,
    pub(crate) log: Log,
    pub(crate) rollbacks: Vec<Rolled>,
    /// What rollbacks took, with the epoch it had.
    pub(crate) lost: Vec<(u64, Rc<Entry>)>,
    /// Every draft that was ever handed to a mailbox, by sender and id.
    attempts: BTreeMap<(String, String), Vec<Draft>>,
    /// By sender and id: the offset that was acknowledged last, and when.
    acknowledged: BTreeMap<(String, String), (u64, u64)>,
}

/// How things stood when a call began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    pub(crate) moment: u64,
    pub(crate) epoch: u64,
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) rollbacks: usize,
    /// Faults that the instance had met.
    pub(crate) faults: Faults,
}

fn key(draft: &Draft) -> (String, String) {
    (draft.sender.clone(), draft.id.clone())
}

impl Channel {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    pub(crate) fn open(&self, moment: u64, faults: Faults) -> Opened {
        Opened {
            moment,
            epoch: self.log.epoch,
            begin: self.log.begin,
            end: self.log.end(),
            rollbacks: self.rollbacks.len(),
            faults,
        }
    }

    fn rolled_since(&self, opened: &Opened) -> bool {
        self.rollbacks.len() > opened.rollbacks
    }

    /// Puts the log back to what it was.
    pub(crate) fn roll_back(&mut self, to: Log) {
        let common = if to.epoch == self.log.epoch {
            to.end()
        } else {
            0
        };
        let taken = self.log.entries.split_off(common as usize);
        self.lost.extend(
            taken
                .into_iter()
                .flatten()
                .map(|entry| (self.log.epoch, entry)),
        );
        self.acknowledged.retain(|_, (offset, _)| *offset <= common);
        self.rollbacks.push(Rolled {
            epoch: to.epoch,
            end: to.end(),
        });
        self.log = to;
    }

    // Publishing.

    pub(crate) fn attempt(&mut self, drafts: &[Draft]) {
        for draft in drafts {
            self.attempts
                .entry(key(draft))
                .or_default()
                .push(draft.clone());
        }
    }

    fn attempts(&self, sender: &str, id: &str) -> &[Draft] {
        self.attempts
            .get(&(sender.to_owned(), id.to_owned()))
            .map_or(&[], Vec::as_slice)
    }

    pub(crate) fn attempted_once(&self, draft: &Draft) -> bool {
        self.attempts(&draft.sender, &draft.id).len() == 1
    }

    /// Whether a message was ever at an offset.
    fn ever(&self, epoch: u64, offset: u64, is: impl Fn(&Entry) -> bool) -> bool {
        let now = self.log.epoch == epoch && self.log.at(offset).is_some_and(|entry| is(entry));
        now || self
            .lost
            .iter()
            .any(|(of, entry)| *of == epoch && entry.message.offset == offset && is(entry))
    }

    /// Messages that came into the log: sent by somebody, and not twice.
    pub(crate) fn judge_stored(
        &self,
        before: u64,
        window: &Window,
        now: u64,
        skew: u64,
    ) -> Checked {
        let name = &self.name;
        for offset in before + 1..=self.log.end() {
            let Some(entry) = self.log.at(offset) else {
                continue;
            };
            let message = &entry.message;
            let attempts = self.attempts(&message.sender, &message.id);
            ensure!(
                attempts
                    .iter()
                    .any(|draft| says(message, draft) && draft.name == message.name),
                "{name} {offset} was never sent: {message:?}"
            );
            let Some(first) = self.log.latest(&message.sender, &message.id, offset - 1) else {
                continue;
            };
            ensure!(
                attempts.len() > 1,
                "{name}: one attempt was stored at {} and at {offset}",
                first.message.offset
            );
            // The ids are lost with the messages.
            ensure!(
                first.message.offset <= self.log.begin
                    && (self.log.damaged
                        || now + skew >= first.message.sent_at.saturating_add(window.id_age_ms)),
                "{name}: {:?} of {:?} is stored at {} and at {offset}",
                message.id,
                message.sender,
                first.message.offset,
            );
        }
        Ok(())
    }

    /// The answers to one call of publish. Answers the drafts whose fate is not known.
    pub(crate) fn judge_published(
        &mut self,
        opened: &Opened,
        now: &Opened,
        drafts: &[Draft],
        results: &[Result<Receipt, PublishError>],
        largest: usize,
    ) -> Checked<Vec<Draft>> {
        let name = self.name.clone();
        ensure!(
            drafts.len() == results.len(),
            "{name}: {} drafts got {} answers",
            drafts.len(),
            results.len()
        );
        let mut open = Vec::new();
        let mut last_new = 0;
        for (index, (draft, result)) in drafts.iter().zip(results).enumerate() {
            let twin = drafts[..index]
                .iter()
                .zip(results)
                .any(|(other, result)| key(other) == key(draft) && result.is_ok());
            let attempts = self.attempts(&draft.sender, &draft.id);
            ensure!(
                (draft.body.len() > largest) == matches!(result, Err(PublishError::TooLarge)),
                "{name}: a body of {} bytes got {result:?}",
                draft.body.len()
            );
            match result {
                Ok(receipt) => {
                    let epochs = self.epochs();
                    let is = |entry: &Entry| {
                        entry.message.sender == draft.sender
                            && entry.message.id == draft.id
                            && says(&entry.message, draft)
                    };
                    let there = epochs.iter().any(|&epoch| {
                        let rolled = self.rolled_since(opened);
                        let now = epoch == self.log.epoch
                            && (self.log.at(receipt.offset).is_some_and(|entry| is(entry))
                                || self.log.unseen(receipt.offset));
                        now || rolled && self.ever(epoch, receipt.offset, is)
                    });
                    ensure!(
                        there,
                        "{name}: {draft:?} was acknowledged at {}, where there is {:?}",
                        receipt.offset,
                        self.log.at(receipt.offset).map(|entry| &entry.message)
                    );
                    if let Some(&(offset, moment)) = self.acknowledged.get(&key(draft)) {
                        ensure!(
                            receipt.duplicate
                                || offset != receipt.offset
                                || moment >= opened.moment
                                || now.faults.lies > opened.faults.lies
                                || self.rolled_since(opened),
                            "{name}: {:?} of {:?} was acknowledged at {offset} before, and is no duplicate",
                            draft.id,
                            draft.sender
                        );
                    }
                    ensure!(
                        !receipt.duplicate
                            || attempts.len() > 1
                            || now.faults.lies > opened.faults.lies,
                        "{name}: {:?} of {:?} was sent once and is a duplicate",
                        draft.id,
                        draft.sender
                    );
                    ensure!(
                        receipt.duplicate || !twin || self.rolled_since(opened),
                        "{name}: {:?} of {:?} stood before in its batch, and is no duplicate",
                        draft.id,
                        draft.sender
                    );
                    if attempts.len() == 1 {
                        ensure!(
                            receipt.offset > last_new,
                            "{name}: a batch was stored out of order: {last_new}, then {}",
                            receipt.offset
                        );
                        last_new = receipt.offset;
                    }
                    if !self.rolled_since(opened) {
                        self.acknowledged
                            .insert(key(draft), (receipt.offset, now.moment));
                    }
                }
                Err(PublishError::IdReused) => {
                    let other = |entry: &Entry| {
                        entry.message.sender == draft.sender
                            && entry.message.id == draft.id
                            && !says(&entry.message, draft)
                    };
                    let unseen = (1..=self.log.end()).any(|offset| self.log.unseen(offset))
                        && attempts.iter().any(|attempt| {
                            (&attempt.body, attempt.refers) != (&draft.body, draft.refers)
                        });
                    ensure!(
                        self.log.seen(self.log.end()).any(|entry| other(entry))
                            || self.lost.iter().any(|(_, entry)| other(entry))
                            || unseen,
                        "{name}: the id of {draft:?} was not used before for another body"
                    );
                }
                Err(PublishError::TooLarge) => {}
                Err(PublishError::Unavailable(why)) => {
                    ensure!(
                        now.faults.all > opened.faults.all
                            || self.rolled_since(opened)
                            || now.end > opened.end,
                        "{name}: without faults or rivals a publish failed: {why}"
                    );
                    open.push(draft.clone());
                }
            }
        }
        Ok(open)
    }

    fn epochs(&self) -> Vec<u64> {
        let mut epochs: Vec<u64> = self.lost.iter().map(|(epoch, _)| *epoch).collect();
        epochs.push(self.log.epoch);
        epochs
    }

    // Reading.

    /// How far a position that was taken during or after a call, and which the log may not know any more,
    /// still agrees with the log.
    fn common(&self, at: Position, taken: usize) -> u64 {
        if at.epoch != self.log.epoch {
            return 0;
        }
        if self.log.knows(at) {
            return at.offset;
        }
        self.rollbacks[taken.min(self.rollbacks.len())..]
            .iter()
            .map(|rolled| {
                if rolled.epoch == at.epoch {
                    rolled.end
                } else {
                    0
                }
            })
            .fold(at.offset, u64::min)
    }

    /// A page, where `taken` is how many rollbacks there had been when the start was taken, and `known`
    /// whether the log knew it when the call began.
    pub(crate) fn judge_page(
        &self,
        opened: &Opened,
        start: Start,
        taken: usize,
        known: bool,
        limit: u32,
        page: &Page,
    ) -> Checked {
        let (name, log) = (&self.name, &self.log);
        let context = || format!("{name}: reading {start:?} by {limit} gave {page:?}");
        ensure!(
            page.messages.len() <= limit as usize,
            "{}, too much",
            context()
        );
        let mut at = page.from;
        for (place, message) in &page.messages {
            ensure!(
                place.offset == at.offset + 1
                    && message.offset == place.offset
                    && place.epoch == at.epoch,
                "{}, not dense",
                context()
            );
            ensure!(
                self.ever(place.epoch, place.offset, |entry| {
                    entry.message == *message && entry.tag == place.tag
                }),
                "{}, but {message:?} never was there",
                context()
            );
            at = *place;
        }
        ensure!(page.next == at, "{}, its end is elsewhere", context());
        ensure!(
            !page.more || !page.messages.is_empty() || start == Start::Live,
            "{}, no progress",
            context()
        );
        if let Some(gap) = page.gap {
            ensure!(
                gap.resumed == page.from.offset && matches!(start, Start::After(_)),
                "{}, a gap of something else",
                context()
            );
        }
        if self.rolled_since(opened) {
            return Ok(());
        }

        if page.next.epoch == 0 {
            ensure!(opened.epoch == 0, "{}, but it was born", context());
            ensure!(
                page.next == Position::default(),
                "{}, where is that",
                context()
            );
        } else {
            ensure!(
                page.next.epoch == log.epoch && log.knows(page.from),
                "{}, of another log",
                context()
            );
        }
        ensure!(
            page.more || page.next.offset >= opened.end,
            "{}, but there was more, up to {}",
            context(),
            opened.end
        );
        ensure!(
            !page.more || page.next.offset < log.end(),
            "{}, but there is no more",
            context()
        );
        let window = opened.begin..=log.begin;
        match start {
            Start::Live => ensure!(page.messages.is_empty(), "{}, the past", context()),
            Start::Newest(count) => {
                let behind = |end: u64, begin: u64| end.saturating_sub(count.into()).max(begin);
                let low = behind(opened.end, opened.begin);
                let high = behind(log.end(), log.begin);
                ensure!(
                    (low..=high).contains(&page.from.offset),
                    "{}, not from {low} to {high}",
                    context()
                );
            }
            // A log that was rolled back and gets the same again, at the same time, is the same.
            Start::After(place) if log.knows(place) && !known => {}
            Start::After(place) if log.knows(place) => match page.gap {
                None => {
                    ensure!(
                        page.from.offset == place.offset && place.offset >= opened.begin,
                        "{}, from elsewhere",
                        context()
                    );
                }
                Some(Gap { after, resumed }) => ensure!(
                    after == place.offset && after < log.begin && window.contains(&resumed),
                    "{}, but the window began behind {window:?}",
                    context()
                ),
            },
            Start::After(place) => {
                // Nothing behind what the reader has in common with the log may go untold or come again.
                let common = self.common(place, taken);
                let Some(Gap { after, resumed }) = page.gap else {
                    return Err(format!("{}, but that place is no more", context()));
                };
                ensure!(
                    (resumed <= common || after <= common.max(log.begin))
                        && resumed >= common.min(opened.begin),
                    "{}, but only {common} are in common",
                    context()
                );
            }
        }
        Ok(())
    }

    pub(crate) fn judge_history(
        &self,
        opened: &Opened,
        before: Option<u64>,
        limit: u32,
        history: &History,
    ) -> Checked {
        let (name, log) = (&self.name, &self.log);
        let context = || format!("{name}: history before {before:?} by {limit} gave {history:?}");
        let messages = &history.messages;
        ensure!(messages.len() <= limit as usize, "{}, too much", context());
        ensure!(
            messages
                .windows(2)
                .all(|pair| pair[0].offset + 1 == pair[1].offset),
            "{}, not dense",
            context()
        );
        for message in messages {
            ensure!(
                self.epochs().iter().any(|&epoch| {
                    self.ever(epoch, message.offset, |entry| entry.message == *message)
                }),
                "{}, but {message:?} never was there",
                context()
            );
        }
        if self.rolled_since(opened) {
            return Ok(());
        }
        let below = before.map_or(u64::MAX, |before| before.saturating_sub(1));
        let (low, high) = (opened.end.min(below), log.end().min(below));
        let end = messages.last().map_or_else(
            || history.before.map_or(0, |before| before - 1),
            |message| message.offset,
        );
        ensure!(
            messages.is_empty() && high <= log.begin || (low..=high).contains(&end),
            "{}, not up to {low}, at most {high}",
            context()
        );
        let begin = messages.first().map_or(end, |message| message.offset - 1);
        match history.before {
            Some(next) => ensure!(
                next == begin + 1 && begin > opened.begin && !messages.is_empty(),
                "{}, no way on",
                context()
            ),
            None => ensure!(
                messages.is_empty() || (opened.begin..=log.begin).contains(&begin),
                "{}, but the window began behind {} and {}",
                context(),
                opened.begin,
                log.begin
            ),
        }
        Ok(())
    }
}

/// Somebody who follows a channel from page to page.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) channel: usize,
    /// None: begins anew.
    pub(crate) at: Option<Position>,
    /// How many rollbacks there had been when the place was taken.
    pub(crate) taken: usize,
    /// Where it began to follow, or where the last rollback left it.
    since: u64,
    read: Vec<u64>,
    told: Vec<Gap>,
    pub(crate) busy: bool,
    /// Places where it was once.
    pub(crate) been: Vec<(Position, usize)>,
}

impl Reader {
    pub(crate) fn new(channel: usize) -> Self {
        Self {
            channel,
            ..Self::default()
        }
    }

    /// Takes the first `count` messages of a page; the others it never got. `follows`: the page goes on from
    /// a place that the log still knows.
    pub(crate) fn take(&mut self, page: &Page, count: usize, follows: bool, opened: &Opened) {
        if !follows {
            self.since = page.from.offset;
            self.read.clear();
            self.told.clear();
        }
        self.told.extend(page.gap);
        let taken = &page.messages[..count];
        self.read
            .extend(taken.iter().map(|(_, message)| message.offset));
        let place = taken.last().map_or(page.from, |(place, _)| *place);
        self.at = Some(place);
        self.taken = opened.rollbacks;
        self.been.push((place, opened.rollbacks));
    }

    /// Every message since the reader began was read once, or is covered by a gap.
    pub(crate) fn judge(&self, log: &Log, index: usize) -> Checked {
        let at = self.at.ok_or("a reader has no place at the end")?;
        ensure!(
            at.offset == log.end() && log.knows(at),
            "reader {index} is at {at:?} and not at the end, {}",
            log.end()
        );
        for offset in self.since + 1..=log.end() {
            let times = self.read.iter().filter(|&&read| read == offset).count();
            let told = self
                .told
                .iter()
                .any(|gap| gap.after < offset && offset <= gap.resumed);
            ensure!(
                times == 1 || times == 0 && told,
                "reader {index} has read {offset} {times} times, told: {told}"
            );
        }
        Ok(())
    }
}

/// Whether a message says what a draft of its id says.
fn says(message: &Message, draft: &Draft) -> bool {
    (&message.body, message.refers) == (&draft.body, draft.refers)
}
