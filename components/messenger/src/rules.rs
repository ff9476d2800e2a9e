//! Who may do what, asked of the policy; and the mailbox behind it.

use crate::bindings::exports::witter::messaging::messenger::{Caller, Draft, Error, Receipt};
use crate::bindings::witter::messaging::policy::{self, Action, Context, Identity};
use crate::bindings::witter::messaging::wakeup;
use crate::clock::{self, World};
use crate::kept;
use crate::place::{Place, SERVER};
use crate::rates::{Deed, Rates};
use crate::refers;
use crate::store::KeyValue;
use crate::vigil::Vigil;
use crate::webhook::Outbox;
use futures::StreamExt as _;
use futures::future::join;
use futures::stream;
use mailbox::{Mailbox, PublishError, ReadError, Window};
use presence::{Presence, Speakers};
use protocol::{Channel, LONGEST_BODY, MOST_CHANNELS, MOST_DRAFTS};
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

/// How many messages that drafts are about are looked up at once. Fewer: an array of many waits for a store that is far
/// away; more: what is read of each takes memory.
const LOOKUPS: usize = 8;

/// One per instance.
pub(crate) struct Rules {
    pub(crate) mailbox: Mailbox<KeyValue, World>,
    pub(crate) presence: Presence<KeyValue, World>,
    /// Drawn once per store and never changed, so it is read once.
    secret: OnceCell<Vec<u8>>,
    /// What was known of changes of standing.
    pub(crate) vigil: Cell<Option<Vigil<u64>>>,
    pub(crate) rates: Rates,
    pub(crate) speakers: RefCell<Speakers>,
    /// None within: the deployment names no endpoint.
    pub(crate) outbox: OnceCell<Option<Outbox>>,
    /// It was logged that the endpoint is set up wrong.
    pub(crate) complained: Cell<bool>,
}

