//! What was measured, and the tables that people see of it.

use std::collections::BTreeSet;
use std::fmt;

use console::style;
use serde::Serialize;

use crate::measure::{Broadcast, Idle, Trial};
use crate::run::{Delays, Faults};
use crate::subject::{Delivery, Maker, Means, Publishing, Subject};
use crate::table::{Better, Cell, Column, Line, Table, grouped};

/// A generator that is busier measures itself: its readers come late to what the server has sent.
const TOO_BUSY: f64 = 0.9;

/// A machine with more than this to do beside us, in runnable processes, makes every figure worse.
const TOO_LOADED: f64 = 0.5;

/// Everything that was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) conditions: Conditions,
    pub(crate) rows: Vec<Row>,
    pub(crate) publishing: Vec<Acknowledging>,
}

/// Under which circumstances.
#[derive(Serialize)]
pub(crate) struct Conditions {
    /// What the servers say they are.
    pub(crate) versions: BTreeSet<String>,
    pub(crate) cores: String,
    pub(crate) server_cores: usize,
    /// How much was measured: `quick`, `standard` or `long`.
    pub(crate) mode: &'static str,
    /// How long messages were published at the rate, and as many as were delivered.
    pub(crate) seconds: f64,
    pub(crate) flat_out_seconds: f64,
    pub(crate) body_bytes: u32,
    /// Readers for the delay.
    pub(crate) few: usize,
    /// Messages a second for the delay.
    pub(crate) rate: u32,
    /// Readers whose connections were cut, or whose server was killed.
    pub(crate) troubled: usize,
    /// How long idle readers were watched.
    pub(crate) idle_seconds: u64,
    pub(crate) clients: u16,
    /// The most that one of them sends before it is answered, where it sends several messages at once.
    pub(crate) unacknowledged: u16,
    /// The load average of the last minute, before we began.
    pub(crate) load: Option<f64>,
}

/// One row of the tables: a way of reading.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) delivery: Delivery,
    /// The row of ours that it is compared with; none where it is ours.
    pub(crate) beside: Option<&'static str>,
    /// Why nothing could be measured.
    pub(crate) not_installed: Option<String>,
    /// What could not be measured.
    pub(crate) problems: Vec<String>,
    /// From the start of the process to the first answer, in milliseconds.
    pub(crate) start_ms: Option<f64>,
    /// At a steady rate to few readers.
    pub(crate) steady: Option<Broadcast>,
    /// The same at other rates.
    pub(crate) at_rates: Vec<AtRate>,
    /// As much as is delivered, to ever more readers.
    pub(crate) sustained: Vec<Broadcast>,
    pub(crate) idle: Option<Idle>,
    /// Readers lost their connections.
    pub(crate) cut: Option<Trial>,
    /// The server was killed, and started again.
    pub(crate) killed: Option<Trial>,
}

/// At so many messages a second.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct AtRate {
    pub(crate) rate: u32,
    pub(crate) load: Broadcast,
}

/// One row of the last table: a way of publishing.
#[derive(Serialize)]
pub(crate) struct Acknowledging {
    pub(crate) name: &'static str,
    pub(crate) means: Means,
    /// What an acknowledged message survives.
    pub(crate) survives: &'static str,
    pub(crate) is_ours: bool,
    pub(crate) not_installed: Option<String>,
    pub(crate) problem: Option<String>,
    pub(crate) load: Option<Broadcast>,
}

impl Conditions {
    /// The load average of the last minute.
    pub(crate) fn load() -> Option<f64> {
        let load = std::fs::read_to_string("/proc/loadavg").ok()?;
        load.split(' ').next()?.parse().ok()
    }
}

impl Row {
    pub(crate) fn new(subject: &Subject, not_installed: Option<&str>) -> Self {
        Self {
            not_installed: not_installed.map(str::to_owned),
            ..Self::empty(subject.name, subject.delivery, subject.beside)
        }
    }

