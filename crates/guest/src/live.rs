//! What the readers of one channel that take part in its live state share: one waiting call for it, and what is told
//! of each change, made once.

use crate::hub::{Hub, TICKS_PER_SECOND};
use crate::messenger::{self, Attendance, Feed};
use crate::seats::Seats;
use crate::types::Error;
use protocol::framing::Frame;
use protocol::{Channel, Mark, State};
use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use ws::Prepared;

/// The longest that one call waits, in milliseconds. A stage outlives its last reader by up to this much: polls come
/// back, and find it.
const WAIT_MS: u32 = 15_000;
/// Changes that a slow reader may lag without being told the whole state again.
const MOST_CHANGES: usize = 64;
/// How long the store is left alone after it failed, in ticks.
const PAUSE: u64 = TICKS_PER_SECOND;

/// News of a state, as one JSON object, for all who hear it.
pub(crate) struct Update {
    json: String,
    prepared: OnceCell<Box<Prepared>>,
}

impl Update {
    fn new(json: String) -> Rc<Self> {
        let prepared = OnceCell::new();
        Rc::new(Self { json, prepared })
    }

    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// The text message of a WebSocket, compressed once for all.
    pub(crate) fn prepared(&self) -> &Prepared {
        self.prepared.get_or_init(|| {
            let state = &self.json;
            Box::new(Prepared::new(Frame::State { state }.to_json()))
        })
    }
}

/// The live state of a channel, as this instance knows it.
pub(crate) struct Stage {
    channel: Channel,
    feed: Rc<Feed>,
    inner: RefCell<Inner>,
    seats: Seats,
}

#[derive(Default)]
struct Inner {
    /// How many states there were; 0: none is known yet.
    version: u64,
    state: State,
    digest: String,
    whole: OnceCell<Rc<Update>>,
    /// What made each of the last states but the first, this one last.
    changes: VecDeque<Rc<Update>>,
}

/// A reader that takes part; leaving is dropping it.
pub(crate) struct Part {
    channel: Channel,
    feed: Rc<Feed>,
    /// Where it is told what changes; none: it does not wait for that.
    seat: Option<Seat>,
    /// The version that the reader was told.
    told: u64,
    /// The digest that a poll knows.
    known: Option<String>,
    #[expect(dead_code, reason = "what counts is when it is dropped")]
    attendance: Attendance,
}

struct Seat {
    stage: Rc<Stage>,
    key: usize,
}

impl Part {
    /// Attends a channel, for a poll that may know a state, or to `stay` and be told what changes.
    pub(crate) async fn begin(
        channel: &Channel,
        feed: &Rc<Feed>,
        known: Option<&str>,
        stay: bool,
    ) -> Self {
        Self {
            attendance: feed.attend().await,
            channel: channel.clone(),
            feed: Rc::clone(feed),
            seat: stay.then(|| Seat::take(channel, feed)),
            told: 0,
            known: known.map(str::to_owned),
        }
    }

    /// Whether there is news.
    pub(crate) fn has_news(&self) -> bool {
        self.seat.as_ref().is_some_and(|seat| {
            let inner = seat.stage.inner.borrow();
            inner.version != self.told && self.known.as_ref() != Some(&inner.digest)
        })
    }

    /// The same; if there is none, the waker is kept for the next.
    pub(crate) fn poll_news(&self, waker: &Waker) -> bool {
        let news = self.has_news();
        if !news && let Some(Seat { stage, key }) = &self.seat {
            stage.seats.wait(*key, waker);
        }
        news
    }

    /// All news since this was asked last: the whole state, or what changed, one after the other.
    pub(crate) fn take(&mut self) -> Vec<Rc<Update>> {
        let Some(Seat { stage, .. }) = &self.seat else {
            return Vec::new();
        };
        let inner = stage.inner.borrow();
        let told = std::mem::replace(&mut self.told, inner.version);
        let behind = usize::try_from(inner.version - told).unwrap_or(usize::MAX);
        if behind == 0 {
            return Vec::new();
        }
        match inner.changes.len().checked_sub(behind) {
            Some(first) if told > 0 => inner.changes.range(first..).map(Rc::clone).collect(),
            _ => vec![inner.whole(&self.channel)],
        }
    }

