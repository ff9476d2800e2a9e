//! The simulated store: every operation is sent, has its effect, and is answered, each when the schedule
//! says so, and each may fail.

use crate::random::Random;
use futures::future::LocalBoxFuture;
use mailbox::{Env, Store, StoreError, Swap};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Milliseconds since 1970 at which every simulation begins.
pub(crate) const DAWN: u64 = 1_700_000_000_000;

/// How a store keeps integers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Encoding {
    /// 8 little-endian bytes, as Spin's SQLite store.
    Bytes,
    /// Decimal digits, as INCRBY of Redis.
    Digits,
}

/// What a store says of its swaps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Honesty {
    Honest,
    /// Lost, whatever happened, as Spin's Redis store.
    AlwaysLost,
    /// The opposite of the truth, so many times in a thousand.
    Lying(u64),
}

/// What a store is like, and how often it fails, in thousandths of its operations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Character {
    pub(crate) encoding: Encoding,
    pub(crate) honesty: Honesty,
    /// Errs, and nothing happened.
    pub(crate) errs_before: u64,
    /// Errs, and it happened.
    pub(crate) errs_after: u64,
    /// Errs, and it happens some time later.
    pub(crate) errs_early: u64,
    /// What a dying caller had sent still happens some time later.
    pub(crate) outlives: u64,
    /// How far a clock is from the time, at most, either way.
    pub(crate) skew: u64,
}

/// What an instance has met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) all: u64,
    /// Swaps of which a store that lies at times told the opposite: from one that always does it is to be expected.
    pub(crate) lies: u64,
}

/// On whose behalf something runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) instance: usize,
    /// The call, or for a task that outlives its call the one that started it.
    pub(crate) call: u64,
    /// None: a secret.
    pub(crate) channel: Option<usize>,
}

#[derive(Clone, Debug)]
enum Operation {
    Get(String),
    Set(String, Vec<u8>),
    Delete(String),
    Increment(String, i64),
    Swap(String, Vec<u8>, Vec<u8>),
    Sleep(u64),
}

#[derive(Clone, Debug)]
enum Answer {
    Value(Option<Vec<u8>>),
    Done,
    Sum(i64),
    Swapped(Swap),
}

enum Stage {
    Sent,
    /// It had its effect; the answer is on its way.
    Acted(Result<Answer, StoreError>),
    Answered(Result<Answer, StoreError>),
}

struct Flight {
    ticket: u64,
    /// None: nobody waits for it any more.
    owner: Option<Owner>,
    /// Of whoever sent it, for judging what it wrote.
    sender: Owner,
    operation: Operation,
    stage: Stage,
    /// Takes effect while its instance is paused: it was on the wire already.
    loose: bool,
    waker: Option<Waker>,
}

/// How often a simulation came to what.
pub(crate) type Met = BTreeMap<&'static str, u64>;

/// How a key came to be what it is, or to be gone.
#[derive(Clone, Debug)]
pub(crate) struct Trail {
    /// None: a secret.
    pub(crate) channel: Option<usize>,
    /// When it was last written, as a count of effects.
    pub(crate) written: u64,
    pub(crate) writer: Owner,
    /// It came back after it had been deleted.
    pub(crate) returned: bool,
    /// It was last written by an operation that nobody waited for any more.
    pub(crate) orphaned: bool,
    pub(crate) exists: bool,
}

/// The state of a store at some moment.
#[derive(Clone, Default)]
pub(crate) struct Data(BTreeMap<String, Vec<u8>>);

