//! The log's rules one by one, on a store that does what it says.

use futures::future::LocalBoxFuture;
use futures::task::noop_waker;
use mailbox::{
    Draft, Env, Gap, Mailbox, Position, PublishError, Receipt, Refers, Retention, Start, Store,
    StoreError, Swap, Window,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

#[derive(Clone, Default)]
struct World {
    values: Rc<RefCell<BTreeMap<String, Vec<u8>>>>,
    tasks: Rc<RefCell<Vec<LocalBoxFuture<'static, ()>>>>,
    now: Rc<Cell<u64>>,
    drawn: Rc<Cell<u64>>,
    /// How often anything was read.
    reads: Rc<Cell<u64>>,
    /// What is kept of which channel.
    kept: Rc<RefCell<BTreeMap<String, Retention>>>,
}

impl Store for World {
    /// The key, and what was there.
    type Held = (String, Vec<u8>);

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.reads.set(self.reads.get() + 1);
        Ok(self.values.borrow().get(key).cloned())
    }

    async fn hold(&self, key: &str) -> Result<Option<(Vec<u8>, Self::Held)>, StoreError> {
        let value = self.get(key).await?;
        Ok(value.map(|value| (value.clone(), (key.to_owned(), value))))
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.values
            .borrow_mut()
            .insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.values.borrow_mut().remove(key);
        Ok(())
    }

    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        let mut values = self.values.borrow_mut();
        let value = values.entry(key.to_owned()).or_insert_with(|| vec![0; 8]);
        let bytes = value
            .as_slice()
            .try_into()
            .expect("counters have eight bytes");
        let sum = i64::from_le_bytes(bytes) + delta;
        *value = sum.to_le_bytes().to_vec();
        Ok(sum)
    }

    async fn swap(&self, (key, expected): Self::Held, value: &[u8]) -> Result<Swap, StoreError> {
        match self.values.borrow_mut().get_mut(&key) {
            Some(current) if *current == expected => {
                *current = value.to_vec();
                Ok(Swap::Won)
            }
            _ => Ok(Swap::Lost),
        }
    }
}

impl Env for World {
    fn now(&self) -> u64 {
        self.now.get()
    }

    fn random(&self) -> u64 {
        self.drawn.set(self.drawn.get() + 1);
        self.drawn.get().wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    async fn sleep(&self, ms: u32) {
        self.now.set(self.now.get() + u64::from(ms));
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        self.tasks.borrow_mut().push(task);
    }

    fn retention(&self, channel: &str) -> Option<Retention> {
        self.kept.borrow().get(channel).copied()
    }
}

impl World {
    fn mailbox(&self, window: Window) -> Mailbox<World, World> {
        Mailbox::new(self.clone(), self.clone(), window)
    }

    /// Runs a future, and what it spawns, to its end.
    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
                return value;
            }
            let mut tasks = self.tasks.take();
            tasks.retain_mut(|task| task.as_mut().poll(&mut cx).is_pending());
            self.tasks.borrow_mut().extend(tasks);
        }
    }

    /// How often the store is read where messages are published one by one.
    fn reads(
        &self,
        mailbox: &Mailbox<World, World>,
        bodies: impl IntoIterator<Item = u64>,
    ) -> Vec<u64> {
        let counted = |body| {
            let before = self.reads.get();
            self.fill(mailbox, [body]);
            self.reads.get() - before
        };
        bodies.into_iter().map(counted).collect()
    }

    /// Loses all values whose keys begin so.
    fn lose(&self, begin: &str) {
        let mut values = self.values.borrow_mut();
        values.retain(|key, _| !key.starts_with(begin));
    }

    /// How many keys begin so.
    fn count(&self, begin: &str) -> usize {
        let values = self.values.borrow();
        values.keys().filter(|key| key.starts_with(begin)).count()
    }

    /// Publishes the bodies one by one, as messages of Ann with the ids 1 to n.
    fn fill(&self, mailbox: &Mailbox<World, World>, bodies: impl IntoIterator<Item = u64>) {
        for body in bodies {
            let results = self.run(mailbox.publish("room", vec![draft(body)]));
            assert!(results[0].is_ok(), "{results:?}");
        }
    }
}

fn draft(number: u64) -> Draft {
    Draft {
        id: number.to_string(),
        sender: "ann".to_owned(),
        name: "Ann".to_owned(),
        body: number.to_string(),
        refers: None,
    }
}

