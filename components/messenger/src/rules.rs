//! Who may do what, asked of the policy; and the mailbox behind it.

use crate::bindings::exports::witter::messaging::messenger::{Caller, Draft, Error, Receipt};
use crate::bindings::witter::messaging::policy::{self, Action, Context, Identity};
use crate::clock::{self, World};
use crate::store::KeyValue;
use mailbox::{Mailbox, PublishError, ReadError, Window};
use protocol::{Channel, MOST_CHANNELS, MOST_DRAFTS};
use std::cell::OnceCell;
use std::rc::Rc;

/// One per instance.
pub(crate) struct Rules {
    pub(crate) mailbox: Mailbox<KeyValue, World>,
    /// Drawn once per store and never changed, so it is read once.
    secret: OnceCell<Vec<u8>>,
}

/// Who publishes.
pub(crate) struct Sender {
    id: String,
    name: String,
}

impl Rules {
    pub(crate) fn shared() -> Rc<Self> {
        thread_local! {
            static RULES: Rc<Rules> = Rc::new(Rules {
                mailbox: Mailbox::new(KeyValue::default(), World, Window::default()),
                secret: OnceCell::new(),
            });
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

    /// The caller as one who may publish in this channel.
    pub(crate) async fn sender(&self, caller: &Caller, channel: &str) -> Result<Sender, Error> {
        let channels = [checked(channel)?];
        let identity = self.identity(caller).await?;
        permit(&identity, Action::Publish, &channels)?;
        let id = identity
            .sender
            .ok_or_else(|| Error::Unauthorized("publishing needs a credential".to_owned()))?;
        Ok(Sender {
            id,
            name: identity.name,
        })
    }

    /// All of the channels, or the error of the first that is refused.
    pub(crate) async fn may_read(&self, caller: &Caller, channels: &[String]) -> Result<(), Error> {
        if channels.is_empty() || channels.len() > MOST_CHANNELS {
            return Err(Error::Invalid(format!("1 to {MOST_CHANNELS} channels")));
        }
        let channels = channels
            .iter()
            .map(|name| checked(name))
            .collect::<Result<Vec<_>, _>>()?;
        permit(&self.identity(caller).await?, Action::Read, &channels)
    }

    async fn identity(&self, caller: &Caller) -> Result<Identity, Error> {
        policy::authenticate(caller.credential.as_deref(), &self.context(caller).await?)
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
            .map(|draft| {
                let draft = protocol::Draft::checked(draft.id, draft.body)?;
                Ok(mailbox::Draft {
                    id: draft.id,
                    sender: sender.id.clone(),
                    name: sender.name.clone(),
                    body: draft.body,
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let results = self.mailbox.publish(channel, drafts).await;
        Ok(results
            .into_iter()
            .map(|result| match result {
                Ok(mailbox::Receipt { offset, duplicate }) => Ok(Receipt { offset, duplicate }),
                Err(PublishError::IdReused) => Err(Error::IdReused),
                Err(PublishError::TooLarge) => Err(Error::TooLarge),
                Err(PublishError::Unavailable(why)) => Err(Error::Unavailable(why)),
            })
            .collect())
    }
}

fn checked(channel: &str) -> Result<String, Error> {
    Ok(channel.parse::<Channel>()?.to_string())
}

/// All of the channels, or the first refusal. A policy that leaves channels unanswered permits none.
fn permit(identity: &Identity, action: Action, channels: &[String]) -> Result<(), Error> {
    let answers = policy::permit(identity, action, channels);
    if answers.len() != channels.len() {
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
