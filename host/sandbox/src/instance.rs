//! One instance of a plugin: its store, its limits, its exports.
//!
//! Invariant: every entry into the sandbox goes through [`PluginInstance::call`], which sets deadline and copy
//! budget first and converts whatever went wrong afterwards. An instance whose call failed must be dropped: the
//! store refuses to be entered again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::{ComponentNamedList, Func, Lift, Linker, Lower, TypedFunc, WasmStr};
use wasmtime::{Engine, ResourceLimiter, Store, StoreContextMut, UpdateDeadline};

use crate::clock::{Deadline, Verdict, thread_cpu_time};
use crate::component::World;
use crate::fault;
use crate::fetch::{self, Fetching, HTTP_INTERFACE};
use crate::limits::{self, Limits};
use crate::log::{LogLevel, PluginLog};
use crate::plugin::PluginComponent;
use crate::tables::{self, TABLES_INTERFACE, UsedTable};
use crate::wire::tables::{DescribeParams, EnrichContract, OpenParams, Table};
use crate::wire::{self, aggregate, keyed};
use weir_stream::{Fetch, FunctionFault};

pub(crate) const LOG_INTERFACE: &str = "weir:plugin/log@0.1.0";

/// Calls between two that measure their CPU time: the clock costs as much as copying some hundred rows.
const CPU_SAMPLE_CALLS: u64 = 16;

/// What the host keeps beside an instance.
pub(crate) struct HostState {
    pub(crate) memory: MemoryLimit,
    pub(crate) deadline: Deadline,
    /// The last line at level `error` of the running call: a panic's text.
    pub(crate) last_error: Option<String>,
    /// What may be asked of services, once the instance is open.
    pub(crate) fetching: Option<Fetching>,
    /// What may be looked up, once the instance is open.
    pub(crate) tables: Option<Vec<UsedTable>>,
    log: Arc<PluginLog>,
}

/// Counts the linear memory of an instance and remembers what it refused.
pub(crate) struct MemoryLimit {
    pub(crate) limit_bytes: usize,
    used_bytes: usize,
    pub(crate) refused: bool,
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let after = self.used_bytes - current + desired;
        if after > self.limit_bytes {
            self.refused = true;
            return Ok(false);
        }
        self.used_bytes = after;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!("memory of a plugin could not grow: {error:#}");
        Ok(())
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= limits::TABLE_ELEMENTS)
    }
}

/// Everything that a plugin may import; which of it a world grants is checked before.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    linker.instance(LOG_INTERFACE)?.func_wrap("log", write_log)?;
    linker.instance(HTTP_INTERFACE)?.func_wrap("fetch", fetch::fetch)?;
    linker.instance(TABLES_INTERFACE)?.func_wrap("look-up", tables::look_up)?;
    Ok(linker)
}

fn write_log(mut store: StoreContextMut<'_, HostState>, (level, message): (LogLevel, WasmStr)) -> wasmtime::Result<()> {
    let log = Arc::clone(&store.data().log);
    let text = message.to_str(&store)?;
    log.write(level, &text);
    let error = (level == LogLevel::Error).then(|| log.printable(&text));
    if error.is_some() {
        store.data_mut().last_error = error;
    }
    Ok(())
}

/// What `describe` of a world gives.
pub(crate) trait WorldContract: Lift + 'static {
    /// The worlds whose contract it is.
    const WORLDS: &'static [World];
}

impl WorldContract for wire::Contract {
    const WORLDS: &'static [World] = &[World::Transform, World::Attribute];
}

impl WorldContract for EnrichContract {
    const WORLDS: &'static [World] = &[World::Enrich];
}

impl WorldContract for keyed::Contract {
    const WORLDS: &'static [World] = &[World::Process];
}

impl WorldContract for aggregate::Contract {
    const WORLDS: &'static [World] = &[World::Aggregate];
}

/// Where each function of the data path stands among those of its world.
pub(crate) mod calls {
    pub(crate) const PROCESS: usize = 0;
    pub(crate) const FIRE: usize = 1;
    pub(crate) const ACCUMULATE: usize = 0;
    pub(crate) const RETRACT: usize = 1;
    pub(crate) const MERGE: usize = 2;
    pub(crate) const FINISH: usize = 3;
}

/// The functions of the world `aggregate` that take rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowsCall {
    Accumulate,
    Retract,
}

/// An instance that may be called until a call fails.
pub(crate) struct PluginInstance {
    store: Store<HostState>,
    describe: Func,
    open: Func,
    /// As in [`calls`].
    calls: Vec<Func>,
    world: World,
    time_per_batch: Duration,
    setup_time: Duration,
    output_bytes: usize,
    called: u64,
    last_call_cpu: Duration,
}

