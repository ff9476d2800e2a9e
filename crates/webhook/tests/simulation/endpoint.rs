//! The endpoint: takes batches, refuses them, is away, and takes what nobody hears that it took.

use crate::world::World;
use futures::channel::oneshot;
use futures::future::{Either, select};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use webhook::{Answer, Batch, Receiver};

/// How long a sender waits for an answer.
const TIMEOUT_MS: u64 = 15_000;

/// What came of one channel.
#[derive(Default)]
struct Arrived {
    /// The ids of messages by their offsets.
    messages: BTreeMap<u64, String>,
    /// The messages of batches by their ids.
    batches: BTreeMap<String, Vec<u64>>,
    /// The last offset of the latest batch.
    last: Option<u64>,
    /// What was told as lost: after the first, up to the second.
    gaps: Vec<(u64, u64)>,
}

pub(crate) struct Endpoint {
    world: Rc<World>,
    /// Takes all, at once, and says so.
    pub(crate) is_well: Cell<bool>,
    is_away: Cell<bool>,
    /// A channel whose batches it takes no more.
    refused: Cell<Option<&'static str>>,
    arrived: RefCell<BTreeMap<String, Arrived>>,
    wrong: RefCell<Option<String>>,
    pub(crate) repeated: Cell<usize>,
    pub(crate) gaps: Cell<usize>,
}

impl Endpoint {
    pub(crate) fn new(world: &Rc<World>) -> Rc<Self> {
        Rc::new(Self {
            world: Rc::clone(world),
            is_well: Cell::default(),
            is_away: Cell::default(),
            refused: Cell::default(),
            arrived: RefCell::default(),
            wrong: RefCell::default(),
            repeated: Cell::default(),
            gaps: Cell::default(),
        })
    }

    /// Something becomes of it.
    pub(crate) fn change(&self) {
        let random = &self.world.random;
        self.is_away.set(random.chance(400));
        self.refused.set(random.chance(300).then_some("lobby"));
        self.world.note(|| {
            format!(
                "away: {}, refused: {:?}",
                self.is_away.get(),
                self.refused.get()
            )
        });
    }

    fn arrive(&self, batch: &Batch) {
        let offsets: Vec<u64> = batch
            .messages
            .iter()
            .map(|message| message.offset)
            .collect();
        let mut channels = self.arrived.borrow_mut();
        let arrived = channels.entry(batch.channel.clone()).or_default();
        if let Some(gap) = batch.gap {
            self.gaps.set(self.gaps.get() + 1);
            arrived.gaps.push((gap.after, gap.resumed));
        }
        let fault = arrived.take(batch, &offsets);
        if arrived.batches.insert(batch.id.clone(), offsets).is_some() {
            self.repeated.set(self.repeated.get() + 1);
        }
        if let Some(fault) = fault {
            self.wrong.borrow_mut().get_or_insert(fault);
        }
    }

    pub(crate) fn judge(
        &self,
        acknowledged: &BTreeMap<(String, u64), String>,
    ) -> Result<(), String> {
        if let Some(wrong) = &*self.wrong.borrow() {
            return Err(wrong.clone());
        }
        let channels = self.arrived.borrow();
        for ((channel, offset), id) in acknowledged {
            let arrived = channels.get(channel);
            let message = arrived.and_then(|arrived| arrived.messages.get(offset));
            let is_told = arrived.is_some_and(|arrived| arrived.is_told_lost(*offset));
            if message != Some(id) && !(message.is_none() && is_told) {
                return Err(format!("{channel} {offset}: {message:?} came for {id}"));
            }
        }
        Ok(())
    }
}

impl Arrived {
    fn is_told_lost(&self, offset: u64) -> bool {
        self.gaps
            .iter()
            .any(|&(after, resumed)| (after + 1..=resumed).contains(&offset))
    }

    /// Takes a batch; what is wrong with it.
    fn take(&mut self, batch: &Batch, offsets: &[u64]) -> Option<String> {
        let channel = &batch.channel;
        for message in &batch.messages {
            let id = message.id.clone();
            let known = self.messages.insert(message.offset, id.clone());
            if known.as_ref().is_some_and(|known| *known != id) {
                return Some(format!("{channel} {}: {id} for {known:?}", message.offset));
            }
        }
        let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else {
            return Some(format!("{channel}: an empty batch"));
        };
        if offsets.windows(2).any(|pair| pair[0] + 1 != pair[1]) {
            return Some(format!("{channel}: {offsets:?} in one batch"));
        }
        if let Some(known) = self.batches.get(&batch.id) {
            // Of what was trimmed meanwhile, less comes, and that is told.
            let is_rest = known.ends_with(offsets) || offsets.ends_with(known);
            let is_right = known == offsets || is_rest && !self.gaps.is_empty();
            return (!is_right)
                .then(|| format!("{channel}: {known:?} and {offsets:?} under one id"));
        }
        // Given up since it was trimmed, and on its way all the while.
        if self.last >= Some(*last) && offsets.iter().all(|&offset| self.is_told_lost(offset)) {
            return None;
        }
        let follows = self.last.is_none_or(|before| {
            *first > before && (before + 1..*first).all(|lost| self.is_told_lost(lost))
        });
        let before = self.last.replace(*last);
        (!follows).then(|| format!("{channel}: {offsets:?} came behind {before:?}"))
    }
}

/// The way of one instance to the endpoint.
pub(crate) struct Sender {
    endpoint: Rc<Endpoint>,
    owner: usize,
}

impl Sender {
    pub(crate) fn new(endpoint: &Rc<Endpoint>, owner: usize) -> Self {
        Self {
            endpoint: Rc::clone(endpoint),
            owner,
        }
    }
}

impl Receiver for Sender {
    fn name(&self) -> String {
        "it".to_owned()
    }

    fn takes(&self, _: &str) -> bool {
        true
    }

    async fn send(&self, batch: &Batch) -> Answer {
        let endpoint = &self.endpoint;
        let world = &endpoint.world;
        let random = &world.random;
        world.note(|| {
            let offsets: Vec<u64> = batch.messages.iter().map(|one| one.offset).collect();
            format!(
                "{} sends {} {offsets:?} {}",
                self.owner,
                batch.channel,
                &batch.id[..8]
            )
        });
        let is_well = endpoint.is_well.get();
        let there = if is_well {
            5
        } else {
            random.below(if random.chance(50) { 20_000 } else { 100 })
        };
        let back = if is_well { 5 } else { random.below(100) };
        let is_cut = !is_well && random.chance(100);
        let (answer, answered) = oneshot::channel();
        // What is on its way arrives, whoever dies meanwhile.
        world.spawn(usize::MAX, {
            let (endpoint, batch) = (Rc::clone(endpoint), batch.clone());
            async move {
                endpoint.world.sleep(there).await;
                let said = if endpoint.is_well.get() {
                    Answer::Accepted
                } else if endpoint.is_away.get() {
                    Answer::Away { after_ms: None }
                } else if endpoint.refused.get() == Some(batch.channel.as_str()) {
                    Answer::Refused
                } else {
                    Answer::Accepted
                };
                if said == Answer::Accepted {
                    endpoint.arrive(&batch);
                }
                endpoint.world.sleep(back).await;
                if !is_cut {
                    let _ = answer.send(said);
                }
            }
        });
        let timeout = pin!(world.sleep(TIMEOUT_MS));
        match select(answered, timeout).await {
            Either::Left((Ok(answer), _)) => answer,
            _ => Answer::Away { after_ms: None },
        }
    }
}
