//! Builds the guests, as core modules; the sandbox makes components of them.

use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

/// The folder with the built modules.
pub fn built() -> Result<PathBuf, String> {
    if let Some(folder) = std::env::var_os("WEIR_BENCH_GUESTS") {
        return Ok(folder.into());
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--release", "--target", TARGET]).current_dir(&folder);
    let status = build.status().map_err(|cause| format!("{build:?}: {cause}"))?;
    if !status.success() {
        return Err(format!("{build:?} in {} failed; is the target {TARGET} installed?", folder.display()));
    }
    Ok(folder.join("target").join(TARGET).join("release"))
}
