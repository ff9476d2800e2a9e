//! What a channel's log really is, looked at after every effect on the store.

use crate::store::{DAWN, Direct, World};
use mailbox::{Mailbox, Message, Page, Position, Start, Window};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A check that holds, or how it does not.
pub(crate) type Checked<T = ()> = Result<T, String>;

/// Fails with a message unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use ensure;

/// A message that is in the log.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) message: Message,
    pub(crate) tag: u32,
}

/// All that a channel ever held, but for what a rollback took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// 0: not born.
    pub(crate) epoch: u64,
    /// The last offset that is not readable any more.
    pub(crate) begin: u64,
    /// None: it left the window with the swap that stored it, as of a batch larger than the window, and
    /// nobody ever saw it.
    pub(crate) entries: Vec<Option<Rc<Entry>>>,
    /// The store has lost a part of it.
    pub(crate) damaged: bool,
    /// The tags behind which the window began where nobody saw the message.
    unseen_tags: BTreeMap<u64, u32>,
}

impl Log {
    pub(crate) fn end(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn at(&self, offset: u64) -> Option<&Rc<Entry>> {
        let index = offset.checked_sub(1)?;
        self.entries.get(usize::try_from(index).ok()?)?.as_ref()
    }

    /// Whether an offset is one of a message that nobody ever saw.
    pub(crate) fn unseen(&self, offset: u64) -> bool {
        (1..=self.end()).contains(&offset) && self.at(offset).is_none()
    }

    /// All messages that were ever seen, the newest first.
    pub(crate) fn seen(&self, to: u64) -> impl Iterator<Item = &Rc<Entry>> {
        self.entries[..to as usize].iter().rev().flatten()
    }

    /// Whether a position is one of this log.
    pub(crate) fn knows(&self, at: Position) -> bool {
        let here = match self.at(at.offset) {
            Some(entry) => entry.tag == at.tag,
            None if at.offset == 0 => at.tag == 0,
            None => self.unseen_tags.get(&at.offset) == Some(&at.tag),
        };
        at.epoch == 0 || at.epoch == self.epoch && here
    }

    /// The newest message with a sender and an id, at or below an offset.
    pub(crate) fn latest(&self, sender: &str, id: &str, to: u64) -> Option<&Rc<Entry>> {
        self.seen(to)
            .find(|entry| entry.message.sender == sender && entry.message.id == id)
    }
}

/// Runs a future that never has to wait, and the tasks it spawns.
pub(crate) fn at_once<T>(world: &RefCell<World>, future: impl Future<Output = T>) -> Checked<T> {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    let mut spawned = Vec::new();
    let mut value = None;
    for _ in 0..10_000 {
        if value.is_none()
            && let Poll::Ready(ready) = future.as_mut().poll(&mut cx)
        {
            value = Some(ready);
        }
        spawned.append(&mut world.borrow_mut().spawned);
        spawned.retain_mut(|(_, task)| task.as_mut().poll(&mut cx).is_pending());
        if spawned.is_empty()
            && let Some(value) = value.take()
        {
            return Ok(value);
        }
    }
    Err("a call hangs on a store that answers at once".to_owned())
}

/// Reads the whole window and compares it with what was there before: a log only grows at its end and only
/// begins later, for a reason; whatever is in the window can be read at every moment.
pub(crate) fn observe(
    world: &Rc<RefCell<World>>,
    window: &Window,
    channel: &str,
    log: &mut Log,
) -> Checked {
    let store = Direct {
        world: Rc::clone(world),
        owner: None,
    };
    let whole = Window {
        page_bytes: usize::MAX,
        ..window.clone()
    };
    let mailbox = Mailbox::new(store.clone(), store, whole);
    let read = |start| at_once(world, mailbox.read(channel, start, u32::MAX));
    let page: Page = match read(Start::Newest(u32::MAX))? {
        Ok(page) => page,
        // What is new can be read all the same.
        Err(_) if log.damaged => {
            let tag = log.at(log.end()).map_or(0, |entry| entry.tag);
            let end = Position {
                epoch: log.epoch,
                offset: log.end(),
                tag,
            };
            let page = read(Start::After(end))?
                .map_err(|error| format!("{channel} has lost its tail: {error}"))?;
            for (at, message) in page.messages {
                merge(world, channel, log, at, message)?;
            }
            // A history of no messages tells where the window begins, whatever is lost behind that.
            while log.begin < log.end() {
                let below = mailbox.history(channel, Some(log.begin + 2), 0);
                let history = at_once(world, below)?.map_err(|error| error.to_string())?;
                if history.before.is_some() {
                    break;
                }
                log.begin += 1;
            }
            return Ok(());
        }
        Err(error) => return Err(format!("{channel} is not whole: {error}")),
    };
    ensure!(
        page.gap.is_none() && !page.more,
        "{channel} is not whole: an observer is told of {:?}, more: {}",
        page.gap,
        page.more
    );
    let (begin, end) = (page.from.offset, page.next.offset);
    if page.next.epoch == 0 {
        ensure!(log.epoch == 0, "{channel} is not born any more");
        return Ok(());
    }
    ensure!(
        log.epoch == 0 || log.epoch == page.next.epoch,
        "the epoch of {channel} changed"
    );
    log.epoch = page.next.epoch;
    ensure!(
        begin >= log.begin && begin <= end,
        "the window of {channel} began behind {} and now begins behind {begin}",
        log.begin,
    );
    // Whatever is behind the window and was never seen came and went with one swap.
    while log.end() < begin {
        log.entries.push(None);
    }
    if log.unseen(begin) {
        let tag = *log.unseen_tags.entry(begin).or_insert(page.from.tag);
        ensure!(tag == page.from.tag, "{channel} {begin} changed its tag");
    }
    for (at, message) in page.messages {
        merge(world, channel, log, at, message)?;
    }
    ensure!(
        end == log.end(),
        "{channel} shrank from {} to {end}",
        log.end()
    );
    begin_later(world, window, channel, log, begin)
}

fn merge(
    world: &RefCell<World>,
    channel: &str,
    log: &mut Log,
    at: Position,
    message: Message,
) -> Checked {
    let offset = at.offset;
    ensure!(
        message.offset == offset && at.epoch == log.epoch,
        "{channel}: {at:?} stands for {message:?}"
    );
    if let Some(known) = log.at(offset) {
        ensure!(
            known.message == message && known.tag == at.tag,
            "{channel} held {:?} and now holds {message:?}",
            known.message
        );
        return Ok(());
    }
    ensure!(
        offset == log.end() + 1,
        "{channel} has a hole: {} is followed by {offset}",
        log.end()
    );
    let world = world.borrow();
    let before = log.seen(log.end()).next();
    let before = before.map_or(0, |entry| entry.message.sent_at);
    ensure!(
        message.sent_at >= before,
        "{channel} {offset} was sent before its predecessor"
    );
    ensure!(
        message.sent_at <= world.latest_reading && message.sent_at >= DAWN - 1_000,
        "{channel} {offset} was sent at a time that no clock showed"
    );
    log.entries.push(Some(Rc::new(Entry {
        message,
        tag: at.tag,
    })));
    Ok(())
}

/// Only what is beyond the window's count or age may go.
fn begin_later(
    world: &RefCell<World>,
    window: &Window,
    channel: &str,
    log: &mut Log,
    begin: u64,
) -> Checked {
    let now = world.borrow().latest_reading;
    for offset in log.begin + 1..=begin {
        let beyond_count = offset + window.retention.messages <= log.end();
        let beyond_age = log.at(offset).is_some_and(|entry| {
            entry
                .message
                .sent_at
                .saturating_add(window.retention.age_ms)
                < now
        });
        ensure!(
            beyond_count || beyond_age || log.damaged,
            "{channel} {offset} of {} left the window too early",
            log.end()
        );
    }
    log.begin = begin;
    Ok(())
}