    /// A row of which nothing is known yet.
    fn empty(name: &'static str, delivery: Delivery, beside: Option<&'static str>) -> Self {
        Self {
            name,
            delivery,
            beside,
            not_installed: None,
            problems: Vec::new(),
            start_ms: None,
            steady: None,
            at_rates: Vec::new(),
            sustained: Vec::new(),
            idle: None,
            cut: None,
            killed: None,
        }
    }

    /// What was measured; what could not be is remembered.
    pub(crate) fn keep<T>(&mut self, measured: anyhow::Result<T>) -> Option<T> {
        measured
            .map_err(|error| self.problems.push(format!("{error:#}")))
            .ok()
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.beside.is_none()
    }

    /// Microseconds of the server's processor for one delivery, at the steady rate.
    pub(crate) fn processor_us(&self) -> Option<f64> {
        each(self.steady.as_ref()?)
    }

    pub(crate) fn delay(&self) -> Option<Delays> {
        self.steady.as_ref()?.delay
    }

    /// KiB for each of so many idle readers.
    pub(crate) fn memory(&self, readers: usize) -> Option<f64> {
        let memory = &self.idle.as_ref()?.memory;
        let memory = memory.iter().find(|memory| memory.readers == readers)?;
        Some(memory.bytes_per_reader / 1024.0)
    }

    /// As much as is delivered to so many readers.
    pub(crate) fn sustained(&self, readers: usize) -> Option<&Broadcast> {
        self.sustained.iter().find(|load| load.readers == readers)
    }

    /// To be shown among those with figures.
    fn is_measured(&self) -> bool {
        self.steady.is_some() || !self.sustained.is_empty() || self.idle.is_some()
    }
}

impl Acknowledging {
    pub(crate) fn new(publishing: &Publishing, not_installed: Option<&str>) -> Self {
        Self {
            name: publishing.name,
            means: publishing.means,
            survives: publishing.durability.survives(),
            is_ours: publishing.subject.maker == Maker::Witter,
            not_installed: not_installed.map(str::to_owned),
            problem: None,
            load: None,
        }
    }
}

impl Broadcast {
    /// Whether the generator was at its end before the server: then the server would have done more.
    pub(crate) fn is_least(&self) -> bool {
        self.generator_busy > TOO_BUSY && self.server_busy < TOO_BUSY
    }
}

/// Microseconds of the server's processor for one delivery.
fn each(load: &Broadcast) -> Option<f64> {
    Some(load.processor_total_us / load.deliveries as f64).filter(|each| each.is_finite())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions = &self.conditions;
        writeln!(f, "\n  {}", style(&conditions.cores).bold())?;
        for version in &conditions.versions {
            writeln!(f, "  {}", style(version).dim())?;
        }
        for (table, notes) in self.tables() {
            if !table.rows.is_empty() {
                write!(f, "\n{table}\n")?;
                for note in notes {
                    writeln!(f, "  {}", style(note).dim())?;
                }
            }
        }
        for warning in self.warnings() {
            writeln!(f, "  {} {warning}", style("!").yellow().bold())?;
        }
        Ok(())
    }
}

impl Report {
    /// Whether all of ours could be measured.
    pub(crate) fn is_whole(&self) -> bool {
        let ours = self.rows.iter().filter(|row| row.is_ours());
        let publishing = self.publishing.iter().filter(|row| row.is_ours);
        ours.map(|row| row.problems.len())
            .chain(publishing.map(|row| row.problem.iter().count()))
            .all(|problems| problems == 0)
    }

