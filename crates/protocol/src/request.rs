use crate::query::Query;
use crate::state::DIGEST;
use crate::{Channel, Cursor, Error, MOST_CHANNELS, Position};
use std::ops::RangeInclusive;

/// Larger: one answer takes megabytes; smaller: catching up takes many requests.
const LIMIT: RangeInclusive<u32> = 1..=1000;
const LIMIT_DEFAULT: u32 = 100;
/// Longer: proxies that give up after a minute cut the request first, and the client sees a fault.
const WAIT: RangeInclusive<u32> = 0..=55;
/// Many proxies and some mobile networks give up after 30 seconds of silence.
const WAIT_DEFAULT: u32 = 25;
pub(crate) const HISTORY: RangeInclusive<u32> = 0..=1000;
/// Longer: silence for about a minute is cut by most proxies, and then the beat comes too late.
const HEARTBEAT: RangeInclusive<u32> = 1..=55;
/// Some proxies and mobile networks cut after 30 seconds of silence: one beat may be late.
const HEARTBEAT_DEFAULT: u32 = 15;

/// What a reader asks for, on every receiving transport alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// 1 to 64, distinct, in the order of the query.
    pub channels: Vec<Channel>,
    /// The last thing seen; it may name other channels too.
    pub after: Option<Cursor>,
    /// How many of the newest messages come first, in each channel that `after` does not name; 0 to 1000.
    pub history: u32,
    /// The most envelopes in one batch, 1 to 1000.
    pub limit: u32,
    /// How long to wait for a first message, in seconds, 0 to 55.
    pub wait: u32,
    /// Read backwards: messages with offsets below this one. Then there is one channel, no `after`, and
    /// `history` is 0.
    pub before: Option<u64>,
    /// The credential, not empty, without control characters.
    pub token: Option<String>,
    /// How long a stream is silent before it beats.
    pub heartbeat: Heartbeat,
    /// The reader takes part in the live state of its channels: who is here, who types, who has read how far.
    pub presence: Option<Known>,
}

/// What a reader that takes part knows of the live state of its channels: the parameter `presence`.
///
/// Empty or `0`: nothing yet. Else the text that its last answer came with, opaque to clients; one that does not fit
/// the channels means nothing, and all is told again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known(String);

impl Known {
    /// What is known of the channels with these digests, in their order.
    pub fn of<'a>(digests: impl IntoIterator<Item = &'a str>) -> Self {
        Self(digests.into_iter().collect())
    }

    /// The digest of the state of the channel with this index, of so many channels.
    #[must_use]
    pub fn digest(&self, index: usize, channels: usize) -> Option<&str> {
        let fits = self.0.len() == channels * DIGEST;
        self.0
            .get(index * DIGEST..(index + 1) * DIGEST)
            .filter(|_| fits)
    }

    /// The text that says this.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let is_opaque = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        match text {
            "" | "0" => Ok(Self::default()),
            _ if text.len() <= MOST_CHANNELS * DIGEST && text.bytes().all(is_opaque) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(Error::Invalid(
                "presence: not one of this server's".to_owned(),
            )),
        }
    }
}

/// How long a stream is silent before it beats, in seconds.
///
/// Who names a heartbeat watches it, and gets the first one soon: a proxy that holds a stream back lets pass
/// what fills its buffer, so that a stream is proven only by what comes alone, a while after it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Before the first beat: 1 where a heartbeat is named.
    pub first: u32,
    /// Before each later one, 1 to 55.
    pub then: u32,
}

impl Heartbeat {
    fn new(named: Option<u32>) -> Self {
        match named {
            Some(seconds) => Self {
                first: *HEARTBEAT.start(),
                then: seconds,
            },
            None => Self {
                first: HEARTBEAT_DEFAULT,
                then: HEARTBEAT_DEFAULT,
            },
        }
    }
}

/// Where to begin reading a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Only what comes from now on.
    Live,
    /// Up to this many of the newest messages first, 1 to 1000.
    Newest(u32),
    /// All after this place.
    After(Position),
}

impl Start {
    /// After a place that a cursor names; else with so much history.
    pub(crate) fn at(after: Option<Position>, history: u32) -> Self {
        match after {
            Some(position) => Self::After(position),
            None if history > 0 => Self::Newest(history),
            None => Self::Live,
        }
    }
}

