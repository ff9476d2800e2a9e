//! The proof of presence: instances in which people come, go and change their transport, that die, hang and fail,
//! with hints that are lost, over a store that is slow and fails, judged by what everybody was told.
//!
//! Everything follows from a seed. `WITTER_SEED=n` runs one and prints what happened, `WITTER_SEEDS=n` runs so many.

mod world;

use mailbox::{Mailbox, Window};
use presence::{Attendance, Mark, Person, Presence, State, key};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::rc::Rc;
use world::{Character, Handle, Random, World};

const SEEDS: u64 = 300;
const CHANNEL: &str = "lobby";
/// So long after the last change everybody is told the truth.
const CONVERGED_MS: u64 = 10_000;
/// Who is away no longer was never away.
const UNNOTICED_MS: u64 = 5_000;
/// It may take so long until it is written who is here.
const TOLD_MS: u64 = 2_000;
/// A short pause is none; a long one is like a death.
const SHORT_MS: u64 = 2_500;
const LONG_MS: u64 = 12_000;
const STEP_MS: u64 = 50;

type Instance = Presence<Handle, Handle>;

/// What an observer was told.
#[derive(Default)]
struct Told {
    state: Rc<State>,
    digest: String,
    since: u64,
    /// Who was told as gone, and when.
    left: Vec<(String, u64)>,
}

struct Node {
    owner: usize,
    presence: Instance,
    told: Rc<RefCell<Told>>,
    handle: Handle,
}

struct Who {
    person: Person,
    /// Where they attend, by the instance's number.
    at: Vec<(usize, Attendance<Handle, Handle>)>,
    /// When they were nowhere: from, and until when.
    away: Vec<(u64, Option<u64>)>,
    /// When they come back, where they are between two transports.
    back: Option<u64>,
    /// Where they attended last, and since when.
    last: (usize, u64),
    read: u64,
}

struct Sim {
    world: Rc<World>,
    nodes: Vec<Node>,
    people: Vec<Who>,
    next: usize,
    /// When anything changed last that others are told.
    changed: u64,
    typed: Rc<Cell<u64>>,
}

fn character(random: &Random) -> Character {
    Character::draw(random, 500, &[0, 0, 5_000, 50_000])
}

async fn observe(presence: Instance, handle: Handle, told: Rc<RefCell<Told>>) {
    let world = Rc::clone(&handle.world);
    let key = key(CHANNEL);
    let mut hinted = true;
    loop {
        let seen = world.hinted(&key);
        let Ok(look) = presence.look(CHANNEL, hinted).await else {
            hinted = true;
            world.sleep(1_000).await;
            continue;
        };
        {
            let mut told = told.borrow_mut();
            if let Some(change) = look.state.since(&told.state) {
                world.note(|| format!("{} is told {change:?}", handle.owner));
                let left = change.left.into_iter().map(|one| (one.sender, world.now()));
                told.left.extend(left);
            }
            told.state = look.state;
            told.digest = look.digest;
        }
        hinted = world.wait(&key, seen, look.again_ms).await;
    }
}

impl Sim {
    fn new(seed: u64, traced: bool) -> Self {
        let world = World::new(seed, character, traced);
        world.note(|| format!("{:?}", world.character));
        let mut sim = Self {
            changed: world.now(),
            typed: Rc::new(Cell::new(world.now())),
            world,
            nodes: Vec::new(),
            people: Vec::new(),
            next: 0,
        };
        for number in 0..sim.world.random.between(1, 4) {
            sim.people.push(Who {
                person: Person {
                    sender: format!("p{number}"),
                    name: format!("Person {number}"),
                },
                at: Vec::new(),
                away: vec![(0, None)],
                back: None,
                last: (0, 0),
                read: 0,
            });
        }
        for _ in 0..sim.world.random.between(2, 4) {
            sim.begin_instance();
        }
        sim
    }

    fn begin_instance(&mut self) {
        self.next += 1;
        let owner = self.next;
        let handle = Handle {
            world: Rc::clone(&self.world),
            owner,
            ahead: self.world.random.below(self.world.character.skew + 1),
            wrote: Rc::default(),
        };
        let mailbox = Mailbox::new(handle.clone(), handle.clone(), Window::default());
        let presence = Presence::new(handle.clone(), mailbox.documents(), handle.clone());
        let told = Rc::new(RefCell::new(Told {
            since: self.world.now(),
            ..Told::default()
        }));
        let observer = observe(presence.clone(), handle.clone(), Rc::clone(&told));
        self.world.spawn(owner, observer);
        self.nodes.push(Node {
            owner,
            presence,
            told,
            handle,
        });
    }

