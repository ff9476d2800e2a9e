//! A reader of any transport, resumable by its cursor.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyDataStream, Full};
use hyper::body::Incoming;
use parsers::{Htmlfile, Lines, Parser, Sse, Window, jsonp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Answer, Client, Transport};

/// How often a reader by short polling asks.
const PERIOD: Duration = Duration::from_millis(20);
/// The page's function that is called.
const CALLBACK: &str = "received";

/// What a reader asks for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The channels it follows.
    pub channels: Vec<String>,
    /// The place to go on from.
    pub after: Option<String>,
    /// How many old messages to begin with.
    pub history: Option<u32>,
    /// The most messages in one batch.
    pub limit: Option<u32>,
    /// The seconds that a poll may be held.
    pub wait: Option<u32>,
    /// A credential.
    pub token: Option<String>,
}

/// A message as readers get it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Where it was published.
    pub channel: String,
    /// Its place among the channel's messages.
    pub offset: u64,
    /// What its sender calls it.
    pub id: String,
    /// Who published it.
    pub sender: String,
    /// The name that goes with the credential.
    pub name: String,
    /// Milliseconds since 1970.
    pub sent_at: u64,
    /// The JSON that was published, token for token.
    pub body: Box<RawValue>,
}

/// Messages that a reader will never see.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// Where they are missing.
    pub channel: String,
    /// The offset that the reader had asked to go on from.
    pub after: u64,
    /// The offset it goes on from.
    pub resumed: u64,
}

/// What came at once: a polled batch, or one event of a stream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Messages; within each channel the oldest first.
    pub envelopes: Vec<Envelope>,
    /// What is missing before them.
    pub gaps: Vec<Gap>,
    /// The place behind all this; none where history is read backwards.
    pub cursor: Option<String>,
    /// Where the page before ends; none at the window's beginning, and where nothing is read backwards.
    pub before: Option<u64>,
    /// Why a stream ended.
    #[serde(skip)]
    pub end: Option<String>,
}

/// Why nothing more is read.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The host answered with an error. Its status is 200 where the transport shows no other, and its body
    /// the error's JSON, out of the framing.
    #[error("refused: {0:?}")]
    Refused(Box<Answer>),
    /// The connection broke, or a stream ended without saying so.
    #[error("broken: {0}")]
    Broken(String),
    /// The host said something that is not in the grammar.
    #[error("against the grammar: {0}")]
    Nonsense(String),
}

/// Reads channels through one transport.
pub struct Reader {
    client: Client,
    transport: Transport,
    query: Query,
    delivery: Delivery,
}

enum Delivery {
    /// Asks again and again; holds what the first answer brought.
    Polls(Option<Batch>),
    /// Boxed: a stream is larger than all the rest.
    Stream(Box<Stream>),
}

/// How the bytes of a response are read.
enum Framing {
    /// One answer is one JSON text.
    Answer(fn(&[u8]) -> Result<String, parsers::Error>),
    /// A stream of frames.
    Stream(fn() -> Box<dyn Parser>),
}

/// A body that goes on.
struct Stream {
    body: BodyDataStream<Incoming>,
    parser: Box<dyn Parser>,
    frames: VecDeque<String>,
}

impl Transport {
    fn framing(self) -> Framing {
        match self {
            Self::LongPolling | Self::ShortPolling => {
                Framing::Answer(|body| Ok(str::from_utf8(body)?.to_owned()))
            }
            Self::JsonpPolling => Framing::Answer(|body| jsonp(body, CALLBACK)),
            Self::Sse => Framing::Stream(|| Box::new(Sse::default())),
            Self::XhrStreaming => Framing::Stream(|| Box::new(Lines::default())),
            Self::Htmlfile => {
                Framing::Stream(|| Box::new(Htmlfile::new(Window::Calls(CALLBACK.to_owned()))))
            }
        }
    }

    /// Whether each request has one answer, a batch.
    #[must_use]
    pub fn polls(self) -> bool {
        matches!(self.framing(), Framing::Answer(_))
    }

