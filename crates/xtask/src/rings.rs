//! Every test there is, ring by ring: what fails close to the cause comes first.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cargo::{self, Built, Package, cargo, root};
use crate::process::{self, Event, Running, exists};
use crate::terminal::{self, Task, seconds};
use crate::{build, debian};

/// How long the node packages may take to arrive.
const NPM_PATIENCE: Duration = Duration::from_secs(300);

/// A group of tests that is run, and fails, as one.
struct Ring {
    name: &'static str,
    about: &'static str,
    tests: Tests,
}

/// Where a ring's tests are.
enum Tests {
    /// One cargo command that succeeds or does not.
    Command(&'static [&'static str]),
    /// The tests of the Rust packages in a folder; of components too, as far as they run natively.
    Packages(&'static str),
    /// The examples in the documentation of the libraries.
    Examples,
    /// The package of a folder, run by node, which drives a browser.
    Node(&'static str),
}

const RINGS: &[Ring] = &[
    Ring {
        name: "format",
        about: "the source is formatted",
        tests: Tests::Command(&["fmt", "--all", "--check"]),
    },
    Ring {
        name: "crates",
        about: "each crate by itself",
        tests: Tests::Packages("crates"),
    },
    Ring {
        name: "examples",
        about: "the examples in the documentation",
        tests: Tests::Examples,
    },
    Ring {
        name: "components",
        about: "what of the components runs natively",
        tests: Tests::Packages("components"),
    },
    Ring {
        name: "conformance",
        about: "one corpus over every transport",
        tests: Tests::Packages("tests/conformance"),
    },
    Ring {
        name: "faults",
        about: "kills, cuts and broken stores",
        tests: Tests::Packages("tests/faults"),
    },
    Ring {
        name: "browser",
        about: "people chat in Chromium",
        tests: Tests::Node("tests/browser"),
    },
];

/// The rings as the command's help lists them.
pub(crate) fn list() -> String {
    RINGS
        .iter()
        .map(|ring| format!("  {:<12} {}", ring.name, ring.about))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The names by which rings are asked for.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    RINGS.iter().map(|ring| ring.name)
}

/// How many tests came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Tally {
    const ONE_PASSED: Self = Self {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    const ONE_FAILED: Self = Self {
        passed: 0,
        failed: 1,
        skipped: 0,
    };

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// Runs the rings, all or those named, until one fails. `arguments` go to the test programs.
///
/// The last line printed is the sum of the tests. Tells whether all passed.
pub(crate) fn run(only: &[String], arguments: &[String]) -> Result<bool> {
    let mut suite = Suite {
        packages: tested_packages()?,
        built: None,
        arguments,
    };
    let mut total = Tally::default();
    let mut failed = None;
    for ring in RINGS {
        if !only.is_empty() && !only.iter().any(|name| name == ring.name) {
            continue;
        }
        let tally = suite.run(&ring.tests)?;
        total.add(tally);
        if tally.failed > 0 {
            failed = Some(ring.name);
            break;
        }
        terminal::say(
            "Passed",
            &format!("ring {}, {}: {tally}", ring.name, ring.about),
        );
    }
    if let Some(name) = failed {
        terminal::complain(
            "Failed",
            &format!("ring {name}; again: cargo xtask test --ring {name}"),
        );
    }
    println!("{total}");
    Ok(failed.is_none())
}

/// The packages whose tests run natively. What of WebAssembly only tests use has none.
fn tested_packages() -> Result<Vec<Package>> {
    let mut packages = cargo::packages()?;
    packages.retain(|package| !(package.is_component() && package.folder().starts_with("tests")));
    Ok(packages)
}

/// What the rings share.
struct Suite<'a> {
    packages: Vec<Package>,
    /// Once a ring asked for it.
    built: Option<Built>,
    arguments: &'a [String],
}

impl Suite<'_> {
    fn run(&mut self, tests: &Tests) -> Result<Tally> {
        match tests {
            Tests::Command(command) => check(command),
            Tests::Packages(folder) => self.packages(folder),
            Tests::Examples => self.examples(),
            Tests::Node(folder) => self.node(folder),
        }
    }

    /// Builds the components, the host and every test program, once.
    ///
    /// All test programs, whichever are asked for: another selection would be other features of the
    /// dependencies, and wasmtime compiled again for them.
    fn build(&mut self) -> Result<&Built> {
        let built = match self.built.take() {
            Some(built) => built,
            None => {
                build::host()?;
                let mut arguments = vec!["test", "--release", "--no-run"];
                arguments.extend(selection(self.packages.iter()));
                cargo::compile(cargo(), &arguments, "tests")?
            }
        };
        if !built.success {
            bail!("could not build the tests");
        }
        Ok(self.built.insert(built))
    }

    /// Runs the test programs of the packages in a folder.
    fn packages(&mut self, folder: &str) -> Result<Tally> {
        self.build()?;
        let mut tally = Tally::default();
        for package in self
            .packages
            .iter()
            .filter(|package| package.folder().starts_with(folder))
        {
            let artifacts = self.built.iter().flat_map(|built| &built.artifacts);
            for artifact in artifacts.filter(|artifact| artifact.package_id == package.id) {
                let Some(program) = artifact.test_program() else {
                    continue;
                };
                let mut command = Command::new(program);
                command
                    .args(self.arguments)
                    .current_dir(root().join(package.folder()));
                let name = match &artifact.target.name {
                    target if *target == package.name => target.clone(),
                    target => format!("{} {target}", package.name),
                };
                tally.add(observe(&mut command, &name)?);
            }
        }
        Ok(tally)
    }

    fn examples(&mut self) -> Result<Tally> {
        self.build()?;
        let mut command = cargo();
        command.args(["test", "--release", "--doc"]);
        command.args(selection(
            self.packages.iter().filter(|package| package.is_library()),
        ));
        command.arg("--").args(self.arguments);
        observe(&mut command, "examples")
    }

    /// Runs a folder's node tests; installs what they need first.
    fn node(&mut self, folder: &str) -> Result<Tally> {
        self.build()?;
        let folder = root().join(folder);
        if !exists("npm") {
            bail!("the tests in a browser need node 20 or later, with npm");
        }
        if !exists("chromium") {
            debian::ensure_installed(&["chromium"])
                .context("the tests in a browser need chromium")?;
        }
        if is_older(
            &folder.join("node_modules/.package-lock.json"),
            &folder.join("package-lock.json"),
        ) {
            let mut command = Command::new("npm");
            command
                .args(["ci", "--no-audit", "--no-fund"])
                .current_dir(&folder);
            process::run(&mut command, "npm ci", NPM_PATIENCE)?;
        }
        let mut command = Command::new("npm");
        command
            .args(["test", "--silent", "--"])
            .args(self.arguments)
            .current_dir(&folder);
        observe(&mut command, "browser")
    }
}

