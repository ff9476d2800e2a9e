//! How far the measuring is.

use std::time::Duration;

use console::Term;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar on a terminal, a line a measurement elsewhere.
pub(crate) struct Progress {
    bar: ProgressBar,
    count: usize,
    begun: usize,
}

impl Progress {
    pub(crate) fn new(count: usize) -> Self {
        let watched = Term::stderr().is_term() && std::env::var_os("CI").is_none();
        let bar = if watched {
            ProgressBar::new(count as u64)
        } else {
            ProgressBar::hidden()
        };
        let layout = "{prefix:>12.cyan.bold} [{bar:24}] {pos}/{len} {wide_msg} {elapsed:>4}";
        let layout = ProgressStyle::with_template(layout).expect("the template is a constant");
        bar.set_style(layout.progress_chars("=> "));
        bar.set_prefix("Measuring");
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            count,
            begun: 0,
        }
    }

    /// So many measurements are left out.
    pub(crate) fn skip(&mut self, count: usize) {
        self.begun += count;
    }

    /// What goes on, within a measurement.
    pub(crate) fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        if self.bar.is_hidden() {
            eprintln!("{:>12} {what}", "Watching");
        }
    }

    /// The next measurement begins.
    pub(crate) fn next(&mut self, what: &str) {
        self.bar.set_position(self.begun as u64);
        self.bar.set_message(what.to_owned());
        self.begun += 1;
        if self.bar.is_hidden() {
            eprintln!(
                "{:>12} {} of {}: {what}",
                "Measuring", self.begun, self.count
            );
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
