//! What comes of a load, and the table that people see.

use std::fmt;

use console::style;

use super::{Balancer, FULL, Flows, Load, Use};
use crate::table::{Cell, Column, Line, Table, figure, grouped};

/// What one load takes.
pub(crate) struct Report {
    load: Load,
    nodes: u32,
    on_paper: Flows,
    simulated: Flows,
    used: Use,
}

impl Report {
    pub(super) fn new(load: Load, nodes: u32, on_paper: Flows, simulated: Flows) -> Self {
        Self {
            used: load.used(f64::from(nodes), &simulated),
            load,
            nodes,
            on_paper,
            simulated,
        }
    }

    /// How many servers of Redis there have to be, each with one core that works.
    fn shards(&self) -> f64 {
        (self.used.redis_processor / FULL).ceil().max(1.0)
    }

    /// What there is the least of, and how much of it is used.
    fn scarcest(&self) -> (&'static str, f64) {
        let Use {
            node_processor,
            node_memory,
            node_connections,
            redis_processor,
            ..
        } = self.used;
        let all = [
            ("Redis' core", redis_processor),
            ("the hosts' cores", node_processor),
            ("the hosts' memory", node_memory),
            ("the hosts' connections", node_connections),
        ];
        let more = |one: (&'static str, f64), other: (&'static str, f64)| {
            if other.1 > one.1 { other } else { one }
        };
        all.into_iter().fold(all[0], more)
    }

