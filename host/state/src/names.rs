//! Names of the files in a state folder.
//!
//! Invariant: a name is read only in the exact form in which it is written, so that sorting names sorts epochs.
//! Other names are not the store's and are left alone.

use std::path::{Path, PathBuf};

pub(crate) const IDENTITY: &str = "identity";
pub(crate) const LOCK: &str = "lock";
pub(crate) const CLOSED: &str = "closed";
/// The list of files that makes a folder a savepoint.
pub(crate) const SAVEPOINT: &str = "savepoint";
pub(crate) const PLUGINS: &str = "plugins";

/// Files that were being written when the process ended; removed at the next start.
pub(crate) const TEMPORARY: &str = ".tmp";

/// The name under which a file is made before it gets its own.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(TEMPORARY);
    PathBuf::from(name)
}

pub(crate) fn log(first_epoch: u64) -> String {
    format!("log-{first_epoch:020}")
}

pub(crate) fn outbox(first_epoch: u64) -> String {
    format!("outbox-{first_epoch:020}")
}

/// Segments that are kept to be written again: `spare-` and the name that they had.
pub(crate) const SPARE: &str = "spare-";

/// A file's name in another folder.
pub(crate) fn within(dir: &Path, file: &Path) -> PathBuf {
    file.file_name().map_or_else(|| dir.to_owned(), |name| dir.join(name))
}

/// The name under which the segment `path` waits to be written again.
pub(crate) fn spare(path: &Path) -> Option<PathBuf> {
    Some(path.with_file_name(format!("{SPARE}{}", path.file_name()?.to_str()?)))
}

pub(crate) fn snapshot(key_group: u16, epoch: u64) -> String {
    format!("snap-{key_group:05}-{epoch:020}")
}

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Log {
        first_epoch: u64,
    },
    Outbox {
        first_epoch: u64,
    },
    Snapshot {
        key_group: u16,
        epoch: u64,
    },
    /// A segment to be written again; its name before.
    Spare(SegmentKind),
    Temporary,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentKind {
    Log,
    Outbox,
}

pub(crate) fn parse(name: &str) -> Name {
    let parsed = if name.ends_with(TEMPORARY) { Some(Name::Temporary) } else { parse_numbers(name) };
    parsed.unwrap_or(Name::Other)
}

fn parse_numbers(name: &str) -> Option<Name> {
    if let Some(before) = name.strip_prefix(SPARE) {
        return match parse_numbers(before)? {
            Name::Log { .. } => Some(Name::Spare(SegmentKind::Log)),
            Name::Outbox { .. } => Some(Name::Spare(SegmentKind::Outbox)),
            _ => None,
        };
    }
    let (kind, numbers) = name.split_once('-')?;
    let (parsed, written) = match kind {
        "log" => {
            let first_epoch = numbers.parse().ok()?;
            (Name::Log { first_epoch }, log(first_epoch))
        }
        "outbox" => {
            let first_epoch = numbers.parse().ok()?;
            (Name::Outbox { first_epoch }, outbox(first_epoch))
        }
        "snap" => {
            let (key_group, epoch) = numbers.split_once('-')?;
            let (key_group, epoch) = (key_group.parse().ok()?, epoch.parse().ok()?);
            (Name::Snapshot { key_group, epoch }, snapshot(key_group, epoch))
        }
        _ => return None,
    };
    (written == name).then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_only_as_they_are_written() {
        assert_eq!(parse(&log(7)), Name::Log { first_epoch: 7 });
        assert_eq!(parse(&outbox(u64::MAX)), Name::Outbox { first_epoch: u64::MAX });
        assert_eq!(parse(&snapshot(63, 12)), Name::Snapshot { key_group: 63, epoch: 12 });
        assert_eq!(parse("snap-00001-00000000000000000007.tmp"), Name::Temporary);
        assert_eq!(parse(&format!("spare-{}", log(7))), Name::Spare(SegmentKind::Log));
        assert_eq!(parse(&format!("spare-{}", outbox(7))), Name::Spare(SegmentKind::Outbox));
        for other in [
            "spare-log-7",
            "spare-spare-log-00000000000000000007x",
            "spare-snap-1-2",
            "log-7",
            "log--0000000000000000007",
            "snap-1-2",
            "identity",
            "log-",
            "outbox",
            "",
        ] {
            assert_eq!(parse(other), Name::Other, "{other}");
        }
        assert!(log(9) < log(10));
    }
}
