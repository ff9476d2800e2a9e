//! Publishing that does not give up: a draft is sent until it is acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Result;

use crate::drafts::{Draft, Drafts};
use crate::socket::{Answers, Socket};

/// A publish that is refused or cut so often, a tenth of a second apart, is not going to be stored.
const ATTEMPTS: u32 = 300;
const PAUSE: Duration = Duration::from_millis(100);

/// What is not acknowledged, in order.
#[derive(Default)]
pub(crate) struct Pending {
    drafts: VecDeque<Draft>,
    /// The last so many were not sent by the connection that is open.
    unsent: usize,
}

impl Pending {
    /// What is to be sent.
    pub(crate) fn unsent(&self) -> impl Iterator<Item = &Draft> {
        self.drafts.range(self.drafts.len() - self.unsent..)
    }

    /// All of it, oldest first.
    pub(crate) fn drafts(&self) -> &VecDeque<Draft> {
        &self.drafts
    }
}

/// Sends every draft by an open connection, which is opened again where that fails.
///
/// `store` sends what is unsent, and waits until the first that wait are acknowledged, one or more: it answers how many.
/// What it answers within is an error that may pass: the outcome is unknown, or the server asks to come again. What it
/// fails with ends it all.
pub(crate) async fn publish<Connection>(
    mut drafts: Drafts,
    open: impl AsyncFn() -> Result<Connection>,
    store: impl AsyncFn(&mut Connection, &Pending) -> Result<Result<usize>>,
) -> Result<()> {
    // Before the first is due: what opening takes is no message's delay.
    let mut kept = open().await.ok();
    let mut attempts = 0;
    let mut pending = Pending::default();
    loop {
        while pending.drafts.len() < drafts.at_once()
            && let Some(draft) = drafts.next().await
        {
            pending.drafts.push_back(draft);
            pending.unsent += 1;
        }
        if pending.drafts.is_empty() {
            return Ok(());
        }
        let stored = match &mut kept {
            Some(connection) => store(connection, &pending).await?,
            None => {
                pending.unsent = pending.drafts.len();
                match open().await {
                    Ok(connection) => store(kept.insert(connection), &pending).await?,
                    Err(error) => Err(error),
                }
            }
        };
        match stored {
            Ok(count) => {
                attempts = 0;
                pending.unsent = 0;
                for draft in pending.drafts.drain(..count) {
                    drafts.acknowledge(&draft);
                }
            }
            Err(error) => {
                attempts += 1;
                if attempts >= ATTEMPTS {
                    return Err(error.context("a publish failed again and again"));
                }
                drafts.retry();
                kept = None;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The same by a socket: how a draft is written, and which messages accept one, as [`Socket::publish`] has it.
pub(crate) async fn by_socket(
    drafts: Drafts,
    open: impl AsyncFn() -> Result<Socket>,
    write: impl Fn(&Draft) -> Result<String>,
    accepts: impl Fn(&[u8], &Draft, &mut Answers) -> Result<Result<bool>>,
) -> Result<()> {
    let store = async |socket: &mut Socket, pending: &Pending| {
        socket.publish(pending, &write, &accepts).await
    };
    publish(drafts, open, store).await
}

/// The same by what answers each message before it takes the next.
pub(crate) async fn one_by_one<Connection>(
    drafts: Drafts,
    open: impl AsyncFn() -> Result<Connection>,
    store: impl AsyncFn(&mut Connection, &Draft) -> Result<Result<()>>,
) -> Result<()> {
    let first = async |connection: &mut Connection, pending: &Pending| {
        let Some(draft) = pending.drafts.front() else {
            return Ok(Ok(0));
        };
        Ok(store(connection, draft).await?.map(|()| 1))
    };
    publish(drafts, open, first).await
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use anyhow::anyhow;
    use tokio::time::Instant;

    use super::*;
    use crate::drafts::Pace;
    use crate::run::Run;

    fn two(run: &Run) -> Drafts {
        let pace = Pace::Steady {
            begin: Instant::now(),
            period: Duration::ZERO,
            count: 2,
        };
        Drafts::new(run.clone(), 0, 64, pace)
    }

    fn ids<'a>(drafts: impl IntoIterator<Item = &'a Draft>) -> Vec<String> {
        drafts.into_iter().map(|draft| draft.id.clone()).collect()
    }

    #[tokio::test]
    async fn a_draft_is_sent_again_on_another_connection_until_it_is_acknowledged() {
        let run = Run::new(0, 1);
        let (opened, sent) = (RefCell::new(0), RefCell::new(Vec::new()));
        let open = async || {
            *opened.borrow_mut() += 1;
            match *opened.borrow() {
                1 => Err(anyhow!("not there yet")),
                number => Ok(number),
            }
        };
        let store = async |connection: &mut i32, pending: &Pending| {
            sent.borrow_mut().extend(ids(pending.unsent()));
            Ok(match connection {
                2 => Err(anyhow!("cut")),
                _ => Ok(1),
            })
        };
        let outcome = publish(two(&run), open, store).await;
        outcome.expect("both are acknowledged in the end");
        let sent = sent.into_inner();
        assert_eq!((opened.into_inner(), sent.len()), (3, 3));
        assert_eq!(sent[0], sent[1], "the same one again");
        assert_ne!(sent[1], sent[2]);
        // That it was not there before anything was due cost no message a try.
        assert_eq!((run.published(), run.faults().retries), (2, 1));
    }

    #[tokio::test]
    async fn what_waits_is_sent_once_by_each_connection_and_in_order() {
        let run = Run::new(0, 1);
        let pace = Pace::Eager {
            begin: Instant::now(),
            until: Instant::now() + Duration::from_secs(2),
            at_once: 3,
        };
        let rounds = RefCell::new(Vec::new());
        let opened = RefCell::new(0);
        let open = async || {
            *opened.borrow_mut() += 1;
            Ok(*opened.borrow())
        };
        let store = async |connection: &mut i32, pending: &Pending| {
            let round = (ids(pending.unsent()), ids(pending.drafts()));
            rounds.borrow_mut().push(round);
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(match (connection, rounds.borrow().len()) {
                (1, 3) => Err(anyhow!("cut")),
                _ => Ok(2.min(pending.drafts().len())),
            })
        };
        let outcome = publish(Drafts::new(run.clone(), 0, 64, pace), open, store).await;
        outcome.expect("all are acknowledged in the end");
        let rounds = rounds.into_inner();
        assert!(rounds.len() > 5, "{}", rounds.len());
        let counts = |round: &(Vec<String>, Vec<String>)| (round.0.len(), round.1.len());
        let first: Vec<_> = rounds.iter().take(5).map(counts).collect();
        assert_eq!(first, [(3, 3), (2, 3), (2, 3), (3, 3), (2, 3)]);
        assert_eq!(rounds[2].1, rounds[3].0, "all of it by the second");
        assert_eq!(rounds[0].1[2], rounds[1].1[0], "the order stays");
        let last = rounds.last().expect("there are some");
        assert!(last.1.len() <= 2, "none is left behind");
        assert_eq!(opened.into_inner(), 2);
    }

    #[tokio::test]
    async fn what_is_refused_for_good_ends_it() {
        let run = Run::new(0, 1);
        let store = async |(): &mut (), _: &Draft| Err(anyhow!("forbidden"));
        let outcome = one_by_one(two(&run), async || Ok(()), store).await;
        assert_eq!(outcome.expect_err("it is refused").to_string(), "forbidden");
        assert_eq!(run.published(), 0);
    }
}