pub(crate) struct World {
    pub(crate) random: Random,
    character: Character,
    /// Whether operations fail and answers lie.
    pub(crate) faulty: bool,
    pub(crate) data: Data,
    pub(crate) trails: BTreeMap<String, Trail>,
    flights: Vec<Flight>,
    tickets: u64,
    /// Milliseconds since 1970, never backwards.
    pub(crate) time: u64,
    /// The furthest that any clock was ever read.
    pub(crate) latest_reading: u64,
    skews: Vec<i64>,
    /// Whose code runs now.
    pub(crate) current: Option<Owner>,
    pub(crate) spawned: Vec<(Owner, LocalBoxFuture<'static, ()>)>,
    /// Effects so far.
    pub(crate) effects: u64,
    /// Channels that the last effects touched, with whoever caused them.
    pub(crate) touched: Vec<(usize, Owner)>,
    /// How many faults each instance has met.
    pub(crate) faults: Vec<Faults>,
    /// By call: when it last met a fault or died, as a count of effects.
    pub(crate) troubled: BTreeMap<u64, u64>,
    pub(crate) violation: Option<String>,
    /// How often it came to what.
    pub(crate) met: Met,
    trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(
        random: Random,
        character: Character,
        instances: usize,
        traced: bool,
    ) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            random,
            character,
            faulty: true,
            data: Data::default(),
            trails: BTreeMap::new(),
            flights: Vec::new(),
            tickets: 0,
            time: DAWN,
            latest_reading: DAWN,
            skews: vec![0; instances],
            current: None,
            spawned: Vec::new(),
            effects: 0,
            touched: Vec::new(),
            faults: vec![Faults::default(); instances],
            troubled: BTreeMap::new(),
            violation: None,
            met: Met::new(),
            trace: traced.then(Vec::new),
        }))
    }

    /// Notes what happens, where somebody wants to know.
    pub(crate) fn trace(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>7} ms  {}", self.time - DAWN, line()));
        }
    }

    /// Counts what happened, for telling that it does happen.
    pub(crate) fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &String> {
        self.data.0.keys()
    }

    pub(crate) fn restore(&mut self, data: Data) {
        for (key, trail) in &mut self.trails {
            trail.exists = data.0.contains_key(key);
        }
        self.data = data;
    }

    /// Loses the value of a key.
    pub(crate) fn evict(&mut self, key: &str) {
        self.data.0.remove(key);
        if let Some(trail) = self.trails.get_mut(key) {
            trail.exists = false;
        }
    }

    pub(crate) fn skew_clock(&mut self, instance: usize) {
        let most = self.character.skew;
        self.skews[instance] = self.random.below(2 * most + 1) as i64 - most as i64;
    }

    fn clock(&mut self, instance: Option<usize>) -> u64 {
        let skew = instance.map_or(0, |instance| self.skews[instance]);
        let now = self.time.saturating_add_signed(skew);
        self.latest_reading = self.latest_reading.max(now);
        now
    }

    // Scheduling.

    /// The operations that can go on, where `running` tells which instances do.
    pub(crate) fn ready(&self, running: &[bool], out: &mut Vec<u64>) {
        for flight in &self.flights {
            let awake = flight.owner.is_none_or(|owner| running[owner.instance]);
            let ready = match (&flight.stage, &flight.operation) {
                (Stage::Answered(_), _) => false,
                (Stage::Sent, Operation::Sleep(until)) => awake && *until <= self.time,
                (Stage::Sent, _) => awake || flight.loose,
                (Stage::Acted(_), _) => awake,
            };
            if ready {
                out.push(flight.ticket);
            }
        }
    }

    /// When the next sleeper of a running instance wakes.
    pub(crate) fn next_alarm(&self, running: &[bool]) -> Option<u64> {
        self.flights
            .iter()
            .filter(|flight| flight.owner.is_none_or(|owner| running[owner.instance]))
            .filter_map(|flight| match (&flight.stage, &flight.operation) {
                (Stage::Sent, Operation::Sleep(until)) => Some(*until),
                _ => None,
            })
            .min()
    }

    /// Takes an operation one step further.
    pub(crate) fn advance(&mut self, ticket: u64) {
        let Some(index) = self.find(ticket) else {
            return;
        };
        let stage = std::mem::replace(&mut self.flights[index].stage, Stage::Sent);
        match stage {
            Stage::Sent => self.act(index),
            Stage::Acted(answer) => {
                self.flights[index].stage = Stage::Answered(answer);
                if let Some(waker) = self.flights[index].waker.take() {
                    waker.wake();
                }
            }
            answered @ Stage::Answered(_) => self.flights[index].stage = answered,
        }
    }

    fn act(&mut self, index: usize) {
        let sender = self.flights[index].sender;
        let orphaned = self.flights[index].owner.is_none();
        let operation = self.flights[index].operation.clone();
        if matches!(operation, Operation::Sleep(_)) {
            self.flights[index].stage = Stage::Acted(Ok(Answer::Done));
            return;
        }
        if orphaned {
            let answer = self.apply(&operation, sender, true);
            self.meet("an operation outlives its caller");
            self.trace(|| format!("late: {} -> {answer:?}", show(&operation)));
            self.flights.swap_remove(index);
            return;
        }
        let dice = if self.faulty {
            self.random.below(1000)
        } else {
            1000
        };
        let character = self.character;
        let before = character.errs_before;
        let after = before + character.errs_after;
        let early = after + character.errs_early;
        let answer = if dice < early {
            self.faults[sender.instance].all += 1;
            self.troubled.insert(sender.call, self.effects + 1);
            if dice < before {
                self.meet("an operation fails");
                self.trace(|| format!("{sender}: {} -> fails", show(&operation)));
            } else if dice < after {
                let hidden = self.apply(&operation, sender, false);
                if let Ok(Answer::Swapped(Swap::Won)) = hidden {
                    self.meet("a failure hides a win");
                }
                self.trace(|| {
                    format!(
                        "{sender}: {} -> {} but says it fails",
                        show(&operation),
                        tell(&hidden)
                    )
                });
            } else {
                self.trace(|| format!("{sender}: {} -> fails for now", show(&operation)));
                self.send_late(sender, operation);
            }
            Err(StoreError("the simulated store failed".to_owned()))
        } else {
            let answer = self.apply(&operation, sender, false);
            let told = self.told(answer.clone(), sender.instance);
            self.trace(|| {
                let lie = match (&answer, &told) {
                    (Ok(Answer::Swapped(Swap::Won)), Ok(Answer::Swapped(Swap::Lost))) => {
                        " but says lost"
                    }
                    (Ok(Answer::Swapped(Swap::Lost)), Ok(Answer::Swapped(Swap::Won))) => {
                        " but says won"
                    }
                    _ => "",
                };
                format!("{sender}: {} -> {}{lie}", show(&operation), tell(&answer))
            });
            told
        };
        self.flights[index].stage = Stage::Acted(answer);
    }

    /// What the store answers where something is the truth.
    fn told(
        &mut self,
        answer: Result<Answer, StoreError>,
        instance: usize,
    ) -> Result<Answer, StoreError> {
        let Ok(Answer::Swapped(swap)) = answer else {
            return answer;
        };
        let told = match self.character.honesty {
            Honesty::AlwaysLost => Swap::Lost,
            Honesty::Lying(rate) if self.faulty && self.random.chance(rate) => match swap {
                Swap::Won => Swap::Lost,
                Swap::Lost => Swap::Won,
            },
            Honesty::Honest | Honesty::Lying(_) => swap,
        };
        if told != swap {
            self.faults[instance].all += 1;
            if matches!(self.character.honesty, Honesty::Lying(_)) {
                self.faults[instance].lies += 1;
            }
            self.meet(match told {
                Swap::Lost => "a win is told as lost",
                Swap::Won => "a loss is told as won",
            });
        }
        Ok(Answer::Swapped(told))
    }

    fn apply(
        &mut self,
        operation: &Operation,
        sender: Owner,
        orphaned: bool,
    ) -> Result<Answer, StoreError> {
        match operation {
            Operation::Get(key) => Ok(Answer::Value(self.data.0.get(key).cloned())),
            Operation::Set(key, value) => {
                self.write(key, value.clone(), sender, orphaned);
                Ok(Answer::Done)
            }
            Operation::Delete(key) => {
                if self.data.0.remove(key).is_some() {
                    if let Some(trail) = self.trails.get_mut(key) {
                        trail.exists = false;
                    }
                    self.touch(sender);
                }
                Ok(Answer::Done)
            }
            Operation::Increment(key, delta) => {
                let sum = match self.data.0.get(key) {
                    None => *delta,
                    Some(value) => match self.character.encoding.decode(value) {
                        Some(number) => number.wrapping_add(*delta),
                        None => {
                            self.violation.get_or_insert(format!(
                                "an increment met a key of another form: {key} holds {}",
                                value.escape_ascii()
                            ));
                            return Err(StoreError("not an integer".to_owned()));
                        }
                    },
                };
                let other =
                    |trail: &Trail| trail.exists && trail.writer.instance != sender.instance;
                if sum == 0 && self.trails.get(key).is_some_and(other) {
                    self.meet("instances stand in one election");
                }
                let value = self.character.encoding.encode(sum);
                if self.data.0.get(key) != Some(&value) {
                    self.write(key, value, sender, orphaned);
                }
                Ok(Answer::Sum(sum))
            }
            Operation::Swap(key, expected, value) => {
                let won = self.data.0.get(key) == Some(expected);
                if won {
                    self.write(key, value.clone(), sender, orphaned);
                }
                Ok(Answer::Swapped(if won { Swap::Won } else { Swap::Lost }))
            }
            Operation::Sleep(_) => Ok(Answer::Done),
        }
    }

    fn write(&mut self, key: &str, value: Vec<u8>, sender: Owner, orphaned: bool) {
        self.data.0.insert(key.to_owned(), value);
        let returned = match self.trails.get(key) {
            Some(trail) => trail.returned || !trail.exists,
            None => false,
        };
        self.touch(sender);
        let trail = Trail {
            channel: sender.channel,
            written: self.effects,
            writer: sender,
            returned,
            orphaned,
            exists: true,
        };
        self.trails.insert(key.to_owned(), trail);
    }

    fn touch(&mut self, sender: Owner) {
        self.effects += 1;
        if let Some(channel) = sender.channel {
            self.touched.push((channel, sender));
        }
    }

    // Sending.

    fn find(&self, ticket: u64) -> Option<usize> {
        self.flights
            .iter()
            .position(|flight| flight.ticket == ticket)
    }

    fn send(&mut self, operation: Operation) -> u64 {
        let sender = self
            .current
            .expect("the store is used by tasks of the simulation only");
        self.tickets += 1;
        let loose = self.random.chance(500);
        self.flights.push(Flight {
            ticket: self.tickets,
            owner: Some(sender),
            sender,
            operation,
            stage: Stage::Sent,
            loose,
            waker: None,
        });
        self.tickets
    }

    fn send_late(&mut self, sender: Owner, operation: Operation) {
        if matches!(operation, Operation::Get(_) | Operation::Sleep(_)) {
            return;
        }
        self.tickets += 1;
        self.flights.push(Flight {
            ticket: self.tickets,
            owner: None,
            sender,
            operation,
            stage: Stage::Sent,
            loose: true,
            waker: None,
        });
    }

    /// The caller is gone; what it had sent may still happen.
    fn abandon(&mut self, ticket: u64) {
        let Some(index) = self.find(ticket) else {
            return;
        };
        let flight = self.flights.swap_remove(index);
        if matches!(flight.stage, Stage::Sent) && self.random.chance(self.character.outlives) {
            self.send_late(flight.sender, flight.operation);
        }
    }

    /// Forgets what is on the wire without anybody waiting for it.
    pub(crate) fn forget_late(&mut self) {
        self.flights.retain(|flight| flight.owner.is_some());
    }
}