    fn flows(&self) -> Table {
        type Flow = (&'static str, fn(&Flows) -> f64);
        let of: [Flow; 7] = [
            ("rooms that instances follow", |flows| flows.feeds),
            ("messages", |flows| flows.messages),
            ("reads after a wakeup", |flows| flows.wakes),
            ("reads without one", |flows| flows.looks),
            ("deliveries", |flows| flows.deliveries),
            ("polls answered", |flows| flows.polls),
            ("names told to one host", |flows| flows.names),
        ];
        let rows = of.into_iter().map(|(name, of)| {
            let count = |flows| Cell::plain(grouped(of(flows)));
            Line::Cells(vec![
                Cell::name(name, false),
                count(&self.on_paper),
                count(&self.simulated),
            ])
        });
        Table {
            columns: vec![
                Column::new("", ""),
                Column::new("a second", "on paper"),
                Column::new("a second", "simulated"),
            ],
            rows: rows.collect(),
        }
    }

    fn uses(&self) -> Table {
        let Use {
            node_processor,
            node_names,
            node_memory,
            node_connections,
            redis_processor,
            redis_looks,
            redis_states,
            redis_network,
            redis_memory,
            redis_commands,
        } = self.used;
        let (cores, memory) = (self.load.cores, self.load.memory);
        let gib = f64::from(1 << 30);
        let rows = [
            (
                "a host: cores",
                node_processor * cores,
                format!("{:.0} % of {cores}", 100.0 * node_processor),
            ),
            ("  of them for names", node_names * cores, String::new()),
            (
                "a host: GiB",
                node_memory * memory / gib,
                format!("{:.0} % of {}", 100.0 * node_memory, memory / gib),
            ),
            (
                "a host: thousand connections",
                node_connections * self.load.per_host / 1e3,
                format!(
                    "{:.0} % of {}",
                    100.0 * node_connections,
                    grouped(self.load.per_host / 1e3)
                ),
            ),
            (
                "Redis: cores",
                redis_processor,
                format!(
                    "{:.0} % of the one that a server has",
                    100.0 * redis_processor
                ),
            ),
            (
                "  of them for reads without a wakeup",
                redis_looks,
                String::new(),
            ),
            ("  of them for who is there", redis_states, String::new()),
            ("Redis: Gbit/s", redis_network * 8.0 / 1e9, String::new()),
            (
                "Redis: GiB",
                redis_memory / gib,
                format!("{} messages of each room", grouped(self.load.kept)),
            ),
            (
                "Redis: thousand commands/s",
                redis_commands / 1e3,
                String::new(),
            ),
        ];
        let rows = rows.into_iter().map(|(name, value, said)| {
            Line::Cells(vec![
                Cell::name(name, false),
                Cell::figure(value),
                Cell::dim(said),
            ])
        });
        Table {
            columns: vec![
                Column::new("", ""),
                Column::new("", "used"),
                Column::new("", ""),
            ],
            rows: rows.collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load {
            connections,
            rooms,
            balancer,
            ..
        } = self.load;
        let balanced = match balancer {
            Balancer::Any => "any connection at any host",
            Balancer::Channel => "those of one channel at one host",
        };
        let what = format!(
            "{} connections in {} rooms, {balanced}: {} hosts, {} Redis",
            grouped(connections),
            grouped(rooms),
            grouped(f64::from(self.nodes)),
            grouped(self.shards()),
        );
        writeln!(
            f,
            "\n  {}\n\n{}\n{}",
            style(what).bold(),
            self.flows(),
            self.uses()
        )?;
        let (scarcest, used) = self.scarcest();
        writeln!(
            f,
            "  {}",
            style(format!(
                "first at its end: {scarcest}, of which {} % is used",
                figure(100.0 * used)
            ))
            .dim()
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::growth::{Arguments, grow};

    fn reports(text: &str) -> Vec<Report> {
        let arguments = ["growth"].into_iter().chain(text.split_whitespace());
        let arguments =
            Arguments::try_parse_from(arguments).expect("the arguments are well formed");
        grow(&arguments).expect("there is an answer")
    }

    #[test]
    fn what_is_on_paper_is_what_is_simulated() {
        for load in [
            "--connections 100000 --rooms 10000 --nodes 1",
            "--connections 100000 --rooms 10000 --nodes 10",
            "--connections 100000 --rooms 2000 --nodes 5 --hourly 6",
            "--connections 100000 --rooms 50000 --nodes 7 --hourly 120 --streams 30 --polls 60",
        ] {
            for report in reports(load) {
                let (paper, drawn) = (report.on_paper, report.simulated);
                for (name, paper, drawn) in [
                    ("feeds", paper.feeds, drawn.feeds),
                    ("messages", paper.messages, drawn.messages),
                    ("wakes", paper.wakes, drawn.wakes),
                    ("looks", paper.looks, drawn.looks),
                    ("deliveries", paper.deliveries, drawn.deliveries),
                    ("polls", paper.polls, drawn.polls),
                    ("names", paper.names, drawn.names),
                ] {
                    // A few thousand messages are drawn: their number alone is off by some percent.
                    let off = (paper - drawn).abs() / paper.max(1.0);
                    assert!(off < 0.05, "{load}: {name}, {paper} and {drawn}");
                }
            }
        }
    }

    #[test]
    fn hosts_suffice_and_one_less_does_not() {
        for report in reports("--connections 300000 --rooms 30000 --seconds 1") {
            let enough = |nodes| report.load.suffice(nodes);
            assert!(report.nodes > 1 && enough(report.nodes) && !enough(report.nodes - 1));
        }
    }

    #[test]
    fn a_channel_at_one_host_is_read_by_fewer() {
        let [any, channel] =
            &reports("--connections 100000 --rooms 10000 --nodes 10 --seconds 1")[..]
        else {
            panic!("both are told");
        };
        assert!(channel.simulated.feeds < any.simulated.feeds / 2.0);
        assert!(channel.used.redis_looks < any.used.redis_looks / 2.0);
        let text = console::strip_ansi_codes(&channel.to_string()).into_owned();
        assert!(
            text.contains("those of one channel at one host: 10 hosts"),
            "{text}"
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for text in [
            "--streams 60 --polls 60",
            "--connections 100000000 --hourly 100000 --memory 1",
        ] {
            let arguments = ["growth"].into_iter().chain(text.split_whitespace());
            let arguments =
                Arguments::try_parse_from(arguments).expect("the arguments are well formed");
            assert!(grow(&arguments).is_err(), "{text}");
        }
    }
}
