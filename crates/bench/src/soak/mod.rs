//! Thousands of readers for half an hour: what is lost, and whether the host's memory grows.
//!
//! All transports at once, on one host, in many rooms of few people each: the opposite of the broadcasts that the
//! other figures are of. Readers come and go all the time, since what is never closed never leaks.

mod chart;
mod memory;
mod report;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Parser;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout, timeout_at};

use crate::drafts::{Drafts, Pace};
use crate::measure::{OPENING, REOPEN, until};
use crate::peers::Peers;
use crate::progress::Progress;
use crate::report::Conditions;
use crate::run::{Inbox, Run, Times};
use crate::server::{Cores, Server};
use crate::subject::{ALL, Durability, Maker, Manners, Setup, Store, Subject, Target};
use crate::witter;

use memory::Sample;
pub(crate) use report::Report;

/// How many connections come from one address of the loopback network: it has 28,232 ports by default, and those
/// that were closed stay taken for a minute.
const PER_ADDRESS: usize = 16_000;

/// How long a batch of readers may take to be ready, on a machine that others use too.
const OPEN: Duration = Duration::from_secs(60);

/// Who is cut is away for up to this long.
const AWAY: Duration = Duration::from_secs(4);

/// How long what was published may still be on its way when all is published.
const DRAIN: Duration = Duration::from_secs(60);

/// How long publishers may be behind their time at the end before it is given up.
const BEHIND: Duration = Duration::from_secs(120);

/// How often it is looked at whether everybody has everything: there are many to look at.
const LOOK: Duration = Duration::from_millis(100);

/// Leaves thousands of readers on one host for half an hour: counts what is lost, and watches its memory.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// How long it is published
    #[arg(long, default_value_t = 30.0, value_parser = minutes)]
    minutes: f64,

    /// Readers, over all transports; each room has a publisher with a connection of its own besides
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(7..=200_000))]
    connections: u32,

    /// Rooms; each has its share of the readers, by as many transports as they are
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rooms: u32,

    /// Messages a second, over all rooms
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,

    /// Bytes of a message's body
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(64..=65_536))]
    body: u32,

    /// Milliseconds from one short poll to the next
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    interval: u32,

    /// Seconds after which a reader is cut, on average, and comes back from its cursor; 0: never
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    cut: u64,

    /// Messages that are kept of each room: what an instance knows of them is as much as it gets when there are so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    kept: u32,

    /// Seconds from one look at the host's memory to the next
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    sample: u64,

    /// Where the host keeps its messages
    #[arg(long, value_enum, default_value_t)]
    store: Store,

    /// Cores for the host; the readers always have one
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    cores: usize,

    /// The host [default: target/dist/witter]
    #[arg(long, value_name = "PATH")]
    pub(crate) host: Option<PathBuf>,

    /// Writes all figures to a file too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Draws the host's memory over the time, into a file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=10_080.0).contains(&minutes) {
        Ok(minutes)
    } else {
        Err("not from 0.1 to 10,080, which is a week".to_owned())
    }
}

impl Arguments {
    fn time(&self) -> Duration {
        Duration::from_secs_f64(60.0 * self.minutes)
    }

    /// How many descriptors are open at once.
    pub(crate) fn files(&self) -> usize {
        (self.connections + self.rooms) as usize
    }

    pub(crate) fn cores(&self) -> Result<Cores> {
        Cores::divide(self.cores)
    }
}

