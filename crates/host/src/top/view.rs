//! What is shown of a host.

use console::{Style, measure_text_width, truncate_str};

use super::Recent;
use super::scrape::{Scrape, quantile};
use super::table::{self, Cell, Column};

/// What happened between two moments, and what there was at the later one.
pub(super) struct Now<'a> {
    later: &'a Scrape,
    earlier: Option<&'a Scrape>,
}

/// The rates of the last moments.
#[derive(Debug, Default)]
pub(super) struct History {
    publishes: Recent,
    deliveries: Recent,
    requests: Recent,
}

const NOTIFICATIONS: &str = "witter_wakeup_notifications_total";
const WRITES: &str = "witter_response_writes_total";
const REQUESTS: &str = "http_server_request_duration_seconds";
const STORE: &str = "db_client_operation_duration_seconds";
const OPEN: &str = "witter_responses_open";
const CHANNEL: (&str, &str) = ("key", "channel");

impl<'a> Now<'a> {
    pub(super) fn new(later: &'a Scrape, earlier: Option<&'a Scrape>) -> Self {
        Self { later, earlier }
    }

    /// How often in a second. None: nothing is known of before, or the host began anew.
    fn rate(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let earlier = self.earlier?;
        let seconds = self.later.since(earlier).as_secs_f64();
        let more = self.later.sum(name, labels) - earlier.sum(name, labels);
        (seconds > 0.0 && more >= 0.0).then(|| more / seconds)
    }

    /// Of what happened in between.
    fn quantile(&self, share: f64, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut buckets = self.later.buckets(name, labels);
        for (bound, before) in self.earlier?.buckets(name, labels) {
            if let Some((_, count)) = buckets.iter_mut().find(|(other, _)| *other == bound) {
                *count -= before;
            }
        }
        quantile(share, &buckets)
    }

    /// Components that wait for channels: what they write is delivered.
    fn readers(&self) -> impl Iterator<Item = String> {
        let waits = "witter_wakeup_waits_total";
        let components = self.later.values_of(waits, "component");
        components.into_iter().filter(move |component| {
            let of = [("component", component.as_str()), CHANNEL];
            self.later.sum(waits, &of) > 0.0
        })
    }

    fn deliveries(&self) -> Option<f64> {
        together(
            self.readers()
                .map(|component| self.rate(WRITES, &[("component", &component)])),
        )
    }

    /// Answers whose status begins with this digit.
    fn answers(&self, class: char) -> Option<f64> {
        const STATUS: &str = "http_response_status_code";
        let count = format!("{REQUESTS}_count");
        let statuses = self.later.values_of(&count, STATUS);
        let of = statuses.iter().filter(|status| status.starts_with(class));
        together(of.map(|status| self.rate(&count, &[(STATUS, status)])))
    }
}

/// The sum, if all of it is known.
fn together(mut rates: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    rates.try_fold(0.0, |sum, rate| Some(sum + rate?))
}

impl History {
    pub(super) fn push(&mut self, now: &Now<'_>, most: usize) {
        let rates = [
            (&mut self.publishes, now.rate(NOTIFICATIONS, &[CHANNEL])),
            (&mut self.deliveries, now.deliveries()),
            (
                &mut self.requests,
                now.rate(&format!("{REQUESTS}_count"), &[]),
            ),
        ];
        for (recent, rate) in rates {
            if let Some(rate) = rate {
                recent.push(rate, most);
            }
        }
    }
}

/// The lines, none longer than `width`, and where a screen has a height no more than fit on it.
pub(super) fn lines(
    now: &Now<'_>,
    history: &History,
    width: usize,
    height: Option<usize>,
    source: &str,
) -> Vec<String> {
    let mut lines = vec![title(now, source), String::new()];
    lines.extend(rates(now, history, width));
    lines.push(String::new());
    lines.extend(whole(now, width));
    for (columns, rows) in [components(now), store(now), routes(now)] {
        if !rows.is_empty() {
            lines.push(String::new());
            lines.extend(table::lines(&columns, &rows, width));
        }
    }
    if let Some(height) = height {
        lines.truncate(height);
    }
    lines
        .into_iter()
        .map(|line| truncate_str(&line, width, "…").into_owned())
        .collect()
}

fn title(now: &Now<'_>, source: &str) -> String {
    let version = now.later.all("witter_build").first();
    let version = version.map_or("", |sample| sample.label("version"));
    let ready = if now.later.value("witter_ready") == Some(1.0) {
        good().apply_to("ready")
    } else {
        bad().apply_to("stopping")
    };
    let up = now.later.value("process_start_time_seconds").map(|begun| {
        let since = crate::metrics::since_1970(std::time::SystemTime::now()).as_secs_f64() - begun;
        format!("   up {}", long(since))
    });
    let name = Style::new().bold().apply_to(format!("witter {version}"));
    format!("{name}   {source}   {ready}{}", up.unwrap_or_default())
}

