//! Documents, on a store whose operations interleave, fail before and after their effect, come late, and lie.

use futures::future::LocalBoxFuture;
use futures::task::noop_waker;
use mailbox::{Env, Mailbox, Store, StoreError, Swap, Window};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A chance of one in so many.
#[derive(Clone, Copy, Default)]
struct Character {
    fails: Option<u64>,
    comes_late: Option<u64>,
    lies: Option<u64>,
    digits: bool,
}

#[derive(Clone, Default)]
struct World {
    character: Character,
    values: Rc<RefCell<BTreeMap<String, Vec<u8>>>>,
    /// Swaps that failed, and may still have their effect.
    late: Rc<RefCell<Vec<(String, Vec<u8>, Vec<u8>)>>>,
    drawn: Rc<Cell<u64>>,
}

impl World {
    fn draw(&self) -> u64 {
        self.drawn
            .set(self.drawn.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mixed =
            (self.drawn.get() ^ (self.drawn.get() >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 31)
    }

    fn one_in(&self, chance: Option<u64>) -> bool {
        chance.is_some_and(|chance| self.draw().is_multiple_of(chance))
    }

    /// Lets others go first, and fails now and then.
    async fn step(&self) -> Result<(), StoreError> {
        let mut polls = self.draw() % 3;
        futures::future::poll_fn(|_| {
            if polls == 0 {
                return Poll::Ready(());
            }
            polls -= 1;
            Poll::Pending
        })
        .await;
        if self.one_in(self.character.fails) {
            return Err(StoreError("away".to_owned()));
        }
        Ok(())
    }

    fn replace(&self, key: &str, expected: &[u8], value: &[u8]) -> Swap {
        match self.values.borrow_mut().get_mut(key) {
            Some(current) if current == expected => {
                *current = value.to_vec();
                Swap::Won
            }
            _ => Swap::Lost,
        }
    }
}

impl Store for World {
    /// The key, and what was there.
    type Held = (String, Vec<u8>);

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.step().await?;
        Ok(self.values.borrow().get(key).cloned())
    }

    async fn hold(&self, key: &str) -> Result<Option<(Vec<u8>, Self::Held)>, StoreError> {
        let value = self.get(key).await?;
        Ok(value.map(|value| (value.clone(), (key.to_owned(), value))))
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.step().await?;
        let before = self
            .values
            .borrow_mut()
            .insert(key.to_owned(), value.to_vec());
        assert_eq!(before, None, "a document is never overwritten unseen");
        self.step().await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.step().await?;
        self.values.borrow_mut().remove(key);
        self.step().await
    }

    /// Of a key that holds no integer, some stores take the whole host with them.
    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        self.step().await?;
        assert_eq!(delta, 0);
        let digits = self.character.digits;
        let number = {
            let mut values = self.values.borrow_mut();
            let zero = if digits { b"0".to_vec() } else { vec![0; 8] };
            let value = values.entry(key.to_owned()).or_insert(zero);
            if digits {
                let text = std::str::from_utf8(value).expect("only integers are incremented");
                text.parse().expect("only integers are incremented")
            } else {
                let bytes = value.as_slice().try_into();
                i64::from_le_bytes(bytes.expect("only integers are incremented"))
            }
        };
        self.step().await?;
        Ok(number)
    }

    async fn swap(&self, (key, expected): Self::Held, value: &[u8]) -> Result<Swap, StoreError> {
        self.step().await?;
        if self.one_in(self.character.comes_late) {
            let late = (key, expected, value.to_vec());
            self.late.borrow_mut().push(late);
            return Err(StoreError("no answer".to_owned()));
        }
        let outcome = self.replace(&key, &expected, value);
        self.step().await?;
        Ok(match outcome {
            Swap::Won if self.one_in(self.character.lies) => Swap::Lost,
            Swap::Lost if self.one_in(self.character.lies) => Swap::Won,
            honest => honest,
        })
    }
}

impl Env for World {
    fn now(&self) -> u64 {
        0
    }

    fn random(&self) -> u64 {
        self.draw()
    }

    async fn sleep(&self, _: u32) {
        let _ = self.step().await;
    }

    fn spawn(&self, _: LocalBoxFuture<'static, ()>) {
        unreachable!("a document is written by its writer")
    }
}

/// Adds a line to a document that is a set of lines.
async fn add(world: World, number: u64) -> Result<(), StoreError> {
    let line = format!("line {number}");
    // Its chance is no part of the schedule.
    let env = World::default();
    env.drawn.set(number);
    let mailbox = Mailbox::new(world, env, Window::default());
    mailbox
        .documents()
        .update("lines", |old| {
            let mut lines = lines(old);
            lines.insert(line.clone());
            Ok(Some(
                lines
                    .into_iter()
                    .collect::<Vec<_>>()
                    .join("\n")
                    .into_bytes(),
            ))
        })
        .await
}

fn lines(document: Option<&[u8]>) -> BTreeSet<String> {
    let text = String::from_utf8(document.unwrap_or_default().to_vec()).expect("lines are text");
    text.lines().map(str::to_owned).collect()
}

