//! `witter`: serves an application.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use host::Options;
use mimalloc::MiMalloc;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Takes a sixth less processor time for a message to many readers than the C library's, and a tenth less
/// memory for each of them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Instant messaging on WebAssembly components
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Serve an application
    ///
    /// The first line on standard output is `listening on http://ADDRESS` (with a certificate `https`), once it
    /// is served. SIGTERM and SIGINT end it in order.
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
    open_files();
    small_pages();
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
    let mut told = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let running = tokio::select! {
        running = host::start(options) => running?,
        () = told() => return Ok(()),
    };
    writeln!(io::stdout(), "listening on {}", running.url())?;
    told().await;
    // Told twice, it does not wait for anybody.
    tokio::select! {
        () = running.shutdown() => {}
        () = told() => {}
    }
    Ok(())
}

/// Lets this process have as many open files, and so connections, as the system allows it: it begins with
/// the number that suits programs which do not expect more than 1024.
fn open_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        tracing::warn!("at most {:?} files can be open: {error}", limit.current);
    }
}

/// Keeps memory in small pages. A connection's buffers are mostly never written to, and in the huge pages
/// that the allocator asks for they would take a third more memory.
fn small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!("huge pages stay: {error}");
    }
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