    /// What finds the frames of its stream; none where it polls.
    #[must_use]
    pub fn parser(self) -> Option<Box<dyn Parser>> {
        match self.framing() {
            Framing::Answer(_) => None,
            Framing::Stream(parser) => Some(parser()),
        }
    }

    /// The JSON texts in a body that has ended, or in its beginning.
    ///
    /// # Errors
    /// Where the body is against the framing.
    pub fn texts(self, body: &[u8]) -> Result<Vec<String>, Fault> {
        Ok(match self.framing() {
            Framing::Answer(text) => vec![text(body)?],
            Framing::Stream(parser) => parser().feed(body)?,
        })
    }

    /// The media type of its answers.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::LongPolling | Self::ShortPolling => "application/json",
            Self::JsonpPolling => "text/javascript; charset=utf-8",
            Self::Sse => "text/event-stream",
            Self::XhrStreaming => "application/x-ndjson",
            Self::Htmlfile => "text/html; charset=utf-8",
        }
    }

    /// The page's function that it calls, if it does. Such a transport refuses with status 200: its readers see
    /// no other.
    #[must_use]
    pub const fn callback(self) -> Option<&'static str> {
        match self {
            Self::LongPolling | Self::ShortPolling | Self::Sse | Self::XhrStreaming => None,
            Self::JsonpPolling | Self::Htmlfile => Some(CALLBACK),
        }
    }

    /// The path and query of a request by it, with the callback that it needs.
    #[must_use]
    pub fn target(self, query: &str) -> String {
        let callback = match self.callback() {
            Some(callback) => format!("&callback={callback}"),
            None => String::new(),
        };
        format!("/witter/{}?{query}{callback}", self.name())
    }

    /// What a response says first, which is all that a poll or an error says: its JSON text, out of its
    /// framing.
    ///
    /// # Errors
    /// Where the body breaks off, or is against the framing.
    pub async fn first(self, response: Response<Incoming>) -> Result<Answer, Fault> {
        if response.status() != StatusCode::OK {
            return Answer::read(response).await.map_err(broken);
        }
        match self.framing() {
            Framing::Answer(text) => {
                let answer = Answer::read(response).await.map_err(broken)?;
                let body = text(&answer.body)?.into();
                Ok(Answer { body, ..answer })
            }
            Framing::Stream(parser) => {
                let (headers, mut stream) = Stream::of(response, parser());
                let body = stream.frame().await?.into();
                let status = StatusCode::OK;
                Ok(Answer {
                    status,
                    headers,
                    body,
                })
            }
        }
    }
}

impl Stream {
    fn of(response: Response<Incoming>, parser: Box<dyn Parser>) -> (HeaderMap, Self) {
        let (head, body) = response.into_parts();
        let stream = Self {
            body: BodyDataStream::new(body),
            parser,
            frames: VecDeque::new(),
        };
        (head.headers, stream)
    }

    /// The JSON text of the next frame.
    async fn frame(&mut self) -> Result<String, Fault> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Ok(frame);
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.frames.extend(self.parser.feed(&bytes)?),
                Some(Err(error)) => return Err(Fault::Broken(error.to_string())),
                None => return Err(Fault::Broken("the body ended without an end".to_owned())),
            }
        }
    }
}

impl From<parsers::Error> for Fault {
    fn from(error: parsers::Error) -> Self {
        Self::Nonsense(error.to_string())
    }
}

fn broken(error: anyhow::Error) -> Fault {
    Fault::Broken(format!("{error:#}"))
}

