//! Load generator: Witter's figures and those of others, side by side, in one run.
//!
//! Server and generator are on cores of their own, on one machine, over loopback: the figures are the
//! server's work, not a network's. Each measurement has a fresh server with a fresh store. All are read and
//! published to by the one client here, in each server's own protocol.

mod charts;
mod drafts;
mod growth;
mod http;
mod measure;
mod peers;
mod plan;
mod progress;
mod publishing;
mod redis;
mod report;
mod run;
mod server;
mod soak;
mod socket;
mod stamp;
mod subject;
mod subjects;
mod table;
mod witter;

use std::fs::File;
use std::io::BufWriter;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use futures::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use measure::{Bench, Load, Rate, Seen, Trouble, Waiting};
use peers::{Nginx, Peers};
use plan::{Arguments, Plan, Verb};
use progress::Progress;
use report::{Acknowledging, AtRate, Conditions, Report, Row};
use server::Cores;
use subject::{Delivery, Durability, Manners, Means};

/// Publishers at a steady rate: enough that none has to wait for its own acknowledgement.
const STEADY_PUBLISHERS: usize = 4;

/// Publishers of as much as is delivered: they wait for readers, not for one another.
const SUSTAINED_PUBLISHERS: usize = 16;

/// Messages a second while something goes wrong: few, what is counted is not how fast.
const TROUBLED_RATE: f64 = 50.0;

/// The exit code of what somebody interrupts.
const INTERRUPTED: u8 = 130;

/// Descriptors that are not readers: publishers, files, pipes.
const OTHER_FILES: u64 = 512;

