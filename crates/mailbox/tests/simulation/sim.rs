//! One simulation: instances, those who use them, and the schedule.

use crate::judge::{Channel, Opened, Reader};
use crate::plan::{Plan, Rollback};
use crate::random::Random;
use crate::store::{Data, Direct, Handle, Met, Owner, World};
use crate::truth::{Checked, Log, at_once, ensure, observe};
use futures::future::LocalBoxFuture;
use mailbox::{
    Draft, History, LARGEST_BODY, Mailbox, Page, PublishError, ReadError, Receipt, Refers, Start,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Steps of the rough part of a simulation; what is not done by then is done in the calm part.
const ROUGH_STEPS: u64 = 6_000;
/// Steps in which all calls under way end, once nothing fails any more; beyond it they hang.
const CALM_STEPS: u64 = 50_000;
/// Calls under way in one instance.
const MOST_CALLS: usize = 4;

/// What a call was for.
enum Purpose {
    Publish {
        drafts: Vec<Draft>,
        /// When it was first polled, among all calls of its instance.
        turn: Option<u64>,
    },
    Read {
        reader: usize,
        start: Start,
        taken: usize,
        limit: u32,
        follows: bool,
        /// Whether the log knows the start as the call begins.
        known: bool,
    },
    History {
        before: Option<u64>,
        limit: u32,
    },
    Secret {
        name: &'static str,
    },
}

enum Outcome {
    Published(Vec<Result<Receipt, PublishError>>),
    Read(Result<Page, ReadError>),
    History(Result<History, ReadError>),
    Secret(Result<[u8; 32], ReadError>),
    /// A task that nobody waits for.
    Ended,
}

struct Call {
    id: u64,
    owner: Owner,
    opened: Opened,
    purpose: Purpose,
}

struct Task {
    owner: Owner,
    /// False: it outlives its call.
    answers: bool,
    future: LocalBoxFuture<'static, Outcome>,
    flag: Arc<Flag>,
}

/// Set when a task may go on.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Instance {
    mailbox: Mailbox<Handle, Handle>,
    paused_until: u64,
    /// How often it gets its turn, in sixteenths.
    speed: u64,
    /// The messages that its calls stored.
    stored: Vec<Stored>,
}

struct Stored {
    /// Of its call.
    turn: u64,
    channel: usize,
    sender: String,
    offset: u64,
}

/// Everything at some moment.
struct Snapshot {
    data: Data,
    logs: Vec<Log>,
    secrets: BTreeMap<&'static str, [u8; 32]>,
}

enum Next {
    Task(usize),
    Flight(u64),
}

pub(crate) struct Sim {
    plan: Plan,
    world: Rc<RefCell<World>>,
    channels: Vec<Channel>,
    instances: Vec<Instance>,
    tasks: Vec<Task>,
    calls: Vec<Call>,
    readers: Vec<Reader>,
    secrets: BTreeMap<&'static str, [u8; 32]>,
    snapshots: Vec<Snapshot>,
    /// Drafts that no mailbox has acknowledged.
    open: Vec<(usize, Draft)>,
    drawn: u64,
    next_call: u64,
    turns: u64,
    steps: u64,
    running: Vec<bool>,
}

