//! What people see: one line for each thing done, in cargo's manner, and a bar for what takes long.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use console::{Term, style};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// How often a long step says that it goes on where no bar can be drawn: a build service takes ten
/// silent minutes for a hang, and more lines than this bury the ones that matter.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);

/// The bars that are drawn: some things go on beside others.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Prints what was done: a verb, in the column where cargo has its own, and to what.
pub(crate) fn say(verb: &str, what: &str) {
    let verb = style(verb).green().bold().for_stderr();
    BARS.suspend(|| eprintln!("{verb:>12} {what}"));
}

/// Prints what went wrong, in the same columns.
pub(crate) fn complain(verb: &str, what: &str) {
    let verb = style(verb).red().bold().for_stderr();
    BARS.suspend(|| eprintln!("{verb:>12} {what}"));
}

/// Prints an error with its causes.
pub(crate) fn error(error: &anyhow::Error) {
    let label = style("error").red().bold().for_stderr();
    BARS.suspend(|| eprintln!("{label}: {error:#}"));
}

/// A duration as people say it.
pub(crate) fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// Something that may take long: a bar on a terminal, now and then a line elsewhere.
///
/// It leaves nothing behind on a terminal; what was done is for [`say`].
pub(crate) struct Task {
    verb: &'static str,
    now: String,
    bar: ProgressBar,
    begun: Instant,
    said: Duration,
}

impl Task {
    pub(crate) fn new(verb: &'static str, what: &str) -> Self {
        let bar = if is_watched() {
            BARS.add(ProgressBar::new_spinner())
        } else {
            ProgressBar::hidden()
        };
        bar.set_style(layout(
            "{prefix:>12.cyan.bold} {wide_msg} {spinner} {elapsed:>4}",
        ));
        bar.set_prefix(verb);
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self {
            verb,
            now: what.to_owned(),
            bar,
            begun: Instant::now(),
            said: Duration::ZERO,
        }
    }

    /// What is being done right now.
    pub(crate) fn now(&mut self, what: &str) {
        what.clone_into(&mut self.now);
        self.bar.set_message(self.now.clone());
        self.idle();
    }

    /// How much is done, of how much, and what right now.
    pub(crate) fn progress(&mut self, done: u64, of: u64, what: &str) {
        if self.bar.length() != Some(of) {
            self.bar.set_length(of);
            let bar =
                layout("{prefix:>12.cyan.bold} [{bar:24}] {pos}/{len} {wide_msg} {elapsed:>4}");
            self.bar.set_style(bar.progress_chars("=> "));
        }
        self.bar.set_position(done);
        self.bar.set_message(what.to_owned());
        self.now = format!("{done} of {of}: {what}");
        self.idle();
    }

    /// Nothing changed.
    pub(crate) fn idle(&mut self) {
        let elapsed = self.elapsed();
        if self.bar.is_hidden() && elapsed - self.said >= PLAIN_INTERVAL {
            self.said = elapsed;
            eprintln!("{:>12} {} ({})", self.verb, self.now, seconds(elapsed));
        }
    }

    /// Prints above the bar.
    pub(crate) fn print(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Whether a bar makes sense. A build service may offer a terminal, but nobody watches it.
fn is_watched() -> bool {
    Term::stderr().is_term() && std::env::var_os("CI").is_none()
}

fn layout(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant")
}
