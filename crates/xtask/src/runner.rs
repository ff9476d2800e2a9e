//! What the runners of tests say: libtest, and node's.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process::{Event, Running};
use crate::terminal::{self, Task, seconds};

/// For how long a program of tests may say nothing: ten times what the longest test takes.
const SILENCE: Duration = Duration::from_secs(900);

/// How many tests came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    pub(crate) const ONE_PASSED: Self = Self {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    pub(crate) const ONE_FAILED: Self = Self {
        passed: 0,
        failed: 1,
        skipped: 0,
    };
    pub(crate) const ONE_SKIPPED: Self = Self {
        passed: 0,
        failed: 0,
        skipped: 1,
    };

    pub(crate) fn add(&mut self, other: Self) {
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

/// Runs a command as one test. What it said is printed where it fails.
pub(crate) fn check(command: &mut Command) -> Result<Tally> {
    let mut running = Running::start(command)?;
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

/// Runs a program of tests and counts what its runner tells.
///
/// What it said is printed where a test fails, but for those that passed; all of it where somebody asked
/// to see it.
pub(crate) fn observe(command: &mut Command, name: &str) -> Result<Tally> {
    let shown = command
        .get_args()
        .any(|argument| argument == "--nocapture" || argument == "--list");
    let mut task = Task::new("Testing", name);
    let mut running = Running::start(command)?;
    let mut said = Vec::new();
    let mut unseen = Vec::new();
    let mut tally = Tally::default();
    let mut has_summary = false;
    let mut of = 0;
    let mut done = 0;
    while let Some(event) = running.next() {
        let Event::Line(line) = event else {
            task.idle();
            if running.end_silence(SILENCE) {
                said.push(format!(
                    "ended: it said nothing for {} s",
                    SILENCE.as_secs()
                ));
            }
            continue;
        };
        let test = passed(&line.text);
        if let Some(counted) = summary(&line.text) {
            tally.add(counted);
            has_summary = true;
        } else if let Some(count) = announced(&line.text) {
            of += count;
        } else if let Some(test) = test {
            done += 1;
            // Node does not say how many there are.
            match of {
                0 => task.now(&format!("{name}: {done} passed, {test}")),
                of => task.progress(done, of.max(done), &format!("{name}: {test}")),
            }
        }
        if let Some(test) = skipped(&line.text) {
            unseen.push(test.to_owned());
        }
        if shown {
            task.print(&line.text);
        } else if test.is_none() {
            said.push(line.text);
        }
    }
    let success = running.status()?.success();
    let elapsed = task.elapsed();
    drop(task);
    if !success && tally.failed == 0 {
        // It died before its summary, or something beside its tests went wrong.
        tally.add(Tally::ONE_FAILED);
    } else if success && !has_summary {
        // It is a test by itself, without a runner.
        tally.add(Tally::ONE_PASSED);
    }
    for test in unseen {
        terminal::complain("Skipped", &format!("{name}: {test}"));
    }
    if tally.failed > 0 {
        said.iter().for_each(|line| eprintln!("{line}"));
        terminal::complain(
            "Failed",
            &format!("{name}: {tally} in {}", seconds(elapsed)),
        );
    } else if tally != Tally::default() {
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

/// The name of a test that libtest, or node, says has passed.
fn passed(line: &str) -> Option<&str> {
    if let Some(test) = line.strip_prefix("test ") {
        return test.strip_suffix(" ... ok").map(str::trim_end);
    }
    line.trim_start().strip_prefix("✔ ")
}

/// The name of a test that node says it skipped, and why; none where nobody asked for it.
fn skipped(line: &str) -> Option<&str> {
    let test = line.trim_start().strip_prefix("﹣ ")?;
    (!test.ends_with("# test name does not match pattern")).then_some(test)
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
    fn a_skipped_test_is_told_with_its_reason() {
        let line = "  ﹣ Python talks (0.1ms) # there is no python3";
        assert_eq!(
            skipped(line),
            Some("Python talks (0.1ms) # there is no python3")
        );
        let line = "﹣ Python talks (0.1ms) # test name does not match pattern";
        assert_eq!(skipped(line), None);
        assert_eq!(skipped("✔ Python talks (0.1ms)"), None);
        assert_eq!(skipped("ℹ skipped 1"), None);
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
}
