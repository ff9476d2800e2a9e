//! Load generator: our own figures for each transport, in one table.
//!
//! Server and generator are on cores of their own, on one machine, over loopback: the figures are the
//! server's work, not a network's. Each measurement has a fresh server with a fresh store.

mod drafts;
mod http;
mod measure;
mod report;
mod run;
mod server;
mod stamp;
mod subject;
mod subjects;
mod witter;

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::LocalSet;

use measure::{Bench, Load};
use report::{Conditions, Progress, Report, Row};
use server::Cores;
use subject::{ALL, Durability, Manners, Subject};

/// Publishers at a steady rate: enough that none has to wait for its own acknowledgement.
const STEADY_PUBLISHERS: usize = 4;

/// Descriptors that are not readers: publishers, files, pipes.
const OTHER_FILES: u64 = 256;

/// Measures Witter's transports: delay, throughput, processor time, memory, and what was lost.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench")]
struct Arguments {
    /// A smoke run of about 40 seconds: small numbers, rough figures
    #[arg(long)]
    quick: bool,

    /// Only these rows: names of transports, or `publish`
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,

    /// Seconds that each load goes on [default: 10, quick: 2]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: Option<u64>,

    /// Seconds for which idle readers are watched; fewer than 15 miss the heartbeats [default: 16, quick: 3]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
    idle_seconds: Option<u64>,

    /// Readers for the delay [default: 100, quick: 50]
    #[arg(long, value_parser = count)]
    few: Option<usize>,

    /// Readers for the fan-out [default: 1000, quick: 200]
    #[arg(long, value_parser = count)]
    many: Option<usize>,

    /// Idle readers: one number or more [default: 1000,2000, quick: 200]
    #[arg(long, value_name = "NUMBERS", value_parser = count, value_delimiter = ',')]
    idle: Option<Vec<usize>>,

    /// Messages a second, to the few and to the many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,

    /// Clients that publish as fast as they are answered
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    clients: u16,

    /// Bytes of a message's body
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(64..=65_536))]
    body: u32,

    /// Milliseconds from one short poll to the next
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    interval: u32,

    /// Cores for the server; the generator always has one
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    cores: usize,

    /// The host to measure [default: target/release/witter]
    #[arg(long, value_name = "PATH")]
    host: Option<PathBuf>,

    /// Writes all figures to a file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is measured: the arguments, with their defaults.
