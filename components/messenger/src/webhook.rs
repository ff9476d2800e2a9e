//! New messages, on their way to the endpoint that the deployment names.
//!
//! All that is ever published goes through here, whoever publishes it.

use crate::bindings::exports::witter::messaging::messenger::Error;
use crate::bindings::witter::messaging::wakeup::{self, Outcome, Watch};
use crate::clock::{self, World};
use crate::config::{variable, wrong};
use crate::feed;
use crate::rules::Rules;
use crate::store::KeyValue;
use futures::future::{Either, select};
use mailbox::{Draft, PublishError, Receipt, StoreError};
use protocol::Patterns;
use std::future::pending;
use std::pin::pin;
use wasip3::clocks::monotonic_clock;
use wasip3::http::client;
use wasip3::http::types::{Fields, Method, Request, RequestOptions, Scheme};
use wasip3::{wit_future, wit_stream};
use webhook::{Answer, Batch, Endpoint, Receiver};

/// What is notified when a channel has something to be sent: no channel has such a name.
const KEY: &str = "/webhook";
const SECOND_NS: u64 = 1_000_000_000;
/// How long a connection may take.
const CONNECT_NS: u64 = 5 * SECOND_NS;
/// How long the endpoint may take to answer: 15 to 30 s are recommended (Standard Webhooks, "Request timeouts").
const ANSWER_NS: u64 = 15 * SECOND_NS;
/// How long who asks for the delivery of all is kept.
const DELIVER_MS: u64 = 25_000;
const LOOK_MS: u32 = 100;

pub(crate) type Outbox = webhook::Outbox<KeyValue, World, Destination>;

/// Where messages are sent, and which.
pub(crate) struct Destination {
    endpoint: Endpoint,
    channels: Patterns,
}

impl Rules {
    /// What is to be sent; none: the deployment names no endpoint. The first call of an instance takes over what
    /// another one left.
    pub(crate) fn outbox(&self) -> Result<Option<&Outbox>, Error> {
        if let Some(known) = self.outbox.get() {
            return Ok(known.as_ref());
        }
        let destination = Destination::configured().inspect_err(|error| {
            if !self.complained.replace(true) {
                eprintln!("{error:?}");
            }
        })?;
        let outbox = destination.map(|it| Outbox::new(self.mailbox.clone(), World, it));
        if let Some(outbox) = &outbox {
            outbox.wake();
        }
        Ok(self.outbox.get_or_init(|| outbox).as_ref())
    }

    /// Stores messages: whatever receipt this gives, the message is in the log, and will be sent to the endpoint.
    pub(crate) async fn publish(
        &self,
        channel: &str,
        drafts: Vec<Draft>,
    ) -> Vec<Result<Receipt, PublishError>> {
        let count = drafts.len();
        let failed = |why: String| vec![Err(PublishError::Unavailable(why)); count];
        let outbox = match self.outbox() {
            Ok(outbox) => outbox.filter(|outbox| outbox.takes(channel)),
            Err(error) => return failed(detail(error)),
        };
        let Some(outbox) = outbox else {
            return self.mailbox.publish(channel, drafts).await;
        };
        if let Err(StoreError(why)) = outbox.hook(channel).await {
            return failed(why);
        }
        let results = self.mailbox.publish(channel, drafts).await;
        // Also what was stored before: who stored it may have got no further.
        if results.iter().any(Result::is_ok)
            && let Err(StoreError(why)) = outbox.marked(channel).await
        {
            return failed(why);
        }
        results
    }

    /// Delivers what waits, for a while; how many channels still do. None: the deployment names no endpoint.
    pub(crate) async fn deliver(&self) -> Result<Option<u32>, Error> {
        let Some(outbox) = self.outbox()? else {
            return Ok(None);
        };
        let deadline = clock::uptime() + DELIVER_MS;
        outbox.wake();
        while outbox.is_running() && clock::uptime() < deadline {
            mailbox::Env::sleep(&World, LOOK_MS).await;
        }
        let pending = outbox.pending().await?;
        Ok(Some(u32::try_from(pending).unwrap_or(u32::MAX)))
    }
}

