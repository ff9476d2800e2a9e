//! Group commit: publishes to one channel that wait in one instance go into one swap.

use crate::{Draft, Env, Inner, LARGEST_BODY, PublishError, Receipt, Store};
use futures::channel::oneshot;
use std::collections::VecDeque;
use std::future;
use std::rc::Rc;
use std::task::Poll;

/// A swap takes calls until it has so many drafts. More: one swap writes more at once; fewer: more swaps.
const MOST_DRAFTS: usize = 512;
/// The same in bytes of bodies.
const MOST_BYTES: usize = 1024 * 1024;

pub(crate) type Results = Vec<Result<Receipt, PublishError>>;

/// The calls that wait to publish in one channel.
#[derive(Default)]
pub(crate) struct Lane {
    waiting: VecDeque<Ticket>,
    running: bool,
}

struct Ticket {
    drafts: Vec<Draft>,
    results: oneshot::Sender<Results>,
}

impl Lane {
    pub(crate) fn is_idle(&self) -> bool {
        !self.running
    }

    /// The next calls for one swap.
    fn take(&mut self) -> Vec<Ticket> {
        let (mut drafts, mut bytes) = (0, 0);
        let fits = self.waiting.iter().take_while(|ticket| {
            let room = drafts < MOST_DRAFTS && bytes < MOST_BYTES;
            drafts += ticket.drafts.len();
            bytes += ticket
                .drafts
                .iter()
                .map(|draft| draft.body.len())
                .sum::<usize>();
            room
        });
        let count = fits.count();
        self.waiting.drain(..count).collect()
    }
}

pub(crate) async fn publish<S: Store + 'static, E: Env + 'static>(
    inner: &Rc<Inner<S, E>>,
    name: &str,
    drafts: Vec<Draft>,
) -> Results {
    let refused: Vec<bool> = drafts.iter().map(|draft| !fits(draft)).collect();
    let drafts: Vec<Draft> = drafts.into_iter().filter(fits).collect();
    let mut stored = enqueue(inner, name, drafts).await.into_iter();
    // A draft over a limit fails alone.
    let mut answer = |refused| {
        let unanswered = || {
            Err(PublishError::Unavailable(
                "the instance is ending".to_owned(),
            ))
        };
        if refused {
            Err(PublishError::TooLarge)
        } else {
            stored.next().unwrap_or_else(unanswered)
        }
    };
    refused.into_iter().map(&mut answer).collect()
}

async fn enqueue<S: Store + 'static, E: Env + 'static>(
    inner: &Rc<Inner<S, E>>,
    name: &str,
    drafts: Vec<Draft>,
) -> Results {
    if drafts.is_empty() {
        return Vec::new();
    }
    let (results, told) = oneshot::channel();
    let channel = inner.channel(name);
    let start = {
        let mut lane = channel.lane.borrow_mut();
        lane.waiting.push_back(Ticket { drafts, results });
        !std::mem::replace(&mut lane.running, true)
    };
    if start {
        inner
            .env
            .spawn(Box::pin(run(Rc::clone(inner), name.to_owned())));
    }
    // The task that commits answers every call, unless its instance dies, and this one with it.
    told.await.unwrap_or_default()
}

/// Commits until nobody waits.
async fn run<S: Store, E: Env>(inner: Rc<Inner<S, E>>, name: String) {
    let channel = inner.channel(&name);
    let mut last = inner.known.borrow_mut().take(&name);
    loop {
        let tickets = channel.lane.borrow_mut().take();
        if tickets.is_empty() {
            channel.lane.borrow_mut().running = false;
            if let Some(last) = last {
                inner.known.borrow_mut().keep(name, last);
            }
            return;
        }
        let counts: Vec<usize> = tickets.iter().map(|ticket| ticket.drafts.len()).collect();
        let (drafts, waiting): (Vec<Vec<Draft>>, Vec<_>) = tickets
            .into_iter()
            .map(|ticket| (ticket.drafts, ticket.results))
            .unzip();
        let drafts: Vec<Draft> = drafts.into_iter().flatten().collect();
        let results = inner.commit(&name, &drafts, &mut last).await;
        let mut stored = results.into_iter();
        for (results, count) in waiting.into_iter().zip(counts) {
            // A caller that went away is the normal end.
            results.send(stored.by_ref().take(count).collect()).ok();
        }
        // Those who were answered go on, and whoever is about to publish gets into the next swap. Twice: a task that is woken
        // once while it is polled may go on before others have their turn.
        for _ in 0..2 {
            yield_once().await;
        }
    }
}

fn fits(draft: &Draft) -> bool {
    draft.body.len() <= LARGEST_BODY
        && draft.sender.len() <= u8::MAX.into()
        && draft.id.len() <= u8::MAX.into()
        && draft.name.len() <= i16::MAX as usize
}

/// Lets the other futures of the same task go first.
pub async fn yield_once() {
    let mut yielded = false;
    future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
