//! Groups of pairs through a plugin that decides on them.

use super::{Instance, Outcome, batch};
use crate::attribute::Pairs;
use crate::plugin::Plugin;

impl<P: Plugin<Rows = Pairs>> Instance<P> {
    /// Passes pairs: of each the number of its group, the event times of its left and right row in microseconds, and the
    /// input's columns in the order given to [`open`](Self::open). Those of a group stand side by side.
    ///
    /// # Panics
    /// When a cell is not of its column's type: the test is wrong.
    pub fn attribute<R: AsRef<[Option<C>]>, C: AsRef<str>>(&self, pairs: &[(u32, i64, i64, R)]) -> Outcome {
        let rows: Vec<&[Option<C>]> = pairs.iter().map(|(_, _, _, row)| row.as_ref()).collect();
        let batch = batch(&self.contract.reads, &self.input, &rows);
        let rows = batch.rows;
        let pairs = Pairs {
            batch,
            group: pairs.iter().map(|(group, ..)| *group).collect(),
            left_time_us: pairs.iter().map(|(_, left_us, ..)| *left_us).collect(),
            right_time_us: pairs.iter().map(|(_, _, right_us, _)| *right_us).collect(),
        };
        self.outcome(P::process(&self.opened, &pairs), rows)
    }
}