    /// Somebody opens a transport.
    fn attend(&mut self, person: usize) {
        let node = self.world.random.below(self.nodes.len() as u64) as usize;
        let node = &self.nodes[node];
        if self.world.is_paused(node.owner) {
            return;
        }
        let who = &mut self.people[person];
        self.world
            .note(|| format!("{} attends in {}", who.person.sender, node.owner));
        let attendance = node.presence.attend(CHANNEL, Some(&who.person));
        let now = self.world.now();
        if let Some((from, until @ None)) = who.away.last_mut() {
            *until = Some(now);
            if now - *from > UNNOTICED_MS {
                self.changed = now;
            }
        }
        who.back = None;
        who.last = (node.owner, now);
        who.at.push((node.owner, attendance));
    }

    /// Somebody closes one, and may open another one soon.
    fn leave(&mut self, person: usize) {
        let random = &self.world.random;
        let who = &mut self.people[person];
        if who.at.is_empty() {
            return;
        }
        let index = random.below(who.at.len() as u64) as usize;
        if self.world.is_paused(who.at[index].0) {
            return;
        }
        let (owner, _) = who.at.swap_remove(index);
        self.world
            .note(|| format!("{} leaves {owner}", who.person.sender));
        if who.at.is_empty() {
            who.away.push((self.world.now(), None));
            if random.chance(600) {
                who.back = Some(self.world.now() + random.below(UNNOTICED_MS - 2 * STEP_MS));
            } else {
                self.changed = self.world.now();
            }
        }
    }

    /// An instance dies, or hangs for longer than the others believe in it.
    fn lose(&mut self, owner: usize) {
        let now = self.world.now();
        self.changed = now;
        for who in &mut self.people {
            let was = who.at.len();
            who.at.retain(|(at, _)| *at != owner);
            // Nobody was told yet that they were there.
            let is_untold = who.last.0 == owner && now < who.last.1 + TOLD_MS;
            if who.at.is_empty() && is_untold {
                who.away.pop_if(|(_, until)| until.is_none());
                if let Some((_, until)) = who.away.last_mut() {
                    *until = None;
                }
            } else if was > 0 && who.at.is_empty() {
                who.away.push((now, None));
            }
            if was > 0 && who.at.is_empty() {
                if self.world.random.chance(700) {
                    who.back = Some(now + self.world.random.below(UNNOTICED_MS - 2 * STEP_MS));
                }
            }
        }
    }

    fn crash(&mut self) {
        let index = self.world.random.below(self.nodes.len() as u64) as usize;
        if self.world.is_paused(self.nodes[index].owner) {
            return;
        }
        let node = self.nodes.swap_remove(index);
        self.world.note(|| format!("{} dies", node.owner));
        self.world.kill(node.owner);
        self.lose(node.owner);
        self.begin_instance();
    }

    fn pause(&mut self) {
        let index = self.world.random.below(self.nodes.len() as u64) as usize;
        let owner = self.nodes[index].owner;
        if self.world.is_paused(owner) {
            return;
        }
        let is_long = self.world.random.chance(300);
        // Who comes to an instance that hangs before it could say so is not here yet.
        let came = |who: &Who| who.last.0 == owner && self.world.now() < who.last.1 + TOLD_MS;
        if !is_long && self.people.iter().any(came) {
            return;
        }
        let ms = if is_long {
            LONG_MS + self.world.random.below(5_000)
        } else {
            self.world.random.below(SHORT_MS)
        };
        self.world.note(|| format!("{owner} hangs for {ms} ms"));
        self.world.pause(owner, ms);
        self.nodes[index].told.borrow_mut().since = self.world.now() + ms;
        if is_long {
            // Its people find out, and leave it.
            self.lose(owner);
            self.changed = self.world.now() + ms;
        }
    }

    fn step(&mut self, rough: bool) {
        let now = self.world.now();
        for person in 0..self.people.len() {
            if self.people[person].back.is_some_and(|back| back <= now) {
                self.attend(person);
            }
        }
        if !rough {
            return;
        }
        let random = &self.world.random;
        let person = random.below(self.people.len() as u64) as usize;
        match random.below(1_200) {
            0..12 if self.people[person].at.len() < 3 => self.attend(person),
            12..24 => self.leave(person),
            24..26 if self.world.character.crashes => self.crash(),
            26..29 if self.world.character.pauses => self.pause(),
            29..35 => self.act(person),
            _ => {}
        }
    }

    /// Somebody types or reads.
    fn act(&mut self, person: usize) {
        let node = &self.nodes[self.world.random.below(self.nodes.len() as u64) as usize];
        let presence = node.presence.clone();
        let who = &mut self.people[person];
        let (world, person) = (Rc::clone(&self.world), who.person.clone());
        if self.world.random.chance(500) {
            let typed = Rc::clone(&self.typed);
            let over = self.world.random.chance(200);
            self.world.spawn(node.owner, async move {
                typed.set(world.now());
                let said = presence.typing(CHANNEL, &person, over).await;
                typed.set(world.now());
                world.note(|| format!("{} types: {said:?}", person.sender));
            });
        } else {
            self.changed = self.world.now();
            let read = self.world.random.below(100);
            who.read = who.read.max(read);
            let mark = Mark {
                read,
                delivered: read,
            };
            // Until it is stored: whoever asks in vain asks again.
            self.world.spawn(usize::MAX, async move {
                while presence
                    .mark(CHANNEL, &person.sender, 1, mark)
                    .await
                    .is_err()
                {
                    world.sleep(100).await;
                }
            });
        }
    }

