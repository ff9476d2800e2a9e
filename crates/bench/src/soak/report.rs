//! What came of it, and the table that people see.

use std::fmt;
use std::ops::Add;
use std::rc::Rc;
use std::time::Duration;

use console::style;
use serde::Serialize;

use super::memory::{Memory, Sample, mib};
use super::{Arguments, Room, Transport};
use crate::run::{Delays, Faults, Times};
use crate::table::{Cell, Column, Line, Table, figure, grouped};

/// Everything that was seen.
#[derive(Serialize)]
pub(crate) struct Report {
    cores: String,
    /// The load average of the last minute, before it began.
    load: Option<f64>,
    readers: u32,
    rooms: u32,
    body_bytes: u32,
    /// Messages a second that were asked for.
    rate: u32,
    /// How long it took to open all readers.
    opened_seconds: f64,
    /// How long it was published.
    published_seconds: f64,
    /// Acknowledged messages.
    published: u64,
    /// Messages times readers.
    deliveries: u64,
    /// From publish to acknowledgement, in milliseconds.
    acknowledgement: Option<Delays>,
    /// Publishes that were refused for the moment, and sent again.
    retries: u64,
    /// The host's processor time, in percent of one core, from the first message on.
    processor_percent: f64,
    /// All processor time of the host from before the first reader came, for each delivery, in microseconds.
    processor_us_per_delivery: f64,
    transports: Vec<Row>,
    pub(super) memory: Memory,
}

/// All readers of one transport.
#[derive(Clone, Copy, Debug, Serialize)]
struct Row {
    name: &'static str,
    readers: u64,
    deliveries: u64,
    /// From publish to delivery, in milliseconds: for those who were away, since the message was due too.
    delay: Option<Delays>,
    /// How often readers were cut, each of which came back.
    returns: u64,
    faults: Faults,
}

/// What a report is made of.
pub(super) struct Course<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) cores: String,
    pub(super) load: Option<f64>,
    pub(super) transports: &'a [Rc<Transport>],
    pub(super) rooms: &'a [Room],
    pub(super) acknowledgements: Times,
    pub(super) opened: Duration,
    pub(super) published: Duration,
    /// Processor time.
    pub(super) used: Duration,
    pub(super) samples: Vec<Sample>,
}

impl Report {
    pub(super) fn new(course: Course<'_>) -> Self {
        let Course {
            arguments, rooms, ..
        } = course;
        let row = |(place, transport): (usize, &Rc<Transport>)| {
            let own = rooms.iter().flat_map(|room| {
                let own = room.transports.iter().enumerate();
                let own = own.filter(move |(_, transport)| **transport == place);
                own.map(|(reader, _)| room.run.of_reader(reader))
            });
            let start = (0, 0, Faults::default());
            let (readers, deliveries, faults) = own.fold(start, |sum, (deliveries, faults)| {
                (sum.0 + 1, sum.1 + deliveries, sum.2 + faults)
            });
            Row {
                name: transport.subject.name,
                readers,
                deliveries,
                delay: transport.delays.summary(),
                returns: transport.returns.get(),
                faults,
            }
        };
        let transports: Vec<_> = course.transports.iter().enumerate().map(row).collect();
        let deliveries = transports.iter().map(|row| row.deliveries).sum();
        let memory = Memory::of(course.samples);
        let processor_percent = match (memory.samples.first(), memory.samples.last()) {
            (Some(first), Some(last)) if last.seconds > first.seconds => {
                100.0 * (last.processor - first.processor) / (last.seconds - first.seconds)
            }
            _ => 0.0,
        };
        let faults = rooms.iter().map(|room| room.run.faults());
        Self {
            cores: course.cores,
            load: course.load,
            readers: arguments.connections,
            rooms: arguments.rooms,
            body_bytes: arguments.body,
            rate: arguments.rate,
            opened_seconds: course.opened.as_secs_f64(),
            published_seconds: course.published.as_secs_f64(),
            published: rooms.iter().map(|room| room.run.published()).sum(),
            deliveries,
            acknowledgement: course.acknowledgements.summary(),
            retries: faults.fold(Faults::default(), Add::add).retries,
            processor_percent,
            processor_us_per_delivery: if deliveries == 0 {
                0.0
            } else {
                course.used.as_secs_f64() * 1e6 / deliveries as f64
            },
            transports,
            memory,
        }
    }

    /// Whether every acknowledged message reached everybody who was to get it once, in order, and no gap was told.
    pub(crate) fn is_whole(&self) -> bool {
        self.transports.iter().all(|row| {
            let Faults {
                lost,
                doubled,
                reordered,
                gaps,
                ..
            } = row.faults;
            lost + doubled + reordered + gaps == 0
        })
    }