fn small() -> Window {
    Window {
        retention: Retention {
            messages: 10,
            ..Window::default().retention
        },
        tail_messages: 4,
        id_age_ms: 1_000,
        ..Window::default()
    }
}

const BEGINNING: Start = Start::After(Position {
    epoch: 0,
    offset: 0,
    tag: 0,
});

#[test]
fn a_cursor_of_an_unborn_channel_means_from_its_first_message() {
    let world = World::default();
    let mailbox = world.mailbox(Window::default());
    let page = world
        .run(mailbox.read("room", Start::Live, 10))
        .expect("readable");
    assert_eq!(page.next, Position::default());
    assert!(world.values.borrow().is_empty(), "a reader causes no birth");
    world.fill(&mailbox, 1..=3);
    let page = world
        .run(mailbox.read("room", Start::After(page.next), 10))
        .expect("readable");
    assert_eq!(page.messages.len(), 3);
    assert_eq!(page.gap, None);
}

#[test]
fn every_place_of_a_long_log_reads_on_without_a_hole() {
    let world = World::default();
    let mailbox = world.mailbox(Window {
        tail_messages: 4,
        ..Window::default()
    });
    world.fill(&mailbox, 1..=100);
    let all = world
        .run(mailbox.read("room", BEGINNING, 1_000))
        .expect("readable");
    let places: Vec<Position> = all.messages.iter().map(|(at, _)| *at).collect();
    assert_eq!(places.len(), 100);
    for (index, at) in places.iter().enumerate() {
        let rest = world
            .run(mailbox.read("room", Start::After(*at), 1_000))
            .expect("readable");
        assert_eq!((rest.gap, rest.from), (None, *at));
        assert_eq!(rest.messages, all.messages[index + 1..]);
    }
}

#[test]
fn reopening_from_a_trimmed_cursor_reports_a_gap() {
    let world = World::default();
    let mailbox = world.mailbox(small());
    world.fill(&mailbox, 1..=1);
    let early = world
        .run(mailbox.read("room", Start::Live, 1))
        .expect("readable")
        .next;
    world.fill(&mailbox, 2..=60);
    let page = world
        .run(mailbox.read("room", Start::After(early), 100))
        .expect("readable");
    let gap = page.gap.expect("what lay between has left the window");
    assert_eq!(gap.after, 1);
    assert_eq!(page.messages[0].1.offset, gap.resumed + 1);
    assert!(
        page.messages.len() >= 10,
        "the window holds at least its count"
    );
}

#[test]
fn a_place_that_the_log_does_not_know_is_told_as_a_gap() {
    let world = World::default();
    let mailbox = world.mailbox(Window::default());
    world.fill(&mailbox, 1..=5);
    let head = world
        .run(mailbox.read("room", Start::Live, 1))
        .expect("readable")
        .next;
    let cases = [
        (
            Position {
                epoch: head.epoch + 1,
                ..head
            },
            Gap {
                after: 0,
                resumed: 0,
            },
        ),
        (
            Position { offset: 9, ..head },
            Gap {
                after: 9,
                resumed: 5,
            },
        ),
        (
            Position {
                tag: head.tag ^ 1,
                ..head
            },
            Gap {
                after: 0,
                resumed: 5,
            },
        ),
    ];
    for (at, gap) in cases {
        let page = world
            .run(mailbox.read("room", Start::After(at), 100))
            .expect("readable");
        assert_eq!(page.gap.map(|gap| gap.resumed), Some(gap.resumed), "{at:?}");
    }
}

#[test]
fn an_id_is_stored_once_also_when_its_message_has_left_the_tail() {
    let world = World::default();
    let mailbox = world.mailbox(Window {
        tail_messages: 4,
        ..Window::default()
    });
    world.fill(&mailbox, 1..=50);
    // Another instance, which knows nothing yet.
    let other = world.mailbox(Window {
        tail_messages: 4,
        ..Window::default()
    });
    let again = world.run(other.publish("room", vec![draft(3)]));
    assert_eq!(
        again,
        [Ok(Receipt {
            offset: 3,
            duplicate: true
        })]
    );
    let reused = Draft {
        body: "other".to_owned(),
        ..draft(3)
    };
    let refers = Draft {
        refers: Some(Refers { kind: 1, offset: 1 }),
        ..draft(3)
    };
    for reused in [reused, refers] {
        assert_eq!(
            world.run(other.publish("room", vec![reused])),
            [Err(PublishError::IdReused)]
        );
    }
    let of_another = Draft {
        sender: "bob".to_owned(),
        ..draft(3)
    };
    let stored = world.run(other.publish("room", vec![of_another]));
    assert_eq!(
        stored,
        [Ok(Receipt {
            offset: 51,
            duplicate: false
        })]
    );
}