impl Encoding {
    fn encode(self, number: i64) -> Vec<u8> {
        match self {
            Self::Bytes => number.to_le_bytes().to_vec(),
            Self::Digits => number.to_string().into_bytes(),
        }
    }

    fn decode(self, value: &[u8]) -> Option<i64> {
        match self {
            Self::Bytes => Some(i64::from_le_bytes(value.try_into().ok()?)),
            Self::Digits => std::str::from_utf8(value).ok()?.parse().ok(),
        }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "instance {} call {}", self.instance, self.call)
    }
}

fn show(operation: &Operation) -> String {
    let short = |value: &[u8]| {
        let shown = value[..value.len().min(200)].escape_ascii().to_string();
        format!("{} bytes {}", value.len(), shown.replace("\\x00", "."))
    };
    match operation {
        Operation::Get(key) => format!("get {key}"),
        Operation::Set(key, value) => format!("set {key} = {}", short(value)),
        Operation::Delete(key) => format!("delete {key}"),
        Operation::Increment(key, delta) => format!("increment {key} by {delta}"),
        Operation::Swap(key, expected, value) => {
            format!("swap {key} from {} to {}", short(expected), short(value))
        }
        Operation::Sleep(until) => format!("sleep until {}", until - DAWN),
    }
}

fn tell(answer: &Result<Answer, StoreError>) -> String {
    match answer {
        Ok(Answer::Value(None)) => "nothing".to_owned(),
        Ok(Answer::Value(Some(value))) => format!("{} bytes", value.len()),
        Ok(Answer::Done) => "done".to_owned(),
        Ok(Answer::Sum(sum)) => sum.to_string(),
        Ok(Answer::Swapped(swap)) => format!("{swap:?}").to_lowercase(),
        Err(error) => error.to_string(),
    }
}

