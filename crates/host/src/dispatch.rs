//! Which instance of its component a request goes to.
//!
//! A component has few instances, made when they are first needed, with thousands of requests in each:
//! readers of one channel share what is read and encoded for them only within one. So a request that names
//! a channel goes to the instance that the channel's name chooses, its publishers too, and any other to the
//! one with the fewest requests.
//!
//! A trap takes all requests of its instance with it. The next request finds a fresh one. So that a request
//! which traps each time it is sent cannot keep the component down, those who waited for the head of a
//! response when an instance trapped are *suspects*: for a while their requests go to one more instance, in
//! *quarantine*, where they trap among themselves. An address is all that a host knows of who sends a
//! request; whoever shares it is served too, by that instance. A request that traps after its head was
//! sent, in a task that serves others, is not traced to anybody.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use sandbox::Sandbox;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::body::{Answer, Streaming};
use crate::instance::{self, Allowance, Call, End, Fault, Queue};
use crate::metrics::{SeenComponent, Turns};
use crate::peers::{Block, Slot};
use crate::state::Grants;

/// How long a suspect's requests are kept apart, from the last trap that they may have brought about.
/// Shorter, and one who traps at that pace takes the others' readers along each time; longer, and whoever
/// shares the address shares an instance with it for that long.
const QUARANTINE: Duration = Duration::from_secs(60);

/// How many suspects are remembered. When there are more, those whose time is up are forgotten, and if
/// none is, all: whoever traps from so many addresses is not stopped by keeping some of them apart.
const SUSPECTS: usize = 4096;

/// A component and its instances.
pub(crate) struct Component {
    pre: ServicePre<Sandbox>,
    grants: Arc<Grants>,
    allowance: Allowance,
    hasher: RandomState,
    /// The last one is the quarantine.
    instances: Vec<Mutex<Option<Running>>>,
    suspects: Mutex<HashMap<Block, Instant>>,
}

/// An instance and the task that it runs in.
struct Running {
    queue: Queue,
    task: AbortHandle,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("the instance ended")]
    Ended,
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component")
            .field("id", &self.grants.id)
            .finish_non_exhaustive()
    }
}

impl Component {
    /// A component that has up to `instances` at once, and one in quarantine.
    pub(crate) fn new(
        pre: ServicePre<Sandbox>,
        grants: Arc<Grants>,
        allowance: Allowance,
        instances: usize,
    ) -> Self {
        Self {
            pre,
            grants,
            allowance,
            hasher: RandomState::new(),
            instances: (0..=instances.max(1)).map(|_| Mutex::default()).collect(),
            suspects: Mutex::default(),
        }
    }

    /// Sends a request to an instance and waits for the head of the response.
    ///
    /// `slot` is kept until the body ends. Dropping the future leaves the request to the component, which
    /// learns by writing the body that nobody reads it.
    pub(crate) async fn call(
        self: &Arc<Self>,
        request: http::Request<WasiBody>,
        client: IpAddr,
        slot: Slot,
    ) -> Result<http::Response<Answer>, Failure> {
        let (reply, answered) = oneshot::channel();
        let place = self.place(&request, client);
        let seat = self.send(
            place,
            Box::new(Call {
                request,
                client,
                reply,
            }),
        );
        let response = answered.await.map_err(|_| Failure::Ended)??;
        Ok(response.map(|body| {
            let counters = self.grants.counters.clone();
            Answer::Component(Streaming::new(body, seat, counters, slot))
        }))
    }

    /// Sends a request of the host's own, and waits for the end of the response.
    pub(crate) async fn visit(
        self: &Arc<Self>,
        request: http::Request<WasiBody>,
    ) -> Result<http::Response<()>, Failure> {
        let (reply, answered) = oneshot::channel();
        let client = Ipv4Addr::LOCALHOST.into();
        let place = self.place(&request, client);
        let _seat = self.send(
            place,
            Box::new(Call {
                request,
                client,
                reply,
            }),
        );
        let (head, mut body) = answered.await.map_err(|_| Failure::Ended)??.into_parts();
        while let Some(Ok(_)) = body.frame().await {}
        Ok(http::Response::from_parts(head, ()))
    }

