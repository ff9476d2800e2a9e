//! What is known of one run: what was published, what arrived, where, when and in which order.
//!
//! All of it lives on one thread: the generator has one core, and a lock a delivery would be its own cost.

use std::cell::RefCell;
use std::ops::Add;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use tokio::sync::Notify;

use crate::stamp::Stamp;

/// A delay is kept to three digits, in microseconds, up to this: who waits longer waits too long.
const LONGEST_DELAY: Duration = Duration::from_secs(600);

/// Messages that may be on their way to readers before publishers wait for them: fewer, and a server that sends
/// several at once cannot; more, and they only queue up.
const UNDER_WAY: u64 = 16;

/// One run. Clones are the same run.
#[derive(Clone)]
pub(crate) struct Run(Rc<Inner>);

struct Inner {
    begun: Instant,
    state: RefCell<State>,
    /// Rings when there is room for another message.
    room: Notify,
}

struct State {
    acknowledgements: Times,
    /// How many messages of each publisher are acknowledged: a publisher goes on only then.
    acknowledged: Vec<usize>,
    order: Order,
    readers: Vec<Reader>,
    ready: usize,
    deliveries: u64,
    doubled: u64,
    last_delivery: Instant,
    retries: u64,
    last_cut: Option<String>,
}

/// How long something took, again and again. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Times(Rc<RefCell<Histogram<u64>>>);

/// What went wrong, over all readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Faults {
    /// Acknowledged, and not delivered.
    pub(crate) lost: u64,
    /// Delivered again.
    pub(crate) doubled: u64,
    /// Delivered behind one that others, or its publisher, saw behind it.
    pub(crate) reordered: u64,
    /// Gaps that were told.
    pub(crate) gaps: u64,
    /// Connections that ended without being asked to; they were opened again from where they were.
    pub(crate) cuts: u64,
    /// Publishes that were refused for the moment, and tried again.
    pub(crate) retries: u64,
}

