//! Cargo as a child: its progress goes to a bar, its diagnostics to the terminal, the rest only where it
//! failed.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::terminal::{self, Task};

/// The folder of the workspace: every path in this program starts there.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("this crate stands two folders below the root")
        .to_owned()
}

/// The ordinary cargo: the one that runs this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// One of the workspace's packages.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

impl Package {
    /// Whether it is compiled to WebAssembly: only components are `cdylib`s.
    pub(crate) fn is_component(&self) -> bool {
        self.targets
            .iter()
            .any(|target| target.crate_types.iter().any(|kind| kind == "cdylib"))
    }
}

/// The workspace's packages.
pub(crate) fn packages() -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be run")?;
    if !output.status.success() {
        bail!("cargo cannot read the workspace");
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata is not understood")?;
    Ok(metadata.packages)
}

/// What cargo built: a file of a package.
#[derive(Deserialize)]
pub(crate) struct Artifact {
    pub(crate) package_id: String,
    pub(crate) filenames: Vec<PathBuf>,
    pub(crate) fresh: bool,
}

/// What cargo says on standard output, as far as it matters here.
#[derive(Deserialize)]
#[serde(tag = "reason")]
enum Message {
    #[serde(rename = "compiler-artifact")]
    Artifact(Artifact),
    #[serde(rename = "compiler-message")]
    Diagnostic { message: Diagnostic },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Diagnostic {
    rendered: Option<String>,
}

/// What a build came to.
pub(crate) struct Built {
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) success: bool,
}

enum Event {
    Out(String),
    Err(String),
}

/// Runs a cargo command that compiles (`build`, or `test` without running).
///
/// Warnings and errors of the compiler are printed as they come, cargo's own only where it fails.
pub(crate) fn compile<S: AsRef<OsStr>>(
    mut command: Command,
    arguments: &[S],
    what: &str,
) -> Result<Built> {
    let format = if console::colors_enabled_stderr() {
        "json-diagnostic-rendered-ansi"
    } else {
        "json"
    };
    let mut child = command
        .args(arguments)
        .arg(format!("--message-format={format}"))
        // Cargo counts its steps only in its own bar: have it drawn into the pipe and read it there.
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "100")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} cannot be run", command.get_program().display()))?;
    let (events, received) = channel();
    read_lines(
        child.stdout.take().expect("it is piped"),
        events.clone(),
        Event::Out,
    );
    read_lines(
        child.stderr.take().expect("it is piped"),
        events,
        Event::Err,
    );

    let mut task = Task::new("Compiling", what);
    let mut artifacts = Vec::new();
    let mut printed = HashSet::new();
    let mut said = Vec::new();
    for event in received {
        match event {
            Event::Out(line) => match serde_json::from_str(&line) {
                Ok(Message::Artifact(artifact)) => artifacts.push(artifact),
                Ok(Message::Diagnostic {
                    message:
                        Diagnostic {
                            rendered: Some(text),
                        },
                }) => {
                    // A crate compiled twice, for its tests too, repeats its warnings.
                    if printed.insert(text.clone()) {
                        task.print(&text);
                    }
                }
                Ok(_) => {}
                Err(_) => task.print(&line),
            },
            Event::Err(line) => match progress(&line) {
                Some((done, of, now)) => task.progress(done, of, now),
                None if !line.trim().is_empty() => {
                    task.now(line.trim());
                    said.push(line);
                }
                None => {}
            },
        }
    }
    let success = child.wait().context("cargo got lost")?.success();
    let elapsed = task.elapsed();
    drop(task);
    if !success {
        said.iter()
            .filter(|line| !is_step(line))
            .for_each(|line| eprintln!("{line}"));
    } else if artifacts.iter().any(|artifact| !artifact.fresh) {
        terminal::say(
            "Compiled",
            &format!("{what} in {:.0} s", elapsed.as_secs_f64().ceil()),
        );
    } else {
        terminal::say("Fresh", what);
    }
    Ok(Built { artifacts, success })
}

/// Whether a line tells of a step that went well: a verb that ends in the twelfth column.
fn is_step(line: &str) -> bool {
    let Some((verb, rest)) = line.split_at_checked(12) else {
        return false;
    };
    verb.trim_start().chars().all(char::is_alphabetic)
        && verb.ends_with(char::is_alphabetic)
        && rest.starts_with(' ')
}

/// Reads cargo's bar: `Building [===>  ] 12/34: names`.
fn progress(line: &str) -> Option<(u64, u64, &str)> {
    let (_, counts) = line
        .trim_start()
        .strip_prefix("Building [")?
        .split_once("] ")?;
    let (counts, now) = counts.split_once(':').unwrap_or((counts, ""));
    let (done, of) = counts.split_once('/')?;
    Some((done.parse().ok()?, of.parse().ok()?, now.trim()))
}

/// Hands on what arrives, a line at a time; a bar is redrawn after a carriage return, which ends a line too.
fn read_lines(
    mut stream: impl Read + Send + 'static,
    to: Sender<Event>,
    event: fn(String) -> Event,
) {
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        let mut line = Vec::new();
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            for byte in &buffer[..length] {
                if !matches!(byte, b'\n' | b'\r') {
                    line.push(*byte);
                    continue;
                }
                let text = String::from_utf8_lossy(&line);
                if to.send(event(text.into_owned())).is_err() {
                    return;
                }
                line.clear();
            }
        }
    });
}
