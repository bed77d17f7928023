//! One wasmtime engine per process: how plugins are compiled, where their memory lies, what interrupts them.
//!
//! Invariant: every engine of a Weir version on one kind of machine has the same settings, so that the compile
//! cache holds; whatever depends on a manifest is in `Limits` and enforced per instance. Fuel is off: epochs
//! interrupt at less cost. Threads, GC, 64-bit memories and relaxed SIMD are off: nothing needs them, and the
//! same plugin gives the same answer on every machine.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::cache::CompileCache;
use crate::error::SandboxError;
use crate::instance::{self, HostState};
use crate::limits;

/// Length of a tick of the clock that interrupts plugins.
pub const TICK: Duration = Duration::from_millis(5);

/// Instances that can live at once, over all pipelines of the process.
const INSTANCES: u32 = 512;

/// Compilations past their time that may still run before new ones are refused.
const OVERDUE_COMPILATIONS: usize = 2;

/// The engine that all plugins of a process share. Clones are handles to the same engine.
#[derive(Clone)]
pub struct SandboxEngine {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    linker: Linker<HostState>,
    cache: Option<CompileCache>,
    /// Compilations that were given up on and still run.
    overdue: Arc<AtomicUsize>,
}

impl SandboxEngine {
    /// An engine that keeps compiled components in `cache_folder`, if one is given. A folder that cannot be used
    /// safely is reported to the log and not used: the cache only saves time.
    ///
    /// # Errors
    /// [`SandboxError::Engine`] when the address space for instances cannot be reserved.
    pub fn new(cache_folder: Option<PathBuf>) -> Result<Self, SandboxError> {
        let engine = Engine::new(&config()).map_err(|error| SandboxError::Engine(format!("{error:#}")))?;
        let linker = instance::linker(&engine).map_err(|error| SandboxError::Engine(format!("{error:#}")))?;
        let cache = cache_folder.and_then(|folder| {
            CompileCache::open(&folder, &engine)
                .inspect_err(|cause| tracing::warn!(folder = %folder.display(), "compile cache is not used: {cause}"))
                .ok()
        });
        start_ticker(&engine)?;
        Ok(Self { inner: Arc::new(Inner { engine, linker, cache, overdue: Arc::default() }) })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(crate) fn linker(&self) -> &Linker<HostState> {
        &self.inner.linker
    }

    /// The compiled component, from the cache where it can be.
    pub(crate) fn compiled(&self, digest: &str, bytes: &Arc<[u8]>, limit: Duration) -> Result<Component, SandboxError> {
        if let Some(component) = self.inner.cache.as_ref().and_then(|cache| cache.load(digest)) {
            return Ok(component);
        }
        let component = self.compile(Arc::clone(bytes), limit)?;
        if let Some(cache) = &self.inner.cache {
            cache.store(digest, &component);
        }
        Ok(component)
    }

    /// Compiles on a thread of its own and gives up on it after `limit`. The compiler cannot be stopped from
    /// outside: the thread goes on to its end, its result is thrown away, and while [`OVERDUE_COMPILATIONS`] of
    /// them run no new one is begun, so that hostile components cost at most that many threads.
    fn compile(&self, bytes: Arc<[u8]>, limit: Duration) -> Result<Component, SandboxError> {
        const RUNNING: u8 = 0;
        const DONE: u8 = 1;
        const GIVEN_UP: u8 = 2;
        let running = self.inner.overdue.load(Ordering::Acquire);
        if running >= OVERDUE_COMPILATIONS {
            return Err(SandboxError::CompilerBusy { running });
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let state = Arc::new(AtomicU8::new(RUNNING));
        let (engine, overdue, thread_state) =
            (self.inner.engine.clone(), Arc::clone(&self.inner.overdue), Arc::clone(&state));
        let work = move || {
            let compiled = Component::new(&engine, &bytes);
            // The receiver may be gone, which is the other side's decision and told by `state`.
            let _ = sender.send(compiled);
            if thread_state.swap(DONE, Ordering::AcqRel) == GIVEN_UP {
                overdue.fetch_sub(1, Ordering::AcqRel);
            }
        };
        let thread = std::thread::Builder::new().name("weir-compile".into()).spawn(work);
        thread.map_err(|cause| SandboxError::Engine(format!("cannot start the compiler's thread: {cause}")))?;
        let compiled = match receiver.recv_timeout(limit) {
            Ok(compiled) => compiled,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(SandboxError::Compile("it panicked".into())),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                self.inner.overdue.fetch_add(1, Ordering::AcqRel);
                if state.swap(GIVEN_UP, Ordering::AcqRel) == DONE {
                    self.inner.overdue.fetch_sub(1, Ordering::AcqRel);
                }
                // A result that came between the time-out and now still counts.
                receiver.try_recv().map_err(|_| SandboxError::CompileTimeout { limit })?
            }
        };
        compiled.map_err(|error| SandboxError::Compile(format!("{error:#}")))
    }
}

/// Settings of the engine. Everything here is part of the cache key, by wasmtime's own compatibility hash.
fn config() -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(INSTANCES * 4)
        .max_core_instances_per_component(limits::CORE_INSTANCES)
        .total_memories(INSTANCES)
        .max_memories_per_component(limits::MEMORIES)
        .max_memory_size(limits::MAX_MEMORY_BYTES)
        .total_tables(INSTANCES * 4)
        .max_tables_per_component(limits::TABLES)
        .table_elements(limits::TABLE_ELEMENTS);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .consume_fuel(false)
        .max_wasm_stack(limits::STACK_BYTES)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        .wasm_multi_memory(false);
    config
}

/// Moves the epoch on until the engine is gone. One thread serves all instances.
fn start_ticker(engine: &Engine) -> Result<(), SandboxError> {
    let engine = engine.weak();
    let tick = move || {
        loop {
            std::thread::sleep(TICK);
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
        }
    };
    let thread = std::thread::Builder::new().name("weir-epoch-tick".into()).spawn(tick);
    thread.map(drop).map_err(|cause| SandboxError::Engine(format!("cannot start the ticker's thread: {cause}")))
}
