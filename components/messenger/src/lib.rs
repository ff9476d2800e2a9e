//! The IM rules on a mailbox: the only component that touches the store, and the only way to a message.
//!
//! Identity and permission are asked of the policy for every call; the log itself is `crates/mailbox`.
//! An instance keeps caches and nothing else: any call may come to any instance.

mod bindings;
mod clock;
mod command;
mod config;
mod feed;
mod kept;
mod live;
mod moderation;
mod notices;
mod place;
mod rates;
mod refers;
mod rooms;
mod rules;
mod speaking;
mod standing;
mod store;
mod vigil;
mod webhook;

use bindings::exports::witter::messaging::messenger::{
    Caller, Changes, Draft, Error, Feed, Guest, Reading, Receipt, Session,
};
use bindings::witter::messaging::policy;
use rules::Rules;
use std::rc::Rc;

struct Messenger;

impl Guest for Messenger {
    type Feed = feed::Feed;
    type Attendance = live::Attendance;

    async fn welcome(caller: Caller, name: String) -> Result<Session, Error> {
        clock::later().await;
        let rules = Rules::shared();
        let guest = policy::admit(&name, &clock::entropy(), &rules.context(&caller).await?)?;
        Ok(Session {
            token: guest.token,
            sender: guest.sender,
            name: guest.name,
            expires_at: guest.expires_at,
        })
    }

    async fn publish(
        caller: Caller,
        channel: String,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Result<Receipt, Error>>, Error> {
        let rules = Rules::shared();
        clock::not_at_once(rules.take(caller, channel, drafts)).await
    }

    async fn perform(caller: Caller, command: String) -> Result<String, Error> {
        clock::later().await;
        let rules = Rules::shared();
        rules.outbox().ok();
        command::perform(&rules, &caller, &command).await
    }

    async fn deliver() -> Result<Option<u32>, Error> {
        clock::later().await;
        Rules::shared().deliver().await
    }

    async fn follow(caller: Caller, channels: Vec<String>) -> Result<Reading, Error> {
        clock::later().await;
        let rules = Rules::shared();
        // What another instance left undelivered. Readers are none the worse where it cannot be.
        rules.outbox().ok();
        let identity = rules.reader(&caller, &channels).await?;
        let person = live::person(&identity);
        Ok(Reading {
            feeds: channels
                .into_iter()
                .map(|channel| {
                    let person = person.clone();
                    Feed::new(feed::Feed::new(Rc::clone(&rules), channel, person))
                })
                .collect(),
            sender: identity.sender,
            expires_at: identity.expires_at,
        })
    }

    async fn changed(known: Option<u64>, wait_ms: u32) -> Result<Changes, Error> {
        clock::later().await;
        Rules::shared().changed(known, wait_ms).await
    }
}