    /// What is counted of it, and how much there is of it at this moment.
    pub(crate) fn seen(&self) -> SeenComponent<'_> {
        let mut seen = SeenComponent {
            id: &self.grants.id,
            counters: &self.grants.counters,
            instances: 0,
            open: 0,
        };
        for instance in &self.instances {
            if let Some(running) = lock(instance).as_ref() {
                seen.instances += 1;
                seen.open += running.queue.load() as u64;
            }
        }
        seen
    }

    /// Ends all instances, whatever is open in them.
    pub(crate) fn cut(&self) {
        for instance in &self.instances {
            if let Some(running) = lock(instance).take() {
                running.task.abort();
            }
        }
    }

    fn place(&self, request: &http::Request<WasiBody>, client: IpAddr) -> usize {
        let quarantine = self.instances.len() - 1;
        if self.is_suspect(client) {
            return quarantine;
        }
        let load = |&place: &usize| {
            lock(&self.instances[place])
                .as_ref()
                .map_or(0, |running| running.queue.load())
        };
        match request.uri().query().and_then(first_channel) {
            Some(channel) => (self.hasher.hash_one(channel) % quarantine as u64) as usize,
            None => (0..quarantine).min_by_key(load).unwrap_or(0),
        }
    }

    fn send(self: &Arc<Self>, place: usize, call: Box<Call>) -> instance::Seat {
        let mut current = lock(&self.instances[place]);
        let call = match current.as_ref() {
            None => call,
            Some(running) => match running.queue.send(call) {
                Ok(seat) => return seat,
                Err(call) => call,
            },
        };
        let (queue, seat, instance) = instance::new(call);
        let (component, own) = (self.clone(), queue.clone());
        self.grants.counters.instances.increment();
        let task = tokio::spawn(async move {
            let running = instance.run(&component.pre, &component.grants, component.allowance);
            let end = Turns::of(running, &component.grants.counters.turns).await;
            component.grants.counters.traps.increment();
            component.ended(place, &own, end);
        });
        *current = Some(Running {
            queue,
            task: task.abort_handle(),
        });
        seat
    }

    /// Its place is free for another instance, which the requests go to that this one has not seen.
    fn ended(self: &Arc<Self>, place: usize, queue: &Queue, end: End) {
        let mut current = lock(&self.instances[place]);
        if current
            .as_ref()
            .is_some_and(|current| current.queue.is_same(queue))
        {
            current.take();
        }
        drop(current);
        tracing::error!(
            component = self.grants.id,
            waiting = end.suspects.len(),
            quarantine = place + 1 == self.instances.len(),
            "an instance ended: {:#}",
            end.trap
        );
        self.suspect(&end.suspects);
        for call in end.unseen {
            let place = if self.is_suspect(call.client) {
                self.instances.len() - 1
            } else {
                place
            };
            self.send(place, call);
        }
    }

    fn is_suspect(&self, client: IpAddr) -> bool {
        let suspects = lock(&self.suspects);
        // Nobody is, nearly always.
        !suspects.is_empty()
            && suspects
                .get(&Block::of(client))
                .is_some_and(|until| *until > Instant::now())
    }

    fn suspect(&self, clients: &[IpAddr]) {
        let now = Instant::now();
        let mut suspects = lock(&self.suspects);
        for &client in clients {
            if suspects.len() >= SUSPECTS {
                suspects.retain(|_, until| *until > now);
            }
            if suspects.len() >= SUSPECTS {
                suspects.clear();
            }
            suspects.insert(Block::of(client), now + QUARANTINE);
        }
    }
}

/// The first `channel` of a query, as it was sent: names need no escapes, and one that has some is another
/// name here at worst.
fn first_channel(query: &str) -> Option<&str> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("channel="))
}

// Every change under these locks is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
