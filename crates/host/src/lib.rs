//! The host: serves an application of components, as its `spin.toml` describes it, over HTTP.
//!
//! A request comes in through a `connection`, is checked and routed by the `server`, gets the head that
//! components see (`request`), and is `dispatch`ed to an `instance` of its component, which streams the
//! `body` of the response back. A connection that a component accepts to `upgrade` carries bytes both ways
//! instead. What components import beside WASI is in `keyvalue` (on a [`store`]), `config` and `wakeup`; the requests
//! that they send themselves go `outbound`, to where they are `allowed`. Some routes the host `visits` by itself.
//! Those that share a store are `nodes`, which wake each other.
//!
//! What the host counts of all that is in `metrics`; those who run it ask for it where it is [`operating`], by
//! [`asking`] or at a [`top`], or have a collector told by [`telemetry`].
//!
//! A [`gateway`] serves the same connections with an application elsewhere in place of the components.

mod allowed;
mod answer;
pub mod asking;
mod bindings;
mod body;
mod compose;
mod config;
mod connection;
mod dispatch;
mod engine;
pub mod gateway;
mod handed;
mod instance;
mod keyvalue;
mod listening;
pub mod manifest;
mod metrics;
pub mod migration;
mod nodes;
pub mod operating;
mod options;
mod outbound;
mod outbound_redis;
mod output;
pub mod peers;
mod request;
pub mod routes;
mod server;
mod socket;
mod state;
pub mod store;
mod streams;
pub mod telemetry;
mod tls;
pub mod top;
mod upgrade;
pub mod variables;
mod visits;
mod wakeup;

use std::cell::RefCell;
use std::collections::HashMap;
use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::task::JoinSet;

pub use crate::allowed::{AllowedHost, AllowedHostError};
pub use crate::compose::Wakeup;
pub use crate::handed::Handed;
pub use crate::options::{Connections, Options, Upgrades};

use crate::compose::Composer;
use crate::dispatch::Component;
use crate::engine::Workshop;
use crate::instance::Allowance;
use crate::listening::Listening;
use crate::manifest::App;
use crate::metrics::Metrics;
use crate::nodes::{Nodes, Outbox};
use crate::operating::{Operations, Served};
use crate::outbound::Outbound;
use crate::routes::Routes;
use crate::server::{Backend, Server, scheme};
use crate::state::Grants;
use crate::store::{Store, without_password};
use crate::variables::environment_name;
use crate::visits::Visits;
use crate::wakeup::Wakeups;

/// A host that serves. Dropping it cuts everything off; [`Running::shutdown`] ends it in order.
#[derive(Debug)]
pub struct Running {
    listening: Listening,
    operations: Operations,
    _visits: Visits,
    components: Vec<Arc<Component>>,
    wakeups: Wakeups,
    store: Store,
    /// Those who share the store.
    nodes: Nodes,
    /// What shows that it is served, until they do.
    _shown: JoinSet<()>,
}

/// Reads a manifest, with these variables by their names before those of the environment.
fn application(manifest: &Path, variables: &[(String, String)]) -> anyhow::Result<App> {
    let names = variables.iter().map(|(name, _)| name);
    let unknown = RefCell::new(Vec::from_iter(names));
    let app = manifest::load_with(manifest, |asked| {
        let named = |name: &str| environment_name(name) == asked;
        unknown.borrow_mut().retain(|name| !named(name));
        let last = variables.iter().rev().find(|(name, _)| named(name));
        last.map_or_else(|| env::var(asked), |(_, value)| Ok(value.clone()))
    })?;
    match unknown.borrow().first() {
        Some(name) => bail!("{} declares no variable {name:?}", manifest.display()),
        None => Ok(app),
    }
}