fn selection<'a>(packages: impl Iterator<Item = &'a Package>) -> impl Iterator<Item = &'a str> {
    packages.flat_map(|package| ["--package", package.name.as_str()])
}

/// Whether a file was made before another one, or never.
fn is_older(file: &Path, other: &Path) -> bool {
    let modified = |path: &Path| {
        path.metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    modified(file) < modified(other)
}

/// Runs one cargo command as a test.
fn check(arguments: &[&str]) -> Result<Tally> {
    let mut running = Running::start(cargo().args(arguments))?;
    let mut said = Vec::new();
    while let Some(event) = running.next() {
        if let Event::Line(line) = event {
            said.push(line.text);
        }
    }
    if running.status()?.success() {
        return Ok(Tally::ONE_PASSED);
    }
    said.iter().for_each(|line| eprintln!("{line}"));
    Ok(Tally::ONE_FAILED)
}

/// Runs a program of tests and counts what its runner tells. All that it said is printed where one fails,
/// or where somebody asked to see it.
fn observe(command: &mut Command, name: &str) -> Result<Tally> {
    let shown = command
        .get_args()
        .any(|argument| argument == "--nocapture" || argument == "--list");
    let mut task = Task::new("Testing", name);
    let mut running = Running::start(command)?;
    let mut said = Vec::new();
    let mut tally = Tally::default();
    let mut summaries = 0;
    let mut of = 0;
    let mut done = 0;
    while let Some(event) = running.next() {
        let Event::Line(line) = event else {
            task.idle();
            continue;
        };
        if let Some(counted) = summary(&line.text) {
            tally.add(counted);
            summaries += 1;
        } else if let Some(count) = announced(&line.text) {
            of += count;
        } else if let Some(test) = finished(&line.text) {
            done += 1;
            task.progress(done, of.max(done), &format!("{name}: {test}"));
        }
        if shown {
            task.print(&line.text);
        } else {
            said.push(line.text);
        }
    }
    let success = running.status()?.success();
    let elapsed = task.elapsed();
    drop(task);
    if !success && tally.failed == 0 {
        // It died before its summary, or something beside its tests went wrong.
        tally.add(Tally::ONE_FAILED);
    }
    if tally.failed > 0 {
        said.iter().for_each(|line| eprintln!("{line}"));
        terminal::complain(
            "Failed",
            &format!("{name}: {tally} in {}", seconds(elapsed)),
        );
    } else if summaries == 0 || tally != Tally::default() {
        terminal::say(
            "Passed",
            &format!("{name}: {tally} in {}", seconds(elapsed)),
        );
    }
    Ok(tally)
}

/// Reads what a runner says at its end: libtest's one line, or node's line for each count.
fn summary(line: &str) -> Option<Tally> {
    let mut tally = Tally::default();
    if let Some(counts) = line.strip_prefix("test result: ") {
        let (_, counts) = counts.split_once(". ")?;
        for count in counts.split("; ") {
            match count.split_once(' ') {
                Some((number, "passed")) => tally.passed = number.parse().ok()?,
                Some((number, "failed")) => tally.failed = number.parse().ok()?,
                Some((number, "ignored")) => tally.skipped = number.parse().ok()?,
                _ => {}
            }
        }
        return Some(tally);
    }
    let count = line
        .strip_prefix("# ")
        .or_else(|| line.strip_prefix("ℹ "))?;
    let (what, number) = count.split_once(' ')?;
    let number = number.parse().ok()?;
    match what {
        "pass" => tally.passed = number,
        // A test that was cancelled did not pass: its suite was given up, or its time was over.
        "fail" | "cancelled" => tally.failed = number,
        "skipped" | "todo" => tally.skipped = number,
        _ => return None,
    }
    Some(tally)
}

/// How many tests libtest says it will run.
fn announced(line: &str) -> Option<u64> {
    line.strip_prefix("running ")?
        .split_once(" test")?
        .0
        .parse()
        .ok()
}

/// The name of a test that libtest, or node, says is over.
fn finished(line: &str) -> Option<&str> {
    if let Some(test) = line.strip_prefix("test ") {
        return test.split_once(" ... ").map(|(name, _)| name);
    }
    line.trim_start().strip_prefix("✔ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_both_runners_are_counted() {
        #[track_caller]
        fn check(line: &str, expected: Option<(u64, u64, u64)>) {
            let expected = expected.map(|(passed, failed, skipped)| Tally {
                passed,
                failed,
                skipped,
            });
            assert_eq!(summary(line), expected);
        }
        check(
            "test result: ok. 34 passed; 0 failed; 1 ignored; 0 measured; 5 filtered out; finished in 0.01s",
            Some((34, 0, 1)),
        );
        check(
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out",
            Some((2, 3, 0)),
        );
        check("# pass 12", Some((12, 0, 0)));
        check("ℹ fail 1", Some((0, 1, 0)));
        check("ℹ cancelled 2", Some((0, 2, 0)));
        check("ℹ skipped 3", Some((0, 0, 3)));
        check("ℹ duration_ms 301.5", None);
        check("test reopening_reports_a_gap ... ok", None);
    }

    #[test]
    fn the_sum_names_skipped_tests_only_where_there_are_some() {
        assert_eq!(Tally::ONE_PASSED.to_string(), "1 passed, 0 failed");
        assert_eq!(
            Tally {
                passed: 3,
                failed: 1,
                skipped: 2
            }
            .to_string(),
            "3 passed, 1 failed, 2 skipped"
        );
    }

    #[test]
    fn every_ring_has_a_name_of_its_own() {
        let mut unique: Vec<_> = names().collect();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), RINGS.len());
    }
}