    fn tables(&self) -> [(Table, Vec<String>); 4] {
        let Conditions {
            body_bytes,
            few,
            rate,
            troubled,
            idle_seconds,
            clients,
            unacknowledged,
            ..
        } = &self.conditions;
        let levels = self.rows.iter().find_map(|row| row.idle.as_ref());
        let levels: Vec<_> = levels
            .iter()
            .flat_map(|idle| &idle.memory)
            .map(|memory| grouped(memory.readers as f64))
            .collect();
        let levels = levels.join(", ");
        let speed = vec![
            format!("delay, from publish to delivery, and cpu at rate: {rate} messages/s of {body_bytes} bytes to {few} readers"),
            "cpu: the server's processor time for a delivery, with what publishing costs; full: to the most readers".to_owned(),
            "deliveries/s: published as soon as readers have what was before; ≥ where the generator could not do more".to_owned(),
            format!("idle: the server's memory for each more of {levels} waiting readers; percent of a core for 1,000, over {idle_seconds} s"),
            "start: from the start of the process to its first answer".to_owned(),
            "× …: the figure above as a multiple of that row's: green where Witter's is the better one".to_owned(),
        ];
        let growing = vec![format!(
            "so many messages/s of {body_bytes} bytes to {few} readers: delay from publish to delivery, the server's processor time for a delivery"
        )];
        let of = self.rows.iter().find_map(|row| row.cut);
        let of = grouped(of.map_or(0, |trial| trial.published * trial.readers as u64) as f64);
        let faults = vec![
            "undisturbed: in all of the measurements above in which messages are published"
                .to_owned(),
            format!(
                "cut: each of {troubled} readers every 2 s for 300 ms; killed: by kill -9 while every other reader is away for 600 ms,"
            ),
            format!(
                "and started again at once, with its store if it has one; each time about {of} deliveries were due"
            ),
        ];
        let publishing = vec![
            format!(
                "{clients} clients at once into one channel, each when it is answered; ack: from publish to acknowledgement"
            ),
            format!(
                "several at once: up to {unacknowledged} of each client wait for their answers"
            ),
        ];
        [
            (self.speed(), speed),
            (self.growing(), growing),
            (self.faults(), faults),
            (self.acknowledging(), publishing),
        ]
    }

    fn speed(&self) -> Table {
        let fan_outs: BTreeSet<usize> = self
            .rows
            .iter()
            .flat_map(|row| row.sustained.iter().map(|load| load.readers))
            .collect();
        let levels: BTreeSet<usize> = self
            .rows
            .iter()
            .filter_map(|row| row.idle.as_ref())
            .flat_map(|idle| idle.memory.iter().map(|memory| memory.readers))
            .collect();
        let mut columns = vec![
            Column::new("", ""),
            Column::new("delay, ms", "p50"),
            Column::new("delay, ms", "p99"),
            Column::new("cpu, µs", "at rate"),
            Column::new("cpu, µs", "full"),
        ];
        for readers in &fan_outs {
            let title = grouped(*readers as f64);
            columns.push(Column::new("thousand deliveries/s, to", &title));
        }
        for level in &levels {
            let title = if levels.len() == 1 {
                "KiB".to_owned()
            } else {
                format!("KiB {}", grouped(*level as f64))
            };
            columns.push(Column::new("idle", &title));
        }
        columns.push(Column::new("idle", "cpu %"));
        columns.push(Column::new("start", "ms"));

        let mut rows = Vec::new();
        let mut delivery = None;
        for row in self.rows.iter().filter(|row| row.is_shown()) {
            if delivery.replace(row.delivery) != Some(row.delivery) {
                rows.push(Line::Heading(row.delivery.heading()));
            }
            if let Some(why) = row.why_not() {
                rows.push(Line::Words(row.name, why));
                continue;
            }
            let figures = row.figures(&fan_outs, &levels);
            let mut cells = vec![Cell::name(row.name, row.is_ours())];
            cells.extend(figures.iter().map(Figure::cell));
            rows.push(Line::Cells(cells));
            let ours = row
                .beside
                .and_then(|beside| self.rows.iter().find(|row| row.name == beside));
            if let Some(ours) = ours.filter(|ours| ours.is_measured()) {
                let mut cells = vec![Cell::dim(format!("  × {}", ours.name))];
                let pairs = figures.iter().zip(ours.figures(&fan_outs, &levels));
                cells.extend(pairs.map(|(theirs, ours)| theirs.beside(&ours)));
                rows.push(Line::Cells(cells));
            }
        }
        Table { columns, rows }
    }