/// Polls that never wait are no idle readers: to watch them takes not long, and disturbs others.
const BUSY_IDLE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.verb {
        None => run(&arguments),
        Some(Verb::Soak(arguments)) => run_soak(arguments),
        Some(Verb::Growth(arguments)) => growth::grow(arguments).map(|reports| {
            reports.iter().for_each(|report| print!("{report}"));
            ExitCode::SUCCESS
        }),
    };
    match outcome {
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
    let host = witter::host(arguments.host.as_deref())?;
    let peers = peers(arguments);
    let cores = Cores::divide(arguments.cores)?;
    let load = Conditions::load();
    let files = allow_files(plan.most_readers())?;
    cores.settle()?;
    let bench = Bench {
        host: &host,
        peers: &peers,
        cores: &cores,
        manners: Manners {
            interval: Duration::from_millis(arguments.interval.into()),
        },
        size: arguments.body as usize,
        seen: Seen::default().into(),
    };
    let mut progress = Progress::new(plan.steps());
    let measuring = measure(&bench, &plan, arguments, files, &mut progress);
    let Some((rows, publishing)) = until_interrupted(measuring)? else {
        return Ok(INTERRUPTED.into());
    };
    drop(progress);
    let conditions = Conditions {
        versions: bench.seen.into_inner().versions,
        cores: cores.to_string(),
        server_cores: cores.of_server(),
        mode: arguments.mode(),
        seconds: plan.time.as_secs_f64(),
        flat_out_seconds: plan.flat_out.as_secs_f64(),
        body_bytes: arguments.body,
        few: plan.few,
        rate: arguments.rate,
        troubled: plan.troubled,
        idle_seconds: plan.idle_time.as_secs(),
        clients: arguments.clients,
        unacknowledged: arguments.unacknowledged,
        load,
    };
    let report = Report {
        conditions,
        rows,
        publishing,
    };
    print!("{report}");
    if let Some(path) = &arguments.json {
        let file =
            File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
        serde_json::to_writer_pretty(BufWriter::new(file), &report)?;
    }
    if let Some(folder) = &arguments.svg {
        charts::write(&report, folder)?;
    }
    Ok(if report.is_whole() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Leaves readers on a host for long.
fn run_soak(arguments: &soak::Arguments) -> Result<ExitCode> {
    let host = witter::host(arguments.host.as_deref())?;
    let cores = arguments.cores()?;
    allow_files(arguments.files())?;
    cores.settle()?;
    let Some(report) = until_interrupted(soak::soak(arguments, &host, &cores))? else {
        return Ok(INTERRUPTED.into());
    };
    let report = report?;
    print!("{report}");
    soak::write(&report, arguments)?;
    Ok(if report.is_whole() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Does something on this thread; none where it is interrupted, and then its servers end with it.
fn until_interrupted<T>(doing: impl Future<Output = T>) -> Result<Option<T>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut told = signal(SignalKind::terminate())?;
        let mut gone = signal(SignalKind::hangup())?;
        Ok(tokio::select! {
            done = doing => Some(done),
            _ = tokio::signal::ctrl_c() => None,
            _ = told.recv() => None,
            _ = gone.recv() => None,
        })
    })
}

/// What is there of others' servers.
fn peers(arguments: &Arguments) -> Peers {
    let folder = witter::workspace().join("crates/bench/peers");
    let node = match &arguments.no_node {
        Some(reason) => Err(reason.clone()),
        None if folder.join("node_modules").is_dir() => Ok(folder),
        None => Err(format!("run `npm ci` in {}", folder.display())),
    };
    let nginx = match (&arguments.nginx, &arguments.nchan) {
        (Some(program), Some(module)) => Ok(Nginx {
            program: program.clone(),
            module: module.clone(),
        }),
        _ => Err(arguments
            .no_nginx
            .clone()
            .unwrap_or_else(|| "`cargo xtask bench` finds it".to_owned())),
    };
    Peers {
        node,
        nginx,
        redis: redis::find(),
    }
}

/// Everything of the plan. What fails is told in its row, and the rest goes on.
async fn measure(
    bench: &Bench<'_>,
    plan: &Plan,
    arguments: &Arguments,
    files: u64,
    progress: &mut Progress,
) -> (Vec<Row>, Vec<Acknowledging>) {
    let row = |subject: &&'static subject::Subject| {
        (*subject, Row::new(subject, bench.peers.lacking(subject)))
    };
    let mut rows: Vec<_> = plan.subjects.iter().map(row).collect();
    for (subject, row) in &mut rows {
        if row.not_installed.is_some() {
            progress.skip(1 + plan.rates.len() + plan.fan_outs.len());
            continue;
        }
        progress.next(&format!(
            "{}: {} readers, {} messages/s",
            subject.name, plan.few, arguments.rate
        ));
        let steady = Load {
            readers: plan.few,
            publishers: STEADY_PUBLISHERS,
            rate: Rate::Steady(arguments.rate.into()),
            warm: plan.warm,
            time: plan.time,
        };
        let measured = bench.broadcast(subject, Durability::Normal, steady).await;
        row.steady = row.keep(measured);
        for &rate in &plan.rates {
            // Who asks so seldom is told that the others are gone, as it must be.
            if subject.delivery == Delivery::Polled
                && u64::from(rate) * u64::from(arguments.interval) > 1_000 * witter::KEPT / 2
            {
                progress.skip(1);
                continue;
            }
            progress.next(&format!(
                "{}: {} readers, {rate} messages/s",
                subject.name, plan.few
            ));
            let load = Load {
                rate: Rate::Steady(rate.into()),
                time: plan.other_time,
                ..steady
            };
            let measured = bench.broadcast(subject, Durability::Normal, load).await;
            let measured = row.keep(measured);
            row.at_rates
                .extend(measured.map(|load| AtRate { rate, load }));
        }
        for readers in &plan.fan_outs {
            // How often it polls would be measured, and nothing else.
            if subject.delivery == Delivery::Polled {
                progress.skip(1);
                continue;
            }
            progress.next(&format!(
                "{}: {readers} readers, as much as is delivered",
                subject.name
            ));
            let load = Load {
                readers: *readers,
                publishers: SUSTAINED_PUBLISHERS,
                rate: Rate::Delivered,
                warm: plan.warm,
                time: plan.flat_out,
            };
            let measured = bench.broadcast(subject, Durability::Normal, load).await;
            let measured = row.keep(measured);
            row.sustained.extend(measured);
        }
    }
    let mut publishing = Vec::new();
    for publishing_of in &plan.publishing {
        let lacking = bench.peers.lacking(publishing_of.subject);
        let mut row = Acknowledging::new(publishing_of, lacking);
        progress.next(&format!(
            "publishing, {}, {}: {} clients",
            row.name,
            row.means.heading(),
            arguments.clients
        ));
        if lacking.is_none() {
            let at_once = match row.means {
                Means::Posts | Means::Socket => 1,
                Means::Pipelined => arguments.unacknowledged.into(),
            };
            let load = Load {
                readers: 1,
                publishers: arguments.clients.into(),
                rate: Rate::Acknowledged { at_once },
                warm: plan.warm,
                time: 2 * plan.flat_out,
            };
            let (subject, durability) = (publishing_of.subject, publishing_of.durability);
            match bench.broadcast(subject, durability, load).await {
                Ok(load) => row.load = Some(load),
                Err(error) => row.problem = Some(format!("{error:#}")),
            }
        }
        publishing.push(row);
    }
    idle(bench, plan, files, &mut rows, progress).await;
    for (subject, row) in &mut rows {
        row.start_ms = bench.start_ms(subject);
    }
    rows.extend(plan.options.iter().map(row));
    trouble(bench, plan, &mut rows, progress).await;
    (rows.into_iter().map(|(_, row)| row).collect(), publishing)
}

