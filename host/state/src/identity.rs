//! Whose state a folder holds.

/// Whose state a folder holds, fixed when it is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub pipeline: String,
    /// At least 1. An existing folder keeps its own number.
    pub key_groups: u16,
    /// When the folder was created, in microseconds since the Unix epoch: tells folders of one name apart.
    pub created_us: i64,
    /// 1 for a new folder; each restore of a savepoint begins the next one.
    pub generation: u64,
}
