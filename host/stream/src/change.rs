//! Change kinds: what a row does to the table that its stream stands for.

use arrow_buffer::ScalarBuffer;

/// What one row does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChangeKind {
    Insert = 0,
    UpdateBefore = 1,
    UpdateAfter = 2,
    Delete = 3,
}

impl ChangeKind {
    pub fn from_u8(byte: u8) -> Option<Self> {
        [Self::Insert, Self::UpdateBefore, Self::UpdateAfter, Self::Delete].get(byte as usize).copied()
    }
}

/// What a stream promises about its rows' kinds; fixed by the planner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeMode {
    /// Inserts only.
    Append,
    /// Update-after and delete rows, addressed by the key columns.
    Upsert {
        key: Vec<String>,
        /// A row does not change any more once the watermark is so far behind its event time; none: any may.
        final_after_us: Option<i64>,
    },
    /// Every change is given as the row taken back and the row put in its place.
    Retract,
}

/// The change kinds of a batch; the common batch of inserts stores none.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Changes {
    #[default]
    Inserts,
    /// One [`ChangeKind`] byte a row.
    PerRow(ScalarBuffer<u8>),
}

impl Changes {
    pub fn kind(&self, row: usize) -> ChangeKind {
        match self {
            Self::Inserts => ChangeKind::Insert,
            Self::PerRow(kinds) => ChangeKind::from_u8(kinds[row]).expect("kinds are written from ChangeKind only"),
        }
    }

    pub fn take(&self, rows: &[u32]) -> Self {
        match self {
            Self::Inserts => Self::Inserts,
            Self::PerRow(kinds) => Self::PerRow(rows.iter().map(|row| kinds[*row as usize]).collect()),
        }
    }
}