/// What the host is there for: how much goes through it, and how late.
fn rates(now: &Now<'_>, history: &History, width: usize) -> Vec<String> {
    let delay = |share| now.quantile(share, "witter_wakeup_delay_seconds", &[]);
    let delays = match (delay(0.5), delay(0.99)) {
        (Some(half), Some(most)) => {
            format!("wakeup delay {} median, {} p99", short(half), short(most))
        }
        _ => "wakeup delay –".to_owned(),
    };
    let readers = now.readers().fold(0.0, |sum, component| {
        sum + now.later.sum(OPEN, &[("component", &component)])
    });
    let bytes = now.rate("witter_response_written_bytes_total", &[]);
    let written = bytes.map_or("–".to_owned(), |bytes| format!("{}/s", size(bytes)));
    let failed = failures(now);
    let rows = [
        (
            "publishes",
            now.rate(NOTIFICATIONS, &[CHANNEL]),
            &history.publishes,
            delays,
        ),
        (
            "deliveries",
            now.deliveries(),
            &history.deliveries,
            format!("to {} readers, {written}", count(readers)),
        ),
        (
            "requests",
            now.rate(&format!("{REQUESTS}_count"), &[]),
            &history.requests,
            failed,
        ),
    ];
    let heading = Style::new().cyan();
    let drawn = (width > 70).then(|| (width - 60).min(super::DRAWN));
    rows.into_iter()
        .map(|(name, rate, recent, note)| {
            let name = heading.apply_to(format!("{name:<11}"));
            let rate = Style::new()
                .bold()
                .apply_to(format!("{:>9}/s", per_second(rate)));
            let line = drawn.map_or(String::new(), |drawn| format!("  {}", curve(recent, drawn)));
            format!("{name} {rate}{line}  {note}")
        })
        .collect()
}

fn failures(now: &Now<'_>) -> String {
    let told = [
        ("5xx", now.answers('5')),
        ("4xx", now.answers('4')),
        ("refused", now.rate("witter_refusals_total", &[])),
        ("traps", now.rate("witter_instances_traps_total", &[])),
    ];
    let told: Vec<_> = told
        .into_iter()
        .map(|(what, rate)| {
            let text = format!("{what} {}/s", per_second(rate));
            let style = match rate {
                Some(rate) if rate > 0.0 && what != "4xx" => bad(),
                Some(rate) if rate > 0.0 => Style::new().yellow(),
                _ => Style::new().dim(),
            };
            style.apply_to(text).to_string()
        })
        .collect();
    told.join("  ")
}

/// The process, and its connections, in as many lines as it takes.
fn whole(now: &Now<'_>, width: usize) -> Vec<String> {
    let value = |name: &str| now.later.value(name);
    let cores = now.rate("process_cpu_seconds_total", &[]);
    let files = value("process_open_fds").zip(value("process_max_fds"));
    let parts = [
        (
            "processor",
            cores.map(|cores| format!("{:.0} %", cores * 100.0)),
        ),
        ("memory", value("process_resident_memory_bytes").map(size)),
        (
            "instances",
            Some(size(now.later.sum("witter_instances_memory_bytes", &[]))),
        ),
        ("connections", value("witter_connections").map(count)),
        ("upgraded", value("witter_upgraded").map(count)),
        (
            "files",
            files.map(|(open, most)| format!("{} of {}", count(open), count(most))),
        ),
        ("keys waited for", value("witter_wakeup_keys").map(count)),
    ];
    let heading = Style::new().cyan();
    let mut lines = vec![String::new()];
    for (name, told) in parts {
        let Some(told) = told else { continue };
        let part = format!("{} {told}", heading.apply_to(name));
        let last = lines.len() - 1;
        if lines[last].is_empty() {
            lines[last] = part;
        } else if measure_text_width(&lines[last]) + 3 + measure_text_width(&part) <= width {
            lines[last].push_str("   ");
            lines[last].push_str(&part);
        } else {
            lines.push(part);
        }
    }
    lines
}

const fn words(title: &'static str) -> Column {
    Column {
        title,
        dispensable: 0,
        words: true,
    }
}

const fn number(title: &'static str, dispensable: u8) -> Column {
    Column {
        title,
        dispensable,
        words: false,
    }
}