/// Starts to serve, in the runtime that this is called in. Once it returns, connections are answered.
///
/// Boxed, and so are the others of this kind: what an `async fn` does is compiled in each program that waits for
/// it, and all of a host hangs on these.
///
/// # Errors
/// Where the manifest, a component, the store or the address is not usable.
pub fn start(options: Options) -> BoxFuture<'static, anyhow::Result<Running>> {
    begin(options).boxed()
}

async fn begin(options: Options) -> anyhow::Result<Running> {
    let operations = Operations::begin(&options.operating).await?;
    let app = application(&options.manifest, &options.variables)?;
    let url = options.store_url();
    let store = Store::open(&url, options.durability)
        .await
        .with_context(|| format!("the store {} cannot be opened", without_password(&url)))?;
    migration::refuse_moved(&store)
        .await
        .with_context(|| format!("the store {} cannot be served", without_password(&url)))?;
    let outbox = Arc::new(Outbox::default());
    let wakeups = match store.redis() {
        Some(_) => Wakeups::told_to(outbox.clone()),
        None => Wakeups::default(),
    };
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
    let running: Vec<Arc<Component>> = components.values().cloned().collect();
    let tls = options.connections.tls()?;
    let patterns = app.triggers.iter().map(|trigger| &*trigger.route);
    let metrics = Arc::new(Metrics::new(patterns, scheme(tls.is_some())));
    let visited: Vec<_> = app
        .visits
        .iter()
        .filter_map(|visit| Some((visit.clone(), components.get(&visit.component)?.clone())))
        .collect();
    let listener = listening::listen(options.listen, options.handed.as_ref()).await?;
    let server = Server {
        backend: Backend::Components { routes, components },
        upgrades: options.upgrades == Upgrades::On,
        tls,
        peers: options.connections.peers(options.guests_per_address),
        limits: options.connections.limits(),
        metrics: metrics.clone(),
        tracer: operations.tracer(),
    };
    let stop_timeout = options.connections.stop_timeout;
    let shown = migration::show(&store)
        .await
        .with_context(|| format!("the store {} cannot be served", without_password(&url)))?;
    let listening = Listening::start(listener, server, stop_timeout)?;
    let mut visits = Visits::default();
    for (visit, component) in visited {
        visits.begin(visit, component);
    }
    let served = Served::Here {
        store: store.clone(),
        wakeups: wakeups.clone(),
        components: running.clone(),
    };
    operations.serve(metrics, served);
    Ok(Running {
        listening,
        operations,
        _visits: visits,
        components: running,
        nodes: Nodes::join(&store, outbox, &wakeups),
        _shown: shown,
        wakeups,
        store,
    })
}

impl Running {
    /// The address that it listens on, with the port that it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// Where it is found, by that address: `http://` or, with a certificate, `https://`.
    #[must_use]
    pub fn url(&self) -> String {
        self.listening.url()
    }

    /// The store that its components use.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where it is asked for what it counts, if anywhere.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.operations.address()
    }

    /// Tells balancers that it stops, and takes what comes meanwhile for as long as the options say; then accepts
    /// nothing more, tells components that the host stops, waits until what is open has ended, for as long as the
    /// options allow, and cuts off the rest. What others are still to be told by then is, if it does not take long.
    pub fn shutdown(mut self) -> BoxFuture<'static, ()> {
        async move {
            self.operations.drain().await;
            self.listening.shutdown(|| self.wakeups.close()).await;
            self.nodes.finish().await;
            self.operations.finish().await;
        }
        .boxed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
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
    let workshop = Workshop::new(
        instances,
        options.instance_memory,
        &options.cache_folder(),
        options.perf_map,
    )?;
    let outbound = Outbound::new();
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
            allowed_outbound_hosts: component.allowed_outbound_hosts.clone(),
            outbound: outbound.clone(),
            store: store.clone(),
            wakeups: wakeups.clone(),
            counters: Arc::default(),
        });
        let made = Component::new(pre, grants, allowance, options.instances());
        components.insert(component.id.clone(), Arc::new(made));
    }
    Ok(components)
}