#[test]
fn who_publishes_alone_reads_only_what_it_wrote() {
    let world = World::default();
    let mailbox = world.mailbox(Window::default());
    world.fill(&mailbox, [1]);
    // That nobody else wrote, and to be sure.
    assert_eq!(world.reads(&mailbox, [2]), [2]);
    assert_eq!(world.reads(&mailbox, 3..=60), [1; 58]);
    // What is sent again is looked for in what is there.
    assert_eq!(world.reads(&mailbox, [60, 61, 62, 63]), [1, 2, 2, 1]);
}

#[test]
fn who_is_overtaken_reads_and_hopes_again_when_it_is_alone() {
    let world = World::default();
    let [mailbox, other] = [(); 2].map(|()| world.mailbox(Window::default()));
    world.fill(&mailbox, 1..=3);
    assert_eq!(world.reads(&mailbox, [4]), [1]);
    world.fill(&other, [5]);
    // It hopes in vain, and once only.
    assert_eq!(world.reads(&mailbox, [6]), [2]);
    world.fill(&other, [7]);
    assert_eq!(world.reads(&mailbox, [8, 9, 10]), [2, 2, 1]);
    // The same id by the other: what it knows is old, and is not believed.
    let again = world.run(other.publish("room", vec![draft(10)]));
    let receipt = Receipt {
        offset: 10,
        duplicate: true,
    };
    assert_eq!(again, [Ok(receipt)]);
}

#[test]
fn ids_outlive_a_window_of_few_messages_and_go_with_their_time() {
    let world = World::default();
    let mailbox = world.mailbox(small());
    world.fill(&mailbox, 1..=60);
    let again = world.run(mailbox.publish("room", vec![draft(1)]));
    assert_eq!(
        again,
        [Ok(Receipt {
            offset: 1,
            duplicate: true
        })]
    );
    let keys = world.values.borrow().len();
    for number in 61..=200 {
        world.now.set(world.now.get() + 500);
        world.fill(&mailbox, number..=number);
    }
    assert!(
        world.values.borrow().len() < keys,
        "segments beyond window and age are deleted"
    );
}

#[test]
fn a_channel_is_kept_as_is_said_of_it_and_others_are_kept_as_before() {
    const DAY_MS: u64 = 86_400_000;
    let world = World::default();
    world.kept.borrow_mut().insert(
        "@direct".to_owned(),
        Retention {
            messages: 20,
            age_ms: 30 * DAY_MS,
        },
    );
    let mailbox = world.mailbox(small());
    let fill = |bodies: std::ops::RangeInclusive<u64>| {
        for channel in ["room", "@direct"] {
            for body in bodies.clone() {
                let results = world.run(mailbox.publish(channel, vec![draft(body)]));
                assert!(results[0].is_ok(), "{results:?}");
            }
        }
    };
    let count = |channel| {
        let page = world.run(mailbox.read(channel, BEGINNING, 1_000));
        page.expect("readable").messages.len()
    };
    // Half a tail more, where the window begins within it.
    let about = |count: usize| count..=count + 2;
    fill(1..=15);
    assert!(about(10).contains(&count("room")), "{}", count("room"));
    assert_eq!(count("@direct"), 15);
    world.now.set(2 * DAY_MS);
    fill(16..=20);
    assert_eq!((count("room"), count("@direct")), (5, 20));
    fill(21..=40);
    assert!(about(10).contains(&count("room")), "{}", count("room"));
    let direct = count("@direct");
    assert!(about(20).contains(&direct), "{direct}");
}

#[test]
fn history_pages_backwards_to_the_windows_beginning() {
    let world = World::default();
    let mailbox = world.mailbox(Window {
        tail_messages: 4,
        ..Window::default()
    });
    world.fill(&mailbox, 1..=25);
    let mut before = None;
    let mut seen = Vec::new();
    loop {
        let page = world
            .run(mailbox.history("room", before, 7))
            .expect("readable");
        seen.splice(0..0, page.messages.iter().map(|message| message.offset));
        before = page.before;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=25).collect::<Vec<_>>());
}

