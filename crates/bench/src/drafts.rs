//! What a publisher has to send, and when.

use std::time::Duration;

use memchr::memmem;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::run::Run;
use crate::stamp::Stamp;

/// A publisher that no run has.
const STRANGER: usize = 1_000_000;

/// The messages of one publisher.
pub(crate) struct Drafts {
    run: Run,
    publisher: usize,
    number: usize,
    size: usize,
    pace: Pace,
    is_counted: bool,
}

/// When the next message is due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Every so often, so many in all, beginning at a moment.
    Steady {
        begin: Instant,
        period: Duration,
        count: usize,
    },
    /// As soon as fewer than so many are not acknowledged, from a moment until another.
    Eager {
        begin: Instant,
        until: Instant,
        at_once: usize,
    },
    /// As soon as the one before is acknowledged, and readers have all but the last messages.
    Sustained { begin: Instant, until: Instant },
}

/// A message to publish.
pub(crate) struct Draft {
    /// Drawn once, however often it is sent.
    pub(crate) id: String,
    /// JSON text.
    pub(crate) body: String,
    /// When it was due.
    since: Instant,
}

impl Draft {
    /// The message as peers pass it on: JSON text.
    pub(crate) fn message(&self) -> String {
        format!(r#"{{"id":"{}","body":{}}}"#, self.id, self.body)
    }

    /// Whether an answer is one to this draft, by its id.
    pub(crate) fn is_named_in(&self, answer: &[u8]) -> bool {
        memmem::find(answer, self.id.as_bytes()).is_some()
    }
}

impl Drafts {
    pub(crate) fn new(run: Run, publisher: usize, size: usize, pace: Pace) -> Self {
        Self {
            run,
            publisher,
            number: 0,
            size,
            pace,
            is_counted: true,
        }
    }

    /// The same for messages that readers do not count: they warm a server up.
    pub(crate) fn uncounted(self) -> Self {
        Self {
            is_counted: false,
            ..self
        }
    }

    /// The next message, when its time has come; none after the last.
    ///
    /// A message that is late because the one before was answered late counts from when it was due: its
    /// reader waits from then on, whatever the server let the publisher do.
    pub(crate) async fn next(&mut self) -> Option<Draft> {
        let since = match self.pace {
            Pace::Eager { begin, until, .. } => {
                sleep_until(begin).await;
                Some(Instant::now()).filter(|now| *now < until)?
            }
            Pace::Sustained { begin, until } => {
                sleep_until(begin).await;
                timeout_at(until, self.run.room()).await.ok()?;
                Some(Instant::now()).filter(|now| *now < until)?
            }
            Pace::Steady { count, .. } if self.number >= count => return None,
            Pace::Steady { begin, period, .. } => {
                let due = begin + period.mul_f64(self.number as f64);
                if Instant::now() < due {
                    sleep_until(due).await;
                    // The timer goes by milliseconds: its lateness is not the server's.
                    Instant::now()
                } else {
                    due
                }
            }
        };
        let stamp = Stamp {
            publisher: if self.is_counted {
                self.publisher
            } else {
                STRANGER
            },
            number: self.number,
            sent: self.run.at(since.into_std()),
        };
        self.number += 1;
        Some(Draft {
            id: format!("{:032x}", fastrand::u128(..)),
            body: stamp.body(self.size),
            since,
        })
    }

    /// How many may be sent before the first of them is acknowledged.
    pub(crate) fn at_once(&self) -> usize {
        match self.pace {
            Pace::Eager { at_once, .. } => at_once,
            Pace::Steady { .. } | Pace::Sustained { .. } => 1,
        }
    }

    /// The draft is stored.
    pub(crate) fn acknowledge(&self, draft: &Draft) {
        self.run.acknowledge(self.publisher, draft.since.into_std());
    }

    /// The draft was refused for the moment, and is tried again.
    pub(crate) fn retry(&self) {
        self.run.retry();
    }
}
