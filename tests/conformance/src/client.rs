//! Requests and whole answers.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::StreamExt;
use http::request::Builder;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyDataStream, BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An HTTP/1.1 client of one host. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
}

/// A response whose body has ended.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
}

/// A guest's credential.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// What is sent as `Authorization: Bearer`.
    pub token: String,
    /// The identity that the server drew.
    pub sender: String,
    /// The name that was asked for.
    pub name: String,
    /// Milliseconds since 1970.
    pub expires_at: u64,
}

impl Client {
    /// A client of the host at this address, without a connection yet.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self::keeping(address, usize::MAX)
    }

    /// The same with a new connection for every request, so that a balancer hands each to another host.
    #[must_use]
    pub fn roaming(address: SocketAddr) -> Self {
        Self::keeping(address, 0)
    }

    /// One that keeps so many connections on which nothing is asked.
    fn keeping(address: SocketAddr, idle: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            // A request that was written into a connection that is about to close may have been carried
            // out: sending it again is the caller's decision.
            .retry_canceled_requests(false)
            .pool_max_idle_per_host(idle)
            .build(connector);
        Self { http, address }
    }

    /// The host's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A request for a path with its query.
    pub fn request(&self, method: Method, target: &str) -> Builder {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{target}", self.address))
    }

    /// Sends a request; the body of its response is still to come.
    ///
    /// # Errors
    /// Where the host cannot be reached or does not speak HTTP.
    pub async fn open(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        Ok(self.http.request(request).await?)
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// As [`Self::open`], and where the body breaks off.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        Answer::read(self.open(request).await?).await
    }

    /// The answer to a `GET`.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn get(&self, target: &str) -> Result<Answer> {
        self.send(self.request(Method::GET, target).body(Full::default())?)
            .await
    }

    /// What a stream says up to and with some text.
    ///
    /// # Errors
    /// As [`Self::open`], and where the stream ends before.
    pub async fn stream_until(&self, target: &str, end: &str) -> Result<String> {
        let response = self
            .open(self.request(Method::GET, target).body(Full::default())?)
            .await?;
        let mut data = BodyDataStream::new(response.into_body());
        let mut text = String::new();
        while !text.ends_with(end) {
            text += str::from_utf8(&data.next().await.context("the stream ended")??)?;
        }
        Ok(text)
    }

    /// The answer to a `POST` of JSON, with a credential or without.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn post(
        &self,
        target: &str,
        token: Option<&str>,
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let mut request = self
            .request(Method::POST, target)
            .header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request.body(Full::new(body.into()))?).await
    }

    /// A new guest.
    ///
    /// # Errors
    /// Where the host does not take one.
    pub async fn session(&self, name: &str) -> Result<Session> {
        let body = serde_json::json!({ "name": name }).to_string();
        let answer = self.post("/witter/session", None, body).await?;
        ensure!(
            answer.status == StatusCode::CREATED,
            "no session: {answer:?}"
        );
        answer.json()
    }

    /// The answer to publishing one message, whose body is any JSON text.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn publish(
        &self,
        session: &Session,
        channel: &str,
        id: &str,
        body: &str,
    ) -> Result<Answer> {
        let draft = format!(r#"{{"id":{},"body":{body}}}"#, Value::from(id));
        self.post(
            &format!("/witter/publish?channel={channel}"),
            Some(&session.token),
            draft,
        )
        .await
    }
}

impl Answer {
    /// Reads what a response still has to say.
    ///
    /// # Errors
    /// Where the body breaks off.
    pub async fn read(response: Response<Incoming>) -> Result<Self> {
        let (head, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .context("the body of an answer")?
            .to_bytes();
        Ok(Self {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// Where it is none, or of another shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let text = str::from_utf8(&self.body)?;
        serde_json::from_str(text).with_context(|| format!("{}: {text}", self.status))
    }

    /// The code of an error, as in `{"error":"invalid-request","detail":"…"}` or in the same as the end of a
    /// stream; none where the body is none.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Told {
            #[serde(alias = "end")]
            error: String,
            #[serde(rename = "detail")]
            _detail: String,
            #[serde(rename = "retry_after")]
            _retry_after: Option<u32>,
            #[serde(rename = "next")]
            _next: Option<String>,
        }
        self.json::<Told>().ok().map(|told| told.error)
    }

    /// A header's value, where it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
