//! `witter`: serves an application.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use host::Options;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Instant messaging on WebAssembly components
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Serve an application
    ///
    /// The first line on standard output is `listening on http://ADDRESS`, once it is served. SIGTERM and
    /// SIGINT end it in order.
    Up {
        #[command(flatten)]
        options: Box<Options>,

        /// How the log is written, to standard error; its level is set by RUST_LOG
        #[arg(long, value_enum, default_value_t, env = "WITTER_LOG_FORMAT")]
        log_format: LogFormat,
    },
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum LogFormat {
    #[default]
    Text,
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Up {
        options,
        log_format,
    } = Command::parse();
    log(log_format);
    match up(*options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn up(options: Options) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
    let running = host::start(options).await?;
    writeln!(io::stdout(), "listening on http://{}", running.address())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.shutdown().await;
    Ok(())
}

/// Libraries that would write requests into the log, their queries with them, and queries hold credentials.
const TALKATIVE: [&str; 3] = ["h2=warn", "hyper=warn", "wasmtime_wasi_http=warn"];

fn log(format: LogFormat) {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .from_env_lossy();
    let filter = TALKATIVE
        .iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