    /// How delay and processor time grow with the rate.
    fn growing(&self) -> Table {
        let rates: BTreeSet<u32> = self
            .rows
            .iter()
            .flat_map(|row| row.at_rates.iter().map(|at| at.rate))
            .collect();
        let mut columns = vec![Column::new("", "")];
        if rates.is_empty() {
            return Table {
                columns,
                rows: Vec::new(),
            };
        }
        let rates: BTreeSet<u32> = rates.into_iter().chain([self.conditions.rate]).collect();
        for rate in &rates {
            let group = format!("{} messages/s", grouped((*rate).into()));
            for title in ["p50, ms", "p99, ms", "cpu, µs"] {
                columns.push(Column::new(&group, title));
            }
        }
        let mut rows = Vec::new();
        let mut delivery = None;
        for row in self.rows.iter().filter(|row| row.is_measured()) {
            if delivery.replace(row.delivery) != Some(row.delivery) {
                rows.push(Line::Heading(row.delivery.heading()));
            }
            let mut cells = vec![Cell::name(row.name, row.is_ours())];
            for rate in &rates {
                let load = if *rate == self.conditions.rate {
                    row.steady.as_ref()
                } else {
                    row.at_rates
                        .iter()
                        .find(|at| at.rate == *rate)
                        .map(|at| &at.load)
                };
                let delay = load.and_then(|load| load.delay);
                for value in [
                    delay.map(|delay| delay.p50),
                    delay.map(|delay| delay.p99),
                    load.and_then(each),
                ] {
                    cells.push(value.map_or_else(Cell::none, Cell::figure));
                }
            }
            rows.push(Line::Cells(cells));
        }
        Table { columns, rows }
    }

    fn faults(&self) -> Table {
        let mut columns = vec![Column::new("", "")];
        for group in ["undisturbed", "readers are cut", "the server is killed"] {
            for title in ["lost", "doubled", "reordered"] {
                columns.push(Column::new(group, title));
            }
        }
        let rows = self.rows.iter().filter(|row| {
            row.not_installed.is_none()
                && (row.steady.is_some() || row.cut.is_some() || row.killed.is_some())
        });
        let rows = rows.map(|row| {
            let mut cells = vec![Cell::name(row.name, row.is_ours())];
            let of = |trial: &Option<Trial>| trial.map(|trial| trial.faults);
            for outcome in [row.calm(), of(&row.cut), of(&row.killed)] {
                match outcome {
                    Some(faults) => cells.extend([
                        Cell::fault(faults.lost),
                        Cell::fault(faults.doubled),
                        Cell::fault(faults.reordered),
                    ]),
                    None => cells.extend([(); 3].map(|()| Cell::none())),
                }
            }
            Line::Cells(cells)
        });
        let rows = rows.collect();
        Table { columns, rows }
    }

