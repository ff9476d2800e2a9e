//! One reader: its place in each of its channels, and what it reads next.

use crate::hub::Hub;
use crate::live::{Part, Update};
use crate::messenger::{self, Feed};
use crate::page::{Page, receive};
use crate::pass::Pass;
use crate::room::{Heard, PAGE, Room, Seat, Since};
use crate::types::{self, Caller};
use futures::future;
use protocol::{Channel, Cursor, Known, Position, ReadRequest, Start};
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Poll;

/// The most that one step hands over. Larger: a slow reader holds more memory while it is written to;
/// smaller: more writes to catch up.
const STEP_BYTES: usize = 64 * 1024;

/// What a reader may have read and not handed over, in bytes. Larger: one that is slow holds more; smaller: who catches up
/// in many channels reads more of it twice.
const HELD_BYTES: usize = 256 * 1024;
/// The same of all readers of an instance. Beyond it they read again what they cannot hand over at once.
const ALL_HELD_BYTES: usize = 16 * 1024 * 1024;
/// Who follows many channels gets few messages of each at a time, and reads so many of all of them ahead. Smaller: more
/// reads of the store; larger: more than may be held.
const AHEAD: usize = 512;

/// What a cursor says of a channel beside its name, before it is encoded.
const POSITION_BYTES: usize = 20;

/// What a reader reads: behind it, the reader is at `at`.
pub(crate) enum Item {
    Message(Rc<Heard>),
    Gap(types::Gap, Position),
}

impl Item {
    fn size(&self) -> usize {
        match self {
            Self::Message(heard) => heard.envelope.len(),
            Self::Gap(..) => 0,
        }
    }
}

/// Whether a reader waits for more.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Stay {
    /// It takes a seat in the channels' rooms.
    Long,
    /// It is answered at once, with what is in the store by now.
    Short,
}

/// What a reader that waits is woken for.
pub(crate) enum News {
    /// `take` or `live` has something.
    Messages,
    /// Whether it may go on is in question, and `standing` tells.
    Standing,
    /// The time is over.
    Tick,
}

pub(crate) struct Reader {
    places: Vec<Place>,
    pass: Pass,
    /// It takes part in the live state of its channels.
    takes_part: bool,
    /// The place that is asked first: the next one each time, so that a loud channel leaves room.
    turn: usize,
    /// The tick for which the hub was last asked to wake this reader.
    armed: u64,
    held: Held,
}

/// What a reader has read and not handed over, in bytes; given back when it is dropped.
#[derive(Default)]
struct Held(usize);

thread_local! {
    static ALL_HELD: Cell<usize> = const { Cell::new(0) };
}

impl Held {
    /// The most that it may be.
    fn room(&self) -> usize {
        let others = ALL_HELD.get() - self.0;
        HELD_BYTES.min(ALL_HELD_BYTES.saturating_sub(others))
    }

