//! Requests in and responses out, over `wasi:http` 0.3.

use crate::types::Caller;
use flate2::Compression;
use flate2::write::GzEncoder;
use protocol::{Error, Origins};
use std::cell::{OnceCell, RefCell};
use std::io::Write as _;
pub use wasip3::exports::http::handler::Guest as Exports;
use wasip3::http::types as wasi;
pub use wasip3::http::types::Method;
use wasip3::{wit_future, wit_stream};
use wit_bindgen::{FutureReader, StreamReader, StreamResult, StreamWriter};

/// The longest request body that is read. Smaller: an array of full messages does not fit;
/// larger: one request holds that much of the instance's memory.
const LONGEST_BODY: usize = 1024 * 1024;

/// What room is made for a body before any of it has come, whatever is announced: on a host that does not read it
/// first, who announces much and sends nothing holds no more.
const FIRST_ROOM: usize = 4096;

/// What an idle connection holds to be read into. Smaller: more reads for one message.
const FIRST_READ: usize = 512;
/// What one that sends much does.
const LARGEST_READ: usize = 64 * 1024;

/// What does not fill one packet is not made smaller: it would arrive no sooner.
const SMALLEST_GZIP: usize = 1400;

/// A request whose body is still to come.
pub struct Request {
    /// Of `inner`, and so before it: a child is let go of first.
    headers: OnceCell<wasi::Headers>,
    inner: wasi::Request,
    target: String,
}

impl Request {
    #[doc(hidden)]
    #[must_use]
    pub fn new(inner: wasi::Request) -> Self {
        let target = inner.get_path_with_query().unwrap_or_default();
        Self {
            headers: OnceCell::new(),
            inner,
            target,
        }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> Method {
        self.inner.get_method()
    }

    /// The path, still percent-encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(&self.target, |(path, _)| path)
    }

    /// The query, still percent-encoded; empty where there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The first value of a header; none where it is absent or not UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.headers(name).into_iter().next()?;
        String::from_utf8(value).ok()
    }

    /// The origin of the page that asks, where [`Response::shared`] looks at it.
    #[doc(hidden)]
    #[must_use]
    pub fn origin_for(&self, origins: &Origins) -> Option<String> {
        match origins {
            Origins::Any => None,
            Origins::Listed(_) => self.header("origin"),
        }
    }

    /// Every value of a header.
    pub(crate) fn headers(&self, name: &str) -> Vec<Vec<u8>> {
        self.headers
            .get_or_init(|| self.inner.get_headers())
            .get(name)
    }

    /// The host, and its port unless it is the scheme's own, that the client believes to talk to.
    pub fn authority(&self) -> Option<String> {
        self.inner.get_authority()
    }

    fn body(self) -> (StreamReader<u8>, Trailers) {
        drop(self.headers);
        let (_, result) = wit_future::new(|| Ok(()));
        wasi::Request::consume_body(self.inner, result)
    }

    /// The body, as it comes.
    pub(crate) fn bytes(self) -> Bytes {
        let (stream, trailers) = self.body();
        Bytes {
            stream,
            _trailers: trailers,
            room: FIRST_READ,
        }
    }

    /// Who asks: the credential of the `Authorization` header (RFC 6750, section 2.1), else the one in
    /// the query.
    ///
    /// # Errors
    /// 401 where the header names another scheme.
    pub fn caller(&self, token: Option<String>) -> Result<Caller, Error> {
        let credential = match self.header("authorization") {
            Some(value) => match value.split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                    Some(token.trim().to_owned())
                }
                _ => return Err(Error::Unauthorized("the scheme is not Bearer".to_owned())),
            },
            None => token,
        };
        Ok(Caller {
            credential,
            address: self.header("x-forwarded-for"),
        })
    }

    /// Reads the whole body, of a type that JSON may come in: `application/json`, or `text/plain`, which
    /// a page may send across origins without a preflight, or none, since `XDomainRequest` tells none.
    ///
    /// # Errors
    /// 415 for another type, 413 over 1 MiB, 400 where the body breaks off.
    pub async fn json(self) -> Result<Vec<u8>, Error> {
        let media_type = self.header("content-type").unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !["", "application/json", "text/plain"]
            .iter()
            .any(|t| essence.eq_ignore_ascii_case(t))
        {
            return Err(Error::UnsupportedMediaType);
        }
        let length = self.header("content-length");
        let length = length.and_then(|length| length.parse::<usize>().ok());
        let (mut stream, trailers) = self.body();
        let mut body = Vec::with_capacity(length.unwrap_or(FIRST_ROOM).clamp(1, FIRST_ROOM));
        loop {
            if body.len() == body.capacity() {
                body.reserve(body.capacity());
            }
            let (status, read) = stream.read(body).await;
            body = read;
            if body.len() > LONGEST_BODY {
                return Err(Error::TooLarge);
            }
            // All that was announced has come: to wait for the end too is as long a way again.
            if Some(body.len()) == length {
                return Ok(body);
            }
            match status {
                StreamResult::Complete(_) => {}
                StreamResult::Dropped | StreamResult::Cancelled => break,
            }
        }
        match trailers.await {
            Ok(_) => Ok(body),
            Err(_) => Err(Error::Invalid("the body breaks off".to_owned())),
        }
    }
}

