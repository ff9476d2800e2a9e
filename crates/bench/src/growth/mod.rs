//! How many hosts, and which Redis, a load takes: on paper, from what each thing costs, and checked by a simulation that
//! draws every connection and every message.

mod costs;
mod paper;
mod report;
mod simulation;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};

use costs::*;
pub(crate) use report::Report;

/// Of what there is, so much may be used: the rest is for the unevenness of seconds and hosts, and for a host that is away.
const FULL: f64 = 0.6;

/// More hosts than this, and the answer is not a number of hosts.
const MOST_NODES: u32 = 10_000;

/// Computes how many hosts, and which Redis, a load takes.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Arguments {
    /// People who are connected
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    connections: u32,

    /// Rooms in which they are, each in one
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    rooms: u32,

    /// Messages that each of them writes in an hour
    #[arg(long, default_value_t = 12.0, value_parser = rate)]
    hourly: f64,

    /// Of a hundred connections, how many are event streams
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100))]
    streams: u32,

    /// Of a hundred connections, how many are held polls; what is left are WebSockets
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100))]
    polls: u32,

    /// Messages that are kept of each room
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    kept: u32,

    /// Of a hundred rooms, in how many people see who is there, who types and who has read how far
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    present: u32,

    /// How connections come to hosts
    #[arg(long, value_enum)]
    balancer: Option<Balancer>,

    /// Cores of a host
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    cores: u32,

    /// Memory of a host, in GiB
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    memory: u32,

    /// Connections that a host takes: its `--max-connections`
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    per_host: u32,

    /// Computes for so many hosts, in place of for as many as it takes
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_NODES)))]
    nodes: Option<u32>,

    /// Seconds that are simulated
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.001..=3_600_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err("not from 0.001 to 3,600,000".to_owned())
    }
}

/// How connections come to hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Balancer {
    /// Each to any.
    Any,
    /// Those for one channel to one, as far as it is there: a hash of the channel in the request's address.
    Channel,
}

/// What there is to do.
#[derive(Clone, Copy, Debug)]
struct Load {
    connections: f64,
    rooms: f64,
    /// Messages a second, over all.
    messages: f64,
    /// Of one, for each transport.
    shares: [f64; TRANSPORTS],
    kept: f64,
    /// Of one: in how many rooms there is a live state.
    present: f64,
    balancer: Balancer,
    cores: f64,
    /// Bytes.
    memory: f64,
    /// Connections of one host.
    per_host: f64,
}

/// WebSockets, event streams, held polls: each is a component, which has its own instances, and these their own feeds.
const TRANSPORTS: usize = 3;
/// The place of held polls among them.
const POLLS: usize = 2;

/// What happens in a second, over all hosts, but for what is said of one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Flows {
    /// Instances times rooms that they follow.
    feeds: f64,
    /// Messages that are taken.
    messages: f64,
    /// Reads by feeds that were woken.
    wakes: f64,
    /// Reads by feeds that were not.
    looks: f64,
    /// Deliveries by streams and sockets.
    deliveries: f64,
    /// Held polls that are answered.
    polls: f64,
    /// Names that one host is told by others.
    names: f64,
}

/// What the live state asks in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct States {
    /// Reads of directories and marks.
    reads: f64,
    /// Reads and writes of leases.
    leases: f64,
}

/// How much of what there is is used, as a part of it.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
struct Use {
    /// A host's cores.
    node_processor: f64,
    /// Of that, telling names: it does not become less with more hosts.
    node_names: f64,
    node_memory: f64,
    node_connections: f64,
    /// The one core that Redis works on.
    redis_processor: f64,
    /// Of that, reads of feeds that nobody woke.
    redis_looks: f64,
    /// Of that, the live state of people who stay.
    redis_states: f64,
    /// Bytes a second.
    redis_network: f64,
    /// Bytes.
    redis_memory: f64,
    /// Commands a second.
    redis_commands: f64,
}

impl Load {
    fn of(arguments: &Arguments, balancer: Balancer) -> Result<Self> {
        let Arguments { streams, polls, .. } = arguments;
        ensure!(
            streams + polls <= 100,
            "of a hundred connections, {} are no WebSockets",
            streams + polls
        );
        let part = |of: u32| f64::from(of) / 100.0;
        let connections = f64::from(arguments.connections);
        Ok(Self {
            connections,
            rooms: f64::from(arguments.rooms),
            messages: connections * arguments.hourly / 3600.0,
            shares: [part(100 - streams - polls), part(*streams), part(*polls)],
            kept: f64::from(arguments.kept),
            present: part(arguments.present),
            balancer,
            cores: f64::from(arguments.cores),
            memory: f64::from(arguments.memory) * f64::from(1 << 30),
            per_host: f64::from(arguments.per_host),
        })
    }