    fn set(&mut self, bytes: usize) {
        ALL_HELD.set(ALL_HELD.get() - self.0 + bytes);
        self.0 = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

struct Place {
    channel: Channel,
    feed: Rc<Feed>,
    at: Position,
    /// Read already, not handed over yet.
    pending: VecDeque<Rc<Heard>>,
    /// It took its whole share the last time, and may have more.
    more: bool,
    stay: Stay,
    standing: Standing,
    /// What it takes part in.
    part: Option<Part>,
}

/// How far a reader has come in a channel.
enum Standing {
    /// There may be more in the store.
    Behind,
    /// It has caught up, and its seat tells what comes.
    Seated(Seat),
    /// It has caught up, and does not stay.
    Done,
}

impl Reader {
    /// Opens every channel where the request says. Reads the store only for places that a cursor does
    /// not tell.
    pub(crate) async fn open(
        request: &ReadRequest,
        caller: Caller,
        stay: Stay,
    ) -> Result<Self, types::Error> {
        let (pass, feeds) = Pass::ask(caller, &request.channels).await?;
        Self::begin(request, pass, feeds, stay).await
    }

    /// The same, to stay, without asking about one who paused a moment ago.
    pub(crate) async fn resume(
        request: &ReadRequest,
        caller: Caller,
    ) -> Result<Self, types::Error> {
        let (pass, feeds) = match Pass::kept(&caller, &request.channels) {
            Some(kept) => kept,
            None => Pass::ask(caller, &request.channels).await?,
        };
        Self::begin(request, pass, feeds, Stay::Long).await
    }

    async fn begin(
        request: &ReadRequest,
        pass: Pass,
        feeds: Vec<Rc<Feed>>,
        stay: Stay,
    ) -> Result<Self, types::Error> {
        let count = feeds.len();
        let mut reader = Self {
            places: Vec::with_capacity(count),
            pass,
            takes_part: request.presence.is_some(),
            turn: 0,
            armed: 0,
            held: Held::default(),
        };
        for (channel, feed) in request.channels.iter().zip(feeds) {
            let start = request.start(channel);
            let place = Place::open(channel.clone(), feed, start, ahead(count), stay).await?;
            reader.places.push(place);
            reader.put_back();
        }
        if let Some(known) = &request.presence {
            for (index, place) in reader.places.iter_mut().enumerate() {
                place.take_part(known.digest(index, count)).await;
            }
        }
        Ok(reader)
    }

    /// Follows one more channel, and stays.
    pub(crate) async fn add(
        &mut self,
        channel: Channel,
        feed: Feed,
        start: Start,
    ) -> Result<(), types::Error> {
        let first = ahead(self.places.len() + 1);
        let mut place = Place::open(channel, Rc::new(feed), start, first, Stay::Long).await?;
        if self.takes_part {
            place.take_part(None).await;
        }
        self.places.push(place);
        self.put_back();
        Ok(())
    }

    /// That a channel was added whose feed was asked for when this version of everybody's standing was known.
    pub(crate) fn question_since(&self, version: u64) {
        self.pass.question_since(version);
    }

    /// Follows a channel no longer.
    pub(crate) fn remove(&mut self, channel: &Channel) {
        self.places.retain(|place| place.channel != *channel);
        self.turn = 0;
    }

    /// Leaves, and is about to come back.
    pub(crate) fn pause(self) {
        let places = self.places.into_iter();
        let (channels, feeds) = places.map(|place| (place.channel, place.feed)).unzip();
        self.pass.keep(channels, feeds);
    }

    /// Who reads.
    pub(crate) fn caller(&self) -> &Caller {
        self.pass.caller()
    }

    /// Whether a channel is among those that it follows.
    pub(crate) fn follows(&self, channel: &Channel) -> bool {
        self.places.iter().any(|place| place.channel == *channel)
    }

    /// How many channels it follows.
    pub(crate) fn channels(&self) -> usize {
        self.places.len()
    }

    /// Where the reader stands.
    pub(crate) fn cursor(&self) -> Cursor {
        self.places
            .iter()
            .map(|place| (place.channel.clone(), place.at))
            .collect()
    }

    /// What a frame of this reader's takes beside the envelope, in bytes: its cursor names every channel.
    pub(crate) fn cost(&self) -> usize {
        let names = self.places.iter().map(|place| place.channel.as_str().len());
        names.map(|name| name + POSITION_BYTES).sum::<usize>() * 4 / 3
    }

    /// Whether this reader's cursor is that of its one channel alone.
    pub(crate) fn is_single(&self) -> bool {
        self.places.len() == 1
    }

    pub(crate) fn channel(&self, place: usize) -> &Channel {
        &self.places[place].channel
    }

    /// What there is, at most `limit` messages, each with the index of its place; without waiting, and
    /// empty only where there is nothing.
    ///
    /// Every place gets its share first, however loud another is; what is left goes to those with more.
    /// Each message counts for `cost` bytes more than its envelope has. Of each place a gap comes first, if at
    /// all: one that opens behind messages is left for the next call.
    ///
    /// # Errors
    /// One place could not be read, and nothing was taken from the others.
    pub(crate) async fn take(
        &mut self,
        limit: usize,
        cost: usize,
    ) -> Result<Vec<(usize, Item)>, types::Error> {
        let count = self.places.len();
        // One channel is read as it is handed over.
        let ahead = if count > 1 && self.held.room() == HELD_BYTES {
            ahead(count)
        } else {
            0
        };
        let mut items = Vec::new();
        let mut bytes = 0;
        let mut sharers = count;
        let mut begun = false;
        self.places.iter_mut().for_each(|place| place.more = true);
        while sharers > 0 && items.len() < limit && bytes < STEP_BYTES {
            let share = ((limit - items.len()) / sharers).max(1);
            sharers = 0;
            for index in (self.turn..count).chain(0..self.turn) {
                let left = limit.saturating_sub(items.len());
                let most = share.min(left).min(PAGE as usize);
                if most == 0 || bytes >= STEP_BYTES {
                    break;
                }
                let place = &mut self.places[index];
                if !std::mem::take(&mut place.more) {
                    continue;
                }
                let before = items.len();
                let hand = |item: Item| {
                    bytes += item.size() + cost;
                    items.push((index, item));
                    bytes < STEP_BYTES
                };
                match place.take(most, most.max(ahead), begun, hand).await {
                    Ok(()) => {}
                    // What was taken is behind the reader now and has to be handed over; the error comes again.
                    Err(_) if !items.is_empty() => break,
                    Err(error) => return Err(error),
                }
                let taken = items.len() - before;
                place.more = taken >= most || (taken > 0 && place.is_behind());
                sharers += usize::from(place.more);
            }
            begun = true;
        }
        self.turn = (self.turn + 1) % count.max(1);
        self.put_back();
        Ok(items)
    }

    /// Lets go of what is read and too much to be held until its turn comes, of what comes last first.
    fn put_back(&mut self) {
        let room = self.held.room();
        let mut held = 0;
        let (later, first) = self.places.split_at_mut(self.turn);
        for place in first.iter_mut().chain(later) {
            let size = place.pending.iter().map(|heard| heard.held());
            let size: usize = size.sum();
            if held + size > room {
                place.put_back();
            } else {
                held += size;
            }
        }
        self.held.set(held);
    }

    /// Whether there is anything new in the live state of its channels.
    pub(crate) fn has_live(&self) -> bool {
        let mut parts = self.places.iter().filter_map(|place| place.part.as_ref());
        parts.any(|part| part.has_news())
    }

    /// What is new in the live state of its channels.
    pub(crate) fn live(&mut self) -> Vec<Rc<Update>> {
        let parts = self
            .places
            .iter_mut()
            .filter_map(|place| place.part.as_mut());
        parts.flat_map(Part::take).collect()
    }

    /// For a poll: the live state of those of its channels of which it knows another, and what it knows with that;
    /// none, where it takes no part or the store fails.
    pub(crate) async fn live_now(&self) -> Option<(Vec<Rc<Update>>, Known)> {
        let mut updates = Vec::new();
        let mut digests = Vec::with_capacity(self.places.len());
        for place in &self.places {
            let (digest, update) = place.part.as_ref()?.now().await.ok()?;
            digests.push(digest);
            updates.extend(update);
        }
        Some((updates, Known::of(digests.iter().map(String::as_str))))
    }

    /// Waits until `take` or `live` has something, until its standing is in question, which comes before all else, or
    /// until the tick.
    pub(crate) async fn news(&mut self, hub: &Hub, tick: u64) -> News {
        let Self {
            places,
            pass,
            armed,
            ..
        } = self;
        let membership = pass.membership();
        future::poll_fn(|cx| {
            if membership.is_some_and(|membership| membership.poll_question(cx.waker())) {
                return Poll::Ready(News::Standing);
            }
            let mut news = false;
            for place in &*places {
                // Every seat hears of this reader, also behind one that has news.
                news |= !place.pending.is_empty();
                news |= match &place.standing {
                    Standing::Behind => true,
                    Standing::Seated(seat) => seat.poll_news(place.at, cx.waker()),
                    Standing::Done => false,
                };
                let part = place.part.as_ref();
                news |= part.is_some_and(|part| part.poll_news(cx.waker()));
            }
            if news {
                return Poll::Ready(News::Messages);
            }
            if hub.now() >= tick {
                return Poll::Ready(News::Tick);
            }
            if *armed != tick {
                *armed = tick;
                hub.wake_at(tick, cx.waker());
            }
            Poll::Pending
        })
        .await
    }

    /// Asks whether it may go on: the channels that it may read no longer, and why. It still follows them.
    ///
    /// # Errors
    /// It may read nothing any more; or nobody can tell, and it stays in question.
    pub(crate) async fn standing(&mut self) -> Result<Vec<(Channel, types::Error)>, types::Error> {
        if self.pass.has_expired() {
            let why = "the credential has expired";
            return Err(types::Error::Unauthorized(why.to_owned()));
        }
        // What changes from here on, also while it is asked for, puts it in question again.
        self.pass.question(false);
        let refused = self.refused().await;
        if refused.is_err() {
            self.pass.question(true);
        }
        refused
    }

    async fn refused(&self) -> Result<Vec<(Channel, types::Error)>, types::Error> {
        let channels = || self.places.iter().map(|place| &place.channel);
        let follow = async |names| messenger::follow(self.caller().clone(), names).await;
        if self.places.is_empty() {
            return Ok(Vec::new());
        }
        match follow(channels().map(ToString::to_string).collect()).await {
            Ok(_) => return Ok(Vec::new()),
            Err(types::Error::Forbidden(_)) => {}
            Err(error) => return Err(error),
        }
        let mut refused = Vec::new();
        for channel in channels() {
            match follow(vec![channel.to_string()]).await {
                Ok(_) => {}
                Err(error @ types::Error::Forbidden(_)) => refused.push((channel.clone(), error)),
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }
}

/// How many messages are read ahead of each of so many channels.
fn ahead(channels: usize) -> usize {
    (AHEAD / channels.max(1)).min(PAGE as usize)
}

fn limit(messages: usize) -> u32 {
    u32::try_from(messages).unwrap_or(u32::MAX)
}

impl Place {
    /// Where `start` says; at most so many of the messages that it begins with are read.
    async fn open(
        channel: Channel,
        feed: Rc<Feed>,
        start: Start,
        most: usize,
        stay: Stay,
    ) -> Result<Self, types::Error> {
        let mut place = Self {
            channel,
            feed,
            at: Position::default(),
            pending: VecDeque::new(),
            more: false,
            stay,
            standing: Standing::Behind,
            part: None,
        };
        if let Start::After(at) = start {
            place.at = at;
            let room = Hub::shared().room(&place.channel);
            if stay == Stay::Long && room.is_some_and(|room| room.knows(at)) {
                place.sit(at);
            }
        } else {
            let page = receive(&place.feed, start, limit(most), 0).await?;
            place.at = page.from;
            place.catch_up(&page);
            place.pending = page.messages.into();
        }
        Ok(place)
    }

    /// Hands over at most so many messages, until `hand` says that it is enough; nothing where there is a gap
    /// and others were `begun` to be handed over before. Of the store are read more, where `read` is.
    async fn take(
        &mut self,
        most: usize,
        read: usize,
        begun: bool,
        mut hand: impl FnMut(Item) -> bool,
    ) -> Result<(), types::Error> {
        if self.pending.is_empty() {
            let since = match &self.standing {
                Standing::Behind => Since::Elsewhere,
                Standing::Seated(seat) => seat.since(self.at, most),
                Standing::Done => Since::Nothing,
            };
            match since {
                Since::Nothing => return Ok(()),
                Since::Closing => return Err(types::Error::Closing),
                Since::Messages(messages) => self.pending = messages.into(),
                Since::Elsewhere => {
                    let version = match &self.standing {
                        Standing::Seated(seat) => seat.version(),
                        Standing::Behind | Standing::Done => 0,
                    };
                    let start = Start::After(self.at);
                    let page = receive(&self.feed, start, limit(read), 0).await?;
                    if begun && page.gap.is_some() {
                        return Ok(());
                    }
                    match &mut self.standing {
                        Standing::Seated(seat) if !page.more => seat.looked(version),
                        Standing::Seated(_) => {}
                        Standing::Behind | Standing::Done => self.catch_up(&page),
                    }
                    self.at = if page.messages.is_empty() {
                        page.next
                    } else {
                        page.from
                    };
                    if let Some(gap) = page.gap {
                        hand(Item::Gap(gap, page.from));
                    }
                    self.pending = page.messages.into();
                }
            }
        }
        for _ in 0..most {
            let Some(heard) = self.pending.pop_front() else {
                break;
            };
            self.at = heard.at;
            if !hand(Item::Message(heard)) {
                break;
            }
        }
        if self.pending.is_empty() {
            // What waits holds nothing.
            self.pending = VecDeque::new();
        }
        Ok(())
    }

    /// Goes back to the place that was handed over last, from where the store is read again.
    fn put_back(&mut self) {
        if !self.pending.is_empty() {
            self.pending = VecDeque::new();
            self.standing = Standing::Behind;
        }
    }

    fn is_behind(&self) -> bool {
        matches!(self.standing, Standing::Behind)
    }

    /// After a page that was the last one there is nothing behind its end, by now.
    fn catch_up(&mut self, page: &Page) {
        match self.stay {
            _ if page.more => {}
            Stay::Long => self.sit(page.next),
            Stay::Short => self.standing = Standing::Done,
        }
    }

    async fn take_part(&mut self, known: Option<&str>) {
        let stay = self.stay == Stay::Long;
        self.part = Some(Part::begin(&self.channel, &self.feed, known, stay).await);
    }

    fn sit(&mut self, at: Position) {
        self.standing = Standing::Seated(Room::enter(&self.channel, &self.feed, at));
    }
}
