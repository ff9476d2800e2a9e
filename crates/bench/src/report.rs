//! What people see: the progress, and the table.

use std::fmt;
use std::time::Duration;

use console::{Term, measure_text_width, style};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::measure::{Broadcast, Idle};
use crate::run::{Delays, Faults};
use crate::server::Cores;

/// A generator that is busier measures itself: its readers come late to what the server has sent.
const TOO_BUSY: f64 = 0.9;

/// A machine with more than this to do beside us, in runnable processes, makes every figure worse.
const TOO_LOADED: f64 = 0.5;

/// Everything that was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) conditions: Conditions,
    pub(crate) rows: Vec<Row>,
}

/// Under which circumstances.
#[derive(Serialize)]
pub(crate) struct Conditions {
    version: &'static str,
    cores: String,
    body_bytes: u32,
    few: usize,
    many: usize,
    rate: u32,
    /// The load average of the last minute, before we began.
    load: Option<f64>,
}

/// One row of the table.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Row {
    /// A way of reading.
    Transport {
        name: &'static str,
        /// To few readers.
        delay: Broadcast,
        /// To many.
        fan_out: Box<Broadcast>,
        idle: Idle,
    },
    /// A way of publishing.
    Publish {
        name: &'static str,
        clients: u16,
        load: Broadcast,
    },
}

impl Conditions {
    pub(crate) fn of(cores: &Cores, body_bytes: u32, few: usize, many: usize, rate: u32) -> Self {
        let load = std::fs::read_to_string("/proc/loadavg").ok();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            cores: cores.to_string(),
            body_bytes,
            few,
            many,
            rate,
            load: load.and_then(|load| load.split(' ').next()?.parse().ok()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conditions {
            version,
            cores,
            body_bytes,
            few,
            many,
            rate,
            ..
        } = &self.conditions;
        writeln!(
            f,
            "\n  {}, {cores}",
            style(format!("Witter {version}")).bold()
        )?;
        writeln!(f)?;
        write!(f, "{}", self.table())?;
        writeln!(f)?;
        let few = grouped(*few as f64);
        let (many, rate) = (grouped(*many as f64), grouped((*rate).into()));
        let body = grouped((*body_bytes).into());
        let mut notes = vec![
            format!(
                "delay: from publish to delivery, {few} readers, {rate} messages/s of {body} bytes"
            ),
            format!(
                "throughput: the same to {many} readers; the server's processor time for each, the delay in ms"
            ),
            "idle: memory for each of so many readers, and percent of a core for 1,000 of them"
                .to_owned(),
        ];
        if let Some(clients) = self.rows.iter().find_map(Row::clients) {
            let one = "from publish to acknowledgement";
            notes.push(format!(
                "publish: {one}, {clients} clients at once into one channel"
            ));
        }
        for note in notes {
            writeln!(f, "  {}", style(note).dim())?;
        }
        for warning in self.warnings() {
            writeln!(f, "  {} {warning}", style("!").yellow().bold())?;
        }
        Ok(())
    }
}

impl Report {
    fn table(&self) -> Table {
        let mut levels: Vec<usize> = Vec::new();
        for row in &self.rows {
            if let Row::Transport { idle, .. } = row {
                levels.extend(idle.memory.iter().map(|memory| memory.readers));
            }
        }
        levels.sort_unstable();
        levels.dedup();
        let mut columns = vec![
            Column::new("", ""),
            Column::new("delay, ms", "p50"),
            Column::new("delay, ms", "p99"),
            Column::new("throughput", "messages/s"),
            Column::new("throughput", "cpu µs"),
            Column::new("throughput", "p99"),
        ];
        for level in &levels {
            columns.push(Column::new("idle, KiB", &grouped(*level as f64)));
        }
        if !levels.is_empty() {
            columns.push(Column::new("idle", "cpu %"));
        }
        for fault in ["lost", "doubled", "reordered"] {
            columns.push(Column::new("messages", fault));
        }
        let rows = self.rows.iter().map(|row| row.cells(&levels)).collect();
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
            let name = row.name();
            let faults = row.faults();
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
            let busy = row
                .broadcasts()
                .map(|load| load.generator_busy)
                .fold(0.0, f64::max);
            if busy > TOO_BUSY {
                let percent = busy * 100.0;
                warnings.push(format!(
                    "{name}: the generator was {percent:.0}% busy, and measured itself"
                ));
            }
        }
        warnings
    }
}