type Trailers = FutureReader<Result<Option<wasi::Trailers>, wasi::ErrorCode>>;

/// A request's body, as it comes.
pub(crate) struct Bytes {
    stream: StreamReader<u8>,
    _trailers: Trailers,
    /// How much is read at a time.
    room: usize,
}

impl Bytes {
    /// What comes next; none at the end, in order or not.
    pub(crate) async fn read(&mut self) -> Option<Vec<u8>> {
        let (status, bytes) = self.stream.read(Vec::with_capacity(self.room)).await;
        // Whoever sends much at a time goes on doing so; who waits holds little.
        self.room = if bytes.len() == self.room {
            LARGEST_READ
        } else {
            FIRST_READ
        };
        match status {
            StreamResult::Complete(_) => Some(bytes),
            StreamResult::Dropped | StreamResult::Cancelled => None,
        }
    }
}

/// A response; its body is whole, or a stream still to be written.
pub struct Response {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Body,
}

enum Body {
    Whole(Vec<u8>),
    Stream(StreamReader<u8>),
}

impl Response {
    /// A response with its whole body.
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let mut response = Self::empty(status)
            .with("content-type", content_type)
            // A whole body always tells its length: a host that holds small chunks back (Nagle's
            // algorithm) then has none to hold.
            .with("content-length", body.len().to_string());
        response.body = Body::Whole(body);
        response
    }

    /// A response without a body: 204 or 304, which tell no length (RFC 9110, section 8.6).
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Whole(Vec::new()),
        }
    }

    /// A response whose body is written later, piece by piece; each piece is sent at once.
    pub(crate) fn stream(content_type: &str) -> (Self, StreamWriter<u8>) {
        let (response, writer) = Self::bytes();
        (response.with("content-type", content_type), writer)
    }

    /// As [`Self::stream`], of no type.
    pub(crate) fn bytes() -> (Self, StreamWriter<u8>) {
        let (writer, reader) = wit_stream::new();
        // nginx and those who follow it: do not buffer.
        let mut response = Self::empty(200).with("x-accel-buffering", "no");
        response.body = Body::Stream(reader);
        (response, writer)
    }

    /// What an `OPTIONS` request gets: the methods, and what a page of another origin may send (Fetch
    /// standard, "CORS protocol").
    pub(crate) fn preflight(allow: &'static str) -> Self {
        Self::empty(204)
            .with("allow", allow)
            .with("access-control-allow-methods", allow)
            .with(
                "access-control-allow-headers",
                "authorization, content-type, last-event-id",
            )
            // Browsers cap this themselves: Chromium at two hours, Firefox at a day.
            .with("access-control-max-age", "7200")
    }

    /// A refused request, by its status.
    #[must_use]
    pub fn error(error: &Error) -> Self {
        error.headers().into_iter().fold(
            Self::new(error.status(), "application/json", error.to_json()),
            |response, (name, value)| response.with(name, value),
        )
    }

    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Compresses a whole body (RFC 1952) where the client takes that and it helps. A stream stays as it is:
    /// its frames are small, shared by many readers, and sent at once.
    pub(crate) fn gzip(mut self, accept_encoding: Option<&str>) -> Self {
        let Body::Whole(body) = &self.body else {
            return self;
        };
        if body.len() < SMALLEST_GZIP {
            return self;
        }
        self.headers.push(("vary", "accept-encoding".to_owned()));
        if !accept_encoding.is_some_and(protocol::accepts_gzip) {
            return self;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Nothing fails that writes into memory.
        if let Ok(compressed) = encoder.write_all(body).and_then(|()| encoder.finish()) {
            self.headers.retain(|(name, _)| *name != "content-length");
            self.headers.extend([
                ("content-encoding", "gzip".to_owned()),
                ("content-length", compressed.len().to_string()),
            ]);
            self.body = Body::Whole(compressed);
        }
        self
    }

    /// Lets pages of other origins see the response (Fetch standard, "CORS protocol").
    ///
    /// A page that is not allowed gets an answer that its browser keeps from it: a request of the server's own
    /// pages cannot be told from one of others where a proxy changes the host's name.
    #[doc(hidden)]
    #[must_use]
    pub fn shared(mut self, origins: &Origins, origin: Option<&str>) -> Self {
        if *origins != Origins::Any {
            self.headers.push(("vary", "origin".to_owned()));
        }
        if let Some(allowed) = origins.allow(origin) {
            self.headers.extend([
                ("access-control-allow-origin", allowed),
                ("access-control-expose-headers", "retry-after".to_owned()),
            ]);
        }
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub fn into_wasi(self) -> wasi::Response {
        // Tokens, cursors and messages stay out of caches and referrers; no type is guessed.
        let mut headers = vec![
            ("referrer-policy", "no-referrer".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        if !self
            .headers
            .iter()
            .any(|(name, _)| *name == "cache-control")
        {
            headers.push(("cache-control", "no-store, no-transform".to_owned()));
        }
        headers.extend(self.headers);
        let fields = fields(headers);

        let (_, trailers) = wit_future::new(|| Ok(None));
        let body = match self.body {
            Body::Stream(reader) => Some(reader),
            Body::Whole(bytes) if bytes.is_empty() => None,
            Body::Whole(bytes) => {
                let (mut writer, reader) = wit_stream::new();
                // A reader that left is the normal end.
                wit_bindgen::spawn_local(async move { drop(writer.write_all(bytes).await) });
                Some(reader)
            }
        };
        let (response, _) = wasi::Response::new(fields, body, trailers);
        // Every status in this project is one that wasi:http knows.
        let _ = response.set_status_code(self.status);
        response
    }
}

/// The headers as the host has them. Those of the last response are kept, which are mostly the next one's too: they are
/// copied there by one call, where a list is taken apart and checked.
fn fields(headers: Vec<(&'static str, String)>) -> wasi::Fields {
    type Last = Option<(Vec<(&'static str, String)>, wasi::Fields)>;
    thread_local! {
        static LAST: RefCell<Last> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| {
        if let Some((_, fields)) = last.as_ref().filter(|(kept, _)| *kept == headers) {
            return fields.clone();
        }
        let list: Vec<_> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes()))
            .collect();
        // Every name and value is of our own making; a value that is not one is left out with the rest.
        let fields = wasi::Fields::from_list(&list).unwrap_or_else(|_| wasi::Fields::new());
        let copy = fields.clone();
        *last = Some((headers, fields));
        copy
    })
}

impl From<Error> for Response {
    fn from(error: Error) -> Self {
        Self::error(&error)
    }
}

impl From<Result<Response, Error>> for Response {
    fn from(result: Result<Response, Error>) -> Self {
        result.unwrap_or_else(Self::from)
    }
}