/// A subject, and what is known of it.
type Measured = (&'static subject::Subject, Row);

/// Opens idle readers of one server after the other, and watches all of them at once: what a server has to do is
/// counted by its own process, and it is next to nothing.
async fn idle(
    bench: &Bench<'_>,
    plan: &Plan,
    files: u64,
    rows: &mut [Measured],
    progress: &mut Progress,
) {
    let each = plan.idle.iter().copied().fold(0, usize::max) as u64;
    let mut waiting: Vec<(usize, Waiting<'_>)> = Vec::new();
    for at in 0..rows.len() {
        let (subject, row) = &mut rows[at];
        if row.not_installed.is_some() {
            progress.skip(1);
            continue;
        }
        let is_busy = subject.delivery == Delivery::Polled;
        let open: u64 = waiting
            .iter()
            .map(|(_, waiting)| waiting.readers() as u64)
            .sum();
        if is_busy || open + each + OTHER_FILES > files {
            watch(std::mem::take(&mut waiting), plan.idle_time, rows, progress).await;
        }
        let (subject, row) = &mut rows[at];
        progress.next(&format!("{}: {each} idle readers", subject.name));
        let opened = bench.idle(subject, &plan.idle).await;
        waiting.extend(row.keep(opened).map(|opened| (at, opened)));
        if is_busy {
            let time = plan.idle_time.min(BUSY_IDLE);
            watch(std::mem::take(&mut waiting), time, rows, progress).await;
        }
    }
    watch(waiting, plan.idle_time, rows, progress).await;
}

async fn watch(
    waiting: Vec<(usize, Waiting<'_>)>,
    time: Duration,
    rows: &mut [Measured],
    progress: &Progress,
) {
    if waiting.is_empty() {
        return;
    }
    progress.say(&format!(
        "idle readers of {} servers, {} s",
        waiting.len(),
        time.as_secs()
    ));
    let watched = waiting
        .into_iter()
        .map(async |(at, waiting)| (at, waiting.watch(time).await));
    for (at, watched) in join_all(watched).await {
        let row = &mut rows[at].1;
        row.idle = row.keep(watched);
    }
}

/// Makes the same go wrong for all servers at once: what is counted is not how fast they are.
async fn trouble(bench: &Bench<'_>, plan: &Plan, rows: &mut [Measured], progress: &mut Progress) {
    let load = Load {
        readers: plan.troubled,
        publishers: STEADY_PUBLISHERS,
        rate: Rate::Steady(TROUBLED_RATE),
        warm: Duration::ZERO,
        time: plan.trial_time,
    };
    for trouble in [Trouble::Cuts, Trouble::Kill] {
        progress.next(match trouble {
            Trouble::Cuts => "all: readers are cut",
            Trouble::Kill => "all: the server is killed",
        });
        let trials = rows
            .iter()
            .filter(|(_, row)| row.not_installed.is_none())
            .map(|(subject, _)| bench.trial(subject, trouble, load));
        let mut outcomes = join_all(trials).await.into_iter();
        for (_, row) in rows.iter_mut() {
            if row.not_installed.is_some() {
                continue;
            }
            let Some(outcome) = outcomes.next() else {
                return;
            };
            let trial = row.keep(outcome);
            match trouble {
                Trouble::Cuts => row.cut = trial,
                Trouble::Kill => row.killed = trial,
            }
        }
    }
}

/// Lets this process, and the servers that inherit it, have a file descriptor for each reader, and tells how many
/// there may be.
fn allow_files(readers: usize) -> Result<u64> {
    let needed = readers as u64 + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    ensure!(
        maximum.is_none_or(|maximum| maximum >= needed),
        "{readers} readers need {needed} open files, and {} are allowed",
        maximum.unwrap_or_default()
    );
    if current.is_some() && current != maximum {
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )
        .context("the limit of open files cannot be raised")?;
    }
    Ok(maximum.unwrap_or(u64::MAX))
}
