//! One instance of a component, and all the requests in it.
//!
//! An instance takes any number of requests at once and lives until it traps: what a request leaves
//! behind, a task that goes on writing its body or one that serves other requests too, goes on after the
//! request's own task has returned. So an instance is never ended because a request is.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sandbox::Sandbox;
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::Accessor;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p3::bindings::{Service, ServicePre};
use wasmtime_wasi_http::{WasiBody, WasiHttpView, p3};

use crate::engine::TICK;
use crate::state::{Grants, State};

/// A request for a component.
pub(crate) struct Call {
    pub(crate) request: http::Request<WasiBody>,
    pub(crate) client: IpAddr,
    /// Dropped without an answer where the instance ended before there was one.
    pub(crate) reply: oneshot::Sender<Result<http::Response<WasiBody>, Fault>>,
}

/// Why a component gave no response. The instance lives on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the component returned an error: {0:?}")]
    Returned(ErrorCode),
    #[error("the component's response is malformed: {0:#}")]
    Malformed(wasmtime::Error),
}

/// What an instance may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// Bytes of linear memory.
    pub(crate) memory: usize,
    /// How long it computes without returning to its event loop.
    pub(crate) computing: Duration,
}

/// The queue in front of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    calls: mpsc::UnboundedSender<Box<Call>>,
    vital: Arc<Vital>,
}

/// What is known of an instance from outside.
#[derive(Debug, Default)]
struct Vital {
    /// It ended, and with it every body that it was writing.
    ended: AtomicBool,
    /// Requests that wait for their response, and bodies that are open.
    open: AtomicUsize,
    /// Who waits for the head of a response: those who may have brought about a trap.
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    clients: HashMap<u64, IpAddr>,
}

/// One request in an instance, from the queue to the end of its response's body.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Vital>);

impl Seat {
    /// Whether the instance ended while the body was open.
    pub(crate) fn is_cut(&self) -> bool {
        self.0.ended.load(Ordering::Acquire)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Vital {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How an instance ended.
pub(crate) struct End {
    /// Why.
    pub(crate) trap: wasmtime::Error,
    /// Whose requests had no head yet.
    pub(crate) suspects: Vec<IpAddr>,
    /// Requests that the component has not seen. None where it could not even be instantiated: another
    /// attempt would go the same way, and they are dropped, which tells those who wait.
    #[expect(clippy::vec_box, reason = "they come in boxes and go on in them")]
    pub(crate) unseen: Vec<Box<Call>>,
}

/// An instance that is to be run.
pub(crate) struct Instance {
    calls: mpsc::UnboundedReceiver<Box<Call>>,
    vital: Arc<Vital>,
}

/// An instance to be run, the queue in front of it, and the first call in that queue.
pub(crate) fn new(first: Box<Call>) -> (Queue, Seat, Instance) {
    let (sender, calls) = mpsc::unbounded_channel();
    let vital = Arc::new(Vital {
        open: AtomicUsize::new(1),
        ..Vital::default()
    });
    // Cannot fail: the receiver is at hand.
    sender.send(first).ok();
    (
        Queue {
            calls: sender,
            vital: vital.clone(),
        },
        Seat(vital.clone()),
        Instance { calls, vital },
    )
}

impl Queue {
    /// Hands a request over; gives it back where the instance has ended.
    pub(crate) fn send(&self, call: Box<Call>) -> Result<Seat, Box<Call>> {
        self.vital.open.fetch_add(1, Ordering::Relaxed);
        let seat = Seat(self.vital.clone());
        self.calls
            .send(call)
            .map(|()| seat)
            .map_err(|error| error.0)
    }

    /// How many requests are in the instance.
    pub(crate) fn load(&self) -> usize {
        self.vital.open.load(Ordering::Relaxed)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.vital, &other.vital)
    }
}

/// Marks the end before the store is dropped, and with it the bodies: also when the host itself panics.
struct Mark<'a>(&'a Vital);

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

impl Instance {
    /// Runs until the component traps.
    pub(crate) async fn run(
        mut self,
        pre: &ServicePre<Sandbox>,
        grants: &Arc<Grants>,
        allowance: Allowance,
    ) -> End {
        let mut instantiated = false;
        let Err(trap) = self.live(pre, grants, allowance, &mut instantiated).await;
        // What comes from now on goes to another instance.
        self.calls.close();
        let mut unseen = Vec::new();
        while let Ok(call) = self.calls.try_recv() {
            unseen.push(call);
        }
        if !instantiated {
            unseen.clear();
        }
        let suspects = std::mem::take(&mut self.vital.waiting().clients)
            .into_values()
            .collect();
        End {
            trap,
            suspects,
            unseen,
        }
    }

