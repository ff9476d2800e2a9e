//! The live state of a channel: attending it, waiting for what changes, and what people say of themselves.

use crate::bindings::exports::witter::messaging::messenger::{
    self, Caller, Error, GuestAttendance, Mark, State,
};
use crate::bindings::witter::messaging::policy::Identity;
use crate::bindings::witter::messaging::wakeup::{Outcome, Watch};
use crate::clock::{self, World};
use crate::rules::{Rules, Sender};
use crate::store::KeyValue;
use presence::{Presence, Seen, TYPING_MS};
use protocol::{Channel, LiveCommand, Person, Read, Typing};
use std::cell::Cell;
use std::rc::Rc;

/// What changes without a hint is looked at no sooner, in milliseconds.
const SOONEST_MS: u64 = 50;

/// That somebody is in a channel.
pub(crate) struct Attendance(
    #[expect(dead_code, reason = "what counts is when it is dropped")] Kept,
);

type Kept = presence::Attendance<KeyValue, World>;

impl GuestAttendance for Attendance {}

pub(crate) fn attend(
    rules: &Rules,
    channel: &str,
    person: Option<&Person>,
) -> messenger::Attendance {
    messenger::Attendance::new(Attendance(rules.presence.attend(channel, person)))
}

/// Somebody as others see them; none: who may not be a sender is not seen.
pub(crate) fn person(identity: &Identity) -> Option<Person> {
    identity.sender.as_ref().map(|sender| Person {
        sender: sender.clone(),
        name: identity.name.clone(),
    })
}

/// An armed watch on what changes in a channel's state.
#[derive(Default)]
pub(crate) struct Attention(Cell<Option<Watch>>);

impl Attention {
    /// Waits for another state than the one with this digest. The watch stays armed from one call to the next.
    pub(crate) async fn wait(
        &self,
        presence: &Presence<KeyValue, World>,
        channel: &str,
        known: &str,
        wait_ms: u32,
    ) -> Result<Seen, Error> {
        let deadline = clock::uptime() + u64::from(wait_ms);
        let kept = self.0.take();
        // Of what was not watched anything may have happened.
        let mut hinted = kept.is_none();
        let watch = kept.unwrap_or_else(|| Watch::new(&presence::key(channel)));
        let mut idle = 0;
        loop {
            let seen = presence.look(channel, hinted).await?;
            let left = deadline.saturating_sub(clock::uptime());
            if seen.digest != known || left == 0 {
                self.0.set(Some(watch));
                return Ok(seen);
            }
            let wait = left.min(seen.again_ms.max(SOONEST_MS));
            let wait = u32::try_from(wait).unwrap_or(u32::MAX);
            hinted = match watch.wait(idle, wait).await {
                Outcome::Changed => true,
                Outcome::TimedOut => false,
                Outcome::Closing => return Err(Error::Closing),
            };
            idle = idle.saturating_add(1);
        }
    }
}

/// The state as it is told.
pub(crate) fn outward(seen: &Seen) -> State {
    let people = |people: &std::collections::BTreeMap<String, String>| {
        people
            .iter()
            .map(|(sender, name)| messenger::Person {
                sender: sender.clone(),
                name: name.clone(),
            })
            .collect()
    };
    let state = &*seen.state;
    State {
        digest: seen.digest.clone(),
        here: people(&state.here),
        others: state.others,
        typing: people(&state.typing),
        marks: state
            .marks
            .iter()
            .map(|(sender, mark)| Mark {
                sender: sender.clone(),
                read: mark.read,
                delivered: mark.delivered,
            })
            .collect(),
    }
}

impl Rules {
    /// Does what somebody says of themselves; the answer is JSON text.
    pub(crate) async fn live(
        &self,
        caller: &Caller,
        sender: &str,
        command: LiveCommand,
    ) -> Result<String, Error> {
        match command {
            LiveCommand::Typing { channel, over } => {
                let who = self.sender(caller, channel.as_str(), 0).await?;
                let person = Person {
                    sender: who.id,
                    name: who.identity.name,
                };
                self.presence
                    .typing(channel.as_str(), &person, over)
                    .await?;
                Ok(Typing {
                    channel: &channel,
                    seconds: (!over).then_some(TYPING_MS / 1_000),
                }
                .to_json())
            }
            LiveCommand::Read { channel, mark } => self.read(caller, sender, &channel, mark).await,
        }
    }

    async fn read(
        &self,
        caller: &Caller,
        sender: &str,
        channel: &Channel,
        mark: protocol::Mark,
    ) -> Result<String, Error> {
        let name = channel.to_string();
        self.reader(caller, std::slice::from_ref(&name)).await?;
        let newest = self.mailbox.read(&name, mailbox::Start::Live, 1).await?;
        let mailbox::Position { epoch, offset, .. } = newest.next;
        if mark.delivered > offset {
            let why = format!("offset: {offset} is that of the newest message");
            return Err(Error::Invalid(why));
        }
        let mark = self.presence.mark(&name, sender, epoch, mark).await?;
        Ok(Read { channel, mark }.to_json())
    }

    /// Who has sent a message is not typing it any more: told when the message is stored and its sender knows, of
    /// all who sent one since that was looked at.
    pub(crate) fn spoke(self: &Rc<Self>, sender: &Sender, channel: String) {
        let noted = self
            .speakers
            .borrow_mut()
            .note(&channel, &sender.id, clock::uptime());
        let Some(wait) = noted else { return };
        let rules = Rc::clone(self);
        wit_bindgen::spawn_local(async move {
            if wait > 0 {
                clock::sleep(wait).await;
            } else {
                wit_bindgen::yield_async().await;
            }
            let senders = rules.speakers.borrow_mut().take(&channel, clock::uptime());
            // It lapses where the store fails.
            let _ = rules.presence.spoke(&channel, &senders).await;
        });
    }
}
