//! What is asked for on the command line, and what follows from it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};

use crate::growth;
use crate::soak;
use crate::subject::{ALL, Maker, OPTIONS, PUBLISHING, Publishing, Store, Subject};

/// Measures Witter beside others: delay, throughput, processor time, memory, and what was lost.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench")]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// What is done in place of measuring.
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,

    /// A smoke run of about two minutes: small numbers, rough figures
    #[arg(long)]
    quick: bool,

    /// A run of about an hour, with 10,000 idle readers
    #[arg(long, conflicts_with = "quick")]
    long: bool,

    /// Only these rows: words of their names, as `socket.io`, `websocket` or `witter sse`; or `publish`
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,

    /// Where Witter keeps its messages: rows with a Redis are beside those with a file, or in their place
    #[arg(long, value_enum, default_value_t)]
    pub(crate) store: Stores,

    /// Only Witter's rows
    #[arg(long)]
    ours: bool,

    /// Only the rows of others
    #[arg(long, conflicts_with = "ours")]
    peers: bool,

    /// Seconds at the steady rate [default: 10, quick: 1, long: 15]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: Option<u64>,

    /// Seconds that idle readers are watched; fewer than 25 miss heartbeats [default: 30, quick: 3, long: 60]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
    idle_seconds: Option<u64>,

    /// Readers at the steady rate [default: 100, quick: 20]
    #[arg(long, value_parser = count)]
    few: Option<usize>,

    /// Readers who get as much as is delivered [default: 1,10,100,1000, quick: 1,100]
    #[arg(long, value_name = "NUMBERS", value_parser = count, value_delimiter = ',')]
    fan_out: Option<Vec<usize>>,

    /// Idle readers: one number or more, each with what is added to the one before [default: 1000,5000, quick: 100,200,
    /// long: 1000,10000]
    #[arg(long, value_name = "NUMBERS", value_parser = count, value_delimiter = ',')]
    idle: Option<Vec<usize>>,

    /// Messages a second at the steady rate
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,

    /// Other rates, by which delay and processor time are seen to grow [default: 10,1000, quick: none]
    #[arg(long, value_name = "NUMBERS", value_parser = clap::value_parser!(u32).range(1..=100_000), value_delimiter = ',')]
    rates: Option<Vec<u32>>,

    /// Clients that publish as fast as they are answered
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) clients: u16,

    /// Messages of one such client that may wait for their answers, where it sends several at once
    #[arg(long, value_name = "NUMBER", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) unacknowledged: u16,

    /// Bytes of a message's body
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(64..=65_536))]
    pub(crate) body: u32,

    /// Milliseconds from one short poll to the next
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) interval: u32,

    /// Cores for the server; the generator always has one
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) cores: usize,

    /// The host to measure [default: target/dist/witter]
    #[arg(long, value_name = "PATH")]
    pub(crate) host: Option<PathBuf>,

    /// Writes all figures to a file too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Writes charts to a folder too
    #[arg(long, value_name = "FOLDER")]
    pub(crate) svg: Option<PathBuf>,

    /// Where nginx is
    #[arg(long, value_name = "PATH", hide = true, requires = "nchan")]
    pub(crate) nginx: Option<PathBuf>,

    /// Where Nchan is
    #[arg(long, value_name = "PATH", hide = true, requires = "nginx")]
    pub(crate) nchan: Option<PathBuf>,

    /// Why the servers for Node.js cannot be run
    #[arg(long, value_name = "REASON", hide = true)]
    pub(crate) no_node: Option<String>,

    /// Why nginx cannot be run
    #[arg(long, value_name = "REASON", hide = true)]
    pub(crate) no_nginx: Option<String>,
}

/// Which rows of ours there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stores {
    /// Those with a file.
    #[default]
    Sqlite,
    /// Those with a Redis.
    Redis,
    /// Both.
    Both,
}

/// What else there is to do.
#[derive(Subcommand)]
pub(crate) enum Verb {
    #[command(bin_name = "cargo xtask soak", hide = true)]
    Soak(soak::Arguments),
    #[command(bin_name = "cargo xtask growth", hide = true)]
    Growth(growth::Arguments),
}

/// What is measured: the arguments, with their defaults.
pub(crate) struct Plan {
    pub(crate) subjects: Vec<&'static Subject>,
    /// Those that are measured in trouble only.
    pub(crate) options: Vec<&'static Subject>,
    pub(crate) publishing: Vec<&'static Publishing>,
    /// At the steady rate.
    pub(crate) time: Duration,
    /// Other rates, and how long each.
    pub(crate) rates: Vec<u32>,
    pub(crate) other_time: Duration,
    /// With as much as is delivered, or acknowledged.
    pub(crate) flat_out: Duration,
    pub(crate) warm: Duration,
    pub(crate) idle_time: Duration,
    pub(crate) trial_time: Duration,
    pub(crate) few: usize,
    pub(crate) fan_outs: Vec<usize>,
    pub(crate) idle: Vec<usize>,
    /// Readers in trouble.
    pub(crate) troubled: usize,
}

impl Stores {
    fn has(self, store: Store) -> bool {
        match self {
            Self::Sqlite => store == Store::Own,
            Self::Redis => store == Store::Redis,
            Self::Both => true,
        }
    }
}

impl Arguments {
    /// How much is measured, in a word.
    pub(crate) fn mode(&self) -> &'static str {
        match self {
            Self { quick: true, .. } => "quick",
            Self { long: true, .. } => "long",
            _ => "standard",
        }
    }
}