/// A row for each component that lives.
fn components(now: &Now<'_>) -> (Vec<Column>, Vec<Vec<Cell>>) {
    let columns = vec![
        words("component"),
        number("open", 0),
        number("writes/s", 0),
        number("publishes/s", 1),
        number("delay p50", 4),
        number("p99", 2),
        number("busy", 1),
        number("memory", 3),
        number("instances", 5),
        number("traps", 6),
    ];
    let mut ids = now.later.values_of("witter_instances", "component");
    ids.retain(|id| now.later.sum("witter_instances", &[("component", id)]) > 0.0);
    let rows = ids.iter().map(|id| {
        let of = [("component", id.as_str())];
        let delay = |share| now.quantile(share, "witter_wakeup_delay_seconds", &of);
        let busy = now.rate("witter_instance_turn_seconds_sum", &of);
        let instances = now.later.sum("witter_instances", &of);
        let traps = now.later.sum("witter_instances_traps_total", &of);
        vec![
            Cell::plain(id),
            some(count(now.later.sum(OPEN, &of))),
            some(per_second(now.rate(WRITES, &of))),
            some(per_second(now.rate(NOTIFICATIONS, &[of[0], CHANNEL]))),
            some(optional(delay(0.5), short)),
            some(optional(delay(0.99), short)),
            share(busy, instances),
            Cell::plain(size(now.later.sum("witter_instances_memory_bytes", &of))),
            Cell::plain(count(instances)),
            if traps > 0.0 {
                Cell::styled(count(traps), bad())
            } else {
                some(count(traps))
            },
        ]
    });
    (columns, rows.collect())
}

/// A row for each kind of operation that there was.
fn store(now: &Now<'_>) -> (Vec<Column>, Vec<Vec<Cell>>) {
    let columns = vec![
        words("store"),
        number("operations/s", 0),
        number("p50", 2),
        number("p99", 1),
        number("failed/s", 0),
    ];
    let total = format!("{STORE}_count");
    let mut operations = now.later.values_of(&total, "db_operation_name");
    let label = "db_operation_name";
    operations.retain(|name| now.later.sum(&total, &[(label, name)]) > 0.0);
    let system = now.later.all(&total).first();
    let system = system.map_or("", |sample| sample.label("db_system_name"));
    let rows = operations.iter().map(|name| {
        let of = [(label, name.as_str())];
        let failed = now.rate("witter_store_failures_total", &of);
        vec![
            Cell::plain(format!("{system} {name}")),
            some(per_second(now.rate(&total, &of))),
            some(optional(now.quantile(0.5, STORE, &of), short)),
            some(optional(now.quantile(0.99, STORE, &of), short)),
            if failed.is_some_and(|failed| failed > 0.0) {
                Cell::styled(per_second(failed), bad())
            } else {
                some(per_second(failed))
            },
        ]
    });
    (columns, rows.collect())
}

/// A row for each way in which requests were answered of late, the most frequent first.
fn routes(now: &Now<'_>) -> (Vec<Column>, Vec<Vec<Cell>>) {
    let columns = vec![
        words("requests"),
        number("status", 0),
        number("requests/s", 0),
        number("p50", 2),
        number("p99", 1),
    ];
    const LABELS: [&str; 3] = [
        "http_request_method",
        "http_route",
        "http_response_status_code",
    ];
    let total = format!("{REQUESTS}_count");
    let mut rows: Vec<(f64, Vec<Cell>)> = Vec::new();
    for sample in now.later.all(&total) {
        let of = LABELS.map(|label| (label, sample.label(label)));
        let Some(rate) = now.rate(&total, &of).filter(|rate| *rate > 0.0) else {
            continue;
        };
        let [method, route, status] = of.map(|(_, value)| value);
        let route = if route.is_empty() { "elsewhere" } else { route };
        let style = match status.as_bytes().first() {
            Some(b'5') => bad(),
            Some(b'4') => Style::new().yellow(),
            _ => Style::new(),
        };
        rows.push((
            rate,
            vec![
                Cell::plain(format!("{method} {route}")),
                Cell::styled(status, style),
                Cell::plain(per_second(Some(rate))),
                some(optional(now.quantile(0.5, REQUESTS, &of), short)),
                some(optional(now.quantile(0.99, REQUESTS, &of), short)),
            ],
        ));
    }
    rows.sort_by(|one, other| other.0.total_cmp(&one.0));
    (columns, rows.into_iter().map(|(_, row)| row).collect())
}

fn good() -> Style {
    Style::new().green()
}

fn bad() -> Style {
    Style::new().red().bold()
}