impl Row {
    fn name(&self) -> &'static str {
        match self {
            Self::Transport { name, .. } | Self::Publish { name, .. } => name,
        }
    }

    fn clients(&self) -> Option<u16> {
        match self {
            Self::Transport { .. } => None,
            Self::Publish { clients, .. } => Some(*clients),
        }
    }

    fn broadcasts(&self) -> impl Iterator<Item = &Broadcast> {
        let (one, other) = match self {
            Self::Transport { delay, fan_out, .. } => (delay, Some(&**fan_out)),
            Self::Publish { load, .. } => (load, None),
        };
        std::iter::once(one).chain(other)
    }

    fn faults(&self) -> Faults {
        let idle = match self {
            Self::Transport { idle, .. } => idle.faults,
            Self::Publish { .. } => Faults::default(),
        };
        self.broadcasts().fold(idle, |sum, load| sum + load.faults)
    }

    fn cells(&self, levels: &[usize]) -> Vec<Cell> {
        let mut cells = vec![Cell::plain(self.name().to_owned())];
        let (delay, rate, each, loaded) = match self {
            Self::Transport { delay, fan_out, .. } => (
                delay.delay,
                fan_out.deliveries_per_second,
                fan_out.processor_us / fan_out.deliveries as f64,
                fan_out.delay,
            ),
            Self::Publish { load, .. } => (
                load.acknowledgement,
                load.published_per_second,
                load.processor_us / load.published as f64,
                // Theirs is the delay under full load already.
                None,
            ),
        };
        cells.extend(match delay {
            Some(Delays { p50, p99, .. }) => [Cell::figure(p50), Cell::figure(p99)],
            None => [Cell::none(), Cell::none()],
        });
        cells.extend([
            Cell::plain(grouped(rate)),
            Cell::figure(each),
            loaded.map_or_else(Cell::none, |delay| Cell::figure(delay.p99)),
        ]);
        if !levels.is_empty() {
            let idle = match self {
                Self::Transport { idle, .. } => Some(idle),
                Self::Publish { .. } => None,
            };
            for level in levels {
                let memory = idle
                    .and_then(|idle| idle.memory.iter().find(|memory| memory.readers == *level));
                cells.push(memory.map_or_else(Cell::none, |memory| {
                    Cell::figure(memory.bytes_per_reader / 1024.0)
                }));
            }
            cells.push(idle.map_or_else(Cell::none, |idle| {
                Cell::figure(idle.processor_percent_per_1000)
            }));
        }
        let Faults {
            lost,
            doubled,
            reordered,
            ..
        } = self.faults();
        cells.extend([lost, doubled, reordered].map(Cell::fault));
        cells
    }
}

/// A table whose neighbouring columns share a heading.
struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

struct Column {
    group: &'static str,
    title: String,
}

/// What is shown, and how.
struct Cell {
    text: String,
    look: Look,
}

#[derive(Clone, Copy)]
enum Look {
    Plain,
    Dim,
    Bad,
}

/// Between two columns, and between two groups of them.
const SPACE: usize = 2;
const GROUP_SPACE: usize = 3;

impl Table {
    /// How wide each column is; the last of a group takes what the group's heading lacks.
    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let cells = self
                    .rows
                    .iter()
                    .map(|row| measure_text_width(&row[column].text));
                cells.fold(measure_text_width(&self.columns[column].title), usize::max)
            })
            .collect();
        for (begin, end) in self.groups() {
            let lacking = self.columns[begin]
                .group
                .len()
                .saturating_sub(spread(&widths[begin..end]));
            widths[end - 1] += lacking;
        }
        widths
    }

    /// Runs of columns that share a heading.
    fn groups(&self) -> Vec<(usize, usize)> {
        let mut groups = Vec::new();
        let mut begin = 0;
        for end in 1..=self.columns.len() {
            if end == self.columns.len() || self.columns[end].group != self.columns[begin].group {
                groups.push((begin, end));
                begin = end;
            }
        }
        groups
    }
}

