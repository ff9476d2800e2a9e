//! The tasks of an HTTP/2 connection's streams.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;

use hyper::rt::Executor;

tokio::task_local! {
    static UPGRADED: RefCell<Upgraded>;
}

/// What there is to do on a stream when it was upgraded.
#[derive(Default)]
struct Upgraded {
    /// Hyper's part: it sends what was written.
    sending: Option<Task>,
    /// Ours.
    carrying: Option<Task>,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs each stream in a task of its own, and what an upgraded one goes on with in the same.
///
/// Hyper ends a stream in order however what was upgraded is dropped; only without the part of it that
/// sends is the stream reset. So that part is run here beside ours, and is dropped with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams;

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let is_upgraded = UPGRADED.try_with(|_| ()).is_ok();
        if is_upgraded {
            #[expect(
                clippy::redundant_async_block,
                reason = "it drops the future when that has ended, which is what ours waits for"
            )]
            let sending = Box::pin(async move { future.await });
            UPGRADED.with(|upgraded| upgraded.borrow_mut().sending = Some(sending));
            return;
        }
        tokio::spawn(UPGRADED.scope(RefCell::default(), async move {
            future.await;
            // Either alone: hyper took what was no upgrade for one, or the client has left. It is reset.
            if let Upgraded {
                sending: Some(mut sending),
                carrying: Some(mut carrying),
            } = UPGRADED.with(RefCell::take)
            {
                tokio::select! {
                    () = &mut carrying => {}
                    () = &mut sending => carrying.await,
                }
            }
        }));
    }
}

/// Lets the stream whose request is being answered go on with this when its response's head is out.
pub(crate) fn go_on(carrying: impl Future<Output = ()> + Send + 'static) {
    let carrying = Box::pin(carrying);
    // Always there: it is hyper that answers requests, in the tasks above.
    UPGRADED
        .try_with(|upgraded| upgraded.borrow_mut().carrying = Some(carrying))
        .ok();
}
