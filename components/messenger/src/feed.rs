//! Reading one channel: at once from the mailbox, or waiting for a wakeup.

use crate::bindings::exports::witter::messaging::messenger::{
    self, Entry, Error, Gap, GuestFeed, History, Page, Position, Start, State,
};
use crate::clock;
use crate::live::{self, Attention};
use crate::refers;
use crate::rules::Rules;
use crate::vigil::Vigil;
use protocol::Person;
use std::cell::Cell;
use std::rc::Rc;

/// More envelopes in one answer would hold the instance for long.
const MOST: u32 = 1_000;

/// The right to read one channel.
pub(crate) struct Feed {
    rules: Rc<Rules>,
    channel: String,
    /// Who reads, where it is somebody who can be seen.
    person: Option<Person>,
    /// The place up to which the channel was read.
    vigil: Cell<Option<Vigil<mailbox::Position>>>,
    attention: Attention,
}

impl Feed {
    pub(crate) fn new(rules: Rc<Rules>, channel: String, person: Option<Person>) -> Self {
        Self {
            rules,
            channel,
            person,
            vigil: Cell::new(None),
            attention: Attention::default(),
        }
    }

    async fn read(&self, start: mailbox::Start, limit: u32) -> Result<mailbox::Page, Error> {
        Ok(self.rules.mailbox.read(&self.channel, start, limit).await?)
    }

    /// Waits for something behind `after`. The watch stays armed from one call to the next, so that a
    /// reader that is told of each message reads the store once for each.
    async fn wait(
        &self,
        after: mailbox::Position,
        limit: u32,
        wait_ms: u32,
    ) -> Result<mailbox::Page, Error> {
        let deadline = clock::uptime() + u64::from(wait_ms);
        let vigil = self.vigil.take();
        let mut vigil = vigil.unwrap_or_else(|| Vigil::new(&self.channel));
        let mut over = false;
        loop {
            if vigil.read_to != Some(after) {
                let page = self.read(mailbox::Start::After(after), limit).await?;
                vigil.read_to = (!page.more).then_some(page.next);
                let empty = page.messages.is_empty() && page.gap.is_none() && page.next == after;
                if !empty || over {
                    if !empty {
                        vigil.news();
                    }
                    self.vigil.set(Some(vigil));
                    return Ok(page);
                }
            }
            over |= vigil.wait(deadline).await?;
        }
    }

    async fn next(&self, start: Start, limit: u32, wait_ms: u32) -> Result<Page, Error> {
        let limit = limit.clamp(1, MOST);
        let page = match start {
            Start::After(position) if wait_ms > 0 => {
                self.wait(inward(position), limit, wait_ms).await?
            }
            Start::After(position) => {
                self.read(mailbox::Start::After(inward(position)), limit)
                    .await?
            }
            Start::Newest(count) => {
                self.read(mailbox::Start::Newest(count.min(MOST)), limit)
                    .await?
            }
            Start::Live => self.read(mailbox::Start::Live, limit).await?,
        };
        Ok(self.page(page))
    }

    fn page(&self, page: mailbox::Page) -> Page {
        Page {
            gap: page.gap.map(|gap| Gap {
                after: gap.after,
                resumed: gap.resumed,
            }),
            from: outward(page.from),
            entries: page
                .messages
                .into_iter()
                .map(|(at, message)| Entry {
                    at: outward(at),
                    envelope: envelope(&self.channel, &message),
                })
                .collect(),
            next: outward(page.next),
            more: page.more,
        }
    }
}

impl GuestFeed for Feed {
    async fn receive(&self, start: Start, limit: u32, wait_ms: u32) -> Result<Page, Error> {
        clock::not_at_once(self.next(start, limit, wait_ms)).await
    }

    async fn history(&self, before: Option<u64>, limit: u32) -> Result<History, Error> {
        clock::later().await;
        let history = self
            .rules
            .mailbox
            .history(&self.channel, before, limit.clamp(1, MOST))
            .await?;
        Ok(History {
            envelopes: history
                .messages
                .iter()
                .map(|message| envelope(&self.channel, message))
                .collect(),
            before: history.before,
        })
    }

    async fn attend(&self) -> messenger::Attendance {
        clock::later().await;
        let person = self.person.as_ref();
        live::attend(&self.rules, &self.channel, person)
    }

    async fn state(&self, known: Option<String>, wait_ms: u32) -> Result<State, Error> {
        clock::later().await;
        let presence = &self.rules.presence;
        let seen = match known {
            Some(known) if wait_ms > 0 => {
                self.attention
                    .wait(presence, &self.channel, &known, wait_ms)
                    .await?
            }
            _ => presence.now(&self.channel).await?,
        };
        Ok(live::outward(&seen))
    }
}

/// A message as readers get it.
pub(crate) fn envelope(channel: &str, message: &mailbox::Message) -> String {
    let envelope = protocol::Envelope {
        channel,
        offset: message.offset,
        id: &message.id,
        sender: &message.sender,
        name: &message.name,
        sent_at: message.sent_at,
        refers: message.refers.and_then(refers::outward),
        body: &message.body,
    };
    envelope.to_json()
}

fn inward(position: Position) -> mailbox::Position {
    mailbox::Position {
        epoch: position.epoch,
        offset: position.offset,
        tag: position.tag,
    }
}

fn outward(position: mailbox::Position) -> Position {
    Position {
        epoch: position.epoch,
        offset: position.offset,
        tag: position.tag,
    }
}