struct Plan {
    subjects: Vec<&'static Subject>,
    publish: bool,
    time: Duration,
    idle_time: Duration,
    few: usize,
    many: usize,
    idle: Vec<usize>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!(
                "{}: {error:#}",
                console::style("error").red().bold().for_stderr()
            );
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let plan = Plan::of(arguments)?;
    let host = match &arguments.host {
        Some(path) => path.clone(),
        None => witter::workspace().join("target/release/witter"),
    };
    let host = host.canonicalize().with_context(|| {
        format!(
            "{} is not there: `cargo xtask build` makes it",
            host.display()
        )
    })?;
    let cores = Cores::divide(arguments.cores)?;
    let conditions = Conditions::of(&cores, arguments.body, plan.few, plan.many, arguments.rate);
    allow_files(plan.most_readers())?;
    cores.settle()?;
    let bench = Bench {
        host: &host,
        cores: &cores,
        manners: Manners {
            interval: Duration::from_millis(arguments.interval.into()),
        },
        size: arguments.body as usize,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let measured = LocalSet::new().block_on(&runtime, async {
        tokio::select! {
            rows = measure(&bench, &plan, arguments) => rows.map(Some),
            _ = tokio::signal::ctrl_c() => Ok(None),
        }
    })?;
    let Some(rows) = measured else {
        return Ok(ExitCode::from(130));
    };
    let report = Report { conditions, rows };
    print!("{report}");
    if let Some(path) = &arguments.json {
        let file =
            File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
        serde_json::to_writer_pretty(BufWriter::new(file), &report)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(bench: &Bench<'_>, plan: &Plan, arguments: &Arguments) -> Result<Vec<Row>> {
    let steady = |readers| Load {
        readers,
        publishers: STEADY_PUBLISHERS,
        rate: Some(arguments.rate.into()),
        time: plan.time,
    };
    let mut progress = Progress::new(3 * plan.subjects.len() + 2 * usize::from(plan.publish));
    let mut rows = Vec::new();
    for subject in &plan.subjects {
        progress.next(&format!(
            "{}: {} readers, {} messages/s",
            subject.name, plan.few, arguments.rate
        ));
        let delay = bench
            .broadcast(subject, Durability::Normal, steady(plan.few))
            .await?;
        progress.next(&format!(
            "{}: {} readers, {} messages/s",
            subject.name, plan.many, arguments.rate
        ));
        let fan_out = bench
            .broadcast(subject, Durability::Normal, steady(plan.many))
            .await?;
        let levels: Vec<_> = plan.idle.iter().map(ToString::to_string).collect();
        progress.next(&format!(
            "{}: {} idle readers",
            subject.name,
            levels.join(", then ")
        ));
        let idle = bench.idle(subject, &plan.idle, plan.idle_time).await?;
        rows.push(Row::Transport {
            name: subject.name,
            delay,
            fan_out: Box::new(fan_out),
            idle,
        });
    }
    if plan.publish {
        // What is stored is checked by one reader of the transport that costs the server least.
        let subject = ALL.last().context("there is a transport")?;
        for (name, durability) in [
            ("publish", Durability::Normal),
            ("publish, fsync", Durability::Full),
        ] {
            progress.next(&format!(
                "{name}: {} clients, as fast as they are answered",
                arguments.clients
            ));
            let load = Load {
                readers: 1,
                publishers: arguments.clients.into(),
                rate: None,
                time: plan.time,
            };
            let load = bench.broadcast(subject, durability, load).await?;
            rows.push(Row::Publish {
                name,
                clients: arguments.clients,
                load,
            });
        }
    }
    Ok(rows)
}

impl Plan {
    fn of(arguments: &Arguments) -> Result<Self> {
        let all = |name: &str| {
            arguments.only.is_empty() || arguments.only.iter().any(|only| only == name)
        };
        if let Some(unknown) = arguments
            .only
            .iter()
            .find(|only| *only != "publish" && ALL.iter().all(|subject| subject.name != **only))
        {
            let names: Vec<_> = ALL.iter().map(|subject| subject.name).collect();
            bail!(
                "there is no {unknown:?}: choose from {}, publish",
                names.join(", ")
            );
        }
        let pick = |quick, full| if arguments.quick { quick } else { full };
        let seconds = |given: Option<u64>, quick, full| {
            Duration::from_secs(given.unwrap_or(pick(quick, full)))
        };
        let size = |given: Option<usize>, quick, full| {
            given.unwrap_or(if arguments.quick { quick } else { full })
        };
        let mut idle = arguments.idle.clone().unwrap_or_else(|| {
            if arguments.quick {
                vec![200]
            } else {
                vec![1000, 2000]
            }
        });
        idle.sort_unstable();
        idle.dedup();
        Ok(Self {
            subjects: ALL.iter().filter(|subject| all(subject.name)).collect(),
            publish: all("publish"),
            time: seconds(arguments.seconds, 2, 10),
            idle_time: seconds(arguments.idle_seconds, 3, 16),
            few: size(arguments.few, 50, 100),
            many: size(arguments.many, 200, 1000),
            idle,
        })
    }

    fn most_readers(&self) -> usize {
        self.idle
            .iter()
            .copied()
            .fold(self.few.max(self.many), usize::max)
    }
}

/// A number of readers: more than this needs more ports than one address has.
fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().map_err(|_| "not a number".to_owned())?;
    if (1..=20_000).contains(&count) {
        Ok(count)
    } else {
        Err("not from 1 to 20,000".to_owned())
    }
}

/// Lets this process, and the server that inherits it, have a file descriptor for each reader.
fn allow_files(readers: usize) -> Result<()> {
    let needed = readers as u64 + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    ensure!(
        maximum.is_none_or(|maximum| maximum >= needed),
        "{readers} readers need {needed} open files, and {} are allowed",
        maximum.unwrap_or_default()
    );
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum.or(Some(needed)),
            maximum,
        },
    )
    .context("the limit of open files cannot be raised")
}
