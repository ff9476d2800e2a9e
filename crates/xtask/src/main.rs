//! The project's commands: `cargo xtask up`, `test`, `build`, `bench`, `dist`.
//!
//! Each brings about what it needs, WebAssembly compiler included, and says in one line what it did.

mod build;
mod cargo;
mod process;
mod terminal;
mod wasm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, serves, tests and measures Witter.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds the components into dist/ and the host to target/release/witter.
    Build {
        /// Leaves the host out: what `spin build` asks for.
        #[arg(long)]
        components_only: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            terminal::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Build { components_only } => {
            build::components()?;
            if !components_only {
                build::host()?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
