use crate::query::Query;
use crate::{Channel, Error, LONGEST_BODY, MOST_DRAFTS, Refers, json};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The longest id, in bytes. An id carries 96 random bits or more: 16 characters of base64.
const LONGEST_ID: usize = 64;

/// A message as its sender wants it stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// 1 to 64 bytes of printable ASCII without space.
    pub id: String,
    /// JSON text without white space between tokens.
    pub body: String,
    /// The message that this one is about.
    pub refers: Option<Refers>,
}

/// What one request publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drafts {
    /// An object: one answer.
    One(Draft),
    /// An array of 1 to 100: an array of answers.
    Many(Vec<Draft>),
}

/// Where to publish, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishQuery {
    /// The one channel.
    pub channel: Channel,
    /// The credential, not empty, without control characters.
    pub token: Option<String>,
}

/// That a draft is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its offset; the first one's where the sender had stored this id before.
    pub offset: u64,
    /// The sender had stored this id before.
    pub duplicate: bool,
}

/// What a sender is told of a stored message. No cursor: a sender's place is not a reader's.
struct Receipt<'a> {
    channel: &'a str,
    offset: u64,
    id: &'a str,
}

impl Draft {
    /// Checks the id and the body's grammar, and takes the white space between the body's tokens away.
    ///
    /// The body's length is left to whoever stores it, so that one long draft among many fails alone.
    ///
    /// # Errors
    /// 422 for an id that is not one, and for a body that a message of its kind may not have; 400 for a body
    /// that is not JSON.
    pub fn checked(id: String, body: String, refers: Option<Refers>) -> Result<Self, Error> {
        check_id(&id)?;
        json::value(body.as_bytes())?;
        let body = match json::compact(&body) {
            Cow::Owned(compact) => compact,
            Cow::Borrowed(_) => body,
        };
        if let Some(refers) = refers {
            refers.check(&body)?;
        }
        Ok(Self { id, body, refers })
    }

    pub(crate) fn from_value(value: &RawValue) -> Result<Self, Error> {
        let [id, body, refers] = json::members(value, ["id", "body", "refers"])?;
        let id = id.ok_or_else(|| Error::Unprocessable("id: missing".to_owned()))?;
        let body = body.ok_or_else(|| Error::Unprocessable("body: missing".to_owned()))?;
        let id: String = serde_json::from_str(id.get())
            .map_err(|_| Error::Unprocessable("id: not a string".to_owned()))?;
        check_id(&id)?;
        let body = json::compact(body.get()).into_owned();
        let refers = refers.map(Refers::from_value).transpose()?;
        if let Some(refers) = refers {
            refers.check(&body)?;
        }
        Ok(Self { id, body, refers })
    }
}

fn check_id(id: &str) -> Result<(), Error> {
    if (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Error::Unprocessable(format!(
        "id: 1 to {LONGEST_ID} bytes of printable ASCII without space are expected"
    )))
}

