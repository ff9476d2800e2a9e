//! Time, tasks, a store and hints, all of which follow from a seed.

use futures::future::LocalBoxFuture;
use futures::task::{ArcWake, waker};
use mailbox::{Env, Store, StoreError, Swap};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

/// SplitMix64.
pub(crate) struct Random(Cell<u64>);

impl Random {
    pub(crate) fn next(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut word = self.0.get();
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub(crate) fn chance(&self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }
}

/// What a seed's world is like, in times of a thousand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Character {
    pub(crate) hints_lost: u64,
    pub(crate) fails: u64,
    pub(crate) slow: u64,
    pub(crate) lies: u64,
    pub(crate) crashes: bool,
    pub(crate) pauses: bool,
    /// How far apart clocks are, in milliseconds.
    pub(crate) skew: u64,
}

impl Character {
    /// One of a seed's; how often, in times of a thousand, some die, and how far apart clocks may be.
    pub(crate) fn draw(random: &Random, crashes: u64, skews: &[u64]) -> Self {
        let pick = |choices: &[u64]| choices[random.below(choices.len() as u64) as usize];
        Self {
            hints_lost: pick(&[0, 0, 300, 1_000]),
            fails: pick(&[0, 0, 5, 20]),
            slow: pick(&[0, 20, 100]),
            lies: pick(&[0, 500, 1_000]),
            crashes: random.chance(crashes),
            pauses: random.chance(500),
            skew: pick(skews),
        }
    }
}

struct Flag(AtomicBool);

impl ArcWake for Flag {
    fn wake_by_ref(this: &Arc<Self>) {
        this.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    owner: usize,
    future: LocalBoxFuture<'static, ()>,
    flag: Arc<Flag>,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) character: Character,
    now: Cell<u64>,
    pub(crate) values: RefCell<BTreeMap<String, Vec<u8>>>,
    alarms: RefCell<BTreeMap<(u64, u64), Waker>>,
    drawn: Cell<u64>,
    arrivals: RefCell<Vec<(usize, LocalBoxFuture<'static, ()>)>>,
    tasks: RefCell<Vec<Option<Task>>>,
    /// Until when an instance does nothing.
    paused: RefCell<BTreeMap<usize, u64>>,
    /// How often each key was hinted at.
    hints: RefCell<BTreeMap<String, u64>>,
    listeners: RefCell<Vec<Waker>>,
    /// No operation fails any more.
    pub(crate) calm: Cell<bool>,
    pub(crate) trace: RefCell<Vec<String>>,
    traced: bool,
}

impl World {
    pub(crate) fn new(
        seed: u64,
        character: impl FnOnce(&Random) -> Character,
        traced: bool,
    ) -> Rc<Self> {
        let random = Random(Cell::new(seed));
        let character = character(&random);
        Rc::new(Self {
            random,
            character,
            now: Cell::new(1_000_000),
            values: RefCell::default(),
            alarms: RefCell::default(),
            drawn: Cell::new(0),
            arrivals: RefCell::default(),
            tasks: RefCell::default(),
            paused: RefCell::default(),
            hints: RefCell::default(),
            listeners: RefCell::default(),
            calm: Cell::new(false),
            trace: RefCell::default(),
            traced,
        })
    }

    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        if self.traced {
            let line = format!("{:>8} {}", self.now(), line());
            self.trace.borrow_mut().push(line);
        }
    }

    pub(crate) fn spawn(&self, owner: usize, future: impl Future<Output = ()> + 'static) {
        self.arrivals.borrow_mut().push((owner, Box::pin(future)));
    }