#[test]
fn who_reads_on_from_page_to_page_reads_each_segment_about_once() {
    let world = World::default();
    let mailbox = world.mailbox(Window {
        retention: Retention {
            messages: 10_000,
            ..Window::default().retention
        },
        ..Window::default()
    });
    world.fill(&mailbox, 1..=5_000);
    let reader = world.mailbox(Window::default());
    let (mut place, mut pages, mut read) = (BEGINNING, 0, 0);
    let before = world.reads.get();
    loop {
        let page = world
            .run(reader.read("room", place, 100))
            .expect("readable");
        (place, pages, read) = (
            Start::After(page.next),
            pages + 1,
            read + page.messages.len(),
        );
        if !page.more {
            break;
        }
    }
    assert_eq!((read, pages), (5_000, 50));
    // Of 32 messages each: the tail, and four or five segments for each page.
    let reads = world.reads.get() - before;
    assert!(reads <= 50 * 6 + 10, "{reads} reads");
}

#[test]
fn a_lost_segment_is_told_as_a_gap_and_does_not_close_the_channel() {
    let world = World::default();
    let mailbox = world.mailbox(Window {
        tail_messages: 4,
        ..Window::default()
    });
    world.fill(&mailbox, 1..=50);
    world.lose("w1/s/");
    // An instance that must read what is lost to know the ids.
    let other = world.mailbox(Window {
        tail_messages: 4,
        ..Window::default()
    });
    world.fill(&other, 51..=60);
    let page = world
        .run(other.read("room", BEGINNING, 100))
        .expect("readable");
    let gap = page.gap.expect("what was lost is told");
    assert_eq!(page.messages[0].1.offset, gap.resumed + 1);
    assert_eq!(page.messages.last().map(|(at, _)| at.offset), Some(60));
}

#[test]
fn a_lost_tail_is_told_as_a_gap_and_does_not_close_the_channel() {
    let world = World::default();
    let [mailbox, other] = [(); 2].map(|()| world.mailbox(small()));
    world.fill(&mailbox, 1..=20);
    let place = world
        .run(other.read("room", Start::Live, 1))
        .expect("readable")
        .next;
    world.lose("w1/t/");
    let lost = world.run(other.read("room", Start::After(place), 100));
    assert!(lost.is_err(), "it is told that the store is at fault");
    // One that remembers the channel, and then one that finds what that made of it.
    world.fill(&mailbox, [21, 22]);
    world.fill(&other, [23]);
    for reader in [&mailbox, &other] {
        let page = world
            .run(reader.read("room", Start::After(place), 100))
            .expect("readable");
        assert!(page.gap.is_some(), "what was lost is told");
        let bodies = page.messages.iter().map(|(_, message)| &*message.body);
        assert_eq!(bodies.collect::<Vec<_>>(), ["21", "22", "23"]);
    }
}

#[test]
fn a_lost_pointer_is_set_again_by_who_remembers_the_channel() {
    let world = World::default();
    let mailbox = world.mailbox(small());
    world.fill(&mailbox, 1..=3);
    world.lose("w1/p/");
    world.fill(&mailbox, 4..=8);
    let other = world.mailbox(small());
    world.fill(&other, [9]);
    let page = world
        .run(other.read("room", BEGINNING, 100))
        .expect("readable");
    assert_eq!(page.gap, None);
    assert_eq!(page.messages.last().map(|(at, _)| at.offset), Some(9));
}

#[test]
fn who_remembers_a_channel_that_was_begun_anew_goes_over_to_that() {
    let world = World::default();
    let [mailbox, other] = [(); 2].map(|()| world.mailbox(small()));
    world.fill(&mailbox, 1..=3);
    world.lose("w1/p/");
    world.fill(&other, [4]);
    world.fill(&mailbox, 5..=20);
    for reader in [&mailbox, &other] {
        let page = world
            .run(reader.history("room", None, 1))
            .expect("readable");
        assert_eq!(page.messages[0].body, "20");
    }
}

#[test]
fn what_a_message_lets_go_is_deleted_as_fast_as_large_batches_come() {
    let world = World::default();
    let mailbox = world.mailbox(Window::default());
    for batch in 0..100 {
        world.now.set(world.now.get() + 11 * 60 * 1000);
        let drafts = (0..100).map(|number| Draft {
            body: "x".repeat(4_000),
            ..draft(100 * batch + number)
        });
        let results = world.run(mailbox.publish("room", drafts.collect()));
        assert!(results.iter().all(Result::is_ok));
    }
    // A thousand messages are kept, eight in a segment.
    let segments = world.count("w1/s/");
    assert!((100..200).contains(&segments), "{segments} segments");
}

