//! The Autobahn test suite: a client that others wrote, and that tries what a WebSocket server gets wrong.
//!
//! It runs against the echo of tests/echo, as `witter up` serves it: the host, the glue and the library that
//! the transport is made of. The suite is a program for CPython 2.7, which no system brings along any more:
//! where there is none, that is said, and the suite counts as one skipped test.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::cargo::root;
use crate::debian;
use crate::process::{self, Event, Running, exists, names, output, printed};
use crate::runner::Tally;
use crate::terminal::{self, Task, seconds};

/// The environment's variable that asks for other cases than [`CONFORMANCE`]: `all`, or patterns as the
/// suite has them, `9.*,12.1.1`.
pub(crate) const CASES: &str = "WITTER_AUTOBAHN";

/// What every run tries: framing, pings, reserved bits, opcodes, fragments, UTF-8, closing; and one case of
/// compression for each choice of its parameters. The rest, limits and much compression, takes many minutes.
const CONFORMANCE: &str = "1.*,2.*,3.*,4.*,5.*,6.*,7.*,10.*,\
    12.1.1,13.1.1,13.2.1,13.3.1,13.4.1,13.5.1,13.6.1,13.7.1";

/// How long the host may take until it listens, which compiles the echo, and how long the suite may be silent,
/// whose slowest case sends a thousand messages of 128 KiB.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long the packages of one step may take to arrive, and to be compiled where there is no wheel.
const INSTALL_PATIENCE: Duration = Duration::from_secs(600);

/// What makes an environment of CPython 2.7; the last release that does.
const VIRTUALENV: &str = "virtualenv==20.21.1";

/// The suite and all that it needs, in the last releases for CPython 2.7. What one step installs, the set-up
/// scripts of the next import.
const STEPS: [&[&str]; 3] = [
    &["pip==20.3.4", "setuptools==44.0.0", "wheel==0.36.2"],
    &["incremental==16.10.1", "six==1.16.0"],
    &[
        "--no-build-isolation",
        "attrs==21.4.0",
        "autobahn==0.10.9",
        "autobahntestsuite==25.10.1",
        "Automat==22.10.0",
        "cffi==1.15.1",
        "constantly==15.1.0",
        "cryptography==3.3.2",
        "enum34==1.1.10",
        "hyperlink==21.0.0",
        "idna==2.10",
        "ipaddress==1.0.23",
        "Jinja2==2.11.3",
        "klein==17.10.0",
        "linecache2==1.0.0",
        "MarkupSafe==1.1.1",
        "pyasn1==0.5.1",
        "pyasn1-modules==0.3.0",
        "pycparser==2.21",
        "PyHamcrest==1.10.1",
        "pyOpenSSL==19.1.0",
        "service-identity==18.1.0",
        "traceback2==1.4.0",
        "Twisted==19.10.0",
        "txaio==2.1.0",
        "typing==3.10.0.0",
        "ujson==2.0.3",
        "unittest2==1.1.0",
        "Werkzeug==1.0.1",
        "wsaccel==0.6.6",
        "zope.interface==4.6.0",
    ],
];

/// What became of a case, and how its connection was closed, in the suite's own words.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    behavior: String,
    behavior_close: String,
    reportfile: String,
}

impl Outcome {
    /// What the suite calls informational it does not judge; what it calls non-strict is allowed.
    fn passed(&self) -> bool {
        matches!(
            self.behavior.as_str(),
            "OK" | "NON-STRICT" | "INFORMATIONAL"
        ) && matches!(self.behavior_close.as_str(), "OK" | "INFORMATIONAL")
    }
}

/// Installs the suite, unless it is there. Nothing where there is no CPython 2.7.
///
/// # Errors
///
/// Where it cannot be installed.
pub(crate) fn prepare() -> Result<()> {
    if let Some(python) = python27()? {
        Place::take()?.install(&python)?;
    }
    Ok(())
}

