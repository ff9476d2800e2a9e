//! What the readers of one channel share in this instance: one waiting read of the store, and the
//! latest messages, each encoded once.

use crate::hub::{Hub, TICKS_PER_SECOND};
use crate::messenger::Feed;
use crate::page::receive;
use crate::seats::Seats;
use crate::types::Error;
use protocol::framing::{Frame, StreamFraming};
use protocol::{Channel, Cursor, Position, Start};
use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use ws::Prepared;

/// The backup of lost wakeups: at most one read of the store in this time, in milliseconds.
const WAIT_MS: u32 = 15_000;
/// Messages asked for at a time.
pub(crate) const PAGE: u32 = 256;
/// The messages that a slow reader may lag without reading the store for itself.
const LOG_MESSAGES: usize = 512;
/// The same in bytes, as [`Heard::size`] counts them.
const LOG_BYTES: usize = 1024 * 1024;
/// What all rooms of an instance share for their logs: with many rooms each keeps less, and who lags reads
/// the store sooner, which is one read. Of a thousand rooms each keeps some 20 short messages. More, and most of
/// what an instance holds is what nobody asks for.
const LOGS_BYTES: usize = 8 * 1024 * 1024;
/// What is kept of a message beside its envelope and its frame, about: places, lengths, and the allocator's own.
const HEARD_BYTES: usize = 128;
/// A reader takes so many bytes at a time. More would be held for it alone while it is slow.
const TAKE_BYTES: usize = 64 * 1024;
/// How long the store is left alone after it failed, in ticks.
const PAUSE: u64 = TICKS_PER_SECOND;

/// A message as it was received, and what the framing made of it.
pub(crate) struct Heard {
    pub(crate) at: Position,
    pub(crate) envelope: String,
    frame: OnceCell<Vec<u8>>,
    prepared: OnceCell<Box<Prepared>>,
    behind: OnceCell<String>,
}

impl Heard {
    pub(crate) fn new(at: Position, envelope: String) -> Self {
        Self {
            at,
            envelope,
            frame: OnceCell::new(),
            prepared: OnceCell::new(),
            behind: OnceCell::new(),
        }
    }

    /// What it takes in the log, about: what the framing makes of an envelope is as long again.
    fn size(&self) -> usize {
        self.held() + self.envelope.len()
    }

    /// What it takes before the framing has made anything of it, about.
    pub(crate) fn held(&self) -> usize {
        self.envelope.len() + HEARD_BYTES
    }

    /// What the frames of all readers of this channel alone have in common: they have the same cursor here.
    /// Made once: an instance speaks one framing.
    pub(crate) fn frame<F: StreamFraming>(&self, cursor: &Cursor) -> &[u8] {
        self.frame.get_or_init(|| {
            let mut frame = Vec::new();
            F::head(&self.envelope, &mut frame);
            F::tail(&cursor.encode(), &mut frame);
            frame
        })
    }

    /// What the text messages of all WebSockets have in common: all but the cursor. Compressed once for all.
    pub(crate) fn prepared(&self) -> &Prepared {
        self.prepared
            .get_or_init(|| Box::new(Prepared::new(Frame::before(&self.envelope))))
    }

    /// What stands behind that for all who read this channel alone: they have the same cursor here. Made once.
    pub(crate) fn behind(&self, cursor: &Cursor) -> &str {
        self.behind.get_or_init(|| Frame::behind(&cursor.encode()))
    }
}

/// What a room has for a reader at some place.
pub(crate) enum Since {
    /// Nothing yet: wait.
    Nothing,
    /// These, oldest first.
    Messages(Vec<Rc<Heard>>),
    /// The place is not among the latest messages: read the store.
    Elsewhere,
    /// The host is about to stop.
    Closing,
}

pub(crate) struct Room {
    channel: Channel,
    feed: Rc<Feed>,
    state: RefCell<State>,
    seats: Seats,
}

struct State {
    log: VecDeque<Rc<Heard>>,
    bytes: usize,
    /// Just before the log's first message.
    floor: Position,
    /// Just behind its last.
    head: Position,
    /// How often anything here changed.
    version: u64,
    closing: bool,
}

/// A reader's place in a room; leaving is dropping it.
pub(crate) struct Seat {
    room: Rc<Room>,
    key: usize,
    /// The room's version when the reader last found in the store that there is nothing behind its place.
    looked: Option<u64>,
}