/// Nothing is dim.
fn some(text: String) -> Cell {
    let style = if matches!(text.as_str(), "0" | "–") {
        Style::new().dim()
    } else {
        Style::new()
    };
    Cell::styled(text, style)
}

/// How much of the cores that instances may use they do.
fn share(busy: Option<f64>, instances: f64) -> Cell {
    let Some(busy) = busy else {
        return some("–".to_owned());
    };
    let text = format!("{:.0} %", busy * 100.0);
    if busy > 0.8 * instances {
        Cell::styled(text, bad())
    } else {
        some(if busy < 0.005 { "0".to_owned() } else { text })
    }
}

fn optional(value: Option<f64>, told: impl Fn(f64) -> String) -> String {
    value.map_or("–".to_owned(), told)
}

fn per_second(rate: Option<f64>) -> String {
    optional(rate, |rate| {
        if rate > 0.0 && rate < 9.95 {
            format!("{rate:.1}")
        } else {
            count(rate)
        }
    })
}

/// With a mark for each thousand.
fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn size(bytes: f64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let (mut number, mut unit) = (bytes, 0);
    while number >= 1024.0 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    if unit > 0 && number < 9.95 {
        format!("{number:.1} {}", UNITS[unit])
    } else {
        format!("{number:.0} {}", UNITS[unit])
    }
}

/// A time that a part of something takes.
fn short(seconds: f64) -> String {
    let (number, unit) = match seconds {
        0.995.. => (seconds, "s"),
        0.000_995.. => (seconds * 1e3, "ms"),
        _ => (seconds * 1e6, "µs"),
    };
    if number < 9.95 && unit != "µs" {
        format!("{number:.1} {unit}")
    } else {
        format!("{number:.0} {unit}")
    }
}

