//! What people see: one line for each thing done, in cargo's manner, and a bar for what takes long.

use std::time::{Duration, Instant};

use console::{Term, style};
use indicatif::{ProgressBar, ProgressStyle};

/// How often a long step says that it goes on where no bar can be drawn: a build service takes ten
/// silent minutes for a hang, and more lines than this bury the ones that matter.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);

/// Prints what was done: a verb, in the column where cargo has its own, and to what.
pub(crate) fn say(verb: &str, what: &str) {
    eprintln!("{:>12} {what}", style(verb).green().bold().for_stderr());
}

/// Prints an error with its causes.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("{}: {error:#}", style("error").red().bold().for_stderr());
}

/// Whether a bar can be drawn. A build service may offer a terminal, but nobody watches it.
pub(crate) fn is_interactive() -> bool {
    Term::stderr().is_term() && std::env::var_os("CI").is_none()
}

/// Something that may take long: a bar on a terminal, now and then a line elsewhere.
///
/// It leaves nothing behind on a terminal; what was done is for [`say`].
pub(crate) struct Task {
    verb: &'static str,
    bar: ProgressBar,
    begun: Instant,
    said: Duration,
}

impl Task {
    pub(crate) fn new(verb: &'static str, what: &str) -> Self {
        let bar = if is_interactive() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        bar.set_style(layout(
            "{prefix:>12.cyan.bold} {spinner} {wide_msg} {elapsed}",
        ));
        bar.set_prefix(verb);
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self {
            verb,
            bar,
            begun: Instant::now(),
            said: Duration::ZERO,
        }
    }

    /// What is being done right now.
    pub(crate) fn now(&mut self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.heartbeat(what);
    }

    /// How much is done, of how much.
    pub(crate) fn progress(&mut self, done: u64, of: u64, what: &str) {
        if self.bar.length() != Some(of) {
            self.bar.set_length(of);
            self.bar.set_style(
                layout("{prefix:>12.cyan.bold} [{bar:25}] {pos}/{len}: {wide_msg} {elapsed}")
                    .progress_chars("=> "),
            );
        }
        self.bar.set_position(done);
        self.bar.set_message(what.to_owned());
        self.heartbeat(&format!("{done} of {of}: {what}"));
    }

    /// Prints above the bar.
    pub(crate) fn print(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn heartbeat(&mut self, what: &str) {
        let elapsed = self.elapsed();
        if self.bar.is_hidden() && elapsed - self.said >= PLAIN_INTERVAL {
            self.said = elapsed;
            eprintln!("{:>12} {what} ({} s)", self.verb, elapsed.as_secs());
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn layout(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant")
}