/// Runs the suite against the echo that `host` serves. Each case counts as a test.
///
/// # Errors
///
/// Where the suite cannot be installed, or does not run to its end.
pub(crate) fn run(host: &Path) -> Result<Tally> {
    let Some(python) = python27()? else {
        terminal::complain(
            "Skipped",
            "the Autobahn suite, which needs CPython 2.7: name one in PY27, or run pyenv install 2.7.18",
        );
        return Ok(Tally::ONE_SKIPPED);
    };
    let place = Place::take()?;
    let suite = place.install(&python)?;
    let folder = &place.folder;
    let reports = folder.join("reports");
    if reports.is_dir() {
        fs::remove_dir_all(&reports)?;
    }

    let mut task = Task::new("Testing", "autobahn");
    let (mut host, address) = serve(host, folder)?;
    let cases = env::var(CASES).unwrap_or_else(|_| CONFORMANCE.to_owned());
    let spec = folder.join("spec.json");
    fs::write(
        &spec,
        specification(&cases, &reports, &format!("ws://{address}/echo")),
    )?;
    let mut command = Command::new(suite);
    command
        .args(["--mode", "fuzzingclient", "--spec"])
        .arg(&spec)
        .current_dir(folder);
    let Ran { said, of, status } = play(&mut command, &mut task)?;
    let elapsed = task.elapsed();
    drop(task);

    let index = fs::read(reports.join("index.json")).unwrap_or_default();
    let outcomes = serde_json::from_slice(&index).unwrap_or_default();
    let (mut tally, failures) = judge(of, &outcomes);
    if !status.success() || of == 0 {
        said.iter().for_each(|line| eprintln!("{line}"));
        eprintln!("the Autobahn suite did not run to its end: {status}");
        tally.failed = tally.failed.max(1);
    }
    // An instance may have ended beside what was looked at.
    let complaints = host.said();
    if complaints.iter().any(|line| line.contains(" ERROR ")) {
        complaints.iter().for_each(|line| eprintln!("{line}"));
        tally.add(Tally::ONE_FAILED);
    }
    for failure in failures {
        eprintln!("{failure}");
    }
    let verdict = format!("autobahn: {tally} in {}", seconds(elapsed));
    if tally.failed > 0 {
        terminal::complain("Failed", &verdict);
    } else {
        terminal::say("Passed", &verdict);
    }
    Ok(tally)
}

/// A run of the suite.
struct Ran {
    /// What it said.
    said: Vec<String>,
    /// How many cases it was to run.
    of: u64,
    status: ExitStatus,
}

/// Runs the suite to its end.
fn play(command: &mut Command, task: &mut Task) -> Result<Ran> {
    let mut running = Running::start(command)?;
    let mut said: Vec<String> = Vec::new();
    let mut of = 0;
    let mut done = 0;
    let mut heard = task.elapsed();
    while let Some(event) = running.next() {
        let Event::Line(line) = event else {
            task.idle();
            ensure!(
                task.elapsed() - heard < PATIENCE,
                "the Autobahn suite said nothing for {} s after: {}",
                PATIENCE.as_secs(),
                said.last().map_or("", String::as_str),
            );
            continue;
        };
        heard = task.elapsed();
        if let Some(count) = announced(&line.text) {
            // Without a case it would wait for ever.
            ensure!(count > 0, "the Autobahn suite has no such case");
            of = count;
        } else if let Some(case) = begun(&line.text) {
            done += 1;
            task.progress(done, of.max(done), &format!("autobahn: {case}"));
        }
        said.push(line.text);
    }
    let status = running.status()?;
    Ok(Ran { said, of, status })
}

/// What of the suite's cases failed, and one line about each. A case without an outcome failed too: the suite
/// gives up where it cannot connect.
fn judge(of: u64, outcomes: &BTreeMap<String, BTreeMap<String, Outcome>>) -> (Tally, Vec<String>) {
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    for (case, outcome) in outcomes.values().flatten() {
        if outcome.passed() {
            tally.passed += 1;
            continue;
        }
        tally.failed += 1;
        failures.push(format!(
            "autobahn {case}: {}, closing {}; target/autobahn/reports/{}",
            outcome.behavior,
            outcome.behavior_close,
            outcome.reportfile.replace(".json", ".html"),
        ));
    }
    tally.failed += of.saturating_sub(tally.passed + tally.failed);
    (tally, failures)
}