impl Drafts {
    /// Reads a request's body: `{"id":…,"body":…}`, with `"refers"` where it is about another message, or an
    /// array of such.
    ///
    /// # Errors
    /// 400 for what is not JSON of UTF-8; 422 for another shape, a wrong id, a member that comes twice, and
    /// an array that has not 1 to 100 drafts; 413 for one draft whose body has over 65,536 bytes. In an
    /// array such a draft passes: it fails alone, where it would be stored.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let value = json::value(body)?;
        if value.get().starts_with('[') {
            Self::many(value)
        } else {
            Self::one(Draft::from_value(value)?)
        }
    }

    /// Reads one draft from a query, without its `?`: `id`, `body` and, if need be, `refers`, for who cannot send
    /// a body.
    ///
    /// # Errors
    /// As [`Drafts::parse`], and 422 where one of the two is missing.
    pub fn from_query(query: &str) -> Result<Self, Error> {
        let query = Query::parse(query)?;
        let needed = |name: &str| {
            let value = query.one(name)?.map(str::to_owned);
            value.ok_or_else(|| Error::Unprocessable(format!("{name}: missing")))
        };
        let refers = query.one("refers")?.map(|refers| {
            let refers = json::value(refers.as_bytes())?;
            Refers::from_value(refers)
        });
        Self::one(Draft::checked(
            needed("id")?,
            needed("body")?,
            refers.transpose()?,
        )?)
    }

    pub(crate) fn one(draft: Draft) -> Result<Self, Error> {
        if draft.body.len() > LONGEST_BODY {
            return Err(Error::TooLarge);
        }
        Ok(Self::One(draft))
    }

    pub(crate) fn many(value: &RawValue) -> Result<Self, Error> {
        let drafts = json::items(value, MOST_DRAFTS)?;
        if drafts.is_empty() {
            return Err(Error::Unprocessable(
                "an array has at least one draft".to_owned(),
            ));
        }
        drafts
            .into_iter()
            .map(Draft::from_value)
            .collect::<Result<_, _>>()
            .map(Self::Many)
    }

    /// The drafts in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Draft> {
        match self {
            Self::One(draft) => std::slice::from_ref(draft).iter(),
            Self::Many(drafts) => drafts.iter(),
        }
    }

    /// The answer's status and JSON, from one result for each draft, in order.
    ///
    /// One draft: 201 where this request stored it, 200 where it was before, and
    /// its receipt, `{"channel","offset","id"}`. Many: an
    /// array in their order, in which one that failed is `{"error","detail","id"}`; 201 where any is
    /// stored by this request, else 200 where any was before, else the first one's status.
    ///
    /// # Errors
    /// The error of the one draft.
    pub fn answer(
        &self,
        channel: &Channel,
        results: impl IntoIterator<Item = Result<Stored, Error>>,
    ) -> Result<(u16, String), Error> {
        let mut results = results.into_iter();
        let mut outcome = |draft: &Draft| {
            let Stored { offset, duplicate } = results.next().unwrap_or_else(unknown)?;
            let receipt = Receipt {
                channel: channel.as_str(),
                offset,
                id: &draft.id,
            };
            Ok((if duplicate { 200 } else { 201 }, receipt.to_json()))
        };
        let drafts = match self {
            Self::One(draft) => return outcome(draft),
            Self::Many(drafts) => drafts,
        };
        let mut stored = None;
        let mut failed = None;
        let items: Vec<_> = drafts
            .iter()
            .map(|draft| match outcome(draft) {
                Ok((status, receipt)) => {
                    stored = stored.max(Some(status));
                    receipt
                }
                Err(error) => {
                    failed.get_or_insert(error.status());
                    error
                        .members(json::Object::new())
                        .text("id", &draft.id)
                        .end()
                }
            })
            .collect();
        Ok((stored.or(failed).unwrap_or(200), json::array(items)))
    }
}

/// What a draft comes to of which no result tells.
fn unknown() -> Result<Stored, Error> {
    Err(Error::Unavailable(
        "nothing is known of this draft".to_owned(),
    ))
}

impl<'a> IntoIterator for &'a Drafts {
    type Item = &'a Draft;
    type IntoIter = std::slice::Iter<'a, Draft>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PublishQuery {
    /// Reads a query, without its `?`.
    ///
    /// # Errors
    /// 400 for what the grammar does not allow, and unless there is one channel.
    pub fn parse(query: &str) -> Result<Self, Error> {
        let query = Query::parse(query)?;
        let channel = query.one("channel")?;
        let channel = channel.ok_or_else(|| Error::Invalid("channel: one is needed".to_owned()))?;
        Ok(Self {
            channel: channel.parse()?,
            token: query.token()?,
        })
    }
}

impl Receipt<'_> {
    fn to_json(&self) -> String {
        json::Object::new()
            .text("channel", self.channel)
            .number("offset", self.offset)
            .text("id", self.id)
            .end()
    }
}
