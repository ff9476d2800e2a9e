//! The host: serves an application of components, as its `spin.toml` describes it, over HTTP.
//!
//! A request comes in through a `connection`, is checked and routed by the `server`, gets the head that
//! components see (`request`), and is `dispatch`ed to an `instance` of its component, which streams the
//! `body` of the response back. A connection that a component accepts to `upgrade` carries bytes both ways
//! instead. What components import beside WASI is in `keyvalue` (on a [`store`]),
//! `config` and `wakeup`.

mod answer;
mod bindings;
mod body;
mod compose;
mod config;
mod connection;
mod dispatch;
mod engine;
mod instance;
mod keyvalue;
pub mod manifest;
mod options;
mod output;
pub mod peers;
mod request;
pub mod routes;
mod server;
mod socket;
mod state;
pub mod store;
mod streams;
mod upgrade;
pub mod variables;
mod wakeup;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub use crate::compose::Wakeup;
pub use crate::options::{Options, Upgrades};

use crate::answer::Refusal;
use crate::compose::Composer;
use crate::connection::Stage;
use crate::dispatch::Component;
use crate::engine::Workshop;
use crate::instance::Allowance;
use crate::manifest::App;
use crate::peers::Peers;
use crate::routes::Routes;
use crate::server::{Limits, Server};
use crate::state::Grants;
use crate::store::Store;
use crate::wakeup::Wakeups;

/// In how long an address gets back the guests that it may make.
const GUEST_PERIOD: Duration = Duration::from_secs(3600);

/// How many connections that are turned away get to hear why at once. More would let whoever is turned
/// away hold what the limits are there to protect.
const TURNED_AWAY: usize = 256;

/// A host that serves. Dropping it cuts everything off; [`Running::shutdown`] ends it in order.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stage: watch::Sender<Stage>,
    accepting: JoinHandle<()>,
    components: Vec<Arc<Component>>,
    wakeups: Wakeups,
    store: Store,
    stop_timeout: Duration,
}

/// Starts to serve, in the runtime that this is called in. Once it returns, connections are answered.
///
/// # Errors
/// Where the manifest, a component, the store or the address is not usable.
pub async fn start(options: Options) -> anyhow::Result<Running> {
    let app = manifest::load(&options.manifest)?;
    let url = options.store_url();
    let store = Store::open(&url, options.durability)
        .with_context(|| format!("the store {url} cannot be opened"))?;
    let wakeups = Wakeups::default();
    let components = {
        let (options, store, wakeups) = (options.clone(), store.clone(), wakeups.clone());
        let load =
            move || load(&app, &options, &store, &wakeups).map(|components| (app, components));
        tokio::task::spawn_blocking(load)
    };
    let (app, components) = components.await??;
    let routes = Routes::new(
        app.triggers
            .iter()
            .map(|trigger| (&*trigger.route, &*trigger.component)),
    )?;
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("{} cannot be listened on", options.listen))?;
    let address = listener.local_addr()?;
    let (stage, stages) = watch::channel(Stage::Serving);
    let running: Vec<_> = components.values().cloned().collect();
    let server = Arc::new(Server {
        routes,
        components,
        upgrades: options.upgrades == Upgrades::On,
        peers: Peers::new(peers::Limits {
            trusted_proxies: options.trusted_proxies,
            connections: options.max_connections,
            connections_per_address: options.max_connections_per_address,
            guests: options.guests_per_address,
            guest_period: GUEST_PERIOD,
        }),
        limits: Limits {
            head: options.max_head,
            body: options.max_body,
            head_timeout: options.head_timeout,
            body_timeout: options.body_timeout,
            idle_timeout: options.idle_timeout,
        },
    });
    Ok(Running {
        address,
        stage,
        accepting: tokio::spawn(accept(listener, server, stages)),
        components: running,
        wakeups,
        store,
        stop_timeout: options.stop_timeout,
    })
}

impl Running {
    /// The address that it listens on, with the port that it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The store that its components use.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Accepts nothing more, tells components that the host stops, waits until what is open has ended, for
    /// as long as the options allow, then cuts off the rest.
    pub async fn shutdown(self) {
        self.stage.send_replace(Stage::Closing);
        self.wakeups.close();
        // Each connection has a receiver.
        if timeout(self.stop_timeout, self.stage.closed())
            .await
            .is_err()
        {
            tracing::info!(connections = self.stage.receiver_count(), "cut off");
        }
        self.stage.send_replace(Stage::Cut);
        timeout(self.stop_timeout, self.stage.closed()).await.ok();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stage.send_replace(Stage::Cut);
        self.accepting.abort();
        for component in &self.components {
            component.cut();
        }
    }
}

/// Makes the components that a route leads to.
fn load(
    app: &App,
    options: &Options,
    store: &Store,
    wakeups: &Wakeups,
) -> anyhow::Result<HashMap<String, Arc<Component>>> {
    // As many as serve at once, one in quarantine for each component, and twice that: an instance that
    // ended may still hold its place while another begins.
    let instances = app.triggers.len() * (options.instances() + 1) * 2;
    let workshop = Workshop::new(instances, options.instance_memory, &options.cache_folder())?;
    let mut composer = Composer::new(app, options.wakeup);
    let allowance = Allowance {
        memory: options.instance_memory,
        computing: options.guest_timeout,
    };
    let mut components = HashMap::new();
    for trigger in &app.triggers {
        let Some(component) = app.components.get(&trigger.component) else {
            continue;
        };
        if components.contains_key(&component.id) {
            continue;
        }
        let unusable = || format!("component {:?} is unusable", component.id);
        let binary = composer.compose(component).with_context(unusable)?;
        let pre = workshop
            .prepare(&binary)
            .map_err(anyhow::Error::from)
            .with_context(unusable)?;
        let grants = Arc::new(Grants {
            id: component.id.clone(),
            stores: component.key_value_stores.iter().cloned().collect(),
            variables: component.variables.clone(),
            environment: component.environment.clone().into_iter().collect(),
            store: store.clone(),
            wakeups: wakeups.clone(),
        });
        let made = Component::new(pre, grants, allowance, options.instances());
        components.insert(component.id.clone(), Arc::new(made));
    }
    Ok(components)
}

async fn accept(listener: TcpListener, server: Arc<Server>, mut stage: watch::Receiver<Stage>) {
    let turned_away = Arc::new(tokio::sync::Semaphore::new(TURNED_AWAY));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stage.wait_for(|stage| *stage > Stage::Serving) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: the connection stays in the queue, and asking again at
                // once would find the same.
                tracing::warn!("a connection cannot be accepted: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match server.peers.connect(peer.ip()) {
            Ok(slot) => {
                tokio::spawn(connection::serve(
                    server.clone(),
                    stream,
                    peer,
                    slot,
                    stage.clone(),
                ));
            }
            Err(full) => {
                tracing::debug!(%peer, "{full}");
                if let Ok(permit) = turned_away.clone().try_acquire_owned() {
                    tokio::spawn(async move {
                        socket::refuse(stream, Refusal::from(full)).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}
