//! The repository's habits as tests: what every file must be like, said once and checked by a machine.
//!
//! Works on text, not on syntax trees: it relies on rustfmt's layout, which `make test` checks first. What it cannot see
//! (names, comments that tell nothing) is left to readers.

mod crates;
mod licences;
mod rules;
mod text;

pub use crates::{crate_faults, dependencies};
pub use licences::{allowed, is_allowed};
pub use rules::{
    ABSOLUTE_PATHS, EXEMPT, MAX_FILE_LINES, MAX_FUNCTION_LINES, call_faults, length_faults, marker_faults,
    module_doc_faults, path_faults,
};
pub use text::{blanked, without_tests};

use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 5] = ["target", ".git", "out", ".weir", "node_modules"];

/// One file of the repository.
pub struct SourceFile {
    /// From the repository's root, with `/`.
    pub path: String,
    pub text: String,
}

impl SourceFile {
    pub fn is_test(&self) -> bool {
        // `tests/` at the root is a folder of crates, each with its own tests.
        self.path.split('/').skip(1).any(|part| part == "tests" || part == "tests.rs")
    }

    pub fn exemption(&self) -> Option<&'static str> {
        EXEMPT.iter().find(|(path, _)| *path == self.path).map(|(_, why)| *why)
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All files with one of these endings, in order of their paths. Files that are not UTF-8 are left out.
pub fn files(endings: &[&str]) -> Vec<SourceFile> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if path.is_dir() {
                if !SKIPPED.contains(&&*name) {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending))
                && let Ok(text) = std::fs::read_to_string(&path)
            {
                let path = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                found.push(SourceFile { path, text });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}