    fn acknowledging(&self) -> Table {
        let columns = vec![
            Column::new("", "publishing"),
            Column::new("an acknowledged message", "survives"),
            Column::new("publishes", "a second"),
            Column::new("ack, ms", "p50"),
            Column::new("ack, ms", "p99"),
            Column::new("cpu", "µs each"),
        ];
        let mut rows = Vec::new();
        let mut means = None;
        for row in &self.publishing {
            if means.replace(row.means) != Some(row.means) {
                rows.push(Line::Heading(row.means.heading()));
            }
            // Peers keep nothing: that of ours which does not either stands beside them.
            let is_beside = |ours: &&Acknowledging| {
                ours.is_ours && (ours.means, ours.survives) == (row.means, row.survives)
            };
            let ours = self.publishing.iter().find(is_beside);
            let ours = ours.and_then(|row| row.load.as_ref());
            if let Some(reason) = &row.not_installed {
                rows.push(Line::Words(row.name, format!("not installed: {reason}")));
                continue;
            }
            let Some(load) = &row.load else {
                let problem = row.problem.as_deref().unwrap_or_default();
                rows.push(Line::Words(row.name, short(problem)));
                continue;
            };
            let figures = acknowledged(load);
            let mut cells = vec![
                Cell::name(row.name, row.is_ours),
                Cell::plain(row.survives.to_owned()),
            ];
            cells.extend(figures.iter().map(Figure::cell));
            rows.push(Line::Cells(cells));
            if let Some(ours) = ours.filter(|_| !row.is_ours) {
                let mut cells = vec![
                    Cell::dim("  × witter, in memory".to_owned()),
                    Cell::dim(String::new()),
                ];
                let pairs = figures.iter().zip(acknowledged(ours));
                cells.extend(pairs.map(|(theirs, ours)| theirs.beside(&ours)));
                rows.push(Line::Cells(cells));
            }
        }
        Table { columns, rows }
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(load) = self.conditions.load.filter(|load| *load > TOO_LOADED) {
            warnings.push(format!(
                "the machine was busy with something else, load {load}: expect better"
            ));
        }
        for row in &self.rows {
            let name = row.name;
            // One cause often has several measurements fail.
            if let Some(problem) = row.problems.first() {
                let count = row.problems.len();
                let plural = if count == 1 { "" } else { "s" };
                warnings.push(format!(
                    "{name}, {count} measurement{plural} failed: {problem}"
                ));
            }
            if let Some(cuts) = row.idle.as_ref().map(|idle| idle.faults.cuts)
                && cuts > 0
            {
                warnings.push(format!(
                    "{name}: {} connections that waited were cut, and opened again",
                    grouped(cuts as f64)
                ));
            }
            let Some(faults) = row.calm() else {
                continue;
            };
            let mut warn = |count: u64, what: &str| {
                if count > 0 {
                    warnings.push(format!("{name}: {} {what}", grouped(count as f64)));
                }
            };
            warn(faults.gaps, "gaps were told");
            warn(faults.cuts, "connections were cut, and opened again");
            warn(
                faults.retries,
                "publishes were refused for the moment, and tried again",
            );
            let busy = row.steady.map_or(0.0, |load| load.generator_busy);
            if busy > TOO_BUSY {
                let percent = busy * 100.0;
                warnings.push(format!(
                    "{name}: the generator was {percent:.0}% busy, and measured itself"
                ));
            }
        }
        for row in &self.publishing {
            if let Some(problem) = &row.problem {
                warnings.push(format!("publishing, {}: {problem}", row.name));
            }
        }
        warnings
    }
}

/// One figure, and what is better.
struct Figure {
    value: Option<f64>,
    better: Better,
    /// The generator was at its end before the server.
    is_least: bool,
}

impl Figure {
    fn less(value: Option<f64>) -> Self {
        Self {
            value,
            better: Better::Less,
            is_least: false,
        }
    }

    fn more(value: Option<f64>, is_least: bool) -> Self {
        Self {
            value,
            better: Better::More,
            is_least,
        }
    }

    /// As a multiple of ours: nothing that a generator at its end would have us say.
    fn beside(&self, ours: &Self) -> Cell {
        if self.is_least || ours.is_least {
            return Cell::none();
        }
        Cell::ratio(self.value, ours.value, self.better)
    }

    fn cell(&self) -> Cell {
        match self.value {
            Some(value) if self.is_least => Cell::at_least(value),
            Some(value) => Cell::figure(value),
            None => Cell::none(),
        }
    }
}

impl Row {
    /// Whether it is a row of the first table: some are measured in trouble only.
    fn is_shown(&self) -> bool {
        self.is_measured() || self.cut.is_none() || self.not_installed.is_some()
    }

    fn why_not(&self) -> Option<String> {
        if let Some(reason) = &self.not_installed {
            return Some(format!("not installed: {}", short(reason)));
        }
        (!self.is_measured()).then(|| {
            let problem = self.problems.first().map_or("not measured", String::as_str);
            short(problem)
        })
    }