impl Room {
    /// Takes a seat in the channel's room; a new room begins at `at`, which the reader has just read up to.
    pub(crate) fn enter(channel: &Channel, feed: &Rc<Feed>, at: Position) -> Seat {
        let hub = Hub::shared();
        let room = hub.room(channel).unwrap_or_else(|| {
            let room = Rc::new(Room {
                channel: channel.clone(),
                feed: Rc::clone(feed),
                state: RefCell::new(State {
                    log: VecDeque::new(),
                    bytes: 0,
                    floor: at,
                    head: at,
                    version: 0,
                    closing: false,
                }),
                seats: Seats::default(),
            });
            hub.open_room(channel.clone(), &room);
            hub.spawn(Rc::clone(&room).listen());
            room
        });
        let key = room.seats.take();
        Seat {
            room,
            key,
            looked: None,
        }
    }

    /// Whether a reader at this place would find everything here, without the store.
    pub(crate) fn knows(&self, at: Position) -> bool {
        let state = self.state.borrow();
        !state.closing && (at == state.head || state.index(at).is_some())
    }

    /// Receives until nobody is here. An empty room is noticed when a receive returns, so it outlives its
    /// last reader by up to `WAIT_MS`: polls come back, and find it.
    async fn listen(self: Rc<Self>) {
        let hub = Hub::shared();
        while !self.seats.are_empty() {
            let (at, version) = {
                let state = self.state.borrow();
                (state.head, state.version)
            };
            match receive(&self.feed, Start::After(at), PAGE, WAIT_MS).await {
                Ok(page) => {
                    let mut state = self.state.borrow_mut();
                    if page.gap.is_some() {
                        state.break_off(page.from);
                    }
                    let room = LOG_BYTES.min(LOGS_BYTES / hub.rooms().max(1));
                    state.append(page.messages, page.next, room);
                }
                Err(Error::Closing) => self.state.borrow_mut().close(),
                // The place stands; the readers keep their streams.
                Err(_) => hub.sleep(PAUSE).await,
            }
            if self.state.borrow().version != version {
                self.seats.rouse(&hub).await;
            }
            if self.state.borrow().closing {
                break;
            }
        }
        hub.close_room(&self.channel);
    }
}

impl State {
    fn append(&mut self, messages: Vec<Rc<Heard>>, next: Position, most_bytes: usize) {
        if messages.is_empty() && self.head == next {
            return;
        }
        self.bytes += messages.iter().map(|heard| heard.size()).sum::<usize>();
        self.log.extend(messages);
        self.head = next;
        while self.log.len() > LOG_MESSAGES || self.bytes > most_bytes {
            let Some(oldest) = self.log.pop_front() else {
                break;
            };
            self.bytes -= oldest.size();
            self.floor = oldest.at;
        }
        self.version += 1;
    }

    fn break_off(&mut self, at: Position) {
        self.log.clear();
        self.bytes = 0;
        self.floor = at;
        self.head = at;
        self.version += 1;
    }

    fn close(&mut self) {
        self.closing = true;
        self.version += 1;
    }

    /// The index of the first message behind a place within the log.
    fn index(&self, at: Position) -> Option<usize> {
        if at == self.floor {
            return Some(0);
        }
        let first = self.log.front()?.at.offset;
        let index = usize::try_from(at.offset.checked_sub(first)?).ok()?;
        (self.log.get(index)?.at == at).then_some(index + 1)
    }
}

impl Seat {
    /// What came behind a place.
    ///
    /// A place that the room does not know, too old for it, too new, or of a log that is no more, is
    /// `Elsewhere`: once for each state of the room, or a reader would ask the store without end.
    pub(crate) fn since(&self, at: Position, most: usize) -> Since {
        let state = self.room.state.borrow();
        if state.closing {
            return Since::Closing;
        }
        match state.index(at) {
            Some(index) if index < state.log.len() => {
                let mut bytes = 0;
                let messages = state.log.range(index..).take(most).take_while(|heard| {
                    let room = bytes < TAKE_BYTES;
                    bytes += heard.envelope.len();
                    room
                });
                Since::Messages(messages.map(Rc::clone).collect())
            }
            None if at != state.head && self.looked != Some(state.version) => Since::Elsewhere,
            _ => Since::Nothing,
        }
    }

    /// Whether `since` would answer anything but `Nothing`; if not, the waker is kept for the next news.
    pub(crate) fn poll_news(&self, at: Position, waker: &Waker) -> bool {
        if !matches!(self.since(at, 0), Since::Nothing) {
            return true;
        }
        self.room.seats.wait(self.key, waker);
        false
    }

    /// The room's state, to be noted before the store is read.
    pub(crate) fn version(&self) -> u64 {
        self.room.state.borrow().version
    }

    /// That the store, read after this version was noted, has nothing behind the reader's place.
    pub(crate) fn looked(&mut self, version: u64) {
        self.looked = Some(version);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.seats.leave(self.key);
    }
}
