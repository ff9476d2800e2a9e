//! What a host counts, for those who run it.
//!
//! A host knows nothing of messages, and counts what it sees: requests by their route, what components write into
//! the bodies of responses, which keys are notified, how long the store takes. What goes on in a component is
//! counted by adding to numbers of its own, without a lock; all is put together when somebody asks.

mod family;
mod instruments;
mod process;
mod requests;
pub(crate) mod text;
mod turns;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(crate) use self::family::{Family, Kind, Unit, Value};
pub(crate) use self::instruments::{BOUNDS, Counter, Gauge, Histogram};
pub(crate) use self::requests::{OTHER, Requests, named};
pub(crate) use self::turns::Turns;
use crate::answer::Refusal;
use crate::bindings::witter::messaging::wakeup::Outcome;
use crate::store::{OPERATIONS, Store};
use crate::telemetry::Dropped;
use crate::wakeup::Wakeups;

/// What a host counts of itself.
#[derive(Debug)]
pub(crate) struct Metrics {
    begun: SystemTime,
    pub(crate) requests: Requests,
    /// What the host refused itself, by [`Refusal::REASONS`].
    refused: [Counter; Refusal::REASONS.len()],
    pub(crate) connections: Gauge,
    pub(crate) accepted: Counter,
    /// Connections, or streams of HTTP/2, that carry bytes both ways.
    pub(crate) upgraded: Gauge,
    pub(crate) upgrades: Counter,
}

/// What a host counts of one component, in all its instances.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) written: Written,
    /// By the kind of key.
    keys: [Keys; KINDS.len()],
    /// From a notification of a channel's log until whoever waits for it goes on.
    pub(crate) delays: Histogram,
    /// How long the instance was kept busy before it waited for something again.
    pub(crate) turns: Histogram,
    pub(crate) instances: Counter,
    pub(crate) traps: Counter,
    /// Bytes of linear memory.
    pub(crate) memory: Gauge,
    pub(crate) sent: Histogram,
    pub(crate) send_failures: Counter,
}

/// What a key may be of: a channel's log, or something else.
const KINDS: [&str; 2] = ["channel", "other"];

/// What went on with keys of one kind.
#[derive(Debug, Default)]
struct Keys {
    notified: Counter,
    woken: Counter,
    timed_out: Counter,
}

/// What a component wrote into bodies. Counted for every write by whichever thread sends it: on a line of the
/// processors' caches that has nothing else.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Written {
    pub(crate) writes: Counter,
    pub(crate) bytes: Counter,
}

/// What there is beside the counters when all is put together.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) store: Option<&'a Store>,
    pub(crate) wakeups: Option<&'a Wakeups>,
    pub(crate) components: &'a [SeenComponent<'a>],
    /// Whether requests are taken.
    pub(crate) ready: bool,
    pub(crate) dropped: &'a Dropped,
}

/// A component as it is at some moment.
#[derive(Clone, Copy)]
pub(crate) struct SeenComponent<'a> {
    pub(crate) id: &'a str,
    pub(crate) counters: &'a Counters,
    pub(crate) instances: u64,
    /// Requests that wait for their response, and bodies that are open.
    pub(crate) open: u64,
}