#[test]
fn a_message_of_a_clock_that_is_far_ahead_keeps_no_others_for_as_long() {
    let world = World::default();
    let ahead = World {
        now: Rc::new(Cell::new(365 * 24 * 60 * 60 * 1000)),
        ..world.clone()
    };
    ahead.fill(&ahead.mailbox(small()), [1]);
    let mailbox = world.mailbox(small());
    for number in 2..=500 {
        world.now.set(world.now.get() + 100);
        world.fill(&mailbox, [number]);
    }
    let segments = world.count("w1/s/");
    assert!(segments < 20, "{segments} segments");
}

#[test]
fn the_ids_of_other_channels_are_forgotten_where_they_are_too_many() {
    let world = World::default();
    let window = || Window {
        tail_messages: 4,
        ids: 30,
        ..Window::default()
    };
    let publish = |mailbox: &Mailbox<World, World>, channel: &str, number| {
        let before = world.reads.get();
        let results = world.run(mailbox.publish(channel, vec![draft(number)]));
        assert!(results[0].is_ok(), "{results:?}");
        world.reads.get() - before
    };
    let first = world.mailbox(window());
    for channel in ["one", "other"] {
        for number in 1..=40 {
            publish(&first, channel, number);
        }
    }
    let mailbox = world.mailbox(window());
    let learned = publish(&mailbox, "one", 41);
    let known = publish(&mailbox, "one", 42);
    assert!(known < learned, "{known} reads after {learned}");
    publish(&mailbox, "other", 41);
    let again = publish(&mailbox, "one", 43);
    assert!(again > known, "{again} reads, {known} where it is known");
    // And nothing is stored twice for it.
    let results = world.run(mailbox.publish("one", vec![draft(5)]));
    let receipt = Receipt {
        offset: 5,
        duplicate: true,
    };
    assert_eq!(results, [Ok(receipt)]);
}

#[test]
fn what_was_stored_is_found_and_nothing_is_stored_for_it() {
    let world = World::default();
    let mailbox = world.mailbox(small());
    let stored = |mailbox: &Mailbox<World, World>, draft| world.run(mailbox.stored("room", &draft));
    assert_eq!(stored(&mailbox, draft(1)), Ok(None));
    assert!(world.values.borrow().is_empty(), "no channel is born");
    world.fill(&mailbox, 1..=9);
    let other = world.mailbox(small());
    // In the tail, and in a segment.
    for offset in [9, 3] {
        let receipt = Receipt {
            offset,
            duplicate: true,
        };
        assert_eq!(stored(&other, draft(offset)), Ok(Some(receipt)));
    }
    assert_eq!(stored(&other, draft(10)), Ok(None));
    let reused = Draft {
        body: "other".to_owned(),
        ..draft(3)
    };
    assert_eq!(stored(&other, reused), Err(PublishError::IdReused));
}

#[test]
fn an_oversized_draft_fails_alone() {
    let world = World::default();
    let mailbox = world.mailbox(Window::default());
    let large = Draft {
        body: "x".repeat(mailbox::LARGEST_BODY + 1),
        ..draft(2)
    };
    let results = world.run(mailbox.publish("room", vec![draft(1), large, draft(3)]));
    let stored = |offset| {
        Ok(Receipt {
            offset,
            duplicate: false,
        })
    };
    assert_eq!(results, [stored(1), Err(PublishError::TooLarge), stored(2)]);
}

#[test]
fn all_instances_agree_on_a_secret() {
    let world = World::default();
    let first = world
        .run(world.mailbox(Window::default()).secret("guests"))
        .expect("drawn");
    let second = world
        .run(world.mailbox(Window::default()).secret("guests"))
        .expect("found");
    assert_eq!(first, second);
    let other = world
        .run(world.mailbox(Window::default()).secret("other"))
        .expect("drawn");
    assert_ne!(first, other);
}

