//! `witter`: serves an application, stands in front of one, or moves what one has stored.

use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use host::migration::{self, Moved, Progress};
use host::{Handed, Options, asking, gateway, top};
use indicatif::{ProgressBar, ProgressStyle};
use mimalloc::MiMalloc;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Takes a sixth less processor time for a message to many readers than the C library's, and a tenth less
/// memory for each of them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Instant messaging on WebAssembly components
#[derive(Parser)]
#[command(version)]
struct Witter {
    #[command(subcommand)]
    command: Command,

    /// How the log is written, to standard error; its level is set by RUST_LOG
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "WITTER_LOG_FORMAT"
    )]
    log_format: LogFormat,
}

#[derive(Subcommand)]
enum Command {
    /// Serve an application
    ///
    /// The first line on standard output is `listening on http://ADDRESS` (with a certificate `https`), once it
    /// is served. SIGTERM and SIGINT end it in order.
    Up(Box<Options>),

    /// Give an application that is served elsewhere its WebSockets
    ///
    /// Upgrades connections in front of a host that cannot, as `spin up`, and passes on everything else as it
    /// comes. The first line on standard output is as for `up`.
    Gateway(Box<gateway::Options>),

    /// Move all that a store holds to another one
    ///
    /// The application has to be stopped on all hosts, and what starts it there, such as a socket of systemd.
    /// Interrupted, it goes on where it was when it is run again.
    Migrate(migration::Options),

    /// Show a host as it is now: what goes through it, how late, what it takes
    ///
    /// The host has to be asked where its `--metrics` are. Ctrl-C ends it.
    Top(top::Options),

    /// Say whether a host is ready to serve, by the exit code: 0 where it is
    ///
    /// For health checks of containers, which have no other program to ask with.
    Ready(asking::Options),
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum LogFormat {
    #[default]
    Text,
    Json,
}

fn main() -> ExitCode {
    let Witter {
        command,
        log_format,
    } = Witter::parse();
    log(log_format);
    // Before the runtime has threads.
    let handed = match command {
        Command::Up(_) | Command::Gateway(_) => Handed::from_environment(),
        Command::Migrate(_) | Command::Top(_) | Command::Ready(_) => Ok(None),
    };
    let runtime = Runtime::new().context("no threads can be started");
    let done = handed.and_then(|handed| runtime?.block_on(run(command, handed)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command, handed: Option<Handed>) -> anyhow::Result<()> {
    match command {
        Command::Up(mut options) => {
            options.handed = handed;
            let starting = host::start(*options);
            serve(
                starting,
                |running| (running.url(), running.metrics()),
                host::Running::shutdown,
            )
            .await
        }
        Command::Gateway(mut options) => {
            options.handed = handed;
            let starting = gateway::start(*options);
            serve(
                starting,
                |running| (running.url(), running.metrics()),
                gateway::Running::shutdown,
            )
            .await
        }
        Command::Migrate(options) => migrate(&options).await,
        Command::Top(options) => watch(options).await,
        Command::Ready(options) => asking::ready(&options).await,
    }
}

/// Starts, tells where it is found, and shuts it down when told to.
async fn serve<R>(
    starting: impl Future<Output = anyhow::Result<R>>,
    places: impl FnOnce(&R) -> (String, Option<SocketAddr>),
    shutdown: impl AsyncFnOnce(R),
) -> anyhow::Result<()> {
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
        running = starting => running?,
        () = told() => return Ok(()),
    };
    let (url, metrics) = places(&running);
    writeln!(io::stdout(), "listening on {url}")?;
    if let Some(address) = metrics {
        writeln!(io::stdout(), "metrics on http://{address}/metrics")?;
    }
    tell(&NotifyState::Ready);
    told().await;
    tell(&NotifyState::Stopping);
    // Told twice, it does not wait for anybody.
    tokio::select! {
        () = shutdown(running) => {}
        () = told() => {}
    }
    Ok(())
}

/// Tells whoever supervises the process, where somebody does who wants to know (sd_notify(3)).
fn tell(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!("the service manager cannot be told {state}: {error}");
    }
}

/// Shows a host until told to end.
async fn watch(options: top::Options) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    // What is shown is dropped before the end, and leaves the terminal as it was.
    tokio::select! {
        shown = top::run(options) => shown,
        told = tokio::signal::ctrl_c() => Ok(told?),
        _ = terminate.recv() => Ok(()),
    }
}

/// Moves a store, and shows how far it is.
async fn migrate(options: &migration::Options) -> anyhow::Result<()> {
    // Both halves of the work go over all values once.
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{msg:>9} {wide_bar} {human_pos}/{human_len} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let told = bar.clone();
    let moved = migration::migrate(options, move |progress| match progress {
        Progress::Found(values) => {
            told.set_message("copying");
            told.set_length(2 * values);
        }
        Progress::Copied(values) => told.inc(values),
        Progress::Compared(values) => {
            told.set_message("comparing");
            told.inc(values);
        }
    });
    let moved = moved.await;
    bar.finish_and_clear();
    let Moved {
        values,
        written,
        deleted,
    } = moved?;
    writeln!(
        io::stdout(),
        "moved {values} values: {written} written, {} were there already, {deleted} others deleted",
        values - written
    )?;
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
        // It would tell by a panic, of whoever logs, that a line cannot be written: the disk is full, nobody reads.
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