impl Add for Faults {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            reordered: self.reordered + other.reordered,
            gaps: self.gaps + other.gaps,
            cuts: self.cuts + other.cuts,
            retries: self.retries + other.retries,
        }
    }
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Delays {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Run {
    pub(crate) fn new(readers: usize, publishers: usize) -> Self {
        let delays = Times::new();
        Self::sharing(
            std::iter::repeat_n(delays, readers),
            publishers,
            Times::new(),
        )
    }

    /// The same, with what each reader's delays are told to, and those of acknowledgements.
    pub(crate) fn sharing(
        readers: impl Iterator<Item = Times>,
        publishers: usize,
        acknowledgements: Times,
    ) -> Self {
        let begun = Instant::now();
        Self(Rc::new(Inner {
            begun,
            state: RefCell::new(State {
                acknowledgements,
                acknowledged: vec![0; publishers],
                order: Order::new(publishers),
                readers: readers.map(Reader::new).collect(),
                ready: 0,
                deliveries: 0,
                doubled: 0,
                last_delivery: begun,
                retries: 0,
                last_cut: None,
            }),
            room: Notify::new(),
        }))
    }

    /// The end of one reader.
    pub(crate) fn inbox(&self, reader: usize) -> Inbox {
        Inbox {
            run: self.clone(),
            reader,
        }
    }

    /// Nanoseconds since the run began: what stamps count in.
    pub(crate) fn at(&self, moment: Instant) -> u64 {
        nanoseconds(moment - self.0.begun)
    }

    /// A publisher's next message is stored; it was sent, or due, at `since`.
    pub(crate) fn acknowledge(&self, publisher: usize, since: Instant) {
        let state = &mut *self.0.state.borrow_mut();
        state.acknowledged[publisher] += 1;
        state.acknowledgements.record(nanoseconds(since.elapsed()));
    }

    /// A publish was refused for the moment.
    pub(crate) fn retry(&self) {
        self.0.state.borrow_mut().retries += 1;
    }

    /// Waits until not too much of what was published is on its way to readers.
    pub(crate) async fn room(&self) {
        while !self.0.state.borrow().has_room() {
            self.0.room.notified().await;
        }
    }

    /// How many readers have a place to read from.
    pub(crate) fn ready(&self) -> usize {
        self.0.state.borrow().ready
    }

    /// How many messages are acknowledged.
    pub(crate) fn published(&self) -> u64 {
        self.0
            .state
            .borrow()
            .acknowledged
            .iter()
            .map(|count| *count as u64)
            .sum()
    }

    /// How many messages arrived, each counted for each reader.
    pub(crate) fn deliveries(&self) -> u64 {
        self.0.state.borrow().deliveries
    }

    /// Whether every reader has every acknowledged message.
    pub(crate) fn is_complete(&self) -> bool {
        let state = self.0.state.borrow();
        let published: usize = state.acknowledged.iter().sum();
        state
            .readers
            .iter()
            .all(|reader| reader.seen.count >= published)
    }

    /// When something last arrived.
    pub(crate) fn last_delivery(&self) -> Instant {
        self.0.state.borrow().last_delivery
    }

    /// Why a connection was last cut.
    pub(crate) fn last_cut(&self) -> Option<String> {
        self.0.state.borrow().last_cut.clone()
    }

    /// From publish to delivery to those that share their delays with the first reader; none where nothing was
    /// delivered.
    pub(crate) fn delays(&self) -> Option<Delays> {
        self.0.state.borrow().readers.first()?.delays.summary()
    }

    /// From publish to acknowledgement; none where nothing was.
    pub(crate) fn acknowledgements(&self) -> Option<Delays> {
        self.0.state.borrow().acknowledgements.summary()
    }

    /// What went wrong up to now.
    pub(crate) fn faults(&self) -> Faults {
        let state = self.0.state.borrow();
        let published = Faults {
            retries: state.retries,
            ..Faults::default()
        };
        let readers = state.readers.iter().map(|reader| state.faults(reader));
        readers.fold(published, Add::add)
    }

    /// What one reader has, and what went wrong with it.
    pub(crate) fn of_reader(&self, reader: usize) -> (u64, Faults) {
        let state = self.0.state.borrow();
        let reader = &state.readers[reader];
        (reader.seen.count as u64, state.faults(reader))
    }
}

/// Where one reader puts what it gets.
#[derive(Clone)]
pub(crate) struct Inbox {
    run: Run,
    reader: usize,
}

impl Inbox {
    /// Takes the messages in a text: whole ones, framing and all.
    pub(crate) fn receive(&self, text: &[u8]) {
        let now = Instant::now();
        let at = self.run.at(now);
        let state = &mut *self.run.0.state.borrow_mut();
        for stamp in Stamp::scan(text) {
            state.arrive(self.reader, stamp, at);
            state.last_delivery = now;
        }
        if state.has_room() {
            self.run.0.room.notify_waiters();
        }
    }

    /// The place behind all that was received, in the transport's own words. Having one is being ready.
    pub(crate) fn set_cursor(&self, cursor: &[u8]) {
        let state = &mut *self.run.0.state.borrow_mut();
        let reader = &mut state.readers[self.reader];
        reader.cursor.clear();
        reader.cursor.push_str(&String::from_utf8_lossy(cursor));
        state.ready += usize::from(!reader.ready);
        reader.ready = true;
    }

    /// The reader will get what is published from now on, of a server that has no cursors.
    pub(crate) fn set_ready(&self) {
        let state = &mut *self.run.0.state.borrow_mut();
        let reader = &mut state.readers[self.reader];
        state.ready += usize::from(!reader.ready);
        reader.ready = true;
    }

    /// The place behind all that was received; empty where there is none yet.
    pub(crate) fn cursor(&self) -> String {
        self.run.0.state.borrow().readers[self.reader]
            .cursor
            .clone()
    }

    /// Whether it has a place to read from, or had one.
    pub(crate) fn is_ready(&self) -> bool {
        self.run.0.state.borrow().readers[self.reader].ready
    }

    /// The query that continues from the last cursor; empty where there was none.
    pub(crate) fn after(&self) -> String {
        let state = self.run.0.state.borrow();
        match &*state.readers[self.reader].cursor {
            "" => String::new(),
            cursor => format!("&after={cursor}"),
        }
    }

    /// The server told of a gap.
    pub(crate) fn gap(&self) {
        self.run.0.state.borrow_mut().readers[self.reader]
            .faults
            .gaps += 1;
    }

    /// The connection ended without being asked to.
    pub(crate) fn cut(&self, why: String) {
        let state = &mut *self.run.0.state.borrow_mut();
        state.readers[self.reader].faults.cuts += 1;
        state.last_cut = Some(why);
    }
}

impl State {
    fn has_room(&self) -> bool {
        let readers = self.readers.len() as u64;
        let published: u64 = self.acknowledged.iter().map(|count| *count as u64).sum();
        published * readers < self.deliveries - self.doubled + UNDER_WAY * readers
    }

    fn arrive(&mut self, reader: usize, stamp: Stamp, at: u64) {
        let Some(place) = self.order.place(stamp.publisher, stamp.number) else {
            // Of a publisher that this run does not have.
            return;
        };
        let reader = &mut self.readers[reader];
        self.deliveries += 1;
        if !reader.seen.insert(place.index) {
            self.doubled += 1;
            reader.faults.doubled += 1;
            return;
        }
        if place.late || place.index < reader.furthest {
            reader.faults.reordered += 1;
        }
        reader.furthest = reader.furthest.max(place.index);
        reader.delays.record(at.saturating_sub(stamp.sent));
    }

    /// What went wrong with a reader up to now.
    fn faults(&self, reader: &Reader) -> Faults {
        let publishers = self.acknowledged.iter().enumerate();
        let messages = publishers
            .flat_map(|(publisher, count)| (0..*count).map(move |number| (publisher, number)));
        let is_lost = |&(publisher, number): &(usize, usize)| {
            let place = self.order.known(publisher, number);
            !place.is_some_and(|place| reader.seen.contains(place))
        };
        Faults {
            lost: messages.filter(is_lost).count() as u64,
            ..reader.faults
        }
    }
}

/// One reader's place and what it has.
#[derive(Debug)]
struct Reader {
    ready: bool,
    cursor: String,
    seen: Seen,
    furthest: usize,
    delays: Times,
    /// But for what is lost, which is known at the end only.
    faults: Faults,
}

impl Reader {
    fn new(delays: Times) -> Self {
        Self {
            ready: false,
            cursor: String::new(),
            seen: Seen::default(),
            furthest: 0,
            delays,
            faults: Faults::default(),
        }
    }
}

/// The one order that all readers must see: that in which the first to get a message gets it.
///
/// Whoever is first with a message has had all before it, where the order is one. So a reader that gets
/// something behind its own furthest place saw another order.
struct Order {
    /// The place of each publisher's messages, from 1; 0: nobody has it yet.
    places: Vec<Vec<usize>>,
    next: usize,
}

#[derive(Clone, Copy)]
struct Place {
    index: usize,
    /// Its publisher's next message was there before it.
    late: bool,
}

impl Order {
    fn new(publishers: usize) -> Self {
        Self {
            places: vec![Vec::new(); publishers],
            next: 1,
        }
    }

    /// The place of a message that arrived; none for a publisher that is none of ours.
    fn place(&mut self, publisher: usize, number: usize) -> Option<Place> {
        let places = self.places.get_mut(publisher)?;
        let known = places.len();
        if number >= known {
            places.resize(number + 1, 0);
        }
        let late = places[number] == 0 && number < known;
        if places[number] == 0 {
            places[number] = self.next;
            self.next += 1;
        }
        Some(Place {
            index: places[number],
            late,
        })
    }

    fn known(&self, publisher: usize, number: usize) -> Option<usize> {
        let place = *self.places.get(publisher)?.get(number)?;
        (place != 0).then_some(place)
    }
}

/// A set of places, a bit each: a thousand readers keep one each.
#[derive(Debug, Default)]
struct Seen {
    bits: Vec<u64>,
    count: usize,
}

impl Seen {
    /// Whether it is new.
    fn insert(&mut self, place: usize) -> bool {
        let (word, bit) = (place / 64, 1 << (place % 64));
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        let new = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        self.count += usize::from(new);
        new
    }

    fn contains(&self, place: usize) -> bool {
        self.bits
            .get(place / 64)
            .is_some_and(|word| word & (1 << (place % 64)) != 0)
    }
}

impl Times {
    pub(crate) fn new() -> Self {
        let longest = microseconds(nanoseconds(LONGEST_DELAY));
        let histogram = Histogram::new_with_bounds(1, longest, 3);
        Self(Rc::new(RefCell::new(
            histogram.expect("the bounds are constants"),
        )))
    }

    fn record(&self, nanoseconds: u64) {
        let mut histogram = self.0.borrow_mut();
        histogram.saturating_record(microseconds(nanoseconds));
    }

    /// None where there is nothing yet.
    pub(crate) fn summary(&self) -> Option<Delays> {
        let histogram = self.0.borrow();
        let milliseconds = |value: u64| value as f64 / 1000.0;
        (!histogram.is_empty()).then(|| Delays {
            p50: milliseconds(histogram.value_at_quantile(0.50)),
            p99: milliseconds(histogram.value_at_quantile(0.99)),
            max: milliseconds(histogram.max()),
        })
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn microseconds(nanoseconds: u64) -> u64 {
    nanoseconds / 1000
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    /// Messages as (publisher, number), for each reader in the order of their arrival.
    #[track_caller]
    fn check(acknowledged: &[usize], readers: &[&[(usize, usize)]], expected: Faults) {
        let run = Run::new(readers.len(), acknowledged.len());
        for (publisher, count) in acknowledged.iter().enumerate() {
            for _ in 0..*count {
                run.acknowledge(publisher, Instant::now());
            }
        }
        for (reader, messages) in readers.iter().enumerate() {
            for &(publisher, number) in *messages {
                let stamp = Stamp {
                    publisher,
                    number,
                    sent: 0,
                };
                run.inbox(reader).receive(stamp.body(0).as_bytes());
            }
        }
        assert_eq!(run.faults(), expected);
        assert_eq!(run.is_complete(), expected.lost == 0);
    }

    const NONE: Faults = Faults {
        lost: 0,
        doubled: 0,
        reordered: 0,
        gaps: 0,
        cuts: 0,
        retries: 0,
    };

    #[test]
    fn all_in_one_order_is_right() {
        let order = &[(0, 0), (1, 0), (1, 1), (0, 1)][..];
        check(&[2, 2], &[order, order], NONE);
    }

    #[test]
    fn what_is_not_acknowledged_may_come_or_not() {
        check(&[1], &[&[(0, 0), (0, 1)], &[(0, 0)]], NONE);
    }

    #[test]
    fn what_does_not_come_is_lost() {
        check(&[3], &[&[(0, 0), (0, 2)], &[]], Faults { lost: 4, ..NONE });
    }

    #[test]
    fn what_comes_again_is_doubled() {
        check(
            &[2],
            &[&[(0, 0), (0, 1), (0, 0)]],
            Faults { doubled: 1, ..NONE },
        );
    }

    #[test]
    fn readers_that_disagree_are_out_of_order() {
        let one = &[(0, 0), (1, 0)][..];
        let other = &[(1, 0), (0, 0)][..];
        check(
            &[1, 1],
            &[one, other],
            Faults {
                reordered: 1,
                ..NONE
            },
        );
    }

    #[test]
    fn a_publishers_own_order_holds_for_the_first_reader_too() {
        check(
            &[2],
            &[&[(0, 1), (0, 0)]],
            Faults {
                reordered: 1,
                ..NONE
            },
        );
    }

    #[tokio::test]
    async fn there_is_room_again_when_readers_have_what_was_published() {
        let run = Run::new(2, 1);
        for _ in 0..UNDER_WAY {
            run.room().await;
            run.acknowledge(0, Instant::now());
        }
        let mut room = std::pin::pin!(run.room());
        assert_eq!((&mut room).now_or_never(), None, "all are under way");
        for reader in 0..2 {
            let stamp = Stamp {
                publisher: 0,
                number: 0,
                sent: 0,
            };
            run.inbox(reader).receive(stamp.body(0).as_bytes());
        }
        room.await;
    }

    #[test]
    fn strangers_are_not_counted() {
        check(&[1], &[&[(0, 0), (7, 0)]], NONE);
    }

    #[test]
    fn a_reader_goes_on_from_its_last_cursor() {
        let run = Run::new(1, 1);
        let inbox = run.inbox(0);
        assert_eq!((inbox.after(), run.ready()), (String::new(), 0));
        for cursor in ["abc", "d"] {
            inbox.set_cursor(cursor.as_bytes());
            assert_eq!(
                (inbox.after(), run.ready()),
                (format!("&after={cursor}"), 1)
            );
        }
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let times = Times::new();
        assert_eq!(times.summary(), None);
        for value in 1..=1000 {
            times.record(value * 1_000_000);
        }
        let delays = times.summary().expect("there are values");
        for (value, expected) in [
            (delays.p50, 500.0),
            (delays.p99, 990.0),
            (delays.max, 1000.0),
        ] {
            // Three digits are kept.
            assert!(
                (value - expected).abs() <= expected / 1000.0,
                "{value} for {expected}"
            );
        }
    }
}