impl Destination {
    fn configured() -> Result<Option<Self>, Error> {
        // Put together from several variables: of none is left what stands between them.
        let url: Option<String> = variable("webhook_url")?;
        let url = url.filter(|url| !url.ends_with("://"));
        let Some(url) = url else {
            return Ok(None);
        };
        let secret: String = variable("webhook_secret")?.unwrap_or_default();
        let endpoint = Endpoint::new(&url, &secret).map_err(wrong)?;
        let channels: Option<String> = variable("webhook_channels")?;
        let channels = Patterns::parse(channels.as_deref().unwrap_or("*"))
            .map_err(|error| wrong(format!("webhook_channels: {error}")))?;
        Ok(Some(Self { endpoint, channels }))
    }

    /// Of the time of the attempt; none: the request could not be made.
    fn request(&self, batch: &Batch, payload: &str) -> Option<Headed> {
        let timestamp = clock::now() / 1_000;
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("content-length", payload.len().to_string()),
            ("user-agent", "witter".to_owned()),
            ("webhook-id", batch.id.clone()),
            ("webhook-timestamp", timestamp.to_string()),
            (
                "webhook-signature",
                self.endpoint.sign(&batch.id, timestamp, payload),
            ),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.into_bytes()));
        let options = RequestOptions::new();
        // Whoever cannot keep these is stopped by the time for all.
        options.set_connect_timeout(Some(CONNECT_NS)).ok();
        options.set_first_byte_timeout(Some(ANSWER_NS)).ok();
        let (writer, reader) = wit_stream::new();
        let (_, trailers) = wit_future::new(|| Ok(None));
        let headers = Fields::from_list(&headers).ok()?;
        let (request, _) = Request::new(headers, Some(reader), trailers, Some(options));
        let scheme = match self.endpoint.is_secure() {
            true => Scheme::Https,
            false => Scheme::Http,
        };
        request.set_method(&Method::Post).ok()?;
        request.set_scheme(Some(&scheme)).ok()?;
        request
            .set_authority(Some(self.endpoint.authority()))
            .ok()?;
        request
            .set_path_with_query(Some(self.endpoint.path_with_query()))
            .ok()?;
        Some((request, writer))
    }
}

type Headed = (Request, wit_bindgen::StreamWriter<u8>);

impl Receiver for Destination {
    fn name(&self) -> String {
        self.endpoint.digest()
    }

    fn takes(&self, channel: &str) -> bool {
        self.channels.match_channel(channel)
    }

    async fn send(&self, batch: &Batch) -> Answer {
        let away = Answer::Away { after_ms: None };
        let payload = batch.payload(feed::envelope);
        let Some((request, mut writer)) = self.request(batch, &payload) else {
            return away;
        };
        let writing = async move {
            writer.write_all(payload.into_bytes()).await;
            drop(writer);
            // The answer ends it, which may come before all was written.
            pending::<()>().await;
        };
        let (sending, writing) = (pin!(client::send(request)), pin!(writing));
        let exchange = select(sending, writing);
        let late = monotonic_clock::wait_for(CONNECT_NS + ANSWER_NS);
        let (answer, what) = match select(exchange, pin!(late)).await {
            Either::Left((Either::Left((Ok(response), _)), _)) => {
                let status = response.get_status_code();
                let after = response.get_headers().get("retry-after").into_iter().next();
                let after = after.and_then(|value| String::from_utf8(value).ok());
                let answer = Answer::of(status, after.as_deref(), clock::now());
                (answer, format!("it answered {status}"))
            }
            Either::Left((Either::Left((Err(error), _)), _)) => (away, format!("{error:?}")),
            _ => (away, "it did not answer".to_owned()),
        };
        match answer {
            Answer::Accepted => {}
            Answer::Gone => eprintln!("the webhook's endpoint is gone: nothing more is sent to it"),
            _ => eprintln!("the webhook's endpoint did not take a batch: {what}"),
        }
        answer
    }
}

impl webhook::World for World {
    type Watch = Watch;

    fn uptime(&self) -> u64 {
        clock::uptime()
    }

    fn watch(&self) -> Watch {
        Watch::new(KEY)
    }

    fn notify(&self) {
        wakeup::notify(KEY);
    }

    async fn hinted(&self, watch: &Watch, idle: u32, wait_ms: u32) {
        if watch.wait(idle, wait_ms).await == Outcome::Closing {
            // From now on it returns at once.
            mailbox::Env::sleep(self, wait_ms.min(1_000)).await;
        }
    }
}

fn detail(error: Error) -> String {
    match error {
        Error::Unavailable(why) => why,
        other => format!("{other:?}"),
    }
}