/// A time that something lasts.
fn long(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// The last values as a line of bars, the newest on the right, the highest as high as a line.
fn curve(recent: &Recent, width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let values: Vec<f64> = recent.0.iter().rev().take(width).rev().copied().collect();
    let highest = values.iter().copied().fold(0.0, f64::max);
    let bars: String = values
        .iter()
        .map(|value| {
            let height = if highest > 0.0 { value / highest } else { 0.0 };
            BARS[((height * 7.0).round() as usize).min(7)]
        })
        .collect();
    let padding = " ".repeat(width - values.len());
    format!("{padding}{}", Style::new().green().apply_to(bars))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// A host with a store in a file, at two moments, a second apart.
    fn two() -> (Scrape, Scrape) {
        let text = |more: u64| {
            format!(
                r#"witter_build{{version="1.2.3"}} 1
witter_ready 1
process_start_time_seconds 1700000000
process_cpu_seconds_total {cpu}
process_resident_memory_bytes 104857600
process_open_fds 1210
process_max_fds 524288
witter_connections 1204
witter_upgraded 604
witter_wakeup_keys 12
witter_refusals_total{{reason="too-many-guests"}} {refused}
witter_instances{{component="sse"}} 2
witter_instances{{component="publish"}} 1
witter_instances{{component="chat"}} 0
witter_instances_memory_bytes{{component="sse"}} 10485760
witter_instance_turn_seconds_sum{{component="sse"}} {busy}
witter_responses_open{{component="sse"}} 600
witter_response_writes_total{{component="sse"}} {writes}
witter_response_writes_total{{component="publish"}} {publishes}
witter_response_written_bytes_total{{component="sse"}} {bytes}
witter_wakeup_waits_total{{component="sse",key="channel",outcome="changed"}} {publishes}
witter_wakeup_waits_total{{component="publish",key="channel",outcome="changed"}} 0
witter_wakeup_waits_total{{component="publish",key="other",outcome="changed"}} 5
witter_wakeup_notifications_total{{component="publish",key="channel"}} {publishes}
witter_wakeup_notifications_total{{component="publish",key="other"}} 0
witter_wakeup_delay_seconds_bucket{{component="sse",le="0.001"}} {publishes}
witter_wakeup_delay_seconds_bucket{{component="sse",le="+Inf"}} {publishes}
db_client_operation_duration_seconds_bucket{{db_system_name="sqlite",db_operation_name="swap",le="0.0001"}} {publishes}
db_client_operation_duration_seconds_bucket{{db_system_name="sqlite",db_operation_name="swap",le="+Inf"}} {publishes}
db_client_operation_duration_seconds_count{{db_system_name="sqlite",db_operation_name="swap"}} {publishes}
db_client_operation_duration_seconds_count{{db_system_name="sqlite",db_operation_name="keys"}} 0
witter_store_failures_total{{db_system_name="sqlite",db_operation_name="swap"}} 0
http_server_request_duration_seconds_bucket{{http_request_method="POST",http_route="/witter/publish",http_response_status_code="201",le="0.001"}} {publishes}
http_server_request_duration_seconds_bucket{{http_request_method="POST",http_route="/witter/publish",http_response_status_code="201",le="+Inf"}} {publishes}
http_server_request_duration_seconds_count{{http_request_method="POST",http_route="/witter/publish",http_response_status_code="201"}} {publishes}
http_server_request_duration_seconds_count{{http_request_method="GET",http_response_status_code="404"}} {refused}
"#,
                cpu = 10.0 + more as f64 / 2.0,
                busy = 5.0 + 1.8 * more as f64,
                refused = 3 + 2 * more,
                writes = 1_000 + 120_000 * more,
                bytes = 2_000 + (24 << 20) * more,
                publishes = 50 + 200 * more,
            )
        };
        let at = Instant::now();
        let later = Scrape::read(&text(1), at + Duration::from_secs(1));
        (Scrape::read(&text(0), at), later)
    }

    fn told(width: usize, height: Option<usize>) -> Vec<String> {
        let (earlier, later) = two();
        let now = Now::new(&later, Some(&earlier));
        let mut history = History::default();
        history.push(&now, 8);
        lines(&now, &history, width, height, "127.0.0.1:9464")
            .iter()
            .map(|line| console::strip_ansi_codes(line).into_owned())
            .collect()
    }

    #[test]
    fn a_wide_screen_shows_rates_readers_delays_the_store_and_what_was_refused() {
        let told = told(120, None);
        let has = |parts: &[&str]| {
            let found = told
                .iter()
                .any(|line| parts.iter().all(|part| line.contains(part)));
            assert!(found, "{parts:?}\n{}", told.join("\n"));
        };
        has(&["witter 1.2.3", "127.0.0.1:9464", "ready", "up "]);
        has(&[
            "publishes",
            "200/s",
            "█",
            "wakeup delay 500 µs median, 990 µs p99",
        ]);
        // What the component that publishes writes is no delivery.
        has(&["deliveries", "120,000/s", "to 600 readers, 24 MiB/s"]);
        has(&["requests", "202/s", "5xx 0/s", "4xx 2.0/s", "refused 2.0/s"]);
        has(&["processor 50 %", "memory 100 MiB", "files 1,210 of 524,288"]);
        has(&["sse", "600", "120,000", "500 µs", "180 %", "10 MiB", "2"]);
        has(&["sqlite swap", "200", "50 µs", "99 µs"]);
        has(&["POST /witter/publish", "201", "200"]);
        has(&["GET elsewhere", "404", "2.0"]);
        assert!(
            !told.iter().any(|line| line.contains("chat")),
            "it does not live"
        );
    }

    #[test]
    fn nothing_is_wider_or_higher_than_the_screen() {
        for width in [1, 10, 40, 60, 80, 200] {
            for height in [1, 5, 24, 100] {
                let told = told(width, Some(height));
                assert!(told.len() <= height);
                for line in told {
                    assert!(measure_text_width(&line) <= width, "{width}: {line}");
                }
            }
        }
    }

    #[test]
    fn before_there_are_two_moments_no_rate_is_made_up() {
        let (later, _) = two();
        let now = Now::new(&later, None);
        let told = lines(&now, &History::default(), 120, None, "x").join("\n");
        assert!(told.contains("–/s"), "{told}");
        // A host that began anew counts from nothing.
        let (earlier, later) = two();
        assert_eq!(
            Now::new(&earlier, Some(&later)).rate(NOTIFICATIONS, &[CHANNEL]),
            None
        );
    }

    #[test]
    fn numbers_are_told_as_people_read_them() {
        for (told, expected) in [
            (count(0.0), "0"),
            (count(999.0), "999"),
            (count(1_234_567.0), "1,234,567"),
            (size(1023.0), "1023 B"),
            (size(1536.0), "1.5 KiB"),
            (size(40.0 * 1024.0 * 1024.0), "40 MiB"),
            (short(0.000_012), "12 µs"),
            (short(0.0031), "3.1 ms"),
            (short(0.25), "250 ms"),
            (short(12.0), "12 s"),
            (long(59.0), "59 s"),
            (long(3_725.0), "1 h 2 min"),
            (long(200_000.0), "2 d 7 h"),
            (per_second(Some(0.2)), "0.2"),
            (per_second(None), "–"),
        ] {
            assert_eq!(told, expected);
        }
    }
}
