//! The versions of one key of a table, as left rows of a temporal join see them.
//!
//! Stored, version 1: the versions in the order in which they came, each: valid from (i64), event time (i64), length of the
//! row (u32; all bits set: the key was deleted), all little-endian, then the row.

use weir_state::table::StateValue;

/// How long a deletion is remembered, so that older rows of its key that come late do not bring it back: an hour.
pub const DELETION_KEPT_US: i64 = 3_600_000_000;

/// What is known of one key, in the order in which it came.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Versions(pub Vec<Version>);

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Version {
    /// The first time at which left rows see it: its event time, or the watermark that it came behind.
    pub from_us: i64,
    pub time_us: i64,
    /// None: the key was deleted.
    pub row: Option<Box<[u8]>>,
}

impl Version {
    /// When it may go for itself, whatever follows.
    pub(super) fn until_us(&self) -> i64 {
        match self.row {
            Some(_) => i64::MAX,
            None => self.from_us.saturating_add(DELETION_KEPT_US),
        }
    }
}

/// The length of a row that is not there.
const DELETED: u32 = u32::MAX;

impl StateValue for Versions {
    fn write(&self, bytes: &mut Vec<u8>) {
        for Version { from_us, time_us, row } in &self.0 {
            bytes.extend_from_slice(&from_us.to_le_bytes());
            bytes.extend_from_slice(&time_us.to_le_bytes());
            bytes.extend_from_slice(&row.as_ref().map_or(DELETED, |row| row.len() as u32).to_le_bytes());
            bytes.extend_from_slice(row.as_deref().unwrap_or_default());
        }
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let (mut versions, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let (version, after) = version(rest).ok_or("it ends within a version")?;
            versions.push(version);
            rest = after;
        }
        Ok(Self(versions))
    }

    fn heap_bytes(&self) -> usize {
        let rows: usize = self.0.iter().map(|version| version.row.as_ref().map_or(0, |row| row.len())).sum();
        self.0.capacity() * size_of::<Version>() + rows
    }
}

fn version(bytes: &[u8]) -> Option<(Version, &[u8])> {
    let (from_us, rest) = bytes.split_first_chunk()?;
    let (time_us, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (row, rest) = match u32::from_le_bytes(*length) {
        DELETED => (None, rest),
        length => rest.split_at_checked(length as usize).map(|(row, rest)| (Some(row.into()), rest))?,
    };
    Some((Version { from_us: i64::from_le_bytes(*from_us), time_us: i64::from_le_bytes(*time_us), row }, rest))
}

impl Versions {
    /// The version that a left row of this time sees: the newest of those that it may see, of equals the last to come.
    pub(super) fn at(&self, time_us: i64) -> Option<&Version> {
        self.0.iter().filter(|version| version.from_us <= time_us).max_by_key(|version| version.time_us)
    }

    /// What is left when that goes which no left row at or behind the watermark can see; none where nothing goes.
    pub(super) fn pruned(&self, watermark_us: i64) -> Option<Self> {
        let seen = self.0.iter().enumerate().filter(|(_, version)| version.from_us <= watermark_us);
        let (best, newest) = seen.max_by_key(|(_, version)| version.time_us)?;
        // Without a version there is nothing, with or without a deletion that says so.
        let is_kept = newest.row.is_some() || newest.until_us() > watermark_us;
        let stays = |place: usize, version: &Version| {
            let may_be_seen = version.from_us > watermark_us && version.time_us >= newest.time_us;
            if place == best { is_kept } else { may_be_seen }
        };
        let left = self.0.iter().enumerate().filter(|(place, version)| stays(*place, version));
        let left: Vec<Version> = left.map(|(_, version)| version.clone()).collect();
        (left.len() < self.0.len()).then_some(Self(left))
    }
}