/// Writes everything that the report is asked for.
pub(crate) fn write(report: &Report, arguments: &Arguments) -> Result<()> {
    if let Some(path) = &arguments.json {
        let file = std::fs::File::create(path);
        let file = file.with_context(|| format!("{} cannot be written", path.display()))?;
        serde_json::to_writer_pretty(std::io::BufWriter::new(file), report)?;
    }
    if let Some(path) = &arguments.svg {
        svg::save(path, &chart::draw(&report.memory))
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

/// One room: its run, and who reads in it.
struct Room {
    run: Run,
    channel: String,
    /// The transports of its readers, as places in the list of them.
    transports: Vec<usize>,
}

/// What all readers of one transport have in common.
struct Transport {
    subject: &'static Subject,
    delays: Times,
    /// How often its readers were cut, each of which came back.
    returns: Cell<u64>,
}

/// Does all of it, on the thread that calls.
pub(crate) async fn soak(arguments: &Arguments, host: &Path, cores: &Cores) -> Result<Report> {
    let load = Conditions::load();
    let folder = TempDir::with_prefix("witter-soak-")?;
    let setup = Setup {
        host,
        peers: &Peers::none(),
        folder: folder.path(),
        cores,
        durability: Durability::Normal,
        manners: Manners {
            interval: Duration::from_millis(arguments.interval.into()),
        },
        kept: Some(arguments.kept),
        address: None,
    };
    let starting = match arguments.store {
        Store::Own => witter::start(setup),
        Store::Redis => witter::start_on_redis(setup),
    };
    let (mut server, target) = starting.await?;
    let transports = transports();
    let acknowledgements = Times::new();
    let rooms = rooms(arguments, &transports, &acknowledgements);
    let mut progress = Progress::new(arguments.minutes.ceil() as usize);
    let before = server.usage()?;

    progress.say(&format!("opening {} readers", arguments.connections));
    let opening = Instant::now();
    let mut readers = JoinSet::new();
    open(arguments, &transports, &rooms, &target, &mut readers).await?;
    let opened = opening.elapsed();

    let begin = Instant::now();
    let end = begin + arguments.time();
    let mut publishers = JoinSet::new();
    for (number, room) in rooms.iter().enumerate() {
        let drafts = Drafts::new(
            room.run.clone(),
            0,
            arguments.body as usize,
            arguments.pace(number, begin),
        );
        let target = target_of(number + arguments.connections as usize, room, &target);
        publishers.spawn_local(witter::publish(target, drafts));
    }
    let mut samples = Vec::new();
    let watching = watch(
        arguments,
        &mut server,
        &rooms,
        begin,
        &mut samples,
        &mut progress,
    );
    let publishing = async {
        while let Some(end) = publishers.join_next().await {
            end??;
        }
        Ok(())
    };
    let published = async {
        match timeout_at(end + BEHIND, publishing).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("publishing was not over in time"),
        }
    };
    tokio::select! {
        // It ends by an error only.
        watched = watching => watched?,
        published = published => published?,
    }
    let published = begin.elapsed();
    progress.say("waiting for what is under way");
    drained(&rooms).await;
    server.check()?;
    samples.push(Sample::of(&server, begin)?);
    let used = server.usage()?.time - before.time;
    drop(readers);
    server.stop().await?;
    Ok(Report::new(report::Course {
        arguments,
        cores: cores.to_string(),
        load,
        transports: &transports,
        rooms: &rooms,
        acknowledgements,
        opened,
        published,
        used,
        samples,
    }))
}

/// Our own ways of reading.
fn transports() -> Vec<Rc<Transport>> {
    let ours = ALL
        .iter()
        .filter(|row| row.maker == Maker::Witter && row.store == Store::Own);
    let transport = |subject| Transport {
        subject,
        delays: Times::new(),
        returns: Cell::new(0),
    };
    ours.map(transport).map(Rc::new).collect()
}

fn rooms(
    arguments: &Arguments,
    transports: &[Rc<Transport>],
    acknowledgements: &Times,
) -> Vec<Room> {
    let (rooms, readers) = (arguments.rooms as usize, arguments.connections as usize);
    (0..rooms)
        .map(|room| {
            // The rooms take turns at the readers, and the readers of a room at the transports, so that each
            // transport has as many, and each room as many different ones as there are.
            let readers = (room..readers).step_by(rooms);
            let own: Vec<_> = readers
                .enumerate()
                .map(|(nth, _)| (room + nth) % transports.len())
                .collect();
            let delays = own
                .iter()
                .map(|transport| transports[*transport].delays.clone());
            Room {
                run: Run::sharing(delays, 1, acknowledgements.clone()),
                channel: format!("soak-{room}"),
                transports: own,
            }
        })
        .collect()
}

/// Where a client of a room goes, and where it comes from.
fn target_of(client: usize, room: &Room, target: &Target) -> Target {
    let address = u8::try_from(1 + client / PER_ADDRESS).unwrap_or(u8::MAX);
    Target {
        source: Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, address))),
        channel: room.channel.as_str().into(),
        ..target.clone()
    }
}

/// Opens every reader, some at a time, and waits until each has a place to read from.
async fn open(
    arguments: &Arguments,
    transports: &[Rc<Transport>],
    rooms: &[Room],
    target: &Target,
    readers: &mut JoinSet<()>,
) -> Result<()> {
    let mean = Duration::from_secs(arguments.cut);
    let everybody = rooms.iter().flat_map(|room| {
        room.transports
            .iter()
            .enumerate()
            .map(move |(nth, transport)| (room, nth, *transport))
    });
    let mut waiting: Vec<(Inbox, &Run)> = Vec::new();
    for (number, (room, nth, transport)) in everybody.enumerate() {
        let inbox = room.run.inbox(nth);
        readers.spawn_local(read(
            Rc::clone(&transports[transport]),
            target_of(number, room, target),
            inbox.clone(),
            mean,
        ));
        waiting.push((inbox, &room.run));
        if waiting.len() == OPENING || number + 1 == arguments.connections as usize {
            let ready = until(LOOK / 20, || {
                waiting.iter().all(|(inbox, _)| inbox.is_ready())
            });
            if timeout(OPEN, ready).await.is_err() {
                let cut = waiting.iter().find_map(|(_, run)| run.last_cut());
                let error = anyhow!(cut.unwrap_or_else(|| "no answer".to_owned()));
                return Err(error.context(format!("only {number} readers could be opened")));
            }
            waiting.clear();
        }
    }
    Ok(())
}

