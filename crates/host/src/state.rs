//! What one instance of a component has, and nothing else: no files, no sockets, and requests of its own only to
//! where its manifest lets it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::allowed::AllowedHost;
use crate::metrics::Counters;
use crate::outbound::{Outbound, Sending, Sent};
use crate::outbound_redis::Connections;
use crate::output::Output;
use crate::store::Store;
use crate::wakeup::Wakeups;

/// What its manifest gives a component, the same for all its instances.
pub(crate) struct Grants {
    /// The component's id.
    pub(crate) id: String,
    /// The labels that it may open.
    pub(crate) stores: HashSet<String>,
    /// Its variables, resolved.
    pub(crate) variables: BTreeMap<String, String>,
    /// The environment variables that it sees.
    pub(crate) environment: Vec<(String, String)>,
    /// Where it may send requests to.
    pub(crate) allowed_outbound_hosts: Vec<AllowedHost>,
    /// What sends them.
    pub(crate) outbound: Outbound,
    /// Where all labels are kept.
    pub(crate) store: Store,
    /// Who waits for what.
    pub(crate) wakeups: Wakeups,
    /// What is counted of it.
    pub(crate) counters: Arc<Counters>,
}

/// The state of one instance.
pub(crate) struct State {
    pub(crate) grants: Arc<Grants>,
    pub(crate) table: ResourceTable,
    pub(crate) memory: Memory,
    pub(crate) connections: Connections,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
}

impl State {
    /// An instance that may have `memory` bytes of linear memory.
    pub(crate) fn new(grants: Arc<Grants>, memory: usize) -> Self {
        let wasi = WasiCtxBuilder::new()
            .stdout(Output::new(&grants.id))
            .stderr(Output::new(&grants.id))
            .envs(&grants.environment)
            .allow_tcp(false)
            .allow_udp(false)
            .build();
        Self {
            hooks: Hooks(grants.clone()),
            memory: Memory::new(memory, grants.counters.clone()),
            grants,
            table: ResourceTable::new(),
            connections: Connections::default(),
            wasi,
            http: WasiHttpCtx::new(),
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

/// The limit on linear memory, over all the memories of an instance: a composed component has one for
/// each of its parts.
pub(crate) struct Memory {
    limit: usize,
    used: usize,
    /// Where the memory of all instances is counted.
    counters: Arc<Counters>,
    rest: StoreLimits,
}

impl Memory {
    fn new(limit: usize, counters: Arc<Counters>) -> Self {
        // A table of functions or references; the largest here has some hundred elements.
        let rest = StoreLimitsBuilder::new().table_elements(100_000).build();
        Self {
            limit,
            used: 0,
            counters,
            rest,
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.counters.memory.subtract(self.used as u64);
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            return Ok(false);
        }
        self.counters.memory.add((used - self.used) as u64);
        self.used = used;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.rest.table_growing(current, desired, maximum)
    }
}

/// What is asked while requests come and go.
struct Hooks(Arc<Grants>);

/// The most that is held of a body between the component that writes it and the connection. Smaller costs
/// long bodies more turns of the instance's event loop; larger, what readers that stopped reading hold.
const CHUNK: usize = 16 << 10;

impl WasiHttpHooks for Hooks {
    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Sending,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let grants = self.0.clone();
        Box::new(async move {
            let outbound = grants.outbound.clone();
            let allowed = &grants.allowed_outbound_hosts;
            let _timing = grants.counters.sent.time();
            let sent = outbound.send(&grants.id, allowed, request, options).await;
            if sent.is_err() {
                grants.counters.send_failures.increment();
            }
            sent
        })
    }
}
