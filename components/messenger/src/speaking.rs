//! Who may speak in a room, and how soon again.

use crate::bindings::exports::witter::messaging::messenger::Error;
use crate::bindings::witter::messaging::policy::Identity;
use crate::clock;
use crate::place::{Place, full, not_done};
use crate::refers;
use crate::rules::{Rules, Sender};
use membership::{Entry, Paces, Rank, Standing, pace_document};
use protocol::Kind;

impl Rules {
    /// Lets somebody speak in a place that they entered to do so; the seconds between two of their messages.
    pub(crate) async fn may_speak(
        &self,
        who: &Identity,
        sender: &str,
        place: &Place,
    ) -> Result<u32, Error> {
        let channel = &place.channel;
        if let Some(other) = &place.other {
            if self.person(other).await?.blocks(sender) {
                return Err(Error::Forbidden(
                    "they take no messages from you".to_owned(),
                ));
            }
            if place.opened {
                self.answered(sender, channel, other).await?;
            }
            return Ok(0);
        }
        let Some(room) = &place.room else {
            return Ok(0);
        };
        // Only where one speaks slowly it matters who moderates.
        let rank = if room.slow() > 0 {
            self.rank(who, channel, place.role)?
        } else {
            Rank::Nobody
        };
        room.may_publish(sender, rank, clock::now())
            .map_err(|refusal| not_done(channel, refusal))
    }

    /// A conversation that another began is one's own as soon as one answers.
    async fn answered(&self, sender: &str, channel: &str, other: &str) -> Result<(), Error> {
        let answered = self.change_person(sender, |person| {
            let entry = Entry {
                channel: channel.to_owned(),
                since: 0,
                standing: Standing::In,
                other: Some(other.to_owned()),
            };
            person.enter(entry).map_err(|_| full("your list of rooms"))
        });
        answered.await.map(|_| ())
    }

    /// Refuses the drafts of who spoke a moment ago. What takes a message away may always be said.
    pub(crate) async fn keep_pace(
        &self,
        sender: &Sender,
        drafts: &mut [Result<mailbox::Draft, Error>],
    ) -> Result<(), Error> {
        if sender.slow == 0 {
            return Ok(());
        }
        let waits = |draft: &mailbox::Draft| {
            let refers = draft.refers.and_then(refers::outward);
            refers.is_none_or(|refers| refers.kind != Kind::Delete)
        };
        let now = clock::now();
        let mut left = Vec::new();
        let documents = self.mailbox.documents();
        documents
            .update(&pace_document(&sender.place.channel), |old| {
                let mut paces = old.map(Paces::decode).transpose()?.unwrap_or_default();
                let before = paces.clone();
                let passed = drafts.iter().flatten().filter(|draft| waits(draft));
                left = passed
                    .map(|draft| paces.speak(&sender.id, &draft.id, sender.slow, now))
                    .collect();
                let changed = paces != before;
                let bytes = changed.then(|| paces.encode()).transpose();
                bytes.map_err(|_| full("the list of who spoke"))
            })
            .await?;
        let waiting = drafts
            .iter_mut()
            .filter(|draft| draft.as_ref().is_ok_and(waits));
        for (draft, left) in waiting.zip(left) {
            if let Err(seconds) = left {
                *draft = Err(Error::RateLimited(seconds));
            }
        }
        Ok(())
    }
}