/// Who publishes, and where.
pub(crate) struct Sender {
    pub(crate) id: String,
    pub(crate) identity: Identity,
    pub(crate) place: Place,
    /// The seconds between two of their messages.
    pub(crate) slow: u32,
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
                    speakers: RefCell::default(),
                    outbox: OnceCell::new(),
                    complained: Cell::default(),
                })
            };
        }
        RULES.with(Rc::clone)
    }

    pub(crate) async fn context(&self, caller: &Caller) -> Result<Context, Error> {
        kept::learn()?;
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
        let channels = [checked(channel)?];
        let context = self.context(caller).await?;
        let identity = authenticate(caller, &context)?;
        let sender = identity.sender.as_deref();
        self.rates.look(Deed::Publish, sender, caller, count)?;
        let entered = self.enter_unrevoked(&identity, Action::Publish, &channels);
        // Whose credential is revoked spends nothing of its owner's.
        let entered = entered.await?;
        self.rates.admit(Deed::Publish, sender, caller, count)?;
        let mut places = entered?;
        let (Some(place), Some(id)) = (places.pop(), identity.sender.clone()) else {
            let why = "publishing needs a credential";
            return Err(Error::Unauthorized(why.to_owned()));
        };
        let slow = self.may_speak(&identity, &id, &place).await?;
        Ok(Sender {
            id,
            identity,
            place,
            slow,
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
        let channels = channels
            .iter()
            .map(|name| checked(name))
            .collect::<Result<Vec<_>, _>>()?;
        let identity = authenticate(caller, &self.context(caller).await?)?;
        let entered = self.enter_unrevoked(&identity, Action::Read, &channels);
        entered.await??;
        Ok(identity)
    }

    pub(crate) async fn identity(&self, caller: &Caller) -> Result<Identity, Error> {
        let identity = authenticate(caller, &self.context(caller).await?)?;
        self.unrevoked(&identity).await?;
        Ok(identity)
    }

    /// [`Self::unrevoked`], and within it [`Self::enter`]. Both are looked up at once: a store may be far away.
    async fn enter_unrevoked(
        &self,
        who: &Identity,
        action: Action,
        channels: &[String],
    ) -> Result<Result<Vec<Place>, Error>, Error> {
        let entered = self.enter(who, action, channels);
        let (unrevoked, entered) = join(self.unrevoked(who), entered).await;
        unrevoked.map(|()| entered)
    }

    /// Stores what somebody sends, and tells those who wait for it.
    pub(crate) async fn take(
        self: &Rc<Self>,
        caller: Caller,
        channel: String,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Result<Receipt, Error>>, Error> {
        let sender = self.sender(&caller, &channel, drafts.len()).await?;
        let results = self.store(&sender, &channel, drafts).await?;
        // Also of what was stored before: who sends again was not answered, and perhaps nobody was told then.
        if results.iter().any(Result::is_ok) {
            wakeup::notify(&channel);
        }
        // What is stored at once is not answered at once either. Here: readers are woken, and nothing is begun that this
        // task would go on with.
        clock::later().await;
        if results.iter().flatten().any(|receipt| !receipt.duplicate) {
            self.spoke(&sender, channel);
        }
        Ok(results)
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
                let refers = draft.refers.map(refers::checked);
                Ok(protocol::Draft::checked(draft.id, draft.body, refers)?)
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let about = stream::iter(drafts.iter().filter(|draft| draft.refers.is_some()))
            .map(|draft| self.about(sender, draft))
            .buffered(LOOKUPS);
        let mut about = about.collect::<Vec<_>>().await.into_iter();
        let mut moderated = Vec::new();
        let mut reviewed = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let about = draft.refers.and_then(|_| about.next());
            let passed = about.unwrap_or(Ok(None)).and_then(|of_another| {
                moderated.extend(of_another.map(|deleted| (draft.id.clone(), deleted)));
                sender.review(draft)
            });
            // What could not be judged now would come behind what is sent after it.
            if let Err(error @ Error::Unavailable(_)) = passed {
                return Err(error);
            }
            reviewed.push(passed);
        }
        self.keep_pace(sender, &mut reviewed).await?;
        let mut passed = Vec::with_capacity(reviewed.len());
        let refused: Vec<Result<(), Error>> = reviewed
            .into_iter()
            .map(|reviewed| reviewed.map(|draft| passed.push(draft)))
            .collect();
        for draft in &passed {
            if let Some((_, deleted)) = moderated.iter().find(|(id, _)| *id == draft.id)
                && !self.was_sent(channel, draft).await?
            {
                self.audit_delete(sender, deleted).await?;
            }
        }
        let mut results = self.publish(channel, passed).await.into_iter();
        Ok(refused
            .into_iter()
            .map(|refused| {
                refused?;
                let unknown = || Error::Unavailable("nothing is known of this draft".to_owned());
                let mailbox::Receipt { offset, duplicate } =
                    results.next().ok_or_else(unknown)??;
                Ok(Receipt { offset, duplicate })
            })
            .collect())
    }
}

impl Sender {
    /// A draft as the policy lets it pass. One that is too long goes on as it is, and fails where it would be stored.
    fn review(&self, draft: protocol::Draft) -> Result<mailbox::Draft, Error> {
        let mut draft = draft;
        let place = self.place.outward();
        if draft.body.len() <= LONGEST_BODY
            && let Some(changed) =
                policy::review(&self.identity, &place, &draft.body, &self.context)?
        {
            let changed = protocol::Draft::checked(draft.id, changed, draft.refers)
                .ok()
                .filter(|changed| changed.body.len() <= LONGEST_BODY);
            draft = changed.ok_or_else(|| {
                Error::Unavailable("the policy made no message of this one".to_owned())
            })?;
        }
        Ok(self.signed(draft))
    }

    /// A draft as this sender's.
    pub(crate) fn signed(&self, draft: protocol::Draft) -> mailbox::Draft {
        mailbox::Draft {
            id: draft.id,
            sender: self.id.clone(),
            name: self.identity.name.clone(),
            body: draft.body,
            refers: draft.refers.map(refers::inward),
        }
    }
}

fn checked(channel: &str) -> Result<String, Error> {
    Ok(channel.parse::<Channel>()?.to_string())
}

/// An answer for each place. A policy that leaves one unanswered permits none.
pub(crate) fn permit(
    identity: &Identity,
    action: Action,
    places: &[policy::Place],
) -> Result<Vec<Result<(), Error>>, Error> {
    let answers = policy::permit(identity, action, places);
    if answers.len() != places.len() {
        let why = "the policy does not answer for each channel";
        return Err(Error::Unavailable(why.to_owned()));
    }
    Ok(answers)
}

/// Whom the policy takes a caller for, if that is not the server. The credential may be revoked.
fn authenticate(caller: &Caller, context: &Context) -> Result<Identity, Error> {
    let identity = policy::authenticate(caller.credential.as_deref(), context)?;
    match identity.sender.as_deref() {
        Some(SERVER) => Err(Error::Unauthorized(
            "the identity is the server's own".to_owned(),
        )),
        _ => Ok(identity),
    }
}

impl From<protocol::Error> for Error {
    fn from(error: protocol::Error) -> Self {
        match error {
            protocol::Error::TooLarge => Error::TooLarge,
            other => Error::Invalid(other.to_string()),
        }
    }
}

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::IdReused => Error::IdReused,
            PublishError::TooLarge => Error::TooLarge,
            PublishError::Unavailable(why) => Error::Unavailable(why),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Error::Unavailable(error.to_string())
    }
}