impl Query {
    /// Asks for these channels from now on.
    pub fn of<C: Into<String>>(channels: impl IntoIterator<Item = C>) -> Self {
        Self {
            channels: channels.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// The same from a place on.
    #[must_use]
    pub fn after(self, cursor: impl Into<String>) -> Self {
        Self {
            after: Some(cursor.into()),
            ..self
        }
    }

    /// The same with old messages first.
    #[must_use]
    pub fn history(self, count: u32) -> Self {
        Self {
            history: Some(count),
            ..self
        }
    }

    /// The same with at most so many messages in a batch.
    #[must_use]
    pub fn limit(self, count: u32) -> Self {
        Self {
            limit: Some(count),
            ..self
        }
    }

    /// The same, held for so many seconds.
    #[must_use]
    pub fn wait(self, seconds: u32) -> Self {
        Self {
            wait: Some(seconds),
            ..self
        }
    }

    /// The same for the bearer of this.
    #[must_use]
    pub fn token(self, token: impl Into<String>) -> Self {
        Self {
            token: Some(token.into()),
            ..self
        }
    }

    /// The path and query that ask for this.
    #[must_use]
    pub fn target(&self, transport: Transport) -> String {
        let channels = self
            .channels
            .iter()
            .map(|channel| ("channel", channel.clone()));
        let numbers = [
            ("history", self.history),
            ("limit", self.limit),
            ("wait", self.wait),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?.to_string())));
        let texts = [("after", &self.after), ("token", &self.token)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)));
        let query: Vec<String> = channels
            .chain(numbers)
            .chain(texts)
            .map(|(name, value)| format!("{name}={}", encoded(&value)))
            .collect();
        transport.target(&query.join("&"))
    }
}

/// Percent-encoded, all but the unreserved characters of RFC 3986.
fn encoded(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into())
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

impl Reader {
    /// Begins to read. Unless the query names a place, the host has told one when this returns.
    ///
    /// # Errors
    /// Where the host refuses; a poll that names its place is first sent by [`Self::next`].
    pub async fn open(client: &Client, transport: Transport, query: Query) -> Result<Self, Fault> {
        Self::begin(client, transport, query, None).await
    }

    /// Begins to read as a browser's `EventSource` does when it reopens: the query stays as it was, and a
    /// header tells the last event.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn reopen(
        client: &Client,
        transport: Transport,
        query: Query,
        seen: &str,
    ) -> Result<Self, Fault> {
        Self::begin(client, transport, query, Some(seen)).await
    }

    async fn begin(
        client: &Client,
        transport: Transport,
        query: Query,
        seen: Option<&str>,
    ) -> Result<Self, Fault> {
        let delivery = match transport.framing() {
            Framing::Answer(_) => Delivery::Polls(None),
            Framing::Stream(parser) => stream(client, transport, &query, seen, parser()).await?,
        };
        let mut reader = Self {
            client: client.clone(),
            transport,
            query,
            delivery,
        };
        if reader.query.after.is_none() || !transport.polls() {
            let first = reader.next().await?;
            if let Delivery::Polls(pending) = &mut reader.delivery {
                *pending = Some(first);
            } else if !first.envelopes.is_empty() || !first.gaps.is_empty() || first.end.is_some() {
                return Err(Fault::Nonsense(format!("a stream begins with {first:?}")));
            }
        }
        Ok(reader)
    }

    /// The place behind all that was read.
    ///
    /// # Panics
    /// Where nothing told one yet, which an opened reader rules out.
    #[must_use]
    pub fn cursor(&self) -> &str {
        self.query
            .after
            .as_deref()
            .expect("an opened reader has a place")
    }

    /// What comes next; an empty batch where a poll's time was over.
    ///
    /// # Errors
    /// Where the host refuses or the connection breaks. [`Self::cursor`] stays a place to go on from.
    pub async fn next(&mut self) -> Result<Batch, Fault> {
        let batch = match &mut self.delivery {
            Delivery::Polls(pending) => match pending.take() {
                Some(batch) => batch,
                None => poll(&self.client, self.transport, &self.query).await?,
            },
            Delivery::Stream(stream) => loop {
                if let Some(batch) = batch(&stream.frame().await?)? {
                    break batch;
                }
            },
        };
        match &batch.cursor {
            Some(cursor) => self.query.after = Some(cursor.clone()),
            None if batch.end.is_some() => {}
            None => return Err(Fault::Nonsense(format!("no cursor: {batch:?}"))),
        }
        Ok(batch)
    }

    /// The next batch that is not empty.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn news(&mut self) -> Result<Batch, Fault> {
        loop {
            let batch = self.next().await?;
            if !batch.envelopes.is_empty() || !batch.gaps.is_empty() || batch.end.is_some() {
                return Ok(batch);
            }
            if self.transport == Transport::ShortPolling {
                tokio::time::sleep(PERIOD).await;
            }
        }
    }

    /// The next messages, this many of them or a few more from the same batch.
    ///
    /// # Errors
    /// As [`Self::next`], and where a gap or an end comes first.
    pub async fn messages(&mut self, count: usize) -> Result<Vec<Envelope>, Fault> {
        let mut envelopes = Vec::new();
        while envelopes.len() < count {
            let batch = self.news().await?;
            if !batch.gaps.is_empty() || batch.end.is_some() {
                return Err(Fault::Nonsense(format!("not a message: {batch:?}")));
            }
            envelopes.extend(batch.envelopes);
        }
        Ok(envelopes)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("transport", &self.transport)
            .field("query", &self.query)
            .finish_non_exhaustive()
    }
}