    fn check(&self) -> Result<(), String> {
        let now = self.world.now();
        for node in &self.nodes {
            let told = node.told.borrow();
            for (sender, at) in &told.left {
                let who = self.people.iter().find(|who| who.person.sender == *sender);
                let was_away = who.is_some_and(|who| {
                    who.away.iter().any(|(from, until)| {
                        let until = until.unwrap_or(now);
                        until - from > UNNOTICED_MS && until + CONVERGED_MS > *at && from < at
                    })
                });
                // One that hung was not told of those who came meanwhile.
                if !was_away && *at > told.since + CONVERGED_MS {
                    return Err(format!(
                        "{} was told at {at} that {sender} left",
                        node.owner
                    ));
                }
            }
        }
        // What fails is tried again, what is slow takes its time, and what hangs goes on later.
        let Character {
            fails,
            slow,
            pauses,
            ..
        } = self.world.character;
        let hung = if pauses { SHORT_MS } else { 0 };
        let converged = CONVERGED_MS + 150 * fails + 10 * slow + hung;
        if now < self.changed + converged || self.people.iter().any(|who| who.back.is_some()) {
            return Ok(());
        }
        let here: BTreeSet<_> = self
            .people
            .iter()
            .filter(|who| !who.at.is_empty())
            .map(|who| &who.person.sender)
            .collect();
        let mut digests = BTreeMap::new();
        for node in &self.nodes {
            let told = node.told.borrow();
            if self.world.is_paused(node.owner) || now < told.since + converged {
                continue;
            }
            let seen: BTreeSet<_> = told.state.here.keys().collect();
            if seen != here {
                return Err(format!("{} sees {seen:?}, here are {here:?}", node.owner));
            }
            for who in &self.people {
                let mark = told.state.marks.get(&who.person.sender);
                if mark.map_or(0, |mark| mark.read) != who.read {
                    return Err(format!(
                        "{} sees {mark:?} of {}",
                        node.owner, who.person.sender
                    ));
                }
            }
            if now > self.typed.get() + converged + presence::TYPING_MS {
                if !told.state.typing.is_empty() {
                    return Err(format!(
                        "{} sees {:?} typing",
                        node.owner, told.state.typing
                    ));
                }
                digests.insert(told.digest.clone(), node.owner);
            }
        }
        if digests.len() > 1 {
            return Err(format!("equal states, other digests: {digests:?}"));
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), String> {
        let rough = self.world.random.between(200, 1_200);
        let quiet = 30_000 / STEP_MS;
        for step in 0..rough + quiet {
            self.step(step < rough);
            self.world.run(self.world.now() + STEP_MS);
            self.check()?;
        }
        // All leave, and nothing is left.
        self.world.calm.set(true);
        for who in &mut self.people {
            who.at.clear();
            who.away.push((self.world.now(), None));
            who.back = None;
        }
        self.changed = self.world.now();
        self.world.run(self.world.now() + 2 * CONVERGED_MS);
        self.check()?;
        let values = self.world.values.borrow();
        let wrote = self.nodes.iter().flat_map(|node| node.handle.wrote.take());
        // Documents stay: there are as many as channels.
        let gone = wrote.filter(|key| !key.starts_with("w1/d/"));
        let left: Vec<_> = gone.filter(|key| values.contains_key(key)).collect();
        if !left.is_empty() && self.world.character.fails == 0 {
            return Err(format!("left behind: {left:?}"));
        }
        Ok(())
    }
}

fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().expect("a seed or a count is a number"))
}

#[test]
fn everybody_is_told_the_truth_within_ten_seconds_and_nobody_flaps() {
    if let Some(seed) = number("WITTER_SEED") {
        let mut sim = Sim::new(seed, true);
        let result = sim.run();
        println!("{}", sim.world.trace.take().join("\n"));
        result.expect("it holds");
        return;
    }
    for seed in 0..number("WITTER_SEEDS").unwrap_or(SEEDS) {
        if let Err(error) = Sim::new(seed, false).run() {
            let mut sim = Sim::new(seed, true);
            let _ = sim.run();
            let trace = sim.world.trace.take();
            let tail = trace[trace.len().saturating_sub(60)..].join("\n");
            panic!("{tail}\nseed {seed}: {error}; all of it: WITTER_SEED={seed}");
        }
    }
}