/// Reads for ever; now and then the connection is lost. For the first time, as if it had been there for long already, within
/// the mean time: by then each has come back.
async fn read(transport: Rc<Transport>, target: Target, inbox: Inbox, mean: Duration) {
    let mut shortest = 0.0;
    loop {
        let reading = async {
            loop {
                if let Err(error) = (transport.subject.read)(target.clone(), inbox.clone()).await {
                    inbox.cut(format!("{error:#}"));
                }
                sleep(REOPEN).await;
            }
        };
        let time = if mean.is_zero() {
            Duration::MAX
        } else {
            mean.mul_f64(shortest + fastrand::f64())
        };
        shortest = 0.5;
        let _: Result<(), _> = timeout(time, reading).await;
        transport.returns.update(|returns| returns + 1);
        sleep(AWAY.mul_f64(fastrand::f64())).await;
    }
}

/// Looks at the host, and says each minute how it goes. Ends by an error only.
async fn watch(
    arguments: &Arguments,
    server: &mut Server,
    rooms: &[Room],
    begin: Instant,
    samples: &mut Vec<Sample>,
    progress: &mut Progress,
) -> Result<()> {
    let mut clock = interval_at(begin, Duration::from_secs(arguments.sample));
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut minutes = 0;
    loop {
        clock.tick().await;
        server.check()?;
        let sample = Sample::of(server, begin)?;
        samples.push(sample);
        if sample.seconds >= 60.0 * f64::from(minutes) {
            minutes += 1;
            let published: u64 = rooms.iter().map(|room| room.run.published()).sum();
            let delivered: u64 = rooms.iter().map(|room| room.run.deliveries()).sum();
            progress.next(&format!(
                "{published} messages, {delivered} deliveries, {:.1} MiB",
                memory::mib(sample.resident)
            ));
        }
    }
}

/// Waits until every reader has everything, or nothing comes any more.
async fn drained(rooms: &[Room]) {
    let complete = || rooms.iter().all(|room| room.run.is_complete());
    drop(timeout(DRAIN, until(LOOK, complete)).await);
}

impl Arguments {
    /// The rooms take turns.
    fn pace(&self, room: usize, begin: Instant) -> Pace {
        let (rooms, rate) = (f64::from(self.rooms), f64::from(self.rate));
        let all = (rate * self.time().as_secs_f64()).round() as usize;
        let (each, more) = (all / self.rooms as usize, all % self.rooms as usize);
        Pace::Steady {
            begin: begin + Duration::from_secs_f64(room as f64 / rate),
            period: Duration::from_secs_f64(rooms / rate),
            count: each + usize::from(room < more),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[track_caller]
    pub(crate) fn arguments(text: &str) -> Arguments {
        let arguments = ["soak"].into_iter().chain(text.split_whitespace());
        Arguments::try_parse_from(arguments).expect("the arguments are well formed")
    }

    #[test]
    fn every_transport_has_as_many_readers_and_every_room_as_different_ones_as_there_are() {
        let transports = transports();
        assert_eq!(transports.len(), 7);
        let arguments = arguments("--connections 700 --rooms 100");
        let rooms = rooms(&arguments, &transports, &Times::new());
        let mut readers = vec![0; transports.len()];
        for room in &rooms {
            let mut own = room.transports.clone();
            own.iter().for_each(|transport| readers[*transport] += 1);
            own.sort_unstable();
            assert_eq!(own, (0..7).collect::<Vec<_>>());
        }
        assert_eq!(readers, vec![100; 7]);
    }

    #[test]
    fn the_rooms_share_the_rate_and_take_turns() {
        let arguments = arguments("--minutes 1 --rooms 300 --rate 200");
        let begin = Instant::now();
        let (mut all, mut last) = (0, begin);
        for room in 0..300 {
            let Pace::Steady {
                begin: first,
                period,
                count,
            } = arguments.pace(room, begin)
            else {
                panic!("a rate is given");
            };
            all += count;
            last = last.max(first + period * (count as u32 - 1));
            assert_eq!(first - begin, Duration::from_millis(5) * room as u32);
        }
        assert_eq!(all, 12_000);
        assert!(last < begin + Duration::from_secs(60));
    }

    #[test]
    fn clients_come_from_as_many_addresses_as_they_need() {
        let rooms = rooms(&arguments("--rooms 1"), &transports(), &Times::new());
        let target = Target {
            address: ([127, 0, 0, 1], 1).into(),
            source: None,
            channel: "".into(),
            token: "".into(),
            manners: Manners {
                interval: Duration::ZERO,
            },
            version: "".into(),
        };
        for (client, last) in [(0, 1), (15_999, 1), (16_000, 2), (200_000, 13)] {
            let source = target_of(client, &rooms[0], &target).source;
            assert_eq!(source, Some(IpAddr::from([127, 0, 0, last])), "{client}");
        }
    }

    #[test]
    fn what_cannot_be_soaked_is_refused() {
        for text in ["--minutes 0", "--minutes x", "--connections 6", "--rooms 0"] {
            let arguments = ["soak"].into_iter().chain(text.split_whitespace());
            assert!(Arguments::try_parse_from(arguments).is_err(), "{text}");
        }
    }
}