impl Plan {
    pub(crate) fn of(arguments: &Arguments) -> Result<Self> {
        let Arguments {
            only, ours, peers, ..
        } = arguments;
        if let Some(unknown) = only.iter().find(|only| {
            let known = |subject: &Subject| subject.is_called(only);
            *only != "publish" && !ALL.iter().chain(OPTIONS).any(known)
        }) {
            let names: Vec<_> = ALL.iter().chain(OPTIONS).map(|row| row.name).collect();
            bail!(
                "there is no {unknown:?}: choose from {}, publish, or words of these",
                names.join(", ")
            );
        }
        let sided = |subject: &Subject| match subject.maker {
            Maker::Witter => !peers && arguments.store.has(subject.store),
            Maker::Node | Maker::Nginx => !ours,
        };
        let wanted = |subject: &&Subject| {
            let named = only.is_empty() || only.iter().any(|only| subject.is_called(only));
            named && sided(subject)
        };
        let publishes = only.is_empty() || only.iter().any(|only| only == "publish");
        let publishing = PUBLISHING
            .iter()
            .filter(|publishing| publishes && sided(publishing.subject));
        let pick = |quick, standard, long| match arguments {
            Arguments { quick: true, .. } => quick,
            Arguments { long: true, .. } => long,
            _ => standard,
        };
        let seconds = |given: Option<u64>, quick, standard, long| {
            Duration::from_secs(given.unwrap_or(pick(quick, standard, long)))
        };
        let millis = |quick, standard, long| Duration::from_millis(pick(quick, standard, long));
        let numbers = |given: &Option<Vec<usize>>, quick: &[usize], standard: &[usize], long| {
            let mut numbers = given.clone().unwrap_or_else(|| {
                match arguments {
                    Arguments { quick: true, .. } => quick,
                    Arguments { long: true, .. } => long,
                    _ => standard,
                }
                .to_vec()
            });
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        let plan = Self {
            subjects: ALL.iter().filter(wanted).collect(),
            options: OPTIONS.iter().filter(wanted).collect(),
            publishing: publishing.collect(),
            time: seconds(arguments.seconds, 1, 10, 15),
            rates: arguments.rates.clone().unwrap_or_else(|| {
                if arguments.quick {
                    vec![]
                } else {
                    vec![10, 1000]
                }
            }),
            other_time: seconds(None, 1, 5, 10),
            flat_out: millis(500, 2500, 5000),
            warm: millis(300, 800, 2000),
            idle_time: seconds(arguments.idle_seconds, 3, 30, 60),
            trial_time: seconds(None, 4, 6, 20),
            few: arguments.few.unwrap_or(pick(20, 100, 100) as usize),
            fan_outs: numbers(
                &arguments.fan_out,
                &[1, 100],
                &[1, 10, 100, 1000],
                &[1, 10, 100, 1000],
            ),
            idle: numbers(&arguments.idle, &[100, 200], &[1000, 5000], &[1000, 10_000]),
            troubled: pick(10, 20, 50) as usize,
        };
        ensure!(
            !plan.subjects.is_empty() || !plan.options.is_empty() || !plan.publishing.is_empty(),
            "nothing is left to measure"
        );
        Ok(plan)
    }

    /// How many measurements there are.
    pub(crate) fn steps(&self) -> usize {
        let each = 2 + self.rates.len() + self.fan_outs.len();
        let in_trouble = 2;
        self.subjects.len() * each + self.publishing.len() + in_trouble
    }

    /// The readers of the measurement that has the most.
    pub(crate) fn most_readers(&self) -> usize {
        let numbers = self.idle.iter().chain(&self.fan_outs).chain([&self.few]);
        numbers.copied().fold(0, usize::max)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn plan(arguments: &str) -> Result<Plan> {
        let arguments = ["bench"].into_iter().chain(arguments.split_whitespace());
        Plan::of(&Arguments::try_parse_from(arguments).expect("the arguments are well formed"))
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn rows_are_chosen_by_words_of_their_names_and_by_side() {
        #[track_caller]
        fn check(arguments: &str, expected: &[&str], publishing: usize) {
            let plan = plan(arguments).expect("something is measured");
            let names: Vec<_> = plan.subjects.iter().map(|subject| subject.name).collect();
            assert_eq!(names, expected);
            assert_eq!(plan.publishing.len(), publishing);
        }
        check("--only sse", &["witter sse"], 0);
        check("--only publish --ours", &[], 9);
        check("--only publish --ours --store redis", &[], 6);
        check("--only sse --store redis", &["witter sse, redis"], 0);
        check(
            "--only sse --store both",
            &["witter sse", "witter sse, redis"],
            0,
        );
        check("--only publish --peers", &[], 9);
        check(
            "--only nchan",
            &["nchan websocket", "nchan eventsource", "nchan longpoll"],
            0,
        );
        check("--only websocket --ours", &["witter websocket"], 0);
        let all = plan("").expect("something is measured");
        let own = |subject: &Subject| subject.store == Store::Own;
        let expected = ALL.iter().filter(|subject| own(subject)).count();
        assert_eq!(all.subjects.len(), expected);
        let both = plan("--store both").expect("something is measured");
        assert_eq!(both.subjects.len(), ALL.len());
        assert_eq!(both.publishing.len(), PUBLISHING.len());
        assert!(plan("--only nothing").is_err());
        assert!(plan("--only sse --peers").is_err());
    }
}
