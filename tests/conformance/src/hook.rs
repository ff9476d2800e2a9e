//! The endpoint of a webhook: takes what the host sends, and checks its signature as the standard has it, with another
//! library than the host's.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// What a deployment is told as its `webhook_secret`.
pub const HOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What an endpoint does with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It answers this, after it took what was sent if it is 2xx.
    Status(u16),
    /// That it is to be asked again after so many seconds.
    Later(u64),
    /// It takes what was sent and closes the connection instead of answering.
    Taken,
    /// It takes nothing and closes the connection.
    Cut,
    /// It never answers.
    Nothing,
}

/// An attempt.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The header `webhook-id`.
    pub id: String,
    /// The channel.
    pub channel: String,
    /// The envelopes' texts.
    pub envelopes: Vec<String>,
    /// `[after, resumed]`.
    pub gap: Option<(u64, u64)>,
    /// When it came.
    pub at: Instant,
    /// What became of it.
    pub said: Said,
}

type Saying = Box<dyn Fn(usize, &str) -> Said + Send>;

struct Inner {
    saying: Mutex<Saying>,
    attempts: Mutex<Vec<Attempt>>,
    faults: Mutex<Vec<String>>,
    came: Notify,
}

/// An endpoint that listens; dropping it ends that, and cuts what is open.
pub struct Hook {
    address: SocketAddr,
    inner: Arc<Inner>,
    accepting: AbortHandle,
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Hook {
    /// An endpoint that says this to attempts, by their number from 0 and their channel.
    ///
    /// # Errors
    /// Where it cannot listen.
    pub async fn start(saying: impl Fn(usize, &str) -> Said + Send + 'static) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner {
            saying: Mutex::new(Box::new(saying)),
            attempts: Mutex::default(),
            faults: Mutex::default(),
            came: Notify::new(),
        });
        let accepting = tokio::spawn({
            let inner = Arc::clone(&inner);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let inner = Arc::clone(&inner);
                    let service = service_fn(move |request| take(Arc::clone(&inner), request));
                    let serving = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    // A connection that is cut is what some tests are about.
                    tokio::spawn(async move { serving.await.ok() });
                }
            }
        });
        Ok(Self {
            address,
            inner,
            accepting: accepting.abort_handle(),
        })
    }

    /// The variables of a deployment that sends here.
    #[must_use]
    pub fn variables(&self) -> [String; 4] {
        [
            "webhook_scheme=http".to_owned(),
            format!("webhook_host={}", self.address),
            "webhook_path=/hook?key=secret".to_owned(),
            format!("webhook_secret={HOOK_SECRET}"),
        ]
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on says something else.
    pub fn say(&self, saying: impl Fn(usize, &str) -> Said + Send + 'static) {
        *lock(&self.inner.saying) = Box::new(saying);
    }

    /// What came so far, in the order in which it came.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempt> {
        lock(&self.inner.attempts).clone()
    }

    /// What was taken, each batch once, in the order in which they came first.
    #[must_use]
    pub fn taken(&self) -> Vec<Attempt> {
        let mut taken: Vec<Attempt> = Vec::new();
        for attempt in self.attempts() {
            let is_taken = matches!(attempt.said, Said::Status(200..=299) | Said::Taken);
            if is_taken && !taken.iter().any(|known| known.id == attempt.id) {
                taken.push(attempt);
            }
        }
        taken
    }

    /// The envelopes of a channel that were taken, each once, in the order in which they came first.
    #[must_use]
    pub fn envelopes(&self, channel: &str) -> Vec<String> {
        let taken = self.taken().into_iter();
        taken
            .filter(|attempt| attempt.channel == channel)
            .flat_map(|attempt| attempt.envelopes)
            .collect()
    }

    /// Waits until something holds of what came; an attempt that is not as it has to be is an error.
    ///
    /// # Errors
    /// Where it does not hold within two minutes.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let waiting = async {
            loop {
                let came = self.inner.came.notified();
                if let Some(fault) = lock(&self.inner.faults).first() {
                    bail!("{fault}");
                }
                if holds(self) {
                    return Ok(());
                }
                came.await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(120), waiting).await;
        waited.with_context(|| format!("it does not hold: {:#?}", self.attempts()))?
    }
}

async fn take(
    inner: Arc<Inner>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let said = match read(request).await {
        Ok(mut attempt) => {
            let number = lock(&inner.attempts).len();
            let said = lock(&inner.saying)(number, &attempt.channel);
            attempt.said = said;
            lock(&inner.attempts).push(attempt);
            said
        }
        Err(error) => {
            lock(&inner.faults).push(format!("{error:#}"));
            Said::Status(400)
        }
    };
    inner.came.notify_waiters();
    let answer = match said {
        Said::Status(status) => Response::builder().status(status),
        Said::Later(seconds) => Response::builder()
            .status(503)
            .header("retry-after", seconds),
        Said::Taken | Said::Cut => return Err(std::io::Error::other("it is cut")),
        Said::Nothing => pending().await,
    };
    answer.body(Full::default()).map_err(std::io::Error::other)
}

/// An attempt, checked as a receiver has to.
async fn read(request: Request<Incoming>) -> Result<Attempt> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let target = head.uri.to_string();
    ensure!(
        head.method == "POST" && target == "/hook?key=secret",
        "{head:?}"
    );
    let header = |name: &str| -> Result<String> {
        let value = head
            .headers
            .get(name)
            .with_context(|| format!("no {name}"))?;
        Ok(value.to_str()?.to_owned())
    };
    ensure!(header("content-type")? == "application/json", "{head:?}");
    let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    ensure!(
        now.abs_diff(timestamp.parse()?) < 300,
        "{timestamp} at {now}"
    );
    let text = std::str::from_utf8(&body)?;
    let key = STANDARD.decode(HOOK_SECRET.trim_start_matches("whsec_"))?;
    let mac = hmac_sha256::HMAC::mac(format!("{id}.{timestamp}.{text}"), key);
    let signature = format!("v1,{}", STANDARD.encode(mac));
    ensure!(header("webhook-signature")? == signature, "{head:?}");
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Payload<'a> {
        r#type: String,
        timestamp: String,
        #[serde(borrow)]
        data: Data<'a>,
    }
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Data<'a> {
        channel: String,
        #[serde(borrow)]
        envelopes: Vec<&'a RawValue>,
        gap: Option<Value>,
    }
    let payload: Payload = serde_json::from_str(text).context(text.to_owned())?;
    ensure!(payload.r#type == "messages", "{text}");
    ensure!(payload.timestamp.ends_with('Z'), "{text}");
    let offset = |gap: &Value, name: &str| gap[name].as_u64().unwrap_or_default();
    let gap = payload.data.gap;
    Ok(Attempt {
        id,
        channel: payload.data.channel,
        envelopes: payload
            .data
            .envelopes
            .iter()
            .map(|text| text.get().to_owned())
            .collect(),
        gap: gap.map(|gap| (offset(&gap, "after"), offset(&gap, "resumed"))),
        at: Instant::now(),
        said: Said::Nothing,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