    async fn live(
        &mut self,
        pre: &ServicePre<Sandbox>,
        grants: &Arc<Grants>,
        allowance: Allowance,
        instantiated: &mut bool,
    ) -> wasmtime::Result<Infallible> {
        let state = State::new(grants.clone(), allowance.memory);
        let mut store = Store::new(pre.engine(), Sandbox::new(state));
        let _mark = Mark(&self.vital);
        store.limiter(|sandbox| &mut sandbox.guest::<State>().memory);
        let ticks = Arc::new(AtomicU32::new(0));
        limit_computing(&mut store, ticks.clone(), allowance.computing);
        let service = pre.instantiate_async(&mut store).await?;
        *instantiated = true;
        let (calls, vital) = (&mut self.calls, &self.vital);
        let served = store
            .run_concurrent(async |accessor| serve(accessor, &service, calls, vital, &ticks).await);
        served.await?
    }
}

/// Ends, by a trap, what computes longer than `most` between two turns of the event loop, in ticks that it
/// was running: waiting for the store does not count, and of waiting for the processor no more than it computes.
fn limit_computing(store: &mut Store<Sandbox>, ticks: Arc<AtomicU32>, most: Duration) {
    let most = u32::try_from(most.as_millis() / TICK.as_millis())
        .unwrap_or(u32::MAX)
        .max(2);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        let ticks = ticks.fetch_add(1, Ordering::Relaxed);
        match ticks {
            // The epoch went on while the instance was idle: that is no reason to interrupt it.
            0 => Ok(UpdateDeadline::Continue(1)),
            _ if ticks < most => Ok(UpdateDeadline::Yield(1)),
            _ => Err(wasmtime::format_err!(
                "computed for too long without returning to its event loop"
            )),
        }
    });
}

/// Takes requests in and sends responses out.
async fn serve(
    accessor: &Accessor<Sandbox>,
    service: &Service,
    calls: &mut mpsc::UnboundedReceiver<Box<Call>>,
    vital: &Vital,
    ticks: &AtomicU32,
) -> wasmtime::Result<Infallible> {
    let mut open = FuturesUnordered::new();
    let mut gathered = false;
    poll_fn(|cx| {
        // Polled at every turn of the event loop, so whoever was computing has returned.
        ticks.store(0, Ordering::Relaxed);
        loop {
            if let Poll::Ready(Some(answered)) = open.poll_next_unpin(cx) {
                match answered {
                    Ok(()) => continue,
                    Err(trap) => return Poll::Ready(Err(trap)),
                }
            }
            // The runtime goes on with whom it woke last, so the first of several requests that have arrived would
            // come alone, and be through with its work when the next is let in. Waiting for one turn, it has the
            // others beside it, with whom it shares reads and commits.
            if !calls.is_empty() && !std::mem::replace(&mut gathered, true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match calls.poll_recv(cx) {
                Poll::Ready(Some(call)) => match answer(accessor, service, call, vital) {
                    Ok(answer) => open.push(answer),
                    Err(error) => return Poll::Ready(Err(error)),
                },
                // None: nothing comes any more, and what is open goes on.
                Poll::Ready(None) | Poll::Pending => {
                    gathered = false;
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

/// Starts a request in the component. The future ends when its response has been sent; an error is a trap.
fn answer<'a>(
    accessor: &'a Accessor<Sandbox>,
    service: &'a Service,
    call: Box<Call>,
    vital: &'a Vital,
) -> wasmtime::Result<impl Future<Output = wasmtime::Result<()>> + 'a> {
    let Call {
        request,
        client,
        reply,
    } = *call;
    let number = {
        let mut waiting = vital.waiting();
        let number = waiting.next;
        waiting.next += 1;
        waiting.clients.insert(number, client);
        number
    };
    let handle = service.wasi_http_handler().func_handle();
    let (started, received) = accessor.with(|mut access| {
        let http = access.get().http();
        let (request, received) = p3::Request::from_http(http.hooks, request);
        let received: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(received);
        let request = http.table.push(request)?;
        wasmtime::error::Ok((handle.start_call_concurrent(access, (request,))?, received))
    })?;
    Ok(async move {
        let (returned,) = handle.finish_call_concurrent(accessor, started).await?;
        let response = match returned {
            // Made even where nobody waits for it any more: the component learns it by writing the body.
            Ok(response) => accessor.with(|mut access| {
                let response = access.get().http().table.delete(response)?;
                wasmtime::error::Ok(
                    response
                        .into_http(access, received)
                        .map_err(Fault::Malformed),
                )
            })?,
            Err(code) => Err(Fault::Returned(code)),
        };
        vital.waiting().clients.remove(&number);
        // Whoever asked may have left.
        reply.send(response).ok();
        Ok(())
    })
}