impl PluginInstance {
    /// Makes an instance; its start function, if it has one, runs under the set-up limit.
    ///
    /// # Errors
    /// A [`FunctionFault`] when it traps at start or asks for more memory than it may have.
    pub(crate) fn new(plugin: &PluginComponent, limits: &Limits, log: &Arc<PluginLog>) -> Result<Self, FunctionFault> {
        let setup_time = Duration::from_millis(limits.setup_ms);
        let state = HostState {
            memory: MemoryLimit { limit_bytes: limits.memory_bytes, used_bytes: 0, refused: false },
            deadline: Deadline::new(setup_time),
            last_error: None,
            fetching: None,
            tables: None,
            log: Arc::clone(log),
        };
        let mut store = Store::new(plugin.engine().engine(), state);
        store.limiter(|state| &mut state.memory);
        store.epoch_deadline_callback(judge_tick);
        begin(&mut store, setup_time, limits::CONTRACT_BYTES);
        let instance = plugin.prepared().instantiate(&mut store);
        let instance = instance.map_err(|error| fault::from_instantiation(&error, &store))?;
        let exports = plugin.exports();
        let mut typed =
            |index| instance.get_func(&mut store, index).expect("the plugin's exports were checked at load");
        let (describe, open) = (typed(&exports.describe), typed(&exports.open));
        let calls = exports.calls.iter().map(typed).collect();
        Ok(Self {
            describe,
            open,
            calls,
            world: plugin.world(),
            store,
            time_per_batch: Duration::from_millis(limits.time_per_batch_ms),
            setup_time,
            output_bytes: limits.output_bytes,
            called: 0,
            last_call_cpu: Duration::ZERO,
        })
    }

    pub(crate) fn describe<C: WorldContract>(
        &mut self,
        config: &str,
        input: &[wire::Field],
        tables: &[Table],
    ) -> Result<Result<C, Vec<wire::Fault>>, FunctionFault> {
        assert!(C::WORLDS.contains(&self.world), "a contract is asked for as what its world gives");
        if self.world == World::Enrich {
            // SAFETY: as below, for the parameters of this world.
            let describe = unsafe {
                TypedFunc::<DescribeParams<'_>, (Result<C, Vec<wire::Fault>>,)>::new_unchecked(self.describe)
            };
            let params = (config, input, tables);
            return self.call(describe, self.setup_time, limits::CONTRACT_BYTES, params).map(|(answer,)| answer);
        }
        // SAFETY: `describe` is the export whose type was checked against these parameters and, for this world, against
        // this result.
        let describe = unsafe {
            TypedFunc::<wire::DescribeParams<'_>, (Result<C, Vec<wire::Fault>>,)>::new_unchecked(self.describe)
        };
        let (answer,) = self.call(describe, self.setup_time, limits::CONTRACT_BYTES, (config, input))?;
        Ok(answer)
    }