    /// The state now: its digest, and the whole of it where that is not what the poll knows.
    pub(crate) async fn now(&self) -> Result<(String, Option<Rc<Update>>), Error> {
        if let Some(Seat { stage, .. }) = &self.seat {
            let inner = stage.inner.borrow();
            if inner.version > 0 {
                let is_news = self.known.as_ref() != Some(&inner.digest);
                let whole = is_news.then(|| inner.whole(&self.channel));
                return Ok((inner.digest.clone(), whole));
            }
        }
        let (digest, state) = inward(self.feed.state(None, 0).await?);
        let is_news = self.known.as_ref() != Some(&digest);
        let whole = is_news.then(|| Update::new(state.to_json(self.channel.as_str())));
        Ok((digest, whole))
    }
}

impl Seat {
    fn take(channel: &Channel, feed: &Rc<Feed>) -> Self {
        let hub = Hub::shared();
        let stage = hub.stage(channel).unwrap_or_else(|| {
            let stage = Rc::new(Stage {
                channel: channel.clone(),
                feed: Rc::clone(feed),
                inner: RefCell::default(),
                seats: Seats::default(),
            });
            hub.open_stage(channel.clone(), &stage);
            hub.spawn(Rc::clone(&stage).listen());
            stage
        });
        let key = stage.seats.take();
        Self { stage, key }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.stage.seats.leave(self.key);
    }
}

impl Stage {
    async fn listen(self: Rc<Self>) {
        let hub = Hub::shared();
        let mut known = None;
        while !self.seats.are_empty() {
            match self.feed.state(known.take(), WAIT_MS).await {
                Ok(state) => {
                    known = Some(state.digest.clone());
                    let is_news = self.inner.borrow_mut().learn(&self.channel, state);
                    if is_news {
                        self.seats.rouse(&hub).await;
                    }
                }
                // The readers are told by their rooms.
                Err(Error::Closing) => break,
                Err(_) => hub.sleep(PAUSE).await,
            }
        }
        hub.close_stage(&self.channel);
    }
}

impl Inner {
    /// Takes a state over; tells whether it is another.
    fn learn(&mut self, channel: &Channel, state: messenger::State) -> bool {
        if self.version > 0 && state.digest == self.digest {
            return false;
        }
        let (digest, state) = inward(state);
        if self.version == 0 {
            self.version = 1;
        } else if let Some(change) = state.since(&self.state) {
            let json = change.to_json(channel.as_str());
            self.changes.push_back(Update::new(json));
            self.version += 1;
        }
        if self.changes.len() > MOST_CHANGES {
            self.changes.pop_front();
        }
        self.state = state;
        self.digest = digest;
        self.whole = OnceCell::new();
        true
    }

    fn whole(&self, channel: &Channel) -> Rc<Update> {
        let whole = || Update::new(self.state.to_json(channel.as_str()));
        Rc::clone(self.whole.get_or_init(whole))
    }
}

/// The digest of a state, and the state in this side's types.
fn inward(state: messenger::State) -> (String, State) {
    let messenger::State {
        digest,
        here,
        others,
        typing,
        marks,
    } = state;
    let state = State {
        here: here.into_iter().map(|one| (one.sender, one.name)).collect(),
        others,
        typing: typing
            .into_iter()
            .map(|one| (one.sender, one.name))
            .collect(),
        marks: marks
            .into_iter()
            .map(|mark| {
                let messenger::Mark {
                    sender,
                    read,
                    delivered,
                } = mark;
                (sender, Mark { read, delivered })
            })
            .collect(),
    };
    (digest, state)
}