impl Metrics {
    /// Nothing was counted yet of these routes.
    pub(crate) fn new<'a>(routes: impl IntoIterator<Item = &'a str>, scheme: &'static str) -> Self {
        Self {
            begun: SystemTime::now(),
            requests: Requests::new(routes, scheme),
            refused: Default::default(),
            connections: Gauge::default(),
            accepted: Counter::default(),
            upgraded: Gauge::default(),
            upgrades: Counter::default(),
        }
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        let reason = refusal.reason();
        let at = Refusal::REASONS.iter().position(|other| *other == reason);
        if let Some(counter) = at.and_then(|at| self.refused.get(at)) {
            counter.increment();
        }
    }

    /// All there is to tell at this moment.
    pub(crate) fn families(&self, seen: Seen<'_>) -> Vec<Family> {
        let mut families = vec![
            self.requests.family(),
            self.refusals(),
            counter(
                "witter.connections.accepted",
                "Connections that were taken since the host began",
            )
            .with([], self.accepted.get()),
            gauge("witter.connections", "Connections that are open")
                .with([], self.connections.get()),
            counter(
                "witter.upgrades",
                "Connections, or streams of HTTP/2, that were upgraded to a WebSocket",
            )
            .with([], self.upgrades.get()),
            gauge(
                "witter.upgraded",
                "Connections, or streams of HTTP/2, that are WebSockets now",
            )
            .with([], self.upgraded.get()),
            gauge(
                "witter.ready",
                "1 while the host is ready to serve; 0 while it begins or stops",
            )
            .with([], u64::from(seen.ready)),
            counter(
                "witter.telemetry.dropped",
                "What no collector was told: it was away, or slow; spans, or sets of metrics",
            )
            .with([("signal", "traces".into())], seen.dropped.spans.get())
            .with([("signal", "metrics".into())], seen.dropped.metrics.get()),
            gauge("witter.build", "1, of the version that runs")
                .with([("version", env!("CARGO_PKG_VERSION").into())], 1),
            Family::new(
                "process.start_time",
                Kind::Gauge,
                Unit::Seconds,
                "When the host began, since 1970",
            )
            .with([], since_1970(self.begun).as_secs_f64()),
        ];
        if let Some(store) = seen.store {
            families.extend(of_store(store));
        }
        if let Some(wakeups) = seen.wakeups {
            families.extend([
                gauge("witter.wakeup.keys", "Keys that somebody waits for")
                    .with([], wakeups.keys_watched()),
                counter(
                    "witter.wakeup.heard",
                    "Notifications that came from other hosts of the same Redis",
                )
                .with([], wakeups.heard()),
            ]);
        }
        families.extend(of_components(seen.components));
        families.extend(process::families());
        families
    }

    fn refusals(&self) -> Family {
        let family = counter(
            "witter.refusals",
            "Requests and connections that the host refused itself, before or in place of a component",
        );
        Refusal::REASONS
            .iter()
            .zip(&self.refused)
            .fold(family, |family, (reason, count)| {
                family.with([("reason", Cow::Borrowed(*reason))], count.get())
            })
    }

    /// When counting began.
    pub(crate) fn begun(&self) -> SystemTime {
        self.begun
    }
}

/// One that is counted for as long as it is held.
pub(crate) struct Held {
    metrics: Arc<Metrics>,
    gauge: fn(&Metrics) -> &Gauge,
}

