//! Finds the component that a manifest's reference means, and the limits that hold for it.

use std::path::{Path, PathBuf};

use weir_manifest::PluginLimits;
use weir_sandbox::Limits;
use weir_sandbox::limits::MAX_OUTPUT_ROWS;

use crate::task::source::POLL_RECORDS;

/// A plugin may be a member of a workspace, whose target folder stands this many levels up at most, its own counted.
const MAX_LEVELS: usize = 4;

/// The component file behind a reference: a file is itself; a plugin's folder stands for what `weir plugin build` makes
/// of it, `target/weir/<name>.wasm` in the folder or its workspace.
///
/// # Errors
/// A sentence with the next act when there is none.
pub fn component_path(reference: &Path) -> Result<PathBuf, String> {
    if reference.is_file() {
        return Ok(reference.to_owned());
    }
    if !reference.is_dir() {
        return Err(format!("no plugin at {}; give a component file or a plugin's folder", reference.display()));
    }
    let name = package_name(&reference.join("Cargo.toml"))?;
    let built = Path::new("target/weir").join(format!("{name}.wasm"));
    let folder = reference.canonicalize().map_err(|error| format!("{}: {error}", reference.display()))?;
    if let Some(built) = folder.ancestors().take(MAX_LEVELS).map(|at| at.join(&built)).find(|path| path.is_file()) {
        return Ok(built);
    }
    Err(format!("plugin `{name}` is not built; run `weir plugin build {}`", reference.display()))
}

/// The package's name in a `Cargo.toml`; just enough of TOML for that.
fn package_name(manifest: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(manifest)
        .map_err(|error| format!("{}: {error}; is this a plugin's folder?", manifest.display()))?;
    let mut in_package = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_package = line == "[package]";
        } else if let Some((key, value)) = line.split_once('=').filter(|_| in_package)
            && key.trim() == "name"
        {
            return Ok(value.trim().trim_matches('"').to_owned());
        }
    }
    Err(format!("{} has no package name", manifest.display()))
}

/// The manifest's limits as the sandbox takes them; the manifest states the defaults.
pub fn limits(limits: &PluginLimits) -> Limits {
    let defaults = Limits::default();
    let millis = |duration: weir_manifest::Duration| (duration.as_us() / 1000).max(1).unsigned_abs();
    Limits {
        memory_bytes: limits.memory().bytes() as usize,
        time_per_batch_ms: millis(limits.time_per_batch()),
        output_rows: (limits.output_rows_per_row() as usize * POLL_RECORDS).min(MAX_OUTPUT_ROWS),
        output_bytes: limits.output().bytes() as usize,
        log_bytes_per_s: (limits.log_rate().per_second() * defaults.log_line_bytes as f64) as usize,
        component_bytes: limits.component().bytes() as usize,
        compile_ms: millis(limits.compile_time()),
        ..defaults
    }
}
