//! A reader of any transport, resumable by its cursor.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::request::Builder;
use http::{Method, Response, StatusCode};
use http_body_util::{BodyDataStream, Full};
use hyper::body::Incoming;
use parsers::{Htmlfile, Lines, Parser, Sse, Window, jsonp};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::socket::UPGRADE;
use crate::{Answer, Client, Live, Said, Socket, State, Transport};

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
    /// The seconds of silence before a stream beats.
    pub heartbeat: Option<u32>,
    /// What it knows of the live state, where it takes part in it.
    pub presence: Option<String>,
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
    /// The message that it is about.
    pub refers: Option<Value>,
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
    /// What is missing before them, at most once for each channel.
    pub gaps: Vec<Gap>,
    /// The place behind all this; none where history is read backwards.
    pub cursor: Option<String>,
    /// Where the page before ends; none at the window's beginning, and where nothing is read backwards.
    pub before: Option<u64>,
    /// A channel that a stream no longer brings.
    #[serde(skip)]
    pub denied: Option<Denied>,
    /// What is told of the live state.
    #[serde(default)]
    pub state: Vec<State>,
    /// What is known of it, for polls to ask with.
    pub presence: Option<String>,
    /// Why a stream ended.
    #[serde(skip)]
    pub end: Option<String>,
}

/// A channel that is no longer open to a reader.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Denied {
    /// Which.
    pub channel: String,
    /// The code of the error.
    pub error: String,
    /// The same for people.
    pub detail: String,
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
    live: HashMap<String, Live>,
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
    /// No body: a frame is a message on the connection, which was upgraded.
    Messages,
}

/// Frames that go on.
struct Stream {
    source: Source,
    frames: VecDeque<String>,
}

enum Source {
    Body(BodyDataStream<Incoming>, Box<dyn Parser>),
    Socket(Box<Socket>),
}

impl Batch {
    /// Whether each channel's messages are without holes, and behind what is missing of it.
    fn check(&self) -> Result<(), Fault> {
        let mut places = HashMap::new();
        for gap in &self.gaps {
            if places.insert(&gap.channel, gap.resumed).is_some() {
                return Err(Fault::Nonsense(format!("two gaps of a channel: {self:?}")));
            }
        }
        for Envelope {
            channel, offset, ..
        } in &self.envelopes
        {
            let before = places.insert(channel, *offset);
            if before.is_some_and(|before| before + 1 != *offset) {
                return Err(Fault::Nonsense(format!("{offset} of {channel}: {self:?}")));
            }
        }
        Ok(())
    }
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
            Self::Websocket => Framing::Messages,
        }
    }

    /// Whether each request has one answer, a batch.
    #[must_use]
    pub fn polls(self) -> bool {
        matches!(self.framing(), Framing::Answer(_))
    }

    /// Whether it takes the connection over. What it says then is in no body, and passes no cache and no
    /// proxy that does not know of it.
    #[must_use]
    pub fn upgrades(self) -> bool {
        matches!(self.framing(), Framing::Messages)
    }

    /// The status with which it begins.
    #[must_use]
    pub fn accepted(self) -> StatusCode {
        if self.upgrades() {
            StatusCode::SWITCHING_PROTOCOLS
        } else {
            StatusCode::OK
        }
    }

    /// What finds the frames of a body that goes on; none where it has no such body.
    #[must_use]
    pub fn parser(self) -> Option<Box<dyn Parser>> {
        match self.framing() {
            Framing::Answer(_) | Framing::Messages => None,
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
            Framing::Messages => Vec::new(),
        })
    }

    /// The media type of its answers; none where they have no body.
    #[must_use]
    pub const fn content_type(self) -> Option<&'static str> {
        match self {
            Self::LongPolling | Self::ShortPolling => Some("application/json"),
            Self::JsonpPolling => Some("text/javascript; charset=utf-8"),
            Self::Sse => Some("text/event-stream"),
            Self::XhrStreaming => Some("application/x-ndjson"),
            Self::Htmlfile => Some("text/html; charset=utf-8"),
            Self::Websocket => None,
        }
    }

    /// The page's function that it calls, if it does. Such a transport refuses with status 200: its readers see
    /// no other.
    #[must_use]
    pub const fn callback(self) -> Option<&'static str> {
        match self {
            Self::LongPolling
            | Self::ShortPolling
            | Self::Sse
            | Self::XhrStreaming
            | Self::Websocket => None,
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

    /// The headers that a request by it needs.
    #[must_use]
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        if self.upgrades() { UPGRADE } else { &[] }
    }

    /// A request by it for a path with its query.
    pub fn request(self, client: &Client, target: &str) -> Builder {
        self.headers().iter().fold(
            client.request(Method::GET, target),
            |request, (name, value)| request.header(*name, *value),
        )
    }

    /// What a response says first, which is all that a poll or an error says: its JSON text, out of its
    /// framing.
    ///
    /// # Errors
    /// Where the body breaks off, or is against the framing.
    pub async fn first(self, response: Response<Incoming>) -> Result<Answer, Fault> {
        if response.status() != self.accepted() {
            return Answer::read(response).await.map_err(broken);
        }
        if let Framing::Answer(text) = self.framing() {
            let answer = Answer::read(response).await.map_err(broken)?;
            let body = text(&answer.body)?.into();
            return Ok(Answer { body, ..answer });
        }
        let headers = response.headers().clone();
        let body = Stream::of(self, response).await?.frame().await?.into();
        Ok(Answer {
            status: self.accepted(),
            headers,
            body,
        })
    }
}