    /// What went wrong where nothing was made to.
    fn calm(&self) -> Option<Faults> {
        let others = self.at_rates.iter().map(|at| &at.load);
        let loads = self.steady.iter().chain(others).chain(&self.sustained);
        loads
            .map(|load| load.faults)
            .reduce(|one, other| one + other)
    }

    fn figures(&self, fan_outs: &BTreeSet<usize>, levels: &BTreeSet<usize>) -> Vec<Figure> {
        let delay = self.delay();
        let most = fan_outs.last().and_then(|readers| self.sustained(*readers));
        let mut figures = vec![
            Figure::less(delay.map(|delay| delay.p50)),
            Figure::less(delay.map(|delay| delay.p99)),
            Figure::less(self.processor_us()),
            Figure::less(most.and_then(each)),
        ];
        figures.extend(fan_outs.iter().map(|readers| {
            let load = self.sustained(*readers);
            Figure::more(
                load.map(|load| load.deliveries_per_second / 1e3),
                load.is_some_and(Broadcast::is_least),
            )
        }));
        figures.extend(
            levels
                .iter()
                .map(|readers| Figure::less(self.memory(*readers))),
        );
        let idle = self.idle.as_ref();
        figures.push(Figure::less(
            idle.map(|idle| idle.processor_percent_per_1000),
        ));
        figures.push(Figure::less(self.start_ms));
        figures
    }
}

fn acknowledged(load: &Broadcast) -> [Figure; 4] {
    let delay = load.acknowledgement;
    [
        Figure::more(Some(load.published_per_second), load.is_least()),
        Figure::less(delay.map(|delay| delay.p50)),
        Figure::less(delay.map(|delay| delay.p99)),
        Figure::less(Some(load.processor_total_us / load.published as f64)),
    ]
}

/// What fits behind a name.
fn short(text: &str) -> String {
    const WIDTH: usize = 90;
    let words: Vec<_> = text.split_whitespace().collect();
    let text = words.join(" ");
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_or_has_lines_is_made_short() {
        assert_eq!(short("not\n  there"), "not there");
        assert_eq!(short(&"é".repeat(90)), "é".repeat(90));
        assert_eq!(short(&"é".repeat(91)), format!("{}…", "é".repeat(90)));
    }

    #[test]
    fn what_is_not_installed_or_fails_is_told_in_its_row_and_the_rest_is_there() {
        let row = |name, beside| Row::empty(name, Delivery::Stream, beside);
        let idle = Idle {
            memory: Vec::new(),
            processor_percent_per_1000: 0.5,
            faults: Faults::default(),
        };
        let conditions = Conditions {
            versions: BTreeSet::new(),
            cores: "one core".to_owned(),
            server_cores: 1,
            mode: "quick",
            seconds: 1.0,
            flat_out_seconds: 1.0,
            body_bytes: 100,
            few: 1,
            rate: 1,
            troubled: 1,
            idle_seconds: 1,
            clients: 1,
            unacknowledged: 2,
            load: None,
        };
        let mut ours = row("ours", None);
        ours.idle = Some(idle);
        let mut absent = row("absent", Some("ours"));
        absent.not_installed = Some("no network".to_owned());
        let mut failed = row("failed", Some("ours"));
        failed.problems = vec!["it ended:\nbadly".to_owned(), "it ended".to_owned()];
        let mut report = Report {
            conditions,
            rows: vec![ours, absent, failed],
            publishing: Vec::new(),
        };
        assert!(report.is_whole(), "what is ours is measured");
        let text = console::strip_ansi_codes(&report.to_string()).into_owned();
        for line in [
            "  absent   not installed: no network\n",
            "  failed   it ended: badly\n",
            "  ! failed, 2 measurements failed: it ended:\nbadly\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        report.rows[0].problems.push("it ended".to_owned());
        assert!(!report.is_whole());
    }
}