/// The width of columns side by side.
fn spread(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + SPACE * widths.len().saturating_sub(1)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (widths, groups) = (self.widths(), self.groups());
        let space = |begin: usize| " ".repeat(if begin == 0 { SPACE } else { GROUP_SPACE });
        for &(begin, end) in &groups {
            let width = spread(&widths[begin..end]);
            write!(
                f,
                "{}{}",
                space(begin),
                style(format!("{:^width$}", self.columns[begin].group)).bold()
            )?;
        }
        writeln!(f)?;
        for &(begin, end) in &groups {
            let line = if self.columns[begin].group.is_empty() {
                " "
            } else {
                "─"
            };
            let width = spread(&widths[begin..end]);
            write!(f, "{}{}", space(begin), style(line.repeat(width)).dim())?;
        }
        writeln!(f)?;
        let mut line = |cells: &mut dyn FnMut(usize) -> (String, Look)| {
            for &(begin, end) in &groups {
                for (column, &width) in widths.iter().enumerate().take(end).skip(begin) {
                    let (text, look) = cells(column);
                    // Names stand on the left, figures on the right.
                    let text = if column == 0 {
                        format!("{text:<width$}")
                    } else {
                        format!("{text:>width$}")
                    };
                    let text = match look {
                        Look::Plain => style(text),
                        Look::Dim => style(text).dim(),
                        Look::Bad => style(text).red().bold(),
                    };
                    let space = if column == begin {
                        space(begin)
                    } else {
                        " ".repeat(SPACE)
                    };
                    write!(f, "{space}{text}")?;
                }
            }
            writeln!(f)
        };
        line(&mut |column| (self.columns[column].title.clone(), Look::Dim))?;
        for row in &self.rows {
            line(&mut |column| (row[column].text.clone(), row[column].look))?;
        }
        Ok(())
    }
}

impl Column {
    fn new(group: &'static str, title: &str) -> Self {
        Self {
            group,
            title: title.to_owned(),
        }
    }
}

impl Cell {
    fn plain(text: String) -> Self {
        Self {
            text,
            look: Look::Plain,
        }
    }

    fn figure(value: f64) -> Self {
        if value.is_finite() {
            Self::plain(figure(value))
        } else {
            Self::none()
        }
    }

    /// What the row has not.
    fn none() -> Self {
        Self {
            text: "–".to_owned(),
            look: Look::Dim,
        }
    }

    fn fault(count: u64) -> Self {
        let look = if count == 0 { Look::Dim } else { Look::Bad };
        Self {
            text: grouped(count as f64),
            look,
        }
    }
}

/// Three digits, as far as there are any behind the point.
fn figure(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

/// A whole number with its thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How far the measuring is: a bar on a terminal, a line a measurement elsewhere.
pub(crate) struct Progress {
    bar: ProgressBar,
    count: usize,
    begun: usize,
}

impl Progress {
    pub(crate) fn new(count: usize) -> Self {
        let watched = Term::stderr().is_term() && std::env::var_os("CI").is_none();
        let bar = if watched {
            ProgressBar::new(count as u64)
        } else {
            ProgressBar::hidden()
        };
        let layout = "{prefix:>12.cyan.bold} [{bar:24}] {pos}/{len} {wide_msg} {elapsed:>4}";
        let layout = ProgressStyle::with_template(layout).expect("the template is a constant");
        bar.set_style(layout.progress_chars("=> "));
        bar.set_prefix("Measuring");
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            count,
            begun: 0,
        }
    }

    /// The next measurement begins.
    pub(crate) fn next(&mut self, what: &str) {
        self.bar.set_position(self.begun as u64);
        self.bar.set_message(what.to_owned());
        self.begun += 1;
        if self.bar.is_hidden() {
            eprintln!(
                "{:>12} {} of {}: {what}",
                "Measuring", self.begun, self.count
            );
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        for (value, expected) in [
            (0.0, "0.00"),
            (0.1234, "0.12"),
            (9.994, "9.99"),
            (9.996, "10.0"),
            (99.94, "99.9"),
            (99.96, "100"),
            (1234.5, "1,234"),
        ] {
            assert_eq!(figure(value), expected, "{value}");
        }
    }

    #[test]
    fn thousands_stand_apart() {
        for (value, expected) in [
            (0.0, "0"),
            (999.0, "999"),
            (1000.0, "1,000"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(grouped(value), expected);
        }
    }

    #[test]
    fn columns_line_up_under_their_headings() {
        let table = Table {
            columns: vec![
                Column::new("", ""),
                Column::new("a long heading", "x"),
                Column::new("b", "first"),
                Column::new("b", "2nd"),
            ],
            rows: vec![vec![
                Cell::plain("name".to_owned()),
                Cell::figure(1.0),
                Cell::none(),
                Cell::fault(12_345),
            ]],
        };
        let text = console::strip_ansi_codes(&table.to_string()).into_owned();
        let expected = concat!(
            "         a long heading         b      \n",
            "         ──────────────   ─────────────\n",
            "                      x   first     2nd\n",
            "  name             1.00       –  12,345\n",
        );
        assert_eq!(text, expected);
    }
}