/// What the suite is to do.
fn specification(cases: &str, reports: &Path, url: &str) -> String {
    let cases: Vec<_> = match cases {
        "all" => vec!["*"],
        some => some.split(',').map(str::trim).collect(),
    };
    serde_json::json!({
        "outdir": reports,
        "servers": [{ "agent": "witter", "url": url }],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    })
    .to_string()
}

/// Serves the echo, and tells where.
fn serve(host: &Path, folder: &Path) -> Result<(Running, String)> {
    let mut command = Command::new(host);
    command
        .args(["up", "--from", "tests/echo/spin.toml"])
        .args(["--listen", "127.0.0.1:0", "--store", "memory", "--cache"])
        .arg(folder.join("cache"))
        .current_dir(root());
    let mut host = Running::start(&mut command)?;
    let mut said = Vec::new();
    let begun = Instant::now();
    while let Some(event) = host.next() {
        ensure!(
            begun.elapsed() < PATIENCE,
            "the host does not serve the echo: {}",
            said.join("\n"),
        );
        if let Event::Line(line) = event {
            if let Some(address) = line.text.strip_prefix("listening on http://") {
                let address = address.to_owned();
                return Ok((host, address));
            }
            said.push(line.text);
        }
    }
    bail!("the host did not serve the echo: {}", said.join("\n"));
}

/// How many cases the suite says it will run.
fn announced(line: &str) -> Option<u64> {
    line.strip_prefix("Ok, will run ")?
        .split_once(' ')?
        .0
        .parse()
        .ok()
}

/// The case that the suite says it begins.
fn begun(line: &str) -> Option<&str> {
    line.strip_prefix("Running test case ID ")?
        .split(' ')
        .next()
}

/// A CPython 2.7: the one that is named, or on the `PATH`, or among pyenv's.
///
/// # Errors
///
/// Where the one that is named is something else.
fn python27() -> Result<Option<PathBuf>> {
    if let Some(named) = env::var_os("PY27") {
        let named = PathBuf::from(named);
        ensure!(
            is_cpython27(&named),
            "PY27: {} is no CPython 2.7",
            named.display()
        );
        return Ok(Some(named));
    }
    let mut candidates = vec![PathBuf::from("python2.7")];
    if exists("pyenv") {
        let root = printed(Command::new("pyenv").arg("root"))?;
        let versions = Path::new(root.trim()).join("versions");
        candidates.extend(
            names(&versions)
                .filter(|version| version.starts_with("2.7"))
                .map(|version| versions.join(version).join("bin/python2.7")),
        );
    }
    Ok(candidates.into_iter().find(|python| is_cpython27(python)))
}

/// pyenv puts a program of that name on the `PATH` that only says what is missing: it has to answer.
fn is_cpython27(python: &Path) -> bool {
    let tell =
        "import platform, sys; print(platform.python_implementation(), sys.version_info[:2])";
    output(Command::new(python).args(["-c", tell]))
        .is_ok_and(|told| told.status.success() && told.stdout == b"('CPython', (2, 7))\n")
}

/// Where the suite is, and its reports.
struct Place {
    folder: PathBuf,
    /// There is one in a checkout: whoever wants it at the same time waits.
    _alone: File,
}

impl Place {
    fn take() -> Result<Self> {
        let folder = root().join("target/autobahn");
        fs::create_dir_all(&folder)?;
        let alone = File::create(folder.join("lock"))?;
        alone.lock()?;
        Ok(Self {
            folder,
            _alone: alone,
        })
    }

