//! What a message may be about, and who may say so.

use crate::bindings::exports::witter::messaging::messenger::Error;
use crate::bindings::witter::messaging::types;
use crate::rules::{Rules, Sender};
use mailbox::PublishError;
use membership::Rank;
use protocol::{Kind, Refers};

/// Somebody else's message that one of the deployment's moderators takes away.
pub(crate) struct Deleted {
    pub(crate) offset: u64,
    pub(crate) sender: String,
}

impl Rules {
    /// Lets a message be about another of its channel: one that is kept, and a message in its own right. An edit is
    /// for who sent that one, its deletion for moderators too.
    pub(crate) async fn about(
        &self,
        sender: &Sender,
        draft: &protocol::Draft,
    ) -> Result<Option<Deleted>, Error> {
        let Some(Refers { kind, offset }) = draft.refers else {
            return Ok(None);
        };
        let channel = &sender.place.channel;
        let history = self
            .mailbox
            .history(channel, offset.checked_add(1), 1)
            .await?;
        let message = history.messages.into_iter().next_back();
        let Some(message) = message.filter(|message| message.offset == offset) else {
            // What is sent again is answered as it was, though the other has gone since.
            let draft = sender.signed(draft.clone());
            if self.was_sent(channel, &draft).await? {
                return Ok(None);
            }
            return Err(Error::Invalid(format!(
                "refers: {channel} keeps no message {offset}"
            )));
        };
        if message.refers.is_some_and(|refers| {
            refers
                != inward(Refers {
                    kind: Kind::Reply,
                    offset: refers.offset,
                })
        }) {
            return Err(Error::Invalid(format!(
                "refers: message {offset} is itself about another"
            )));
        }
        let another = || Error::Forbidden(format!("refers: message {offset} is another's"));
        match kind {
            Kind::Reaction | Kind::Reply => Ok(None),
            Kind::Edit | Kind::Delete if message.sender == sender.id => Ok(None),
            Kind::Delete => match self.rank(&sender.identity, channel, sender.place.role)? {
                Rank::Deployment => Ok(Some(Deleted {
                    offset,
                    sender: message.sender,
                })),
                Rank::Owner | Rank::Moderator => Ok(None),
                Rank::Member | Rank::Nobody => Err(another()),
            },
            Kind::Edit => Err(another()),
        }
    }

    /// Whether the id of a draft was used before; publishing it tells for what.
    pub(crate) async fn was_sent(
        &self,
        channel: &str,
        draft: &mailbox::Draft,
    ) -> Result<bool, Error> {
        match self.mailbox.stored(channel, draft).await {
            Ok(receipt) => Ok(receipt.is_some()),
            Err(PublishError::IdReused) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// What a transport hands in.
pub(crate) fn checked(refers: types::Refers) -> Refers {
    Refers {
        kind: match refers.kind {
            types::Kind::Edit => Kind::Edit,
            types::Kind::Delete => Kind::Delete,
            types::Kind::Reaction => Kind::Reaction,
            types::Kind::Reply => Kind::Reply,
        },
        offset: refers.offset,
    }
}

/// As the log keeps it. These numbers never change.
pub(crate) fn inward(refers: Refers) -> mailbox::Refers {
    mailbox::Refers {
        kind: match refers.kind {
            Kind::Edit => 1,
            Kind::Delete => 2,
            Kind::Reaction => 3,
            Kind::Reply => 4,
        },
        offset: refers.offset,
    }
}

/// None: of a kind that a later version knows.
pub(crate) fn outward(refers: mailbox::Refers) -> Option<Refers> {
    let kind = Kind::ALL.into_iter().find(|&kind| {
        let known = inward(Refers { kind, offset: 0 });
        known.kind == refers.kind
    })?;
    Some(Refers {
        kind,
        offset: refers.offset,
    })
}