#[test]
fn a_damaged_value_is_an_error_and_never_a_panic() {
    let world = World::default();
    let mailbox = world.mailbox(Window {
        tail_messages: 4,
        ..Window::default()
    });
    world.fill(&mailbox, 1..=20);
    let sound = world.values.borrow().clone();
    for (key, value) in &sound {
        for at in 0..value.len() {
            for damaged in [value[..at].to_vec(), {
                let mut flipped = value.clone();
                flipped[at] ^= 0x81;
                flipped
            }] {
                world.values.replace(sound.clone());
                world.values.borrow_mut().insert(key.clone(), damaged);
                let other = world.mailbox(Window {
                    tail_messages: 4,
                    ..Window::default()
                });
                // Whatever comes of it.
                world.run(other.read("room", BEGINNING, 100)).ok();
                world.run(other.history("room", None, 100)).ok();
                world.run(other.publish("room", vec![draft(5), draft(21)]));
            }
        }
    }
}

#[test]
fn what_a_message_refers_to_comes_back_from_the_tail_and_from_segments() {
    let world = World::default();
    let mailbox = world.mailbox(Window {
        retention: Retention {
            messages: 100,
            ..Window::default().retention
        },
        ..small()
    });
    let name = "n".repeat(i16::MAX as usize);
    let sent: Vec<Draft> = (1..=40)
        .map(|number| Draft {
            refers: (number % 3 > 0).then_some(Refers {
                kind: number as u8,
                offset: u64::MAX - number,
            }),
            name: if number % 10 == 0 {
                name.clone()
            } else {
                String::new()
            },
            ..draft(number)
        })
        .collect();
    for one in &sent {
        let results = world.run(mailbox.publish("room", vec![one.clone()]));
        assert!(results[0].is_ok(), "{results:?}");
    }
    let history = world.run(mailbox.history("room", None, 100));
    let history = history.expect("the store is well").messages;
    let read: Vec<_> = history
        .iter()
        .map(|message| (&message.name, message.refers, &message.body))
        .collect();
    let wanted: Vec<_> = sent
        .iter()
        .map(|one| (&one.name, one.refers, &one.body))
        .collect();
    assert_eq!(read, wanted);
    // Sent again, each is known, also where it has left the tail; one that refers elsewhere is another.
    for (offset, one) in (1..).zip(&sent) {
        let again = world.run(mailbox.publish("room", vec![one.clone()]));
        assert_eq!(
            again,
            [Ok(Receipt {
                offset,
                duplicate: true
            })]
        );
        let other = Draft {
            refers: Some(Refers { kind: 0, offset: 0 }),
            ..one.clone()
        };
        let reused = world.run(mailbox.publish("room", vec![other]));
        assert_eq!(reused, [Err(PublishError::IdReused)]);
    }
}

#[test]
fn a_name_whose_length_could_be_taken_for_more_is_too_large() {
    let world = World::default();
    let mailbox = world.mailbox(Window::default());
    let long = Draft {
        name: "n".repeat(i16::MAX as usize + 1),
        ..draft(1)
    };
    let results = world.run(mailbox.publish("room", vec![long]));
    assert_eq!(results, [Err(PublishError::TooLarge)]);
}

#[test]
fn a_log_from_before_messages_referred_to_others_is_read() {
    let world = World::default();
    let stored = "\
        0100000000000000000000000000000000000000000000000000000000000000000000000000000000002000\
        00000000000000000000ef1c7d682037db0fd9ec652103616e6e01310300416e6e3120000000000000000000\
        0000eadc01b2bc136aa5be70153003616e6e01320300416e6e32";
    let bytes = |text: &str| -> Vec<u8> {
        let digit =
            |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("these are digits");
        (0..text.len()).step_by(2).map(digit).collect()
    };
    let set = |key: &str, value: Vec<u8>| world.values.borrow_mut().insert(key.to_owned(), value);
    set("w1/p/room", 7_u64.to_le_bytes().to_vec());
    set("w1/t/room/7", bytes(stored));
    let mailbox = world.mailbox(small());
    let page = world.run(mailbox.read("room", Start::Newest(9), 9));
    let page = page.expect("the store is well");
    let read: Vec<_> = page.messages.iter().map(|(_, message)| message).collect();
    assert_eq!(read.len(), 2);
    assert_eq!((read[0].body.as_str(), read[0].refers), ("1", None));
    assert_eq!((read[1].body.as_str(), read[1].refers), ("2", None));
    let again = world.run(mailbox.publish("room", vec![draft(2)]));
    assert_eq!(
        again,
        [Ok(Receipt {
            offset: 2,
            duplicate: true
        })]
    );
}