    pub(crate) async fn sleep(&self, ms: u64) {
        let until = self.now() + ms;
        self.drawn.set(self.drawn.get() + 1);
        let key = (until, self.drawn.get());
        poll_fn(|cx| {
            if self.now() >= until {
                return Poll::Ready(());
            }
            self.alarms.borrow_mut().insert(key, cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// How often a key was hinted at.
    pub(crate) fn hinted(&self, key: &str) -> u64 {
        self.hints.borrow().get(key).copied().unwrap_or(0)
    }

    /// Waits for a hint behind these, or for the time; whether there was one.
    pub(crate) async fn wait(&self, key: &str, seen: u64, ms: u64) -> bool {
        let hint = poll_fn(|cx| {
            if self.hinted(key) > seen {
                return Poll::Ready(());
            }
            self.listeners.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        });
        let time = self.sleep(ms);
        let (hint, time) = (std::pin::pin!(hint), std::pin::pin!(time));
        matches!(
            futures::future::select(hint, time).await,
            futures::future::Either::Left(_)
        )
    }

    pub(crate) fn hint(&self, key: &str) {
        *self.hints.borrow_mut().entry(key.to_owned()).or_default() += 1;
        self.listeners.take().into_iter().for_each(Waker::wake);
    }

    pub(crate) fn pause(&self, owner: usize, ms: u64) {
        self.paused.borrow_mut().insert(owner, self.now() + ms);
    }

    pub(crate) fn is_paused(&self, owner: usize) -> bool {
        self.paused
            .borrow()
            .get(&owner)
            .is_some_and(|until| *until > self.now())
    }

    /// Ends all that an instance does.
    pub(crate) fn kill(&self, owner: usize) {
        let dead: Vec<_> = self
            .tasks
            .borrow_mut()
            .iter_mut()
            .filter_map(|task| task.take_if(|task| task.owner == owner))
            .collect();
        drop(dead);
        self.arrivals.borrow_mut().retain(|(one, _)| *one != owner);
    }

    /// Lets all go on until this time.
    pub(crate) fn run(&self, until: u64) {
        loop {
            self.settle();
            let next = self.alarms.borrow().keys().next().map(|key| key.0);
            let paused = self.paused.borrow();
            let wakes = paused.values().copied().filter(|at| *at > self.now()).min();
            drop(paused);
            match [next, wakes].into_iter().flatten().min() {
                Some(next) if next <= until => self.now.set(self.now().max(next)),
                _ => {
                    self.now.set(until);
                    return;
                }
            }
            let later = self.alarms.borrow_mut().split_off(&(self.now() + 1, 0));
            let due = self.alarms.replace(later);
            due.into_values().for_each(Waker::wake);
        }
    }

    /// Polls whoever can go on.
    fn settle(&self) {
        loop {
            for (owner, future) in self.arrivals.take() {
                let flag = Arc::new(Flag(AtomicBool::new(true)));
                let task = Task {
                    owner,
                    future,
                    flag,
                };
                let mut tasks = self.tasks.borrow_mut();
                match tasks.iter_mut().find(|task| task.is_none()) {
                    Some(empty) => *empty = Some(task),
                    None => tasks.push(Some(task)),
                }
            }
            let ready: Vec<usize> = self
                .tasks
                .borrow()
                .iter()
                .enumerate()
                .filter(|(_, task)| {
                    task.as_ref().is_some_and(|task| {
                        task.flag.0.load(Ordering::Relaxed) && !self.is_paused(task.owner)
                    })
                })
                .map(|(index, _)| index)
                .collect();
            if ready.is_empty() && self.arrivals.borrow().is_empty() {
                return;
            }
            for index in ready {
                let Some(mut task) = self.tasks.borrow_mut()[index].take() else {
                    continue;
                };
                task.flag.0.store(false, Ordering::Relaxed);
                let waker = waker(Arc::clone(&task.flag));
                let done = task
                    .future
                    .as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_ready();
                if !done {
                    self.tasks.borrow_mut()[index] = Some(task);
                }
            }
        }
    }
}

/// The world as one instance has it.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) world: Rc<World>,
    pub(crate) owner: usize,
    /// How far its clock is ahead.
    pub(crate) ahead: u64,
    /// Keys that it wrote, to tell what it leaves behind.
    pub(crate) wrote: Rc<RefCell<BTreeSet<String>>>,
}

impl Handle {
    /// What it takes to get there or back.
    async fn travel(&self) -> Result<(), StoreError> {
        let (random, character) = (&self.world.random, self.world.character);
        let ms = if random.chance(character.slow) {
            random.between(50, 300)
        } else {
            random.below(8)
        };
        self.world.sleep(ms).await;
        if !self.world.calm.get() && random.chance(character.fails) {
            return Err(StoreError("away".to_owned()));
        }
        Ok(())
    }

    async fn act<T>(
        &self,
        act: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T,
    ) -> Result<T, StoreError> {
        self.travel().await?;
        let answer = act(&mut self.world.values.borrow_mut());
        self.travel().await?;
        Ok(answer)
    }
}

impl Store for Handle {
    /// The key, and what was there.
    type Held = (String, Vec<u8>);

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.act(|values| values.get(key).cloned()).await
    }

    async fn hold(&self, key: &str) -> Result<Option<(Vec<u8>, Self::Held)>, StoreError> {
        let value = self.get(key).await?;
        Ok(value.map(|value| (value.clone(), (key.to_owned(), value))))
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        assert!(key.len() <= 255, "{key}");
        self.wrote.borrow_mut().insert(key.to_owned());
        self.act(|values| {
            values.insert(key.to_owned(), value.to_vec());
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.act(|values| {
            values.remove(key);
        })
        .await
    }

    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        self.act(|values| {
            let value = values.entry(key.to_owned()).or_insert_with(|| vec![0; 8]);
            let bytes = value.as_slice().try_into();
            let number = i64::from_le_bytes(bytes.expect("only integers are incremented"));
            *value = (number + delta).to_le_bytes().to_vec();
            number + delta
        })
        .await
    }

    async fn swap(&self, (key, expected): Self::Held, value: &[u8]) -> Result<Swap, StoreError> {
        let swapped = self
            .act(|values| match values.get_mut(&key) {
                Some(current) if *current == expected => {
                    *current = value.to_vec();
                    Swap::Won
                }
                _ => Swap::Lost,
            })
            .await?;
        let lies = self.world.random.chance(self.world.character.lies);
        Ok(if lies { Swap::Lost } else { swapped })
    }
}

impl Env for Handle {
    fn now(&self) -> u64 {
        1_700_000_000_000 + self.world.now() + self.ahead
    }

    fn random(&self) -> u64 {
        self.world.random.next()
    }

    async fn sleep(&self, ms: u32) {
        self.world.sleep(ms.into()).await;
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        self.world.spawn(self.owner, task);
    }
}

impl presence::World for Handle {
    fn uptime(&self) -> u64 {
        self.world.now() + 77 * self.owner as u64
    }

    fn notify(&self, key: &str) {
        if self.world.random.chance(self.world.character.hints_lost) {
            return;
        }
        let (world, key) = (Rc::clone(&self.world), key.to_owned());
        let ms = world.random.below(50);
        // Of nobody: a hint on its way arrives.
        self.world.spawn(usize::MAX, async move {
            world.sleep(ms).await;
            world.hint(&key);
        });
    }
}