/// The store and the environment as one instance sees them.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) world: Rc<RefCell<World>>,
    pub(crate) instance: usize,
}

/// Waits for an operation that was sent.
struct Waiting<'a> {
    world: &'a RefCell<World>,
    ticket: Option<u64>,
}

impl Future for Waiting<'_> {
    type Output = Result<Answer, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut world = self.world.borrow_mut();
        let ticket = self.ticket.expect("polled after it was done");
        let index = world.find(ticket).expect("a flight stays until it is told");
        if !matches!(world.flights[index].stage, Stage::Answered(_)) {
            world.flights[index].waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let Stage::Answered(answer) = world.flights.swap_remove(index).stage else {
            unreachable!("it was looked at just now")
        };
        drop(world);
        self.ticket = None;
        Poll::Ready(answer)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.world.borrow_mut().abandon(ticket);
        }
    }
}

impl Handle {
    async fn perform(&self, operation: Operation) -> Result<Answer, StoreError> {
        let ticket = self.world.borrow_mut().send(operation);
        Waiting {
            world: &self.world,
            ticket: Some(ticket),
        }
        .await
    }
}

impl Store for Handle {
    /// The key, and what was there.
    type Held = (String, Vec<u8>);

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.perform(Operation::Get(key.to_owned()))
            .await
            .map(Answer::value)
    }

    async fn hold(&self, key: &str) -> Result<Option<(Vec<u8>, Self::Held)>, StoreError> {
        let value = self.get(key).await?;
        Ok(value.map(|value| (value.clone(), (key.to_owned(), value))))
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.perform(Operation::Set(key.to_owned(), value.to_vec()))
            .await
            .map(drop)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.perform(Operation::Delete(key.to_owned()))
            .await
            .map(drop)
    }

    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        self.perform(Operation::Increment(key.to_owned(), delta))
            .await
            .map(Answer::sum)
    }

    async fn swap(&self, (key, expected): Self::Held, value: &[u8]) -> Result<Swap, StoreError> {
        self.perform(Operation::Swap(key, expected, value.to_vec()))
            .await
            .map(Answer::swapped)
    }
}