    pub(crate) fn open(&mut self, config: &str, input: &[wire::Field]) -> Result<(), FunctionFault> {
        assert!(self.world != World::Enrich, "opened as its world says");
        // SAFETY: as in `describe`.
        let open = unsafe { TypedFunc::<wire::OpenParams<'_>, wire::OpenResult>::new_unchecked(self.open) };
        let (opened,) = self.call(open, self.setup_time, limits::CONTRACT_BYTES, (config, input))?;
        self.opened(opened)
    }

    pub(crate) fn open_with(
        &mut self,
        config: &str,
        input: &[wire::Field],
        tables: &[Table],
    ) -> Result<(), FunctionFault> {
        assert_eq!(self.world, World::Enrich, "opened as its world says");
        // SAFETY: as in `describe`.
        let open = unsafe { TypedFunc::<OpenParams<'_>, wire::OpenResult>::new_unchecked(self.open) };
        let (opened,) = self.call(open, self.setup_time, limits::CONTRACT_BYTES, (config, input, tables))?;
        self.opened(opened)
    }

    fn opened(&self, opened: Result<(), String>) -> Result<(), FunctionFault> {
        opened.map_err(|refusal| {
            let refusal = self.store.data().log.printable(&refusal);
            FunctionFault::Trap(format!("open refused what describe had accepted: {refusal}"))
        })
    }

    /// From here on the plugin may ask services, if it may at all, and these tables.
    pub(crate) fn allow(&mut self, client: Option<Arc<dyn Fetch>>, tables: Vec<UsedTable>) {
        let state = self.store.data_mut();
        (state.fetching, state.tables) = (client.map(Fetching::new), Some(tables));
    }

    pub(crate) fn process(&mut self, batch: wire::Batch<'_>) -> Result<wire::Transformed, FunctionFault> {
        assert!(matches!(self.world, World::Transform | World::Enrich), "called as its world says");
        self.store.data_mut().fetching.iter_mut().for_each(Fetching::begin_call);
        // SAFETY: as in `describe`.
        let process = unsafe {
            TypedFunc::<wire::ProcessParams<'_>, wire::ProcessResult>::new_unchecked(self.calls[calls::PROCESS])
        };
        self.measured(process, (batch,)).map(|(transformed,)| transformed)
    }

    pub(crate) fn attribute(&mut self, pairs: wire::Pairs<'_>) -> Result<wire::Transformed, FunctionFault> {
        assert_eq!(self.world, World::Attribute, "called as its world says");
        // SAFETY: as in `describe`.
        let process = unsafe {
            TypedFunc::<wire::PairsParams<'_>, wire::ProcessResult>::new_unchecked(self.calls[calls::PROCESS])
        };
        self.measured(process, (pairs,)).map(|(transformed,)| transformed)
    }

    pub(crate) fn process_keyed(
        &mut self,
        keys: keyed::Keys<'_>,
        rows: keyed::Rows<'_>,
    ) -> Result<keyed::Processed, FunctionFault> {
        assert_eq!(self.world, World::Process, "called as its world says");
        // SAFETY: as in `describe`.
        let process = unsafe {
            TypedFunc::<keyed::ProcessParams<'_>, keyed::ProcessedResult>::new_unchecked(self.calls[calls::PROCESS])
        };
        self.measured(process, (keys, rows)).map(|(processed,)| processed)
    }

    pub(crate) fn fire(
        &mut self,
        keys: keyed::Keys<'_>,
        firings: keyed::Firings<'_>,
    ) -> Result<keyed::Processed, FunctionFault> {
        assert_eq!(self.world, World::Process, "called as its world says");
        // SAFETY: as in `describe`.
        let fire = unsafe {
            TypedFunc::<keyed::FireParams<'_>, keyed::ProcessedResult>::new_unchecked(self.calls[calls::FIRE])
        };
        self.measured(fire, (keys, firings)).map(|(processed,)| processed)
    }

    pub(crate) fn aggregate_rows(
        &mut self,
        which: RowsCall,
        given: aggregate::RowsParams<'_>,
    ) -> Result<aggregate::Accumulated, FunctionFault> {
        assert_eq!(self.world, World::Aggregate, "called as its world says");
        let call = match which {
            RowsCall::Accumulate => calls::ACCUMULATE,
            RowsCall::Retract => calls::RETRACT,
        };
        // SAFETY: as in `describe`; both have this type.
        let call = unsafe {
            TypedFunc::<aggregate::RowsParams<'_>, aggregate::AccumulatedResult>::new_unchecked(self.calls[call])
        };
        self.measured(call, given).map(|(accumulated,)| accumulated)
    }

    pub(crate) fn merge(&mut self, pairs: aggregate::MergeParams<'_>) -> Result<Vec<wire::OwnedColumn>, FunctionFault> {
        assert_eq!(self.world, World::Aggregate, "called as its world says");
        // SAFETY: as in `describe`.
        let merge = unsafe {
            TypedFunc::<aggregate::MergeParams<'_>, aggregate::MergeResult>::new_unchecked(self.calls[calls::MERGE])
        };
        self.measured(merge, pairs).map(|(columns,)| columns)
    }

    pub(crate) fn finish(&mut self, given: aggregate::FinishParams<'_>) -> Result<wire::OwnedColumn, FunctionFault> {
        assert_eq!(self.world, World::Aggregate, "called as its world says");
        // SAFETY: as in `describe`.
        let finish = unsafe {
            TypedFunc::<aggregate::FinishParams<'_>, aggregate::FinishResult>::new_unchecked(self.calls[calls::FINISH])
        };
        self.measured(finish, given).map(|(column,)| column)
    }

    /// A call on the data path, whose CPU time is measured now and then.
    fn measured<P, R>(&mut self, function: TypedFunc<P, R>, params: P) -> Result<R, FunctionFault>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let sampled = self.called.is_multiple_of(CPU_SAMPLE_CALLS);
        self.called += 1;
        let before = if sampled { thread_cpu_time() } else { Duration::ZERO };
        let answer = self.call(function, self.time_per_batch, self.output_bytes, params);
        self.last_call_cpu = if sampled { thread_cpu_time().saturating_sub(before) } else { Duration::ZERO };
        answer
    }

    /// CPU time of the last `process` call if it was one of those that are measured, else zero.
    pub(crate) fn last_call_cpu(&self) -> Duration {
        self.last_call_cpu
    }

    /// The one way into the sandbox. `copy_bytes` bounds what is copied out of it.
    fn call<P, R>(
        &mut self,
        function: TypedFunc<P, R>,
        limit: Duration,
        copy_bytes: usize,
        params: P,
    ) -> Result<R, FunctionFault>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        begin(&mut self.store, limit, copy_bytes);
        function.call(&mut self.store, params).map_err(|error| fault::from_call(&error, &self.store, copy_bytes))
    }
}

fn begin(store: &mut Store<HostState>, limit: Duration, copy_bytes: usize) {
    let state = store.data_mut();
    state.deadline = Deadline::new(limit);
    state.last_error = None;
    state.memory.refused = false;
    store.set_epoch_deadline(1);
    store.set_hostcall_fuel(copy_bytes);
}

fn judge_tick(mut store: StoreContextMut<'_, HostState>) -> wasmtime::Result<UpdateDeadline> {
    Ok(match store.data_mut().deadline.tick(thread_cpu_time(), Instant::now()) {
        Verdict::GoOn(ticks) => UpdateDeadline::Continue(ticks),
        Verdict::Expired => UpdateDeadline::Interrupt,
    })
}
