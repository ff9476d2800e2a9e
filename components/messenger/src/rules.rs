//! Who may do what, asked of the policy; and the mailbox behind it.

use crate::bindings::exports::witter::messaging::messenger::{Caller, Draft, Error, Receipt};
use crate::bindings::witter::messaging::policy::{self, Action, Context, Identity, Place};
use crate::clock::{self, World};
use crate::rates::{Deed, Rates};
use crate::standing::Vigil;
use crate::store::KeyValue;
use mailbox::{Mailbox, PublishError, ReadError, Window};
use presence::Presence;
use protocol::{Channel, LONGEST_BODY, MOST_CHANNELS, MOST_DRAFTS};
use std::cell::{Cell, OnceCell};
use std::rc::Rc;

/// One per instance.
pub(crate) struct Rules {
    pub(crate) mailbox: Mailbox<KeyValue, World>,
    pub(crate) presence: Presence<KeyValue, World>,
    /// Drawn once per store and never changed, so it is read once.
    secret: OnceCell<Vec<u8>>,
    pub(crate) vigil: Cell<Option<Vigil>>,
    pub(crate) rates: Rates,
}

/// Who publishes, and where.
pub(crate) struct Sender {
    pub(crate) id: String,
    pub(crate) identity: Identity,
    place: Place,
    context: Context,
}

impl Rules {
    pub(crate) fn shared() -> Rc<Self> {
        thread_local! {
            static RULES: Rc<Rules> = {
                let mailbox = Mailbox::new(KeyValue::default(), World, Window::default());
                let documents = mailbox.documents();
                Rc::new(Rules {
                    mailbox,
                    presence: Presence::new(KeyValue::default(), documents, World),
                    secret: OnceCell::new(),
                    vigil: Cell::new(None),
                    rates: Rates::default(),
                })
            };
        }
        RULES.with(Rc::clone)
    }

    pub(crate) async fn context(&self, caller: &Caller) -> Result<Context, Error> {
        let secret = match self.secret.get() {
            Some(secret) => secret.clone(),
            None => {
                let drawn = self.mailbox.secret("guests").await?.to_vec();
                self.secret.get_or_init(|| drawn).clone()
            }
        };
        Ok(Context {
            now: clock::now(),
            shared_secret: secret,
            address: caller.address.clone(),
        })
    }

    /// The caller as one who may publish so many messages in this channel.
    pub(crate) async fn sender(
        &self,
        caller: &Caller,
        channel: &str,
        count: usize,
    ) -> Result<Sender, Error> {
        let place = place(checked(channel)?);
        let context = self.context(caller).await?;
        let identity = policy::authenticate(caller.credential.as_deref(), &context)?;
        let identity = self.unrevoked(identity).await?;
        let sender = identity.sender.as_deref();
        self.rates.admit(Deed::Publish, sender, caller, count)?;
        permit(&identity, Action::Publish, std::slice::from_ref(&place))?;
        let id = identity
            .sender
            .clone()
            .ok_or_else(|| Error::Unauthorized("publishing needs a credential".to_owned()))?;
        Ok(Sender {
            id,
            identity,
            place,
            context,
        })
    }

    /// The caller as one who may read all of the channels, or the error of the first that is refused.
    pub(crate) async fn reader(
        &self,
        caller: &Caller,
        channels: &[String],
    ) -> Result<Identity, Error> {
        if channels.is_empty() || channels.len() > MOST_CHANNELS {
            return Err(Error::Invalid(format!("1 to {MOST_CHANNELS} channels")));
        }
        let places = channels
            .iter()
            .map(|name| checked(name).map(place))
            .collect::<Result<Vec<_>, _>>()?;
        let identity = self.identity(caller).await?;
        permit(&identity, Action::Read, &places)?;
        Ok(identity)
    }

    pub(crate) async fn identity(&self, caller: &Caller) -> Result<Identity, Error> {
        let context = self.context(caller).await?;
        let identity = policy::authenticate(caller.credential.as_deref(), &context)?;
        self.unrevoked(identity).await
    }

    /// Stores drafts in order; each has its own result.
    pub(crate) async fn store(
        &self,
        sender: &Sender,
        channel: &str,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Result<Receipt, Error>>, Error> {
        if drafts.is_empty() || drafts.len() > MOST_DRAFTS {
            return Err(Error::Invalid(format!("1 to {MOST_DRAFTS} drafts")));
        }
        let drafts = drafts
            .into_iter()
            .map(|draft| Ok(protocol::Draft::checked(draft.id, draft.body)?))
            .collect::<Result<Vec<_>, Error>>()?;
        let reviewed: Vec<_> = drafts
            .into_iter()
            .map(|draft| sender.review(draft))
            .collect();
        let passed = reviewed.iter().flatten().cloned().collect();
        let mut results = self.mailbox.publish(channel, passed).await.into_iter();
        Ok(reviewed
            .into_iter()
            .map(|reviewed| {
                reviewed?;
                match results.next() {
                    Some(Ok(mailbox::Receipt { offset, duplicate })) => {
                        Ok(Receipt { offset, duplicate })
                    }
                    Some(Err(PublishError::IdReused)) => Err(Error::IdReused),
                    Some(Err(PublishError::TooLarge)) => Err(Error::TooLarge),
                    Some(Err(PublishError::Unavailable(why))) => Err(Error::Unavailable(why)),
                    None => Err(Error::Unavailable(
                        "nothing is known of this draft".to_owned(),
                    )),
                }
            })
            .collect())
    }
}

impl Sender {
    /// A draft as the policy lets it pass. One that is too long goes on as it is, and fails where it would be stored.
    fn review(&self, draft: protocol::Draft) -> Result<mailbox::Draft, Error> {
        let protocol::Draft { id, mut body } = draft;
        if body.len() <= LONGEST_BODY
            && let Some(changed) =
                policy::review(&self.identity, &self.place, &body, &self.context)?
        {
            let changed = protocol::Draft::checked(id.clone(), changed)
                .ok()
                .filter(|changed| changed.body.len() <= LONGEST_BODY);
            body = changed
                .ok_or_else(|| {
                    Error::Unavailable("the policy made no message of this one".to_owned())
                })?
                .body;
        }
        Ok(mailbox::Draft {
            id,
            sender: self.id.clone(),
            name: self.identity.name.clone(),
            body,
        })
    }
}

/// A channel that keeps no members.
fn place(channel: String) -> Place {
    Place {
        channel,
        role: None,
    }
}

fn checked(channel: &str) -> Result<String, Error> {
    Ok(channel.parse::<Channel>()?.to_string())
}

/// All of the places, or the first refusal. A policy that leaves one unanswered permits none.
fn permit(identity: &Identity, action: Action, places: &[Place]) -> Result<(), Error> {
    let answers = policy::permit(identity, action, places);
    if answers.len() != places.len() {
        let why = "the policy does not answer for each channel";
        return Err(Error::Unavailable(why.to_owned()));
    }
    answers.into_iter().collect()
}

impl From<protocol::Error> for Error {
    fn from(error: protocol::Error) -> Self {
        match error {
            protocol::Error::TooLarge => Error::TooLarge,
            other => Error::Invalid(other.to_string()),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Error::Unavailable(error.to_string())
    }
}