    fn table(&self) -> Table {
        let columns = [
            ("", ""),
            ("", "readers"),
            ("", "came back"),
            ("", "deliveries"),
            ("delay, ms", "p50"),
            ("delay, ms", "p99"),
            ("what went wrong", "lost"),
            ("what went wrong", "doubled"),
            ("what went wrong", "reordered"),
            ("what went wrong", "gaps"),
            ("what went wrong", "cut"),
        ];
        let rows = self.transports.iter().map(|row| {
            let count = |count: u64| Cell::plain(grouped(count as f64));
            let delay = |of: fn(Delays) -> f64| {
                row.delay
                    .map_or_else(Cell::none, |delay| Cell::figure(of(delay)))
            };
            let faults = row.faults;
            let mut cells = vec![
                Cell::name(row.name, true),
                count(row.readers),
                count(row.returns),
                count(row.deliveries),
                delay(|delay| delay.p50),
                delay(|delay| delay.p99),
            ];
            let faults = [
                faults.lost,
                faults.doubled,
                faults.reordered,
                faults.gaps,
                faults.cuts,
            ];
            cells.extend(faults.map(Cell::fault));
            Line::Cells(cells)
        });
        Table {
            columns: columns
                .map(|(group, title)| Column::new(group, title))
                .into(),
            rows: rows.collect(),
        }
    }

    fn notes(&self) -> Vec<String> {
        let acknowledged = self.acknowledgement.map_or_else(String::new, |delay| {
            format!(
                ", acknowledged after {} ms (p99 {})",
                figure(delay.p50),
                figure(delay.p99)
            )
        });
        let mut notes = vec![
            format!(
                "{} messages in {} rooms over {:.1} minutes, {} bytes each{acknowledged}, {} sent again",
                grouped(self.published as f64),
                grouped(f64::from(self.rooms)),
                self.published_seconds / 60.0,
                self.body_bytes,
                grouped(self.retries as f64),
            ),
            format!(
                "{} readers opened in {:.1} s; the host took {:.1} % of a core, {} µs for each delivery with all that it did",
                grouped(f64::from(self.readers)),
                self.opened_seconds,
                self.processor_percent,
                figure(self.processor_us_per_delivery),
            ),
            "delay: from publish to delivery, to those who were away too; cut: connections that ended without being asked to".to_owned(),
        ];
        if let (Some(trend), Some(last)) = (self.memory.trend, self.memory.samples.last()) {
            notes.push(format!(
                "memory: {:.1} MiB, {:+.1} KiB a minute over the last {:.1} minutes ({:+.2} % an hour): {}",
                mib(last.resident),
                trend.kib_per_minute,
                (trend.to - trend.from) / 60.0,
                trend.percent_per_hour,
                if trend.is_flat { "flat" } else { "it grows" },
            ));
        }
        notes
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n  {}\n\n{}", style(&self.cores).bold(), self.table())?;
        for note in self.notes() {
            writeln!(f, "  {}", style(note).dim())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::soak::tests::arguments;
    use crate::soak::transports;
    use crate::stamp::Stamp;

    /// A report of one room of seven, to which two messages were published; each reader got what is said.
    fn report(got: &[usize]) -> Report {
        let (arguments, transports) = (arguments("--connections 7 --rooms 1"), transports());
        let acknowledgements = Times::new();
        let rooms = crate::soak::rooms(&arguments, &transports, &acknowledgements);
        let run = &rooms[0].run;
        for _ in 0..2 {
            run.acknowledge(0, Instant::now().into_std());
        }
        for reader in 0..7 {
            let got: &[usize] = if reader == 3 { got } else { &[0, 1] };
            for &number in got {
                let stamp = Stamp {
                    publisher: 0,
                    number,
                    sent: 0,
                };
                run.inbox(reader).receive(stamp.body(0).as_bytes());
            }
        }
        Report::new(Course {
            arguments: &arguments,
            cores: "somewhere".to_owned(),
            load: None,
            transports: &transports,
            rooms: &rooms,
            acknowledgements,
            opened: Duration::ZERO,
            published: Duration::from_secs(60),
            used: Duration::from_millis(14),
            samples: Vec::new(),
        })
    }

    #[test]
    fn what_goes_wrong_is_told_of_the_transport_where_it_did() {
        #[track_caller]
        fn check(got: &[usize], expected: (u64, u64, u64)) {
            let report = report(got);
            assert_eq!(report.is_whole(), expected == (0, 0, 0), "{got:?}");
            for (place, row) in report.transports.iter().enumerate() {
                let Faults {
                    lost,
                    doubled,
                    reordered,
                    ..
                } = row.faults;
                let expected = if place == 3 { expected } else { (0, 0, 0) };
                assert_eq!((lost, doubled, reordered), expected, "{got:?}: {place}");
                assert_eq!(row.readers, 1);
            }
        }
        check(&[0, 1], (0, 0, 0));
        check(&[1], (1, 0, 0));
        check(&[0, 1, 1], (0, 1, 0));
        check(&[1, 0], (0, 0, 1));
    }

    #[test]
    fn costs_are_those_of_all_that_was_delivered() {
        let report = report(&[0, 1]);
        assert_eq!((report.published, report.deliveries), (2, 14));
        assert!((report.processor_us_per_delivery - 1000.0).abs() < 1e-9);
        let text = console::strip_ansi_codes(&report.to_string()).into_owned();
        assert!(text.contains("2 messages in 1 rooms"), "{text}");
    }
}