impl Sim {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random);
        let world = World::new(random, plan.store, plan.instances, traced);
        world
            .borrow_mut()
            .trace(|| format!("seed {seed}: {plan:#?}"));
        let mut sim = Self {
            channels: (0..plan.channels)
                .map(|index| Channel::new(format!("@room-{index}")))
                .collect(),
            instances: Vec::new(),
            tasks: Vec::new(),
            calls: Vec::new(),
            readers: (0..plan.readers)
                .map(|index| Reader::new(index % plan.channels))
                .collect(),
            secrets: BTreeMap::new(),
            snapshots: Vec::new(),
            open: Vec::new(),
            drawn: 0,
            next_call: 0,
            turns: 0,
            steps: 0,
            running: vec![true; plan.instances],
            plan,
            world,
        };
        for index in 0..sim.plan.instances {
            let instance = sim.fresh(index);
            sim.instances.push(instance);
        }
        sim
    }

    pub(crate) fn met(&self) -> Met {
        self.world.borrow().met.clone()
    }

    /// The last lines of what happened.
    pub(crate) fn trace(&self) -> Vec<String> {
        self.world.borrow_mut().take_trace()
    }

    pub(crate) fn run(&mut self) -> Checked {
        self.rough()
            .and_then(|()| self.calm())
            .and_then(|()| self.leave_nothing())
            .and_then(|()| self.catch_up(true))
            .map_err(|failure| format!("{:?} {failure}", self.plan.rollback))
    }

    fn fresh(&self, index: usize) -> Instance {
        let handle = Handle {
            world: Rc::clone(&self.world),
            instance: index,
        };
        let speed = self.world.borrow_mut().random.pick(&[1, 4, 16, 16]);
        Instance {
            mailbox: Mailbox::new(handle.clone(), handle, self.plan.window.clone()),
            paused_until: 0,
            speed,
            stored: Vec::new(),
        }
    }

    fn below(&self, end: u64) -> u64 {
        self.world.borrow_mut().random.below(end)
    }

    fn chance(&self, per_mille: u64) -> bool {
        self.world.borrow_mut().random.chance(per_mille)
    }

    fn meet(&self, what: &'static str) {
        self.world.borrow_mut().meet(what);
    }

    fn note(&self, line: impl FnOnce() -> String) {
        self.world.borrow_mut().trace(line);
    }

    // The schedule.

    fn rough(&mut self) -> Checked {
        while self.steps < ROUGH_STEPS
            && !(self.drawn >= self.plan.publishes && self.calls.is_empty())
        {
            self.steps += 1;
            if self.chance(self.plan.bustle) || !self.step(false)? {
                self.begin_something()?;
            }
        }
        Ok(())
    }

    /// One step of one task or one operation; false: none can go on.
    fn step(&mut self, calm: bool) -> Checked<bool> {
        {
            let mut world = self.world.borrow_mut();
            world.time += world.random.below(self.plan.pace + 1);
            for (index, instance) in self.instances.iter().enumerate() {
                self.running[index] = calm
                    || instance.paused_until <= self.steps
                        && world.random.below(16) < instance.speed;
            }
        }
        let next = match self.choose() {
            Some(next) => next,
            None => {
                for (index, instance) in self.instances.iter().enumerate() {
                    self.running[index] = calm || instance.paused_until <= self.steps;
                }
                match self.choose() {
                    Some(next) => next,
                    None => {
                        let alarm = self.world.borrow().next_alarm(&self.running);
                        let Some(alarm) = alarm else {
                            return Ok(false);
                        };
                        let mut world = self.world.borrow_mut();
                        world.time = world.time.max(alarm);
                        return Ok(true);
                    }
                }
            }
        };
        match next {
            Next::Task(index) => self.poll(index)?,
            Next::Flight(ticket) => {
                self.world.borrow_mut().advance(ticket);
                self.look()?;
            }
        }
        Ok(true)
    }

    fn choose(&mut self) -> Option<Next> {
        let mut flights = Vec::with_capacity(16);
        let mut world = self.world.borrow_mut();
        world.ready(&self.running, &mut flights);
        let tasks: Vec<usize> = (0..self.tasks.len())
            .filter(|&index| {
                let task = &self.tasks[index];
                self.running[task.owner.instance] && task.flag.0.load(Ordering::Relaxed)
            })
            .collect();
        let count = tasks.len() + flights.len();
        if count == 0 {
            return None;
        }
        let index = world.random.index(count);
        Some(match tasks.get(index) {
            Some(&task) => Next::Task(task),
            None => Next::Flight(flights[index - tasks.len()]),
        })
    }

    fn poll(&mut self, index: usize) -> Checked {
        let mut task = self.tasks.swap_remove(index);
        task.flag.0.store(false, Ordering::Relaxed);
        if task.answers {
            let call = self
                .calls
                .iter_mut()
                .find(|call| call.id == task.owner.call);
            if let Some(Call {
                purpose: Purpose::Publish { turn, .. },
                ..
            }) = call
                && turn.is_none()
            {
                self.turns += 1;
                *turn = Some(self.turns);
            }
        }
        self.world.borrow_mut().current = Some(task.owner);
        let waker = Waker::from(Arc::clone(&task.flag));
        let polled = task.future.as_mut().poll(&mut Context::from_waker(&waker));
        let spawned = {
            let mut world = self.world.borrow_mut();
            world.current = None;
            mem::take(&mut world.spawned)
        };
        for (owner, future) in spawned {
            self.spawn(
                owner,
                false,
                Box::pin(async move {
                    future.await;
                    Outcome::Ended
                }),
            );
        }
        match polled {
            Poll::Pending => self.tasks.push(task),
            Poll::Ready(outcome) if task.answers => {
                drop(task.future);
                self.finish(task.owner.call, outcome)?;
            }
            Poll::Ready(_) => {}
        }
        self.violation()
    }

    fn spawn(&mut self, owner: Owner, answers: bool, future: LocalBoxFuture<'static, Outcome>) {
        self.tasks.push(Task {
            owner,
            answers,
            future,
            flag: Arc::new(Flag(AtomicBool::new(true))),
        });
    }

    fn violation(&self) -> Checked {
        match self.world.borrow_mut().violation.take() {
            Some(violation) => Err(violation),
            None => Ok(()),
        }
    }

    /// Looks at what the last effect did to the logs.
    fn look(&mut self) -> Checked {
        let touched = mem::take(&mut self.world.borrow_mut().touched);
        for (index, owner) in touched {
            let channel = &mut self.channels[index];
            let before = channel.log.end();
            observe(
                &self.world,
                &self.plan.window,
                &channel.name,
                &mut channel.log,
            )?;
            if channel.log.end() > before {
                let now = self.world.borrow().time;
                channel.judge_stored(before, &self.plan.window, now, self.plan.store.skew)?;
                self.count_stored(index, owner, before);
            }
        }
        self.violation()
    }

    fn count_stored(&self, index: usize, owner: Owner, before: u64) {
        let log = &self.channels[index].log;
        let new = log.seen(log.end()).take((log.end() - before) as usize);
        let new: Vec<_> = new
            .map(|entry| (&entry.message.sender, &entry.message.id))
            .collect();
        let brought = |call: &&Call| {
            let Purpose::Publish { drafts, .. } = &call.purpose else {
                return false;
            };
            let ours = call.owner.instance == owner.instance && call.owner.channel == Some(index);
            ours && drafts
                .iter()
                .any(|draft| new.contains(&(&draft.sender, &draft.id)))
        };
        if self.calls.iter().filter(brought).count() > 1 {
            self.meet("calls share a swap");
        }
        if log.end() - before > self.plan.window.tail_messages as u64 {
            self.meet("a swap stores more than the tail holds");
        }
        if log.unseen(before + 1) {
            self.meet("a swap stores more than the window holds");
        }
    }

    // What users and fate do.

    fn begin_something(&mut self) -> Checked {
        let plan = &self.plan;
        let rollbacks = match plan.rollback {
            Rollback::Never => 0,
            _ => 3,
        };
        let publishes = if self.drawn < plan.publishes { 100 } else { 0 };
        let weights = [
            publishes,
            80,
            8,
            4,
            plan.crashes,
            plan.cancels,
            plan.pauses,
            plan.leaps,
            3 * rollbacks,
            rollbacks,
            plan.evictions,
            4,
        ];
        let mut dice = self.below(weights.iter().sum());
        let mut chosen = 0;
        while dice >= weights[chosen] {
            dice -= weights[chosen];
            chosen += 1;
        }
        let instance = self.below(self.plan.instances as u64) as usize;
        match chosen {
            0 => self.publish_something(instance),
            1 => self.read_something(instance),
            2 => self.read_backwards(instance),
            3 => self.ask_secret(instance),
            4 => self.crash(instance),
            5 => self.cancel(),
            6 => {
                let steps = self.world.borrow_mut().random.skewed(ROUGH_STEPS / 2);
                self.note(|| format!("instance {instance} pauses for {steps} steps"));
                self.instances[instance].paused_until = self.steps + steps;
            }
            7 => {
                let mut world = self.world.borrow_mut();
                let leap = world.random.skewed(self.plan.leap);
                world.time += leap;
                world.trace(|| format!("{leap} ms pass"));
            }
            8 => {
                self.note(|| "a snapshot is taken".to_owned());
                let snapshot = Snapshot {
                    data: self.world.borrow().data.clone(),
                    logs: self.channels.iter().map(|c| c.log.clone()).collect(),
                    secrets: self.secrets.clone(),
                };
                self.snapshots.push(snapshot);
            }
            9 => self.roll_back()?,
            10 => self.evict(),
            _ => {
                self.world.borrow_mut().skew_clock(instance);
                let speed = self.world.borrow_mut().random.pick(&[1, 4, 16, 16]);
                self.instances[instance].speed = speed;
            }
        }
        Ok(())
    }

    fn open(&mut self, instance: usize, channel: Option<usize>, purpose: Purpose) {
        self.next_call += 1;
        let owner = Owner {
            instance,
            call: self.next_call,
            channel,
        };
        let faults = self.world.borrow().faults[instance];
        let opened = self.channels[channel.unwrap_or(0)].open(self.steps, faults);
        let mailbox = self.instances[instance].mailbox.clone();
        let name = channel.map_or_else(String::new, |index| self.channels[index].name.clone());
        let future: LocalBoxFuture<'static, Outcome> = match &purpose {
            Purpose::Publish { drafts, .. } => {
                let drafts = drafts.clone();
                self.note(|| format!("{owner} publishes {} in {name}", brief(&drafts)));
                Box::pin(async move { Outcome::Published(mailbox.publish(&name, drafts).await) })
            }
            &Purpose::Read {
                reader,
                start,
                limit,
                ..
            } => {
                self.note(|| format!("{owner} reads {name} for {reader}: {start:?} by {limit}"));
                Box::pin(async move { Outcome::Read(mailbox.read(&name, start, limit).await) })
            }
            &Purpose::History { before, limit } => {
                self.note(|| format!("{owner} reads {name} before {before:?} by {limit}"));
                Box::pin(
                    async move { Outcome::History(mailbox.history(&name, before, limit).await) },
                )
            }
            &Purpose::Secret { name } => {
                self.note(|| format!("{owner} asks for the secret {name}"));
                Box::pin(async move { Outcome::Secret(mailbox.secret(name).await) })
            }
        };
        self.calls.push(Call {
            id: owner.call,
            owner,
            opened,
            purpose,
        });
        self.spawn(owner, true, future);
    }

    fn calls_of(&self, instance: usize) -> usize {
        self.calls
            .iter()
            .filter(|call| call.owner.instance == instance)
            .count()
    }

    fn publish_something(&mut self, instance: usize) {
        if self.calls_of(instance) >= MOST_CALLS {
            return;
        }
        let channel = self.below(self.plan.channels as u64) as usize;
        let drafts = self.draw_drafts(channel);
        if drafts.is_empty() {
            return;
        }
        // Impatient clients send the same by two ways at once.
        if self.chance(60) {
            let other = self.below(self.plan.instances as u64) as usize;
            self.publish(other, channel, drafts.clone());
        }
        self.publish(instance, channel, drafts);
    }

    fn publish(&mut self, instance: usize, channel: usize, drafts: Vec<Draft>) {
        self.channels[channel].attempt(&drafts);
        self.open(
            instance,
            Some(channel),
            Purpose::Publish { drafts, turn: None },
        );
    }

    fn draw_drafts(&mut self, channel: usize) -> Vec<Draft> {
        let mut world = self.world.borrow_mut();
        let random = &mut world.random;
        let mut drafts = Vec::new();
        let count = random.between(1, self.plan.batch);
        if random.chance(400) {
            let mut index = 0;
            while index < self.open.len() && (drafts.len() as u64) < count {
                if self.open[index].0 == channel && random.chance(700) {
                    drafts.push(self.open.remove(index).1);
                } else {
                    index += 1;
                }
            }
        }
        if drafts.is_empty() && self.drawn >= self.plan.publishes {
            return drafts;
        }
        if drafts.is_empty() {
            self.drawn += 1;
        }
        while (drafts.len() as u64) < count {
            let kind = random.below(100);
            // All senders draw from the same few ids.
            let sender = format!("s{}", random.below(self.plan.senders));
            let log = &self.channels[channel].log;
            let known = log.at(random.below(log.end() + 1));
            let draft = if kind < 12
                && let Some(entry) = known
            {
                let message = &entry.message;
                let body = if kind < 3 {
                    "\"another\"".to_owned()
                } else {
                    message.body.clone()
                };
                // As good as another body.
                let refers = if kind == 3 {
                    Some(Refers { kind: 9, offset: 9 })
                } else {
                    message.refers
                };
                Draft {
                    id: message.id.clone(),
                    sender: message.sender.clone(),
                    name: message.name.clone(),
                    body,
                    refers,
                }
            } else if kind < 16 && !drafts.is_empty() {
                drafts[random.index(drafts.len())].clone()
            } else {
                let number = self.drawn * 100 + drafts.len() as u64;
                let id = format!("{}", if kind < 50 { number } else { number / 3 });
                let padding = random.below(self.plan.body + 1) as usize;
                let own = if random.chance(500) { &sender } else { "" };
                let body = match random.below(400) {
                    0 => "x".repeat(LARGEST_BODY + 1),
                    1 => "x".repeat(LARGEST_BODY),
                    _ => format!("\"{id}{own}\u{2028}</script>\\n{}\"", "é".repeat(padding)),
                };
                let refers = (number % 3 == 0).then_some(Refers {
                    kind: 1,
                    offset: number / 3,
                });
                Draft {
                    id,
                    name: format!("{sender} \u{1f600}\r\n\0"),
                    sender,
                    body,
                    refers,
                }
            };
            drafts.push(draft);
        }
        drafts
    }

    fn read_something(&mut self, instance: usize) {
        let index = self.below(self.readers.len() as u64) as usize;
        if self.readers[index].busy {
            return;
        }
        let reader = &self.readers[index];
        let channel = reader.channel;
        let rollbacks = self.channels[channel].rollbacks.len();
        let mut world = self.world.borrow_mut();
        let random = &mut world.random;
        let (start, taken, follows) = match reader.at {
            Some(at) if !random.chance(40) => (Start::After(at), reader.taken, true),
            _ => match random.below(4) {
                0 => (Start::Live, rollbacks, false),
                1 => (Start::Newest(random.below(12) as u32), rollbacks, false),
                2 if !reader.been.is_empty() => {
                    let (at, taken) = reader.been[random.index(reader.been.len())];
                    (Start::After(at), taken, false)
                }
                _ => (Start::After(mailbox::Position::default()), rollbacks, false),
            },
        };
        let limit = random.pick(&[1, 2, 5, 100]);
        drop(world);
        self.read(instance, index, start, taken, limit, follows);
    }

    fn read(
        &mut self,
        instance: usize,
        reader: usize,
        start: Start,
        taken: usize,
        limit: u32,
        follows: bool,
    ) {
        let channel = self.readers[reader].channel;
        self.readers[reader].busy = true;
        let known = match start {
            Start::After(at) => self.channels[channel].log.knows(at),
            _ => true,
        };
        let purpose = Purpose::Read {
            reader,
            start,
            taken,
            limit,
            follows: follows && known,
            known,
        };
        self.open(instance, Some(channel), purpose);
    }

    fn read_backwards(&mut self, instance: usize) {
        let channel = self.below(self.plan.channels as u64) as usize;
        let log = &self.channels[channel].log;
        let (begin, end) = (log.begin, log.end());
        let before = match self.below(3) {
            0 => None,
            1 => Some(self.below(end + 3)),
            _ => Some(begin + self.below(end - begin + 2)),
        };
        let limit = self.world.borrow_mut().random.pick(&[1, 3, 100]);
        self.open(instance, Some(channel), Purpose::History { before, limit });
    }

    fn ask_secret(&mut self, instance: usize) {
        let name = self.world.borrow_mut().random.pick(&["guests", "other"]);
        self.open(instance, None, Purpose::Secret { name });
    }

    fn crash(&mut self, instance: usize) {
        self.note(|| format!("instance {instance} crashes"));
        let (gone, stays) = mem::take(&mut self.tasks)
            .into_iter()
            .partition(|task: &Task| task.owner.instance == instance);
        self.tasks = stays;
        {
            let mut world = self.world.borrow_mut();
            let effects = world.effects;
            for task in &gone {
                world.meet("a task dies with its instance");
                world.troubled.insert(task.owner.call, effects);
            }
        }
        drop(gone);
        let (gone, stays) = mem::take(&mut self.calls)
            .into_iter()
            .partition(|call: &Call| call.owner.instance == instance);
        self.calls = stays;
        for call in gone {
            self.give_up(call);
        }
        self.instances[instance] = self.fresh(instance);
    }

    fn cancel(&mut self) {
        if self.calls.is_empty() {
            return;
        }
        let index = self.below(self.calls.len() as u64) as usize;
        let call = self.calls.swap_remove(index);
        self.meet("a call is cancelled");
        self.note(|| format!("{} is cancelled", call.owner));
        if let Some(index) = self
            .tasks
            .iter()
            .position(|task| task.answers && task.owner.call == call.id)
        {
            let task = self.tasks.swap_remove(index);
            drop(task);
        }
        self.give_up(call);
    }

    /// Nobody hears the answer to a call.
    fn give_up(&mut self, call: Call) {
        match call.purpose {
            Purpose::Publish { drafts, .. } => {
                let channel = call.owner.channel.expect("a publish has a channel");
                self.open
                    .extend(drafts.into_iter().map(|draft| (channel, draft)));
            }
            Purpose::Read { reader, .. } => self.readers[reader].busy = false,
            Purpose::History { .. } | Purpose::Secret { .. } => {}
        }
    }

    fn roll_back(&mut self) -> Checked {
        if self.snapshots.is_empty() {
            return Ok(());
        }
        let index = self.below(self.snapshots.len() as u64) as usize;
        self.snapshots.truncate(index + 1);
        let Some(snapshot) = self.snapshots.pop() else {
            return Ok(());
        };
        if self.plan.rollback == Rollback::Restart {
            for instance in 0..self.instances.len() {
                self.crash(instance);
            }
            self.world.borrow_mut().forget_late();
        } else {
            self.settle()?;
        }
        self.meet("the store is rolled back");
        self.note(|| "the store is rolled back".to_owned());
        self.world.borrow_mut().restore(snapshot.data);
        for (channel, log) in self.channels.iter_mut().zip(snapshot.logs) {
            channel.roll_back(log);
        }
        for instance in &mut self.instances {
            instance.stored.clear();
        }
        self.secrets = snapshot.secrets;
        Ok(())
    }

    fn evict(&mut self) {
        let mut world = self.world.borrow_mut();
        let segments: Vec<String> = world
            .keys()
            .filter(|key| key.starts_with("w1/s/"))
            .cloned()
            .collect();
        if segments.is_empty() {
            return;
        }
        let key = &segments[world.random.index(segments.len())];
        world.evict(key);
        world.meet("the store loses a segment");
        world.trace(|| format!("the store loses {key}"));
        if let Some(channel) = world.trails[key].channel {
            self.channels[channel].log.damaged = true;
        }
    }

    // Answers.

    fn finish(&mut self, id: u64, outcome: Outcome) -> Checked {
        let Some(index) = self.calls.iter().position(|call| call.id == id) else {
            return Ok(());
        };
        let Call {
            owner,
            opened,
            purpose,
            ..
        } = self.calls.swap_remove(index);
        let faults = self.world.borrow().faults[owner.instance];
        let channel_index = owner.channel.unwrap_or(0);
        let now = self.channels[channel_index].open(self.steps, faults);
        let calm = now.faults == opened.faults && now.rollbacks == opened.rollbacks;
        let damaged = self.channels[channel_index].log.damaged;
        match (purpose, outcome) {
            (Purpose::Publish { drafts, turn }, Outcome::Published(results)) => {
                self.note(|| format!("{owner} is told {results:?}"));
                let channel = &mut self.channels[channel_index];
                let open =
                    channel.judge_published(&opened, &now, &drafts, &results, LARGEST_BODY)?;
                for result in &results {
                    self.meet(match result {
                        Ok(receipt) if receipt.duplicate => "a duplicate is told",
                        Ok(_) => "a message is stored",
                        Err(PublishError::IdReused) => "a reused id is told",
                        Err(PublishError::TooLarge) => "a large message is refused",
                        Err(PublishError::Unavailable(_)) => "a publish fails",
                    });
                    if let Ok(receipt) = result
                        && receipt.offset <= now.begin
                    {
                        self.meet("a message leaves the window before its receipt comes");
                    }
                }
                self.open
                    .extend(open.into_iter().map(|draft| (channel_index, draft)));
                if calm && let Some(turn) = turn {
                    self.judge_turn(owner, turn, &drafts, &results)?;
                }
            }
            (
                Purpose::Read {
                    reader,
                    start,
                    taken,
                    limit,
                    follows,
                    known,
                },
                Outcome::Read(result),
            ) => {
                self.readers[reader].busy = false;
                self.note(|| format!("{owner} is told {}", brief_page(&result)));
                match result {
                    Ok(page) => {
                        let channel = &self.channels[channel_index];
                        channel.judge_page(&opened, start, taken, known, limit, &page)?;
                        let follows = follows && now.rollbacks == opened.rollbacks;
                        if page.gap.is_some() {
                            self.meet(if known {
                                "a gap tells what left the window"
                            } else {
                                "a gap tells what a rollback took"
                            });
                        }
                        let all = page.messages.len();
                        // A reader may be cut off anywhere in a page.
                        let count = if self.chance(100) {
                            self.below(all as u64 + 1) as usize
                        } else {
                            all
                        };
                        self.readers[reader].take(&page, count, follows, &opened);
                    }
                    Err(error) => ensure!(
                        !calm || now.begin > opened.begin || damaged,
                        "without faults a read failed: {error}"
                    ),
                }
            }
            (Purpose::History { before, limit }, Outcome::History(result)) => match result {
                Ok(history) => {
                    self.channels[channel_index].judge_history(&opened, before, limit, &history)?;
                }
                Err(error) => ensure!(
                    !calm || now.begin > opened.begin || damaged,
                    "without faults a read of the history failed: {error}"
                ),
            },
            (Purpose::Secret { name }, Outcome::Secret(result)) => match result {
                Ok(secret) if now.rollbacks == opened.rollbacks => {
                    let agreed = *self.secrets.entry(name).or_insert(secret);
                    ensure!(
                        agreed == secret,
                        "two instances differ in the secret {name}"
                    );
                    let alike = self.secrets.values().filter(|&&other| other == secret);
                    ensure!(alike.count() == 1, "two secrets are the same");
                }
                Ok(_) => {}
                Err(error) => ensure!(!calm, "without faults a secret failed: {error}"),
            },
            _ => return Err("a call got the answer to another".to_owned()),
        }
        Ok(())
    }

    /// What one sender published by one instance is stored in the order of the first polls.
    fn judge_turn(
        &mut self,
        owner: Owner,
        turn: u64,
        drafts: &[Draft],
        results: &[Result<Receipt, PublishError>],
    ) -> Checked {
        let channel = owner.channel.expect("a publish has a channel");
        for (draft, result) in drafts.iter().zip(results) {
            let Ok(Receipt {
                offset,
                duplicate: false,
            }) = *result
            else {
                continue;
            };
            if !self.channels[channel].attempted_once(draft) {
                continue;
            }
            let stored = &mut self.instances[owner.instance].stored;
            for other in stored.iter() {
                let ordered = other.turn == turn || (other.turn < turn) == (other.offset < offset);
                ensure!(
                    ordered || other.channel != channel || other.sender != draft.sender,
                    "{owner}: {} stored {} in turn {}, and {offset} in turn {turn}",
                    draft.sender,
                    other.offset,
                    other.turn
                );
            }
            stored.push(Stored {
                turn,
                channel,
                sender: draft.sender.clone(),
                offset,
            });
        }
        Ok(())
    }

    // The end.

    /// Nothing fails any more: all calls end, all drafts are stored, all readers come to the end.
    fn calm(&mut self) -> Checked {
        self.note(|| "calm".to_owned());
        self.world.borrow_mut().faulty = false;
        self.settle()?;
        while let Some((channel, draft)) = self.open.pop() {
            let instance = self.below(self.plan.instances as u64) as usize;
            self.publish(instance, channel, vec![draft]);
            self.settle()?;
            ensure!(
                self.calls.is_empty(),
                "a publish hangs though nothing fails"
            );
        }
        self.catch_up(false)
    }

    /// Lets all that is under way end.
    fn settle(&mut self) -> Checked {
        let deadline = self.steps + CALM_STEPS;
        while self.step(true)? {
            self.steps += 1;
            ensure!(self.steps < deadline, "calls go on for ever");
        }
        ensure!(
            self.calls.is_empty() && self.tasks.is_empty(),
            "{} calls and {} tasks hang: {:?}",
            self.calls.len(),
            self.tasks.len(),
            self.tasks
                .iter()
                .map(|task| task.owner.to_string())
                .collect::<Vec<_>>()
        );
        Ok(())
    }

    /// Every reader reads to the end, and has read everything. Behind a loss of the store they come only
    /// once the window has passed it.
    fn catch_up(&mut self, passed: bool) -> Checked {
        for index in 0..self.readers.len() {
            if self.channels[self.readers[index].channel].log.damaged && !passed {
                continue;
            }
            loop {
                let reader = &self.readers[index];
                let (at, taken, channel) = (reader.at, reader.taken, reader.channel);
                let log = &self.channels[channel].log;
                if let Some(at) = at
                    && at.offset == log.end()
                    && (at.epoch == log.epoch)
                    && log.knows(at)
                {
                    break;
                }
                if at.is_some_and(|at| at.epoch == 0) && log.epoch == 0 {
                    break;
                }
                let start = at.map_or(Start::Newest(3), Start::After);
                let instance = self.below(self.plan.instances as u64) as usize;
                self.read(instance, index, start, taken, 3, at.is_some());
                self.settle()?;
            }
            let reader = &self.readers[index];
            reader.judge(&self.channels[reader.channel].log, index)?;
        }
        Ok(())
    }

    /// Once all that was written in the rough part is too old, nothing of it is left.
    fn leave_nothing(&mut self) -> Checked {
        let owner = |channel| Owner {
            instance: 0,
            call: 0,
            channel: Some(channel),
        };
        let rough = self.world.borrow().effects;
        let window = self.plan.window.clone();
        {
            let mut world = self.world.borrow_mut();
            world.time += 2 * self.plan.store.skew + 1;
            world.time = world.time.saturating_add(window.id_age_ms);
        }
        for channel in 0..self.channels.len() {
            let direct = Direct {
                world: Rc::clone(&self.world),
                owner: Some(owner(channel)),
            };
            let mailbox = Mailbox::new(direct.clone(), direct, window.clone());
            // Deletion may take its time, but not for ever.
            let rounds = window.retention.messages
                + 4 * window.tail_messages as u64
                + self.channels[channel].log.end();
            for round in 0..rounds {
                let draft = Draft {
                    id: format!("last-{round}"),
                    sender: "last".to_owned(),
                    name: String::new(),
                    body: String::new(),
                    refers: None,
                };
                self.channels[channel].attempt(std::slice::from_ref(&draft));
                let name = self.channels[channel].name.clone();
                let results = at_once(&self.world, mailbox.publish(&name, vec![draft]))?;
                ensure!(
                    matches!(results[..], [Ok(_)]),
                    "a last publish got {results:?}"
                );
                self.look()?;
                // Of what the store lost a part of, nobody knows the rest.
                if !self.channels[channel].log.damaged && self.left(channel, rough).is_none() {
                    break;
                }
            }
            if self.channels[channel].log.damaged {
                continue;
            }
            if let Some(key) = self.left(channel, rough) {
                let trail = &self.world.borrow().trails[&key];
                return Err(format!("{key} is left of the rough part: {trail:?}"));
            }
        }
        Ok(())
    }

    /// A key of a channel that was last written before a number of effects, and has no excuse.
    fn left(&self, channel: usize, rough: u64) -> Option<String> {
        let world = self.world.borrow();
        let stale = |key: &&String| {
            let trail = &world.trails[*key];
            let troubled = world
                .troubled
                .get(&trail.writer.call)
                .is_some_and(|&at| at >= trail.written);
            // A pointer stays; what a candidate that died, or a paused writer that brought a segment back
            // and died, did not clear away does too. A snapshot may show the moment before.
            let interrupted = troubled || self.plan.rollback != Rollback::Never;
            let excused = key.starts_with("w1/p/")
                || interrupted && (trail.returned || key.starts_with("w1/t/"))
                || trail.orphaned;
            trail.channel == Some(channel) && trail.written <= rough && !excused
        };
        world.keys().find(stale).cloned()
    }
}

fn brief(drafts: &[Draft]) -> String {
    let each: Vec<String> = drafts
        .iter()
        .map(|draft| {
            format!(
                "({}, {}, {} bytes)",
                draft.sender,
                draft.id,
                draft.body.len()
            )
        })
        .collect();
    each.join(" ")
}

fn brief_page(result: &Result<Page, ReadError>) -> String {
    match result {
        Ok(page) => format!(
            "{} messages after {} up to {}, gap {:?}, more {}",
            page.messages.len(),
            page.from.offset,
            page.next.offset,
            page.gap,
            page.more
        ),
        Err(error) => error.to_string(),
    }
}