impl Env for Handle {
    fn now(&self) -> u64 {
        self.world.borrow_mut().clock(Some(self.instance))
    }

    fn random(&self) -> u64 {
        self.world.borrow_mut().random.next()
    }

    async fn sleep(&self, ms: u32) {
        let until = self.world.borrow().time + u64::from(ms);
        // A sleep does not fail.
        self.perform(Operation::Sleep(until)).await.ok();
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        let mut world = self.world.borrow_mut();
        let owner = world
            .current
            .expect("tasks are spawned by tasks of the simulation only");
        world.spawned.push((owner, task));
    }
}

impl Answer {
    fn value(self) -> Option<Vec<u8>> {
        match self {
            Self::Value(value) => value,
            _ => None,
        }
    }

    fn sum(self) -> i64 {
        match self {
            Self::Sum(sum) => sum,
            _ => 0,
        }
    }

    fn swapped(self) -> Swap {
        match self {
            Self::Swapped(swap) => swap,
            _ => Swap::Lost,
        }
    }
}

/// The store as it is at this moment: every operation takes effect and answers at once.
#[derive(Clone)]
pub(crate) struct Direct {
    pub(crate) world: Rc<RefCell<World>>,
    /// None: only looks, and leaves no trace.
    pub(crate) owner: Option<Owner>,
}

impl Direct {
    fn perform(&self, operation: &Operation) -> Result<Answer, StoreError> {
        let mut world = self.world.borrow_mut();
        let Some(owner) = self.owner else {
            return match operation {
                Operation::Get(key) => Ok(Answer::Value(world.data.0.get(key).cloned())),
                other => {
                    world
                        .violation
                        .get_or_insert(format!("a reader writes: {}", show(other)));
                    Err(StoreError("read only".to_owned()))
                }
            };
        };
        let answer = world.apply(operation, owner, false);
        world.trace(|| format!("{owner}: {} -> {}", show(operation), tell(&answer)));
        world.told(answer, owner.instance)
    }
}

impl Store for Direct {
    /// The key, and what was there.
    type Held = (String, Vec<u8>);

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.perform(&Operation::Get(key.to_owned()))
            .map(Answer::value)
    }

    async fn hold(&self, key: &str) -> Result<Option<(Vec<u8>, Self::Held)>, StoreError> {
        let value = self.get(key).await?;
        Ok(value.map(|value| (value.clone(), (key.to_owned(), value))))
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.perform(&Operation::Set(key.to_owned(), value.to_vec()))
            .map(drop)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.perform(&Operation::Delete(key.to_owned())).map(drop)
    }

    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        self.perform(&Operation::Increment(key.to_owned(), delta))
            .map(Answer::sum)
    }

    async fn swap(&self, (key, expected): Self::Held, value: &[u8]) -> Result<Swap, StoreError> {
        self.perform(&Operation::Swap(key, expected, value.to_vec()))
            .map(Answer::swapped)
    }
}

impl Env for Direct {
    fn now(&self) -> u64 {
        self.world.borrow_mut().clock(None)
    }

    fn random(&self) -> u64 {
        self.world.borrow_mut().random.next()
    }

    async fn sleep(&self, ms: u32) {
        self.world.borrow_mut().time += u64::from(ms);
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        let owner = self.owner.unwrap_or(Owner {
            instance: 0,
            call: 0,
            channel: None,
        });
        self.world.borrow_mut().spawned.push((owner, task));
    }
}
