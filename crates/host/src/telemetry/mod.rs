//! Traces and metrics for a collector of OpenTelemetry, by OTLP over HTTP, as JSON.
//!
//! JSON, because all that it takes is linked anyway; OpenTelemetry's own libraries would have wasmtime compiled with
//! other features, and add more than twenty others. A collector that is away, or slow, costs what waits for it: so
//! many spans at most, and those beyond are counted and dropped. Nothing that is asked for is told but its route.

mod context;
mod encode;
mod export;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::context::Context;
use self::export::Exporter;
use crate::metrics::Counter;
use crate::operating::Operating;
use crate::options::seconds;

/// The most spans that wait to be sent: about a megabyte.
const WAITING: usize = 2048;

/// How long the last of them may take when the host stops.
const LAST: Duration = Duration::from_secs(2);

/// Whether and how others are told.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// A collector of OpenTelemetry that traces and metrics are sent to, by OTLP over HTTP: `http://HOST:4318`
    /// [default: none]
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp: Option<Uri>,

    /// Headers that the collector wants, as `NAME=VALUE,NAME=VALUE`; for secrets the environment is better
    #[arg(long, value_name = "HEADERS", env = "OTEL_EXPORTER_OTLP_HEADERS", value_parser = export::headers, hide_env_values = true)]
    pub otlp_headers: Option<HeaderMap>,

    /// What the collector knows this host as
    #[arg(
        long,
        value_name = "NAME",
        env = "OTEL_SERVICE_NAME",
        default_value = "witter"
    )]
    pub otlp_service: String,

    /// How many of the requests are traced that no traced request brought about: from 0 to 1
    #[arg(long, value_name = "RATIO", env = "OTEL_TRACES_SAMPLER_ARG", value_parser = ratio, default_value = "0.01")]
    pub otlp_ratio: f64,

    /// How often metrics are sent
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    pub otlp_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            otlp: None,
            otlp_headers: None,
            otlp_service: "witter".to_owned(),
            otlp_ratio: 0.01,
            otlp_interval: Duration::from_secs(60),
        }
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("not a number from 0 to 1".to_owned()),
    }
}

/// A request that was answered, as it is told.
#[derive(Debug)]
struct Span {
    context: Context,
    /// What brought it about, elsewhere.
    parent: Option<u64>,
    begun: SystemTime,
    ended: SystemTime,
    method: Method,
    route: Option<Box<str>>,
    status: StatusCode,
}

/// What could not be told.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    pub(crate) spans: Counter,
    pub(crate) metrics: Counter,
}

/// Begins spans, and takes them when they have ended. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Tracer {
    spans: mpsc::Sender<Span>,
    dropped: Arc<Dropped>,
    ratio: f64,
}

/// A request that is being answered, and traced.
#[derive(Debug)]
pub(crate) struct Tracing<'a> {
    tracer: &'a Tracer,
    context: Context,
    parent: Option<u64>,
    begun: SystemTime,
}

impl Tracer {
    /// Begins a span for a request, if it is to be traced: as whoever sent it has decided, or by chance. Those who
    /// are sent the request on see it as theirs.
    pub(crate) fn begin(&self, headers: &mut HeaderMap) -> Option<Tracing<'_>> {
        let parent = Context::of(headers);
        let is_traced = match &parent {
            Some(parent) => parent.is_traced,
            None => fastrand::f64() < self.ratio,
        };
        if !is_traced {
            return None;
        }
        let context = Context::below(parent.as_ref());
        context.write(headers);
        Some(Tracing {
            tracer: self,
            context,
            parent: parent.map(|parent| parent.span),
            begun: SystemTime::now(),
        })
    }
}

impl Tracing<'_> {
    /// The head of the response is there.
    pub(crate) fn end(self, method: &Method, route: Option<&str>, status: StatusCode) {
        let span = Span {
            context: self.context,
            parent: self.parent,
            begun: self.begun,
            ended: SystemTime::now(),
            method: method.clone(),
            route: route.map(Box::from),
            status,
        };
        if self.tracer.spans.try_send(span).is_err() {
            self.tracer.dropped.spans.increment();
        }
    }
}

/// What is told to a collector, until it is dropped.
#[derive(Debug)]
pub(crate) struct Telemetry {
    tracer: Tracer,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Telemetry {
    /// Tells, where the options name a collector. Whether it is there, nobody waits to see.
    ///
    /// # Errors
    /// Where the URL is unusable.
    pub(crate) fn begin(
        options: &Options,
        operating: Arc<Operating>,
        dropped: Arc<Dropped>,
    ) -> anyhow::Result<Option<Self>> {
        let Some(url) = &options.otlp else {
            return Ok(None);
        };
        let exporter = Exporter::new(url, options)?;
        let (sender, spans) = mpsc::channel(WAITING);
        let (stop, stopped) = oneshot::channel();
        let told = dropped.clone();
        let task =
            tokio::spawn(exporter.run(spans, operating, told, options.otlp_interval, stopped));
        Ok(Some(Self {
            tracer: Tracer {
                spans: sender,
                dropped,
                ratio: options.otlp_ratio,
            },
            stop,
            task,
        }))
    }

    pub(crate) fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// Sends what still waits, for as long as that is worth it.
    pub(crate) async fn finish(self) {
        let Self { stop, mut task, .. } = self;
        stop.send(()).ok();
        if timeout(LAST, &mut task).await.is_err() {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracer(ratio: f64) -> (Tracer, mpsc::Receiver<Span>) {
        let (spans, received) = mpsc::channel(1);
        let tracer = Tracer {
            spans,
            dropped: Arc::default(),
            ratio,
        };
        (tracer, received)
    }

    #[test]
    fn whoever_sent_a_request_decides_and_else_the_ratio() {
        let headers = |parent: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(parent) = parent {
                headers.insert("traceparent", http::HeaderValue::from_static(parent));
            }
            headers
        };
        let traced = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let untraced = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        for (ratio, parent, expected) in [
            (0.0, None, false),
            (0.0, Some(traced), true),
            (0.0, Some(untraced), false),
            (1.0, None, true),
            (1.0, Some(untraced), false),
            (1.0, Some("nonsense"), true),
        ] {
            let (tracer, _received) = tracer(ratio);
            let mut sent = headers(parent);
            let begun = tracer.begin(&mut sent).is_some();
            assert_eq!(begun, expected, "{ratio} {parent:?}");
            // Nobody else is told of a span that is not.
            assert_eq!(sent == headers(parent), !expected, "{ratio} {parent:?}");
        }
    }

    #[test]
    fn what_nobody_takes_is_counted_and_dropped() {
        let (tracer, mut received) = tracer(1.0);
        for _ in 0..3 {
            let tracing = tracer.begin(&mut HeaderMap::new()).expect("all are traced");
            tracing.end(&Method::GET, Some("/a"), StatusCode::OK);
        }
        assert_eq!(tracer.dropped.spans.get(), 2);
        assert!(received.try_recv().is_ok() && received.try_recv().is_err());
    }

    #[test]
    fn a_ratio_is_one() {
        for (text, expected) in [("0", Some(0.0)), ("0.25", Some(0.25)), ("1", Some(1.0))] {
            assert_eq!(ratio(text).ok(), expected);
        }
        for text in ["", "-0.1", "1.1", "nan", "all"] {
            assert!(ratio(text).is_err(), "{text}");
        }
    }
}