    /// Installs the suite, unless it is there, and tells its program.
    fn install(&self, python: &Path) -> Result<PathBuf> {
        let folder = &self.folder;
        let environment = folder.join("python2.7");
        let suite = environment.join("bin/wstest");
        // Written last: what an interrupted run left, or another list of packages, does not count.
        let complete = folder.join("installed");
        let wanted = format!("{} {VIRTUALENV} {STEPS:?}", python.display());
        if fs::read_to_string(&complete).is_ok_and(|installed| installed == wanted) {
            return Ok(suite);
        }
        if !output(Command::new("python3").args(["-c", "import ensurepip, venv"]))
            .is_ok_and(|tried| tried.status.success())
        {
            debian::ensure_installed(&["python3-venv"])
                .context("the Autobahn suite needs python3, with venv")?;
        }
        let tools = folder.join("python3");
        for old in [&tools, &environment] {
            if old.is_dir() {
                fs::remove_dir_all(old)?;
            }
        }
        let step = |program: &Path, arguments: &[&str], what: &str| {
            let mut command = Command::new(program);
            command.args(arguments).current_dir(folder);
            process::run(&mut command, what, INSTALL_PATIENCE)
        };
        let what = "installation of the Autobahn suite";
        step(Path::new("python3"), &["-m", "venv", "python3"], what)?;
        step(
            &tools.join("bin/pip"),
            &["install", "--quiet", VIRTUALENV],
            what,
        )?;
        let mut command = Command::new(tools.join("bin/virtualenv"));
        command.arg("--python").arg(python).arg(&environment);
        process::run(&mut command, what, INSTALL_PATIENCE)?;
        for packages in STEPS {
            let arguments = [&["-m", "pip", "install", "--quiet"], packages].concat();
            step(&environment.join("bin/python"), &arguments, what)?;
        }
        fs::write(&complete, wanted)?;
        terminal::say(
            "Installed",
            &format!("the Autobahn suite to {}", environment.display()),
        );
        Ok(suite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_suite_says_is_understood() {
        assert_eq!(
            announced("Ok, will run 247 test cases against 1 servers"),
            Some(247)
        );
        assert_eq!(announced("Using Twisted reactor class"), None);
        let line = "Running test case ID 6.4.1 for agent witter from peer tcp4:127.0.0.1:9001";
        assert_eq!(begun(line), Some("6.4.1"));
        assert_eq!(begun("Connection to ws://127.0.0.1:9001 failed"), None);
    }

    #[test]
    fn a_case_passes_only_where_its_close_does_too() {
        #[track_caller]
        fn check(behavior: &str, behavior_close: &str, passes: bool) {
            let outcome = Outcome {
                behavior: behavior.to_owned(),
                behavior_close: behavior_close.to_owned(),
                reportfile: "witter_case_1_1_1.json".to_owned(),
            };
            assert_eq!(outcome.passed(), passes, "{behavior}, {behavior_close}");
        }
        check("OK", "OK", true);
        check("NON-STRICT", "OK", true);
        check("INFORMATIONAL", "INFORMATIONAL", true);
        check("FAILED", "OK", false);
        check("UNIMPLEMENTED", "OK", false);
        check("OK", "WRONG CODE", false);
        check("OK", "UNCLEAN", false);
        check("OK", "FAILED BY CLIENT", false);
    }

    #[test]
    fn cases_that_failed_or_never_ran_are_failed() {
        let index = r#"{"witter": {
            "1.1.1": {"behavior": "OK", "behaviorClose": "OK", "reportfile": "witter_case_1_1_1.json"},
            "2.9": {"behavior": "FAILED", "behaviorClose": "OK", "reportfile": "witter_case_2_9.json"}
        }}"#;
        let outcomes = serde_json::from_str(index).expect("it is as the suite writes it");
        let (tally, failures) = judge(4, &outcomes);
        assert_eq!(tally.to_string(), "1 passed, 3 failed");
        let line = "autobahn 2.9: FAILED, closing OK; target/autobahn/reports/witter_case_2_9.html";
        assert_eq!(failures, [line]);
    }

    #[test]
    fn all_cases_are_a_pattern_and_some_a_list() {
        let cases = |asked| {
            let text = specification(asked, Path::new("reports"), "ws://127.0.0.1:9001/echo");
            let spec: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
            spec["cases"].clone()
        };
        assert_eq!(cases("all"), serde_json::json!(["*"]));
        assert_eq!(cases("9.*, 12.1.1"), serde_json::json!(["9.*", "12.1.1"]));
    }
}
