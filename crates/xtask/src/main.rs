//! The project's commands: `cargo xtask up`, `test`, `build`, `bench`, `soak`, `growth`, `compose`, `dist`.
//!
//! Each brings about what it needs, a WebAssembly compiler included, and says in one line what it did.

mod autobahn;
mod build;
mod cargo;
mod debian;
mod dist;
mod manifest;
mod node;
mod peers;
mod process;
mod process_group;
mod rings;
mod runner;
mod terminal;
mod wasm;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};

use crate::cargo::root;

/// Builds, serves, tests and measures Witter.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Builds everything and serves it: open the page that it names in two windows.
    Up {
        /// What `witter up` takes: --listen, --store and so on; `-- --help` lists them.
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "OPTIONS"
        )]
        options: Vec<String>,
    },
    /// Builds everything and runs every test, ring by ring, until a ring fails.
    #[command(after_help = rings::help())]
    Test {
        /// Runs this ring only. Repeatable.
        #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(rings::names()), hide_possible_values = true)]
        ring: Vec<String>,
        /// Runs what can be against so many hosts that share a Redis, behind a balancer without affinity, and nothing
        /// else.
        #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
        nodes: u8,
        /// What the test programs take: a part of a test's name, --nocapture and so on.
        #[arg(last = true)]
        options: Vec<String>,
    },
    /// Builds the components into dist/ and the host to target/release/witter.
    Build {
        /// Leaves the host out: what `spin build` asks for.
        #[arg(long)]
        components_only: bool,
        /// Builds the host as it is packed and measured, to target/dist/witter: it takes longer, and less of a processor then.
        #[arg(long, conflicts_with = "components_only")]
        packed: bool,
    },
    /// Builds everything and measures it beside others: delay, deliveries, processor time, memory, what is lost.
    Bench {
        /// What the load generator takes; `-- --help` lists it.
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "OPTIONS"
        )]
        options: Vec<String>,
    },
    /// Builds everything and leaves 10,000 readers on one host for half an hour: counts what is lost, watches memory.
    Soak {
        /// What the load generator takes; `-- --help` lists it.
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "OPTIONS"
        )]
        options: Vec<String>,
    },
    /// Computes how many hosts, and which Redis, a load takes: docs/growth.md.
    Growth {
        /// What it takes; `-- --help` lists it.
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "OPTIONS"
        )]
        options: Vec<String>,
    },
    /// Plugs components into one another: rules of your own into a messenger.
    Compose {
        /// The file to write.
        output: PathBuf,
        /// The component whose imports are filled.
        socket: PathBuf,
        /// The components that fill them, one after the other: one that imports what it exports, such as
        /// rules over other rules, comes before what it imports.
        #[arg(required = true, value_name = "PLUG")]
        plugs: Vec<PathBuf>,
    },
    /// Builds everything and packs it, with checksums, into an archive in target/.
    Dist,
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            terminal::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<bool> {
    match verb {
        Verb::Test {
            ring,
            nodes,
            options,
        } => return rings::run(&ring, nodes, &options),
        Verb::Build {
            components_only: true,
            packed: _,
        } => build::components()?,
        Verb::Build {
            components_only: false,
            packed,
        } => {
            build::all_components()?;
            if packed {
                build::packed_host()?;
            } else {
                build::host()?;
            }
        }
        Verb::Up { options } => {
            build::components()?;
            let host = build::host()?;
            let default =
                std::env::var("WITTER_LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
            if let Some(address) = address(&options, &default) {
                terminal::say(
                    "Serving",
                    &format!("http://{address}/ (open it in two windows; Ctrl-C ends it)"),
                );
            }
            replace(
                Command::new(host)
                    .current_dir(root())
                    .arg("up")
                    .args(options),
            )?;
        }
        Verb::Bench { options } => {
            build::components()?;
            build::packed_host()?;
            let bench = build::program("bench")?;
            let told = peers::options(&options);
            replace(Command::new(bench).args(told).args(options))?;
        }
        Verb::Soak { options } => {
            build::components()?;
            build::packed_host()?;
            let bench = build::program("bench")?;
            replace(Command::new(bench).arg("soak").args(options))?;
        }
        Verb::Growth { options } => {
            let bench = build::program("bench")?;
            replace(Command::new(bench).arg("growth").args(options))?;
        }
        Verb::Compose {
            output,
            socket,
            plugs,
        } => build::plug(&output, &socket, &plugs)?,
        Verb::Dist => {
            build::all_components()?;
            dist::pack(&build::packed_host()?)?
        }
    }
    Ok(true)
}

/// Where the host will listen; none where the system chooses the port, and the host says which.
fn address<'a>(options: &'a [String], default: &'a str) -> Option<&'a str> {
    let mut options = options.iter();
    let mut address = default;
    while let Some(option) = options.next() {
        if let Some(value) = option.strip_prefix("--listen=") {
            address = value;
        } else if option == "--listen" {
            address = options.next()?;
        }
    }
    (!address.ends_with(":0")).then_some(address)
}

/// Goes on as another program: signals and the exit code are its own.
#[cfg(unix)]
fn replace(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    let error = command.exec();
    Err(error).with_context(|| format!("{} cannot be run", command.get_program().display()))
}

/// Runs another program to its end, where a process cannot become one.
#[cfg(not(unix))]
fn replace(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("{} cannot be run", command.get_program().display()))?;
    std::process::exit(status.code().unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_address_shown_is_the_one_asked_for() {
        #[track_caller]
        fn check(options: &str, expected: Option<&str>) {
            let options: Vec<_> = options.split_whitespace().map(str::to_owned).collect();
            assert_eq!(address(&options, "127.0.0.1:3000"), expected);
        }
        check("", Some("127.0.0.1:3000"));
        check("--store memory", Some("127.0.0.1:3000"));
        check(
            "--listen 127.0.0.1:8080 --store memory",
            Some("127.0.0.1:8080"),
        );
        check("--listen=[::1]:8080", Some("[::1]:8080"));
        check("--listen 127.0.0.1:0", None);
    }
}
