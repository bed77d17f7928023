//! How much of an epoch may go into finding poisoned rows.

use std::sync::Arc;

use weir_stream::FunctionFault;

use crate::operator::StepFault;

/// Rows of one epoch that one step may quarantine because its function failed on them.
pub const MAX_POISONED_ROWS: u32 = 16;

/// Time of one epoch that one step may spend on finding them, by the clock that the budget was given.
pub const BISECTION_TIME_MS: u64 = 2000;

/// Nanoseconds since some fixed moment, or of a thread's CPU time; the runtime's door to the clock.
pub type Monotonic = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The bounds of one step's search for guilty rows, renewed every epoch.
#[derive(Clone)]
pub struct BisectionBudget {
    now_ns: Monotonic,
    watching: bool,
    rows_left: u32,
    spent_ns: u64,
}

impl BisectionBudget {
    pub fn new(now_ns: Monotonic) -> Self {
        Self { now_ns, watching: false, rows_left: MAX_POISONED_ROWS, spent_ns: 0 }
    }

    /// A new epoch: full bounds again.
    pub fn renew(&mut self) {
        self.rows_left = MAX_POISONED_ROWS;
        self.spent_ns = 0;
    }

    /// While a new version is watched, a fault is answered at once and no row is quarantined.
    pub fn set_watching(&mut self, watching: bool) {
        self.watching = watching;
    }

    pub fn is_watching(&self) -> bool {
        self.watching
    }

    pub(crate) fn start(&self) -> u64 {
        (self.now_ns)()
    }

    fn spent_since(&self, started_ns: u64) -> u64 {
        self.spent_ns.saturating_add((self.now_ns)().saturating_sub(started_ns))
    }

    pub(crate) fn stop(&mut self, started_ns: u64) {
        self.spent_ns = self.spent_since(started_ns);
    }

    pub(crate) fn check_time(&self, started_ns: u64, fault: &FunctionFault) -> Result<(), StepFault> {
        if self.spent_since(started_ns) < BISECTION_TIME_MS * 1_000_000 {
            return Ok(());
        }
        let bound = format!("finding its rows took this epoch's {BISECTION_TIME_MS} ms");
        Err(StepFault::Bounds { fault: fault.clone(), bound })
    }

    pub(crate) fn charge_row(&mut self, fault: &FunctionFault) -> Result<(), StepFault> {
        let bound = || format!("it failed on more than {MAX_POISONED_ROWS} rows of this epoch");
        let left = self.rows_left.checked_sub(1);
        self.rows_left = left.ok_or_else(|| StepFault::Bounds { fault: fault.clone(), bound: bound() })?;
        Ok(())
    }
}

impl std::fmt::Debug for BisectionBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { watching, rows_left, spent_ns, .. } = self;
        write!(f, "BisectionBudget {{ watching: {watching}, rows_left: {rows_left}, spent_ns: {spent_ns} }}")
    }
}
