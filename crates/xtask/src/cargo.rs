//! Cargo as a child: its progress goes to a bar, the compiler's diagnostics to the terminal, the rest only
//! where it failed.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::process::{Event, Running};
use crate::terminal::{self, Task};

/// The folder of the workspace: every path in this program starts there.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("this crate stands two folders below the root")
}

/// The ordinary cargo: the one that runs this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The layout that is promised, whatever the environment says: the host in target/release.
    command
        .current_dir(root())
        .env("CARGO_TARGET_DIR", root().join("target"));
    command
}

/// One of the workspace's packages.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) version: String,
    manifest_path: PathBuf,
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

    /// Its folder, seen from the root.
    pub(crate) fn folder(&self) -> &Path {
        let folder = self.manifest_path.parent().unwrap_or(&self.manifest_path);
        folder.strip_prefix(root()).unwrap_or(folder)
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

/// What cargo built of one target of a package.
#[derive(Deserialize)]
pub(crate) struct Artifact {
    pub(crate) package_id: String,
    pub(crate) filenames: Vec<PathBuf>,
    pub(crate) target: ArtifactTarget,
    executable: Option<PathBuf>,
    profile: Profile,
    fresh: bool,
}

/// A target as cargo names it.
#[derive(Deserialize)]
pub(crate) struct ArtifactTarget {
    pub(crate) name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl Artifact {
    /// The package's program.
    pub(crate) fn program(&self) -> Option<&Path> {
        self.executable.as_deref().filter(|_| !self.profile.test)
    }

    /// The program that runs the target's tests.
    pub(crate) fn test_program(&self) -> Option<&Path> {
        self.executable.as_deref().filter(|_| self.profile.test)
    }
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

/// Runs a cargo command that compiles (`build`, or `test` without running).
///
/// The compiler's warnings and errors are printed as they come, cargo's own only where it fails.
pub(crate) fn compile<S: AsRef<OsStr>>(
    mut command: Command,
    arguments: &[S],
    what: &str,
) -> Result<Built> {
    let colors = console::colors_enabled_stderr();
    command
        .args(arguments)
        .arg(if colors {
            "--message-format=json-diagnostic-rendered-ansi"
        } else {
            "--message-format=json"
        })
        // Cargo counts its steps only in its own bar: have it drawn into the pipe and read it there.
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "100");
    let mut running = Running::start(&mut command)?;

    let mut task = Task::new("Compiling", what);
    let mut artifacts = Vec::new();
    let mut printed = HashSet::new();
    let mut complaints = Vec::new();
    while let Some(event) = running.next() {
        match event {
            Event::Nothing => task.idle(),
            Event::Line(line) if line.is_error => match progress(&line.text) {
                Some((done, of, now)) => task.progress(done, of, now),
                None if line.text.trim_start().starts_with("Blocking") => {
                    task.now("waiting for another cargo to end")
                }
                None if is_step(&line.text) => task.now(line.text.trim()),
                None if line.text.is_empty() => {}
                None => complaints.push(line.text),
            },
            Event::Line(line) => match serde_json::from_str(&line.text) {
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
                Err(_) => task.print(&line.text),
            },
        }
    }
    let success = running.status()?.success();
    let elapsed = task.elapsed();
    drop(task);
    if !success {
        complaints.iter().for_each(|line| eprintln!("{line}"));
    } else if artifacts.iter().all(|artifact| artifact.fresh) {
        terminal::say("Fresh", what);
    } else {
        terminal::say(
            "Compiled",
            &format!("{what} in {}", terminal::seconds(elapsed)),
        );
    }
    Ok(Built { artifacts, success })
}

/// Whether a line tells of a step that went well: a verb that ends in the twelfth column.
fn is_step(line: &str) -> bool {
    let Some((verb, rest)) = line.split_at_checked(12) else {
        return false;
    };
    let verb = verb.trim_start();
    !verb.is_empty() && verb.chars().all(char::is_alphabetic) && rest.starts_with(' ')
}

/// Reads cargo's bar: `Building [===>  ] 12/34: names`.
fn progress(line: &str) -> Option<(u64, u64, &str)> {
    let (_, counts) = line
        .trim_start()
        .strip_prefix("Building [")?
        .split_once("] ")?;
    let (counts, now) = counts.split_once(':').unwrap_or((counts, ""));
    let (done, of) = counts.split_once('/')?;
    Some((done.parse().ok()?, of.trim().parse().ok()?, now.trim()))
}