fn finish<T>(mut future: Pin<&mut impl Future<Output = T>>) -> T {
    let waker = noop_waker();
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
    }
}

fn play(seed: u64) {
    let world = World::default();
    world.drawn.set(seed);
    let pick = |one_in: u64| (world.draw().is_multiple_of(2)).then_some(one_in);
    let world = World {
        character: Character {
            fails: pick(20),
            comes_late: pick(6),
            lies: pick(3),
            digits: pick(1).is_some(),
        },
        ..world
    };
    let mut writers: Vec<_> = (0..8)
        .map(|number| {
            let line = format!("line {number}");
            let write = add(world.clone(), number);
            (
                line,
                Box::pin(write) as LocalBoxFuture<'static, Result<(), StoreError>>,
            )
        })
        .collect();
    let mut acknowledged = BTreeSet::new();
    while !writers.is_empty() {
        let index = usize::try_from(world.draw()).unwrap_or(usize::MAX) % writers.len();
        if world.draw().is_multiple_of(7) && !world.late.borrow().is_empty() {
            let (key, expected, value) = world.late.borrow_mut().remove(0);
            world.replace(&key, &expected, &value);
        }
        let waker = noop_waker();
        let (line, writer) = &mut writers[index];
        if let Poll::Ready(result) = writer.as_mut().poll(&mut Context::from_waker(&waker)) {
            if result.is_ok() {
                acknowledged.insert(line.clone());
            }
            drop(writers.swap_remove(index));
        }
    }
    for (key, expected, value) in world.late.take() {
        world.replace(&key, &expected, &value);
    }
    let calm = World {
        character: Character::default(),
        ..world.clone()
    };
    let documents = Mailbox::new(calm, World::default(), Window::default()).documents();
    let found = finish(std::pin::pin!(documents.read("lines"))).expect("the store is well again");
    let found = lines(found.as_deref());
    assert!(
        acknowledged.is_subset(&found),
        "seed {seed}: {acknowledged:?} was acknowledged, and there is {found:?}"
    );
    if world.character.fails.is_none() && world.character.comes_late.is_none() {
        assert_eq!(found.len(), 8, "seed {seed}: somebody gave up");
    }
}

#[test]
fn what_is_acknowledged_is_there_whatever_fails() {
    (0..5_000).for_each(play);
}

#[test]
fn what_is_left_as_it_is_makes_no_key() {
    let world = World::default();
    let documents = Mailbox::new(world.clone(), World::default(), Window::default()).documents();
    let left = documents.update("lines", |old| {
        assert_eq!(old, None);
        Ok::<_, StoreError>(None)
    });
    finish(std::pin::pin!(left)).expect("nothing is to be done");
    let read = finish(std::pin::pin!(documents.read("lines")));
    assert_eq!(read, Ok(None));
    assert!(world.values.borrow().is_empty());
}

#[test]
fn a_change_that_refuses_writes_nothing() {
    let world = World::default();
    let documents = Mailbox::new(world.clone(), World::default(), Window::default()).documents();
    let write = documents.update("lines", |_| Ok::<_, StoreError>(Some(b"one".to_vec())));
    finish(std::pin::pin!(write)).expect("the store is well");
    let before = world.values.borrow().clone();
    let refuse = documents.update("lines", |old| {
        assert_eq!(old, Some(&b"one"[..]));
        Err(StoreError("full".to_owned()))
    });
    let refused = finish(std::pin::pin!(refuse));
    assert_eq!(refused, Err(StoreError("full".to_owned())));
    assert_eq!(*world.values.borrow(), before);
}

/// What is at fault is told, and not taken for a document that was never written: it would be begun anew.
#[test]
fn a_document_that_is_lost_or_damaged_is_an_error_and_is_not_written_over() {
    let world = World::default();
    let documents = || Mailbox::new(world.clone(), World::default(), Window::default()).documents();
    let write = |content: &'static [u8]| {
        let documents = documents();
        let change = move |_: Option<&[u8]>| Ok::<_, StoreError>(Some(content.to_vec()));
        finish(std::pin::pin!(documents.update("lines", change)))
    };
    write(b"one").expect("the store is well");
    let mut keys = world.values.borrow().keys().cloned().collect::<Vec<_>>();
    keys.retain(|key| key.starts_with("w1/d/"));
    for damaged in [Some("d"), Some("x23456789one"), Some(""), None] {
        for key in &keys {
            let mut values = world.values.borrow_mut();
            match damaged {
                Some(value) => values.insert(key.clone(), value.into()),
                None => values.remove(key),
            };
        }
        let before = world.values.borrow().clone();
        let documents = documents();
        let read = finish(std::pin::pin!(documents.read("lines")));
        assert!(read.is_err(), "{damaged:?}: {read:?}");
        assert!(write(b"two").is_err(), "{damaged:?}");
        assert_eq!(*world.values.borrow(), before, "{damaged:?}");
    }
}
