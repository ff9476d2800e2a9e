//! What the server tells: a person, in their own channel, and the administrators, in that of the audit.

use crate::bindings::exports::witter::messaging::messenger::Error;
use crate::bindings::witter::messaging::wakeup;
use crate::clock;
use crate::moderation::extended;
use crate::place::SERVER;
use crate::refers::Deleted;
use crate::rules::{Rules, Sender};
use membership::own_channel;
use serde_json::{Value, json};

/// Where the administrators read what the deployment's own moderators did.
const AUDIT: &str = "@audit";

impl Rules {
    /// Tells a person something, on all their devices. The same `id` again is told once.
    ///
    /// What it tells of is done: where it cannot be told, they find it when they look.
    pub(crate) async fn tell(&self, sender: &str, id: String, notice: &Value) {
        self.append(&own_channel(sender), id, notice).await.ok();
    }

    /// Notes what a moderator of the deployment's is about to do. What cannot be noted is not to be done.
    pub(crate) async fn audit(
        &self,
        by: &str,
        verb: &str,
        channel: &str,
        more: Value,
    ) -> Result<(), Error> {
        let record = extended(json!({"verb": verb, "channel": channel, "by": by}), more);
        self.append(AUDIT, clock::drawn(), &record).await
    }

    /// Notes that one is about to take somebody's message away.
    pub(crate) async fn audit_delete(&self, by: &Sender, deleted: &Deleted) -> Result<(), Error> {
        let Deleted { offset, sender } = deleted;
        let more = json!({"offset": offset, "sender": sender});
        self.audit(&by.id, "delete", &by.place.channel, more).await
    }

    async fn append(&self, channel: &str, id: String, body: &Value) -> Result<(), Error> {
        let draft = mailbox::Draft {
            id,
            sender: SERVER.to_owned(),
            name: SERVER.to_owned(),
            body: body.to_string(),
            refers: None,
        };
        for result in self.publish(channel, vec![draft]).await {
            if !result?.duplicate {
                wakeup::notify(channel);
            }
        }
        Ok(())
    }
}
