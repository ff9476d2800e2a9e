//! Publishing that does not give up: a draft is sent until it is acknowledged.

use std::time::Duration;

use anyhow::Result;

use crate::drafts::{Draft, Drafts};

/// A publish that is refused or cut so often, a tenth of a second apart, is not going to be stored.
const ATTEMPTS: u32 = 300;
const PAUSE: Duration = Duration::from_millis(100);

/// Sends every draft by an open connection, which is opened again where that fails.
///
/// What `store` answers within is an error that may pass: the outcome is unknown, or the server asks to come
/// again. What it fails with ends it all.
pub(crate) async fn publish<Connection>(
    mut drafts: Drafts,
    open: impl AsyncFn() -> Result<Connection>,
    store: impl AsyncFn(&mut Connection, &Draft) -> Result<Result<()>>,
) -> Result<()> {
    let mut kept = None;
    while let Some(draft) = drafts.next().await {
        let mut attempts = 0;
        loop {
            let stored = match &mut kept {
                Some(connection) => store(connection, &draft).await?,
                None => match open().await {
                    Ok(connection) => store(kept.insert(connection), &draft).await?,
                    Err(error) => Err(error),
                },
            };
            let Err(error) = stored else {
                break;
            };
            attempts += 1;
            if attempts >= ATTEMPTS {
                return Err(error.context("a publish failed again and again"));
            }
            drafts.retry();
            kept = None;
            tokio::time::sleep(PAUSE).await;
        }
        drafts.acknowledge(&draft);
    }
    Ok(())
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
        let store = async |connection: &mut i32, draft: &Draft| {
            sent.borrow_mut().push(draft.id.clone());
            Ok(match connection {
                2 => Err(anyhow!("cut")),
                _ => Ok(()),
            })
        };
        let outcome = publish(two(&run), open, store).await;
        outcome.expect("both are acknowledged in the end");
        let sent = sent.into_inner();
        assert_eq!((opened.into_inner(), sent.len()), (3, 3));
        assert_eq!(sent[0], sent[1], "the same one again");
        assert_ne!(sent[1], sent[2]);
        assert_eq!((run.published(), run.faults().retries), (2, 2));
    }

    #[tokio::test]
    async fn what_is_refused_for_good_ends_it() {
        let run = Run::new(0, 1);
        let store = async |(): &mut (), _: &Draft| Err(anyhow!("forbidden"));
        let outcome = publish(two(&run), async || Ok(()), store).await;
        assert_eq!(outcome.expect_err("it is refused").to_string(), "forbidden");
        assert_eq!(run.published(), 0);
    }
}