impl Stream {
    /// What comes of a response that begins a stream.
    async fn of(transport: Transport, response: Response<Incoming>) -> Result<Self, Fault> {
        let source = match transport.parser() {
            Some(parser) => Source::Body(BodyDataStream::new(response.into_body()), parser),
            None => Source::Socket(Box::new(Socket::accepted(response).await?)),
        };
        let frames = VecDeque::new();
        Ok(Self { source, frames })
    }

    /// The JSON text of the next frame.
    async fn frame(&mut self) -> Result<String, Fault> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Ok(frame);
            }
            match &mut self.source {
                Source::Body(body, parser) => match body.next().await {
                    Some(Ok(bytes)) => self.frames.extend(parser.feed(&bytes)?),
                    Some(Err(error)) => return Err(Fault::Broken(error.to_string())),
                    None => {
                        return Err(Fault::Broken("the body ended without an end".to_owned()));
                    }
                },
                Source::Socket(socket) => return socket.text().await,
            }
        }
    }

    /// Reads what stands behind an end: a socket is closed for the same reason.
    async fn end(&mut self, end: &str) -> Result<(), Fault> {
        /// RFC 6455, section 7.4.1: the server goes away.
        const GOING_AWAY: u16 = 1001;
        let Source::Socket(socket) = &mut self.source else {
            return Ok(());
        };
        match socket.next().await? {
            Said::Close { code, reason }
                if reason == end && (code == GOING_AWAY) == (end == "reopen") =>
            {
                Ok(())
            }
            other => Err(Fault::Nonsense(format!("{other:?} behind the end {end}"))),
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

    /// The same, with so many seconds of silence before a stream beats.
    #[must_use]
    pub fn heartbeat(self, seconds: u32) -> Self {
        Self {
            heartbeat: Some(seconds),
            ..self
        }
    }

    /// The same, taking part in the live state.
    #[must_use]
    pub fn present(self) -> Self {
        Self {
            presence: Some("0".to_owned()),
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
            ("heartbeat", self.heartbeat),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?.to_string())));
        let texts = [
            ("after", &self.after),
            ("token", &self.token),
            ("presence", &self.presence),
        ]
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
        let delivery = if transport.polls() {
            Delivery::Polls(None)
        } else {
            stream(client, transport, &query, seen).await?
        };
        let mut reader = Self {
            client: client.clone(),
            transport,
            query,
            delivery,
            live: HashMap::new(),
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
            Delivery::Stream(stream) => {
                let batch = loop {
                    if let Some(batch) = batch(&stream.frame().await?)? {
                        break batch;
                    }
                };
                if let Some(end) = &batch.end {
                    stream.end(end).await?;
                }
                batch
            }
        };
        match &batch.cursor {
            Some(cursor) => self.query.after = Some(cursor.clone()),
            None if batch.end.is_some() || batch.denied.is_some() || !batch.state.is_empty() => {}
            None => return Err(Fault::Nonsense(format!("no cursor: {batch:?}"))),
        }
        if self.query.presence.is_none() && (!batch.state.is_empty() || batch.presence.is_some()) {
            return Err(Fault::Nonsense(format!("not asked for: {batch:?}")));
        }
        if batch.presence.is_some() {
            self.query.presence.clone_from(&batch.presence);
        }
        for state in &batch.state {
            let live = self.live.entry(state.channel.clone()).or_default();
            live.hear(state.clone())?;
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
            let told = !batch.envelopes.is_empty() || !batch.gaps.is_empty();
            if told || batch.end.is_some() || batch.denied.is_some() {
                return Ok(batch);
            }
            if self.transport == Transport::ShortPolling {
                tokio::time::sleep(PERIOD).await;
            }
        }
    }

    /// What is known of the live state of a channel.
    #[must_use]
    pub fn live(&self, channel: &str) -> Live {
        self.live.get(channel).cloned().unwrap_or_default()
    }

    /// Reads until the live state of a channel is such. Messages that come are let go.
    ///
    /// # Errors
    /// As [`Self::next`], and where the stream ends before.
    pub async fn sees(
        &mut self,
        channel: &str,
        such: impl Fn(&Live) -> bool,
    ) -> Result<Live, Fault> {
        loop {
            if let Some(live) = self.live.get(channel)
                && such(live)
            {
                return Ok(live.clone());
            }
            let batch = self.next().await?;
            if batch.end.is_some() {
                return Err(Fault::Broken(format!("it ends: {batch:?}")));
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
            if !batch.gaps.is_empty() || batch.end.is_some() || batch.denied.is_some() {
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
    let batch: Batch = answer
        .json()
        .map_err(|error| Fault::Nonsense(format!("{error:#}")))?;
    batch.check()?;
    Ok(batch)
}

async fn stream(
    client: &Client,
    transport: Transport,
    query: &Query,
    seen: Option<&str>,
) -> Result<Delivery, Fault> {
    let response = open(client, transport, query, seen).await?;
    let status = response.status();
    if status != transport.accepted() {
        let answer = Answer::read(response).await.map_err(broken)?;
        return Err(Fault::Refused(Box::new(answer)));
    }
    let headers = response.headers().clone();
    let mut stream = Stream::of(transport, response).await?;
    let first = stream.frame().await?;
    let answer = Answer {
        status,
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
    let mut request = transport.request(client, &query.target(transport));
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
        denied: Option<Denied>,
        state: Option<State>,
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
        told.denied,
        told.state,
        told.end,
        told.cursor,
    );
    let mut batch = Batch::default();
    match members {
        (Some(true), None, None, None, None, None, None, cursor @ Some(_)) => batch.cursor = cursor,
        (None, Some(envelope), None, None, None, None, None, cursor @ Some(_)) => {
            batch.envelopes.push(envelope);
            batch.cursor = cursor;
        }
        (None, None, Some(gap), None, None, None, None, cursor @ Some(_)) => {
            batch.gaps.push(gap);
            batch.cursor = cursor;
        }
        (None, None, None, Some(true), None, None, None, None) => return Ok(None),
        (None, None, None, None, denied @ Some(_), None, None, None) => batch.denied = denied,
        (None, None, None, None, None, Some(state), None, None) => batch.state.push(state),
        (None, None, None, None, None, None, end @ Some(_), None) => batch.end = end,
        _ => return Err(Fault::Nonsense(frame.to_owned())),
    }
    Ok(Some(batch))
}