impl Held {
    pub(crate) fn of(metrics: &Arc<Metrics>, gauge: fn(&Metrics) -> &Gauge) -> Self {
        gauge(metrics).add(1);
        Self {
            metrics: metrics.clone(),
            gauge,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.gauge)(&self.metrics).subtract(1);
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

impl Counters {
    /// A key was notified.
    pub(crate) fn notified(&self, key: &str) {
        self.keys[kind(key)].notified.increment();
    }

    /// A wait for a key has ended.
    pub(crate) fn waited(&self, key: &str, outcome: Outcome, delay: Option<Duration>) {
        let kind = kind(key);
        match outcome {
            Outcome::Changed => self.keys[kind].woken.increment(),
            Outcome::TimedOut => self.keys[kind].timed_out.increment(),
            Outcome::Closing => {}
        }
        if let (0, Some(delay)) = (kind, delay) {
            self.delays.observe(delay);
        }
    }
}

/// Of which of the [`KINDS`] a key is: one without a slash is the name of a channel.
fn kind(key: &str) -> usize {
    usize::from(key.contains('/'))
}

fn of_store(store: &Store) -> [Family; 3] {
    let system = store.system();
    let mut durations = Family::new(
        "db.client.operation.duration",
        Kind::Histogram,
        Unit::Seconds,
        "Time that the store took for an operation, whether it succeeded or not",
    );
    let mut failures = counter(
        "witter.store.failures",
        "Operations that the store did not do: it was away, or refused them",
    );
    for (operation, name) in OPERATIONS {
        let labels = || {
            [
                ("db.system.name", system.into()),
                ("db.operation.name", name.into()),
            ]
        };
        let measured = store.measured(operation);
        durations = durations.with(labels(), measured.durations.get());
        failures = failures.with(labels(), measured.failures.get());
    }
    let lost = counter(
        "witter.store.swaps.lost",
        "Swaps that found another value than they expected: somebody else was first",
    );
    let lost = lost.with([("db.system.name", system.into())], store.swaps_lost());
    [durations, failures, lost]
}

fn of_components(components: &[SeenComponent<'_>]) -> Vec<Family> {
    let mut open = gauge(
        "witter.responses.open",
        "Responses that a component has begun and not ended, or not begun: of a transport, its readers",
    );
    let mut writes = counter(
        "witter.response.writes",
        "Writes of a component into responses: of a stream, a message or several that came together, or a heartbeat",
    );
    let mut bytes = Family::new(
        "witter.response.written",
        Kind::Counter,
        Unit::Bytes,
        "Bytes of those writes",
    );
    let mut notified = counter(
        "witter.wakeup.notifications",
        "Keys that a component notified: of a channel's log, one for each request to publish that stored something or had before",
    );
    let mut waits = counter("witter.wakeup.waits", "Waits for a key that ended, by how");
    let mut delays = Family::new(
        "witter.wakeup.delay",
        Kind::Histogram,
        Unit::Seconds,
        "From the first notification of a channel's log that somebody who waits has not seen until they go on",
    );
    let mut turns = Family::new(
        "witter.instance.turn",
        Kind::Histogram,
        Unit::Seconds,
        "How long an instance was kept busy at once; the sum over time is the share of a core that it takes",
    );
    let mut instances = gauge("witter.instances", "Instances that live");
    let mut started = counter("witter.instances.started", "Instances that were made");
    let mut traps = counter(
        "witter.instances.traps",
        "Instances that ended by a fault, and took the requests in them along",
    );
    let mut memory = Family::new(
        "witter.instances.memory",
        Kind::Gauge,
        Unit::Bytes,
        "Linear memory of the instances that live",
    );
    let mut sent = Family::new(
        "http.client.request.duration",
        Kind::Histogram,
        Unit::Seconds,
        "Requests that a component sent, until the head of the response was there, or there was none",
    );
    let mut failures = counter(
        "witter.outbound.failures",
        "Requests of a component that were not allowed or got no response",
    );
    for component in components {
        let counters = component.counters;
        let label = || ("component", Cow::Owned(component.id.to_owned()));
        open = open.with([label()], component.open);
        writes = writes.with([label()], counters.written.writes.get());
        bytes = bytes.with([label()], counters.written.bytes.get());
        for (kind, keys) in KINDS.into_iter().zip(&counters.keys) {
            let key = || ("key", Cow::from(kind));
            let outcome = |told| ("outcome", Cow::from(told));
            notified = notified.with([label(), key()], keys.notified.get());
            waits = waits
                .with([label(), key(), outcome("changed")], keys.woken.get())
                .with([label(), key(), outcome("timed-out")], keys.timed_out.get());
        }
        delays = delays.with([label()], counters.delays.get());
        turns = turns.with([label()], counters.turns.get());
        instances = instances.with([label()], component.instances);
        started = started.with([label()], counters.instances.get());
        traps = traps.with([label()], counters.traps.get());
        memory = memory.with([label()], counters.memory.get());
        let seen = counters.sent.get();
        // Most components send none.
        if seen.count() > 0 {
            sent = sent.with([label()], seen);
            failures = failures.with([label()], counters.send_failures.get());
        }
    }
    vec![
        open, writes, bytes, notified, waits, delays, turns, instances, started, traps, memory,
        sent, failures,
    ]
}

fn counter(name: &'static str, help: &'static str) -> Family {
    Family::new(name, Kind::Counter, Unit::None, help)
}

fn gauge(name: &'static str, help: &'static str) -> Family {
    Family::new(name, Kind::Gauge, Unit::None, help)
}

pub(crate) fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