impl ReadRequest {
    /// Reads a query (without its `?`) and the header `Last-Event-ID`.
    ///
    /// A header that is not empty takes the place of `after`: a browser's `EventSource` reopens the URL
    /// that it was made with, and tells how far it came by the header (WHATWG HTML, section 9.2.4).
    ///
    /// # Errors
    /// 400 for what the grammar at the crate's root does not allow; the text names the parameter.
    pub fn parse(query: &str, last_event_id: Option<&str>) -> Result<Self, Error> {
        let query = Query::parse(query)?;
        let mut after = cursor(query.one("after")?)?;
        if let Some(seen) = cursor(last_event_id)? {
            after = Some(seen);
        }
        let history = number(&query, "history", HISTORY)?;
        let request = Self {
            channels: channels(&query)?,
            before: number(&query, "before", 0..=u64::MAX)?,
            limit: number(&query, "limit", LIMIT)?.unwrap_or(LIMIT_DEFAULT),
            wait: number(&query, "wait", WAIT)?.unwrap_or(WAIT_DEFAULT),
            token: query.token()?,
            heartbeat: Heartbeat::new(number(&query, "heartbeat", HEARTBEAT)?),
            presence: query.one("presence")?.map(Known::parse).transpose()?,
            history: history.unwrap_or(0),
            after,
        };
        if request.before.is_some() {
            if request.channels.len() > 1 {
                return Err(Error::Invalid(
                    "before: history is read of one channel at a time".to_owned(),
                ));
            }
            if request.after.is_some() || history.is_some() {
                return Err(Error::Invalid(
                    "before: not together with after or history".to_owned(),
                ));
            }
        }
        Ok(request)
    }

    /// Where to begin reading one of the channels.
    #[must_use]
    pub fn start(&self, channel: &Channel) -> Start {
        let after = self.after.as_ref().and_then(|cursor| cursor.get(channel));
        Start::at(after, self.history)
    }

    /// Whether the cursor names every channel: only then may an answer be waited for, since a place that
    /// is not told at once is lost with the connection.
    #[must_use]
    pub fn resumes(&self) -> bool {
        self.channels
            .iter()
            .all(|channel| matches!(self.start(channel), Start::After(_)))
    }
}

fn cursor(text: Option<&str>) -> Result<Option<Cursor>, Error> {
    text.filter(|text| !text.is_empty())
        .map(Cursor::decode)
        .transpose()
}

fn channels(query: &Query<'_>) -> Result<Vec<Channel>, Error> {
    let mut channels = Vec::new();
    for name in query.all("channel") {
        let channel = name.parse()?;
        if channels.contains(&channel) {
            return Err(Error::Invalid(format!("channel: {channel} comes twice")));
        }
        if channels.len() == MOST_CHANNELS {
            return Err(Error::Invalid(format!(
                "channel: more than {MOST_CHANNELS}"
            )));
        }
        channels.push(channel);
    }
    if channels.is_empty() {
        return Err(Error::Invalid("channel: at least one is needed".to_owned()));
    }
    Ok(channels)
}

/// A number in decimal digits, without sign.
fn number<N>(query: &Query<'_>, name: &str, range: RangeInclusive<N>) -> Result<Option<N>, Error>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let Some(text) = query.one(name)? else {
        return Ok(None);
    };
    let number = Some(text)
        // The standard library takes a plus sign too.
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|number| range.contains(number));
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(Error::Invalid(format!(
            "{name}: a number from {} to {} is expected",
            range.start(),
            range.end()
        ))),
    }
}

/// Whether a query asks, by `errors=inline`, to be refused with status 200 and the error in the body:
/// Internet Explorer's `XDomainRequest` shows neither status nor headers, and no body but that of a 200.
///
/// # Errors
/// 400 for another value.
pub fn inline_errors(query: &str) -> Result<bool, Error> {
    match Query::parse(query)?.one("errors")? {
        None => Ok(false),
        Some("inline") => Ok(true),
        Some(_) => Err(Error::Invalid(
            "errors: inline is expected, or nothing".to_owned(),
        )),
    }
}