    /// What of everything is used for these flows.
    fn used(&self, nodes: f64, flows: &Flows) -> Use {
        let each = 1e-6 / nodes;
        let states = self.states(nodes, flows);
        let names = flows.names * NODE_NAME_US * 1e-6;
        let work = flows.messages * NODE_PUBLISH_US
            + flows.wakes * NODE_WAKE_US
            + flows.looks * NODE_LOOK_US
            + states.reads * NODE_STATE_US
            + flows.deliveries * NODE_DELIVERY_US
            + flows.polls * NODE_POLL_US
            + self.connections * NODE_IDLE_US;
        // A log has the messages of one room, so each instance that follows it has them, up to its most.
        let instances = self.instances(nodes);
        let logged = (flows.feeds / instances * LOGGED * LOGGED_BYTES).min(LOGS_BYTES) * instances;
        let memory = self.connections * CONNECTION_BYTES + flows.feeds * FEED_BYTES + logged;
        let looks = flows.looks * REDIS_READ_US * 1e-6;
        let told = flows.messages * nodes;
        let redis =
            flows.messages * REDIS_PUBLISH_US + flows.wakes * REDIS_READ_US + told * REDIS_TELL_US;
        let reads = flows.wakes + flows.looks;
        let living = (states.reads * REDIS_STATE_US + states.leases * REDIS_LEASE_US) * 1e-6;
        Use {
            node_processor: (work * each + names) / self.cores,
            node_names: names / self.cores,
            node_connections: self.connections / nodes / self.per_host,
            node_memory: (memory / nodes + EMPTY_BYTES) / self.memory,
            redis_processor: redis * 1e-6 + looks + living,
            redis_looks: looks,
            redis_states: living,
            redis_network: flows.messages * PUBLISH_BYTES
                + reads * READ_BYTES
                + told * TELL_BYTES
                + states.reads * STATE_BYTES
                + states.leases * LEASE_BYTES,
            redis_memory: self.rooms * self.kept * STORED_BYTES,
            redis_commands: flows.messages * PUBLISH_COMMANDS
                + reads * READ_COMMANDS
                + states.reads
                + states.leases,
        }
    }

    /// Instances of components that have readers: one of each for each core.
    fn instances(&self, nodes: f64) -> f64 {
        nodes * self.cores * TRANSPORTS as f64
    }

    /// What the live state asks in a second while people stay.
    ///
    /// An instance reads the directory and the marks of each room again after eight seconds, and every one and a half its
    /// own lease, which it counts up, and those of the instances that it meets in its rooms: all there are, where a room's
    /// people are anywhere, or those of its own host.
    fn states(&self, nodes: f64, flows: &Flows) -> States {
        if self.present == 0.0 {
            return States::default();
        }
        let instances = self.instances(nodes);
        let met = match self.balancer {
            Balancer::Any => instances,
            Balancer::Channel => self.instances(1.0),
        };
        States {
            reads: flows.feeds * self.present * 2.0 / STATE_SECONDS,
            leases: instances * (met + 1.0) / LEASE_SECONDS,
        }
    }

    /// Whether so many hosts have enough of everything that is a host's.
    fn suffice(&self, nodes: u32) -> bool {
        let nodes = f64::from(nodes);
        let used = self.used(nodes, &self.flows(nodes));
        [used.node_processor, used.node_memory, used.node_connections]
            .iter()
            .all(|used| *used <= FULL)
    }

    /// The fewest hosts that suffice.
    fn nodes(&self) -> Option<u32> {
        (1..=MOST_NODES).find(|nodes| self.suffice(*nodes))
    }
}

/// Messages that a room's log has of those that were ever said there, where nobody lags: some dozens.
const LOGGED: f64 = 64.0;

/// Computes, simulates, and puts both side by side.
pub(crate) fn grow(arguments: &Arguments) -> Result<Vec<Report>> {
    let balancers = match arguments.balancer {
        Some(one) => vec![one],
        None => vec![Balancer::Any, Balancer::Channel],
    };
    let reports = balancers.into_iter().map(|balancer| {
        let load = Load::of(arguments, balancer)?;
        let nodes = match arguments.nodes {
            Some(nodes) => nodes,
            None => load
                .nodes()
                .ok_or_else(|| anyhow::anyhow!("{MOST_NODES} hosts are not enough"))?,
        };
        let (on_paper, simulated) = (
            load.flows(f64::from(nodes)),
            simulation::run(&load, nodes, arguments.seconds, fastrand::Rng::with_seed(7)),
        );
        Ok(Report::new(load, nodes, on_paper, simulated))
    });
    reports.collect()
}
