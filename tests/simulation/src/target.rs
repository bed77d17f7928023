//! A target as a good connector keeps it: rows and the epoch that they end with change together, a newer owner fences the
//! older ones, and an entry out of turn is refused.

use weir_stream::SinkPosition;

use crate::model::Row;

#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Owners so far; 0: it was never seen.
    pub generation: u64,
    pub epoch: u64,
    pub rows: Vec<Row>,
}

/// One entry on its way.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub generation: u64,
    pub epoch: u64,
    pub previous: u64,
    pub rows: Vec<Row>,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    Yes,
    Fenced,
    /// The target does not hold the entry before it.
    OutOfTurn,
}

impl Target {
    pub fn take_over(&mut self) -> (u64, SinkPosition) {
        let position = if self.generation == 0 { SinkPosition::Absent } else { SinkPosition::Epoch(self.epoch) };
        self.generation += 1;
        (self.generation, position)
    }

    pub fn apply(&mut self, delivery: &Delivery) -> Applied {
        if delivery.generation != self.generation {
            return Applied::Fenced;
        }
        if delivery.previous != self.epoch {
            return Applied::OutOfTurn;
        }
        self.epoch = delivery.epoch;
        self.rows.extend(&delivery.rows);
        Applied::Yes
    }
}
