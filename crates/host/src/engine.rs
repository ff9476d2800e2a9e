//! The engine: how components are compiled, what they may import, and who interrupts them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sandbox::Sandbox;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::error::Context as _;
use wasmtime::{
    Cache, CacheConfig, CacheStore, Config, Engine, InstanceAllocationStrategy,
    PoolingAllocationConfig, ProfilingStrategy,
};
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::bindings::Imports;
use crate::state::State;

/// How long a component computes before it is asked whether it may go on. Shorter costs more processor
/// time; longer lets one instance hold up everything else on its core.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// How many core modules a component is made of at most, and so how many memories and tables it has. A
/// transport is about ten: itself, the messenger, the policy, and an adapter or two for each.
const PARTS: u32 = 32;

/// How hard compiled code is compressed in the cache, in Zstandard's levels. By default what was loaded 256 times is
/// compressed once more, at level 20, beside what is served: that takes a core for minutes.
const COMPRESSION: i32 = 3;

/// Compiles components and makes them ready to be instantiated.
pub(crate) struct Workshop {
    engine: Engine,
    linker: Linker<Sandbox>,
    functions: Arc<Functions>,
}

impl Workshop {
    /// An engine for so many `instances` at once, which may have `memory` bytes each, and whose compiled
    /// code is kept in `cache`. `perf_map`: what they compute is named for `perf`.
    pub(crate) fn new(
        instances: usize,
        memory: usize,
        cache: &Path,
        perf_map: bool,
    ) -> wasmtime::Result<Self> {
        let functions = Arc::<Functions>::default();
        let config = |pool| config(pool, cache, functions.clone(), perf_map);
        let engine = match Engine::new(&config(Some(pool(instances, memory)))?) {
            Ok(engine) => engine,
            // The pool wants terabytes of address space, which a limit (`ulimit -v`) may not leave.
            Err(error) => {
                tracing::warn!(
                    "no pool of instances, each will be allocated for itself: {error:#}"
                );
                Engine::new(&config(None)?)?
            }
        };
        interrupt(&engine)?;
        let mut linker = Linker::new(&engine);
        sandbox::link(&mut linker)?;
        Imports::add_to_linker::<_, HasSelf<State>>(&mut linker, Sandbox::guest)?;
        Ok(Self {
            engine,
            linker,
            functions,
        })
    }

    /// A component that exports `wasi:http/handler`, from its binary.
    pub(crate) fn prepare(&self, binary: &[u8]) -> wasmtime::Result<ServicePre<Sandbox>> {
        let component = Component::new(&self.engine, binary)?;
        let pre = self
            .linker
            .instantiate_pre(&component)
            .context("it imports what this host does not offer")?;
        ServicePre::new(pre).context("it does not export wasi:http/handler@0.3")
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // The engine goes on without, and keeps it: it is to take no memory.
        drop(mem::take(&mut *self.functions.lock()));
    }
}

/// What each function was compiled to, by a hash of what it says, for as long as components are made: most of them have
/// the messenger and its policy in them, which so are compiled once.
#[derive(Debug, Default)]
struct Functions(Mutex<HashMap<Box<[u8]>, Vec<u8>>>);

impl Functions {
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.lock().get(key).cloned().map(Cow::Owned)
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        self.lock().insert(key.into(), value);
        true
    }
}

fn config(
    pool: Option<PoolingAllocationConfig>,
    cache: &Path,
    functions: Arc<Functions>,
    perf_map: bool,
) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    if perf_map {
        config.profiler(ProfilingStrategy::PerfMap);
    }
    config.wasm_component_model_async(true);
    config.epoch_interruption(true);
    let mut compiled = CacheConfig::new();
    compiled
        .with_directory(std::path::absolute(cache)?)
        .with_baseline_compression_level(COMPRESSION)
        .with_optimized_compression_level(COMPRESSION);
    let unusable = || format!("the cache in {} is unusable", cache.display());
    config.cache(Some(Cache::new(compiled).with_context(unusable)?));
    config.enable_incremental_compilation(functions)?;
    if let Some(pool) = pool {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    Ok(config)
}

/// Only address space is taken ahead.
fn pool(instances: usize, memory: usize) -> PoolingAllocationConfig {
    let instances = u32::try_from(instances).unwrap_or(u32::MAX);
    let parts = instances.saturating_mul(8);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(16))
        .total_memories(parts)
        .total_tables(parts)
        // One for each synchronous call under way: an instance has few at once.
        .total_stacks(parts)
        .max_core_instances_per_component(PARTS)
        .max_memories_per_component(PARTS)
        .max_tables_per_component(PARTS)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .table_elements(100_000)
        .max_memory_size(memory);
    pool
}

/// Moves the engine's epoch on, for as long as it exists. A thread, because a timer of the runtime stands
/// still when components keep all its threads busy, which is what this is for.
fn interrupt(engine: &Engine) -> wasmtime::Result<()> {
    let engine = engine.weak();
    thread::Builder::new()
        .name("epochs".to_owned())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                tick();
            }
        })?;
    Ok(())
}

/// Waits for a tick, and longer until this process has computed for half of one: it may compute on many cores, and Linux
/// looks at this clock only when its scheduler ticks (every 4 ms, 10 where `CONFIG_HZ` is 100), so a whole tick would be
/// late by that each time. Where nothing is computed there is nobody to interrupt, and to wake up a hundred times a second
/// for that would take half a hundredth of a core, and from each message that comes as often a tenth of what it costs.
fn tick() {
    let begun = Instant::now();
    #[cfg(target_os = "linux")]
    if let Ok(half) = rustix::thread::Timespec::try_from(TICK / 2) {
        // Where there is no such clock, it is the time that counts.
        let _ = rustix::thread::clock_nanosleep_relative(
            rustix::thread::ClockId::ProcessCPUTime,
            &half,
        );
    }
    thread::sleep(TICK.saturating_sub(begun.elapsed()));
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A module of one function, which takes nothing and answers a number.
    fn module(answer: u8) -> Vec<u8> {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend([1, 5, 1, 0x60, 0, 1, 0x7f]);
        module.extend([3, 2, 1, 0]);
        module.extend([10, 6, 1, 4, 0, 0x41, answer, 0x0b]);
        module
    }

    /// A component of modules.
    fn component(modules: &[Vec<u8>]) -> Vec<u8> {
        let mut component = b"\0asm\x0d\0\x01\0".to_vec();
        for module in modules {
            let length = u8::try_from(module.len()).expect("it is short");
            component.extend([1, length]);
            component.extend(module);
        }
        component
    }

    #[test]
    fn what_components_have_in_common_is_compiled_once() -> wasmtime::Result<()> {
        let cache = TempDir::new()?;
        let workshop = Workshop::new(1, 1 << 20, cache.path(), false)?;
        let functions = workshop.functions.clone();
        let mut counts = Vec::new();
        for modules in [
            &[module(7)][..],
            &[module(8), module(7)],
            &[module(7), module(8)],
        ] {
            Component::new(&workshop.engine, component(modules))?;
            counts.push(functions.lock().len());
        }
        assert!(counts[0] > 0);
        assert_eq!(counts[1], counts[0] + 1);
        assert_eq!(counts[2], counts[1]);
        drop(workshop);
        assert!(functions.lock().is_empty());
        assert_eq!(functions.lock().capacity(), 0);
        Ok(())
    }
}
