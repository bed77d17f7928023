//! The seam between a keyed task and the step that it runs: rows by key, time, and state that the task makes durable.
//!
//! Invariant: what a step does depends on rows, watermarks and its state alone, never on how rows were cut into
//! batches nor on the number of tasks. It knows no epochs: the task seals it between two of them.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use weir_state::Spill;
use weir_state::table::{DeltaWriter, TableError};
use weir_stream::{AggregateFactory, AggregateFunction, FunctionFault, KeyedFunction, KeyedFunctionFactory};

use crate::held_key::HeldEntry;
use crate::key::KeyedBatch;
use crate::operator::{Outputs, StepFault};

/// A step with state by key, for a range of key groups. Called from one thread at a time.
pub trait KeyedOperator: Any + Send {
    /// Takes in rows of input `port`: 0, but for steps with several inputs. What can be told at once goes to `out`, late
    /// rows and rejects too.
    ///
    /// # Errors
    /// [`StepFault::Internal`] for rows of key groups that other tasks own, or of another schema.
    fn process(&mut self, port: usize, rows: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault>;

    /// Event time has come to `watermark_us`: results that wait for it go to `out`, oldest first. A watermark never goes
    /// back; an older one changes nothing.
    ///
    /// # Errors
    /// [`StepFault::Internal`] when the state cannot be read.
    fn advance(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault>;

    /// The wall clock has come to `now_us`; called every few milliseconds, only for steps that
    /// [want it](KeyedOperator::wants_clock).
    ///
    /// # Errors
    /// As [`KeyedOperator::advance`].
    fn tick(&mut self, _now_us: i64, _out: &mut Outputs) -> Result<(), StepFault> {
        Ok(())
    }

    /// Whether processing time means anything to this step.
    fn wants_clock(&self) -> bool {
        false
    }

    /// The watermark of the rows that this step gives out, once its own is `watermark_us`: further back for steps whose
    /// results may be older than that.
    fn output_watermark(&self, watermark_us: i64) -> i64 {
        watermark_us
    }

    /// The watermark that the last epoch recorded for this task: results up to it were given out.
    fn restore_watermark(&mut self, watermark_us: i64);

    /// A new epoch begins. `function` runs from here on in a step that a user's function runs in, if another version of
    /// it was ordered; while `watching`, no guilty row is looked for: the fault is the answer.
    ///
    /// # Errors
    /// When the new version has no instance.
    fn begin_epoch(&mut self, _function: Option<NextFunction>, _watching: bool) -> Result<(), FunctionFault> {
        Ok(())
    }

    /// The digest of the user's function that runs in this step, if one does.
    fn digest(&self) -> Option<Arc<str>> {
        None
    }

    /// Writes what changed since the last seal.
    fn seal(&mut self, delta: &mut dyn DeltaWriter);

    /// Every entry of one key group, for its snapshot; to be called right after a seal.
    ///
    /// # Errors
    /// When state that is not in memory cannot be read back: what was given out then is not the whole.
    fn for_each(&self, key_group: u16, entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError>;

    /// Puts a stored entry back.
    ///
    /// # Errors
    /// When the entry is not of this step's state.
    fn restore_put(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<(), TableError>;

    /// Replays a stored deletion.
    ///
    /// # Errors
    /// When the entry is not of this step's state.
    fn restore_delete(&mut self, key_group: u16, key: &[u8]) -> Result<(), TableError>;

    /// An empty twin for some of the key groups, to be loaded on another thread and then given to
    /// [`KeyedOperator::absorb`].
    fn part(&self, key_groups: Range<u16>) -> Box<dyn KeyedOperator>;

    /// Moves in the state of a loaded part; see [`same`].
    ///
    /// # Errors
    /// When the part holds key groups that are not of this task.
    fn absorb(&mut self, part: Box<dyn KeyedOperator>) -> Result<(), TableError>;

    /// Names everything that the stored state depends on. State written under one text must not be restored under
    /// another.
    fn state_layout(&self) -> &str;

    /// The stage of the dead letters of late rows, and what was gone when they came.
    fn late_because(&self) -> (&'static str, &'static str) {
        ("window", "its window had closed")
    }

    /// Keys held; a key counts once per window or other bucket of time.
    fn keys(&self) -> usize;

    /// Bytes of state held in memory.
    fn byte_size(&self) -> usize;

    /// Writes away state that was not touched for long, right after a seal, until `bytes` are out of memory; answers how
    /// many are. It comes back when rows or time ask for it.
    ///
    /// # Errors
    /// The disk's; nothing is lost then.
    fn evict(&mut self, _bytes: usize, _spill: &Spill) -> std::io::Result<usize> {
        Ok(0)
    }

    /// Bytes of state that was written away.
    fn cold_bytes(&self) -> u64 {
        0
    }

    /// What is held for one key, for people who ask; it stays where it is.
    ///
    /// # Errors
    /// When state that is not in memory cannot be read.
    fn held(&self, key_group: u16, key: &[u8]) -> Result<Vec<HeldEntry>, TableError>;

    /// Windows that are open, for steps that have some: for people who ask why nothing comes out.
    fn windows(&self) -> Option<OpenWindows> {
        None
    }
}

/// What waits for event time in one task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenWindows {
    pub panes: usize,
    /// The watermark at which the next one fires.
    pub next_fire_us: Option<i64>,
}

/// The version of a user's function that runs from the next epoch on.
pub enum NextFunction {
    Keyed {
        factory: Arc<dyn KeyedFunctionFactory>,
        /// An instance made ahead, if there is one.
        instance: Option<Box<dyn KeyedFunction>>,
    },
    Aggregate {
        factory: Arc<dyn AggregateFactory>,
        /// The same.
        instance: Option<Box<dyn AggregateFunction>>,
    },
}

/// A part as what it is.
///
/// # Panics
/// When it is not a part of such a step: parts are given back to the step that they were made from.
pub fn same<T: KeyedOperator>(part: Box<dyn KeyedOperator>) -> T {
    let part: Box<dyn Any> = part;
    *part.downcast::<T>().unwrap_or_else(|_| panic!("a part goes back to the step that it was made from"))
}