async fn poll(client: &Client, transport: Transport, query: &Query) -> Result<Batch, Fault> {
    let response = open(client, transport, query, None).await?;
    let answer = transport.first(response).await?;
    if answer.code().is_some() {
        return Err(Fault::Refused(Box::new(answer)));
    }
    answer
        .json()
        .map_err(|error| Fault::Nonsense(format!("{error:#}")))
}

async fn stream(
    client: &Client,
    transport: Transport,
    query: &Query,
    seen: Option<&str>,
    parser: Box<dyn Parser>,
) -> Result<Delivery, Fault> {
    let response = open(client, transport, query, seen).await?;
    if response.status() != StatusCode::OK {
        let answer = Answer::read(response).await.map_err(broken)?;
        return Err(Fault::Refused(Box::new(answer)));
    }
    let (headers, mut stream) = Stream::of(response, parser);
    let first = stream.frame().await?;
    let answer = Answer {
        status: StatusCode::OK,
        headers,
        body: first.clone().into(),
    };
    if answer.code().is_some() {
        return Err(Fault::Refused(Box::new(answer)));
    }
    stream.frames.push_front(first);
    Ok(Delivery::Stream(Box::new(stream)))
}

async fn open(
    client: &Client,
    transport: Transport,
    query: &Query,
    seen: Option<&str>,
) -> Result<Response<Incoming>, Fault> {
    let mut request = client.request(Method::GET, &query.target(transport));
    if let Some(seen) = seen {
        request = request.header("last-event-id", seen);
    }
    let request = request
        .body(Full::<Bytes>::default())
        .map_err(|error| Fault::Nonsense(error.to_string()))?;
    client.open(request).await.map_err(broken)
}

/// A frame as a batch; none for one that says nothing.
fn batch(frame: &str) -> Result<Option<Batch>, Fault> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Frame {
        open: Option<bool>,
        envelope: Option<Envelope>,
        gap: Option<Gap>,
        heartbeat: Option<bool>,
        end: Option<String>,
        #[serde(rename = "detail")]
        _detail: Option<String>,
        #[serde(rename = "retry_after")]
        _retry_after: Option<u32>,
        cursor: Option<String>,
    }
    let told: Frame = serde_json::from_str(frame)
        .map_err(|error| Fault::Nonsense(format!("{error} in {frame}")))?;
    let members = (
        told.open,
        told.envelope,
        told.gap,
        told.heartbeat,
        told.end,
        told.cursor,
    );
    let mut batch = Batch::default();
    match members {
        (Some(true), None, None, None, None, cursor @ Some(_)) => batch.cursor = cursor,
        (None, Some(envelope), None, None, None, cursor @ Some(_)) => {
            batch.envelopes.push(envelope);
            batch.cursor = cursor;
        }
        (None, None, Some(gap), None, None, cursor @ Some(_)) => {
            batch.gaps.push(gap);
            batch.cursor = cursor;
        }
        (None, None, None, Some(true), None, None) => return Ok(None),
        (None, None, None, None, end @ Some(_), None) => batch.end = end,
        _ => return Err(Fault::Nonsense(frame.to_owned())),
    }
    Ok(Some(batch))
}
