//! `weir plugin build`: Cargo makes the core module, the sandbox's encoder a component of it.
//!
//! Invariant: the component's file is whole or not there (it is written beside and renamed), so that a watcher or a
//! running pipeline never loads half of one.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::toolchain::{self, TARGET, Toolchain, ToolchainError};

/// Where Cargo's own messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CargoOutput {
    /// To standard error as they come, colours included.
    #[default]
    Shown,
    /// Errors and warnings only.
    Quiet,
    /// Into [`BuildError::Compile`].
    Captured,
}

#[derive(Debug, Clone)]
pub struct BuildOptions {
    pub cargo_output: CargoOutput,
    /// Cargo may not use the network.
    pub offline: bool,
    /// Where a standard library made for the target is kept.
    pub cache: PathBuf,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self { cargo_output: CargoOutput::Shown, offline: false, cache: toolchain::cache_folder() }
    }
}

/// A component that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Of the crate.
    pub name: String,
    pub version: String,
    /// `target/weir/<name>.wasm` in the folder of the workspace.
    pub path: PathBuf,
    /// `sha256:<hex>` of the component.
    pub digest: String,
    pub size_bytes: usize,
    pub took: Duration,
}

/// `built clean-events 1.3.0 · sha256:9f2c41.. · 41 KiB · 1.2 s`
impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.digest.get(.."sha256:".len() + 6).unwrap_or(&self.digest);
        let (size_kib, took_s) = (self.size_bytes.div_ceil(1024), self.took.as_secs_f32());
        write!(f, "built {} {} · {digest}.. · {size_kib} KiB · {took_s:.1} s", self.name, self.version)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("no plugin in {}: it has no Cargo.toml\n  next: weir plugin new NAME --lang rust", folder.display())]
    NoManifest { folder: PathBuf },
    #[error("{} is a workspace, not a plugin\n  next: name the plugin's own folder", manifest.display())]
    Workspace { manifest: PathBuf },
    #[error("Cargo cannot read {}:\n{output}", manifest.display())]
    Manifest { manifest: PathBuf, output: String },
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    #[error("{name} did not compile{}", output.as_ref().map_or(String::new(), |text| format!(":\n{text}")))]
    Compile {
        name: String,
        /// Cargo's messages, with [`CargoOutput::Captured`].
        output: Option<String>,
    },
    #[error("{name} has no library: its function belongs in src/lib.rs")]
    NoLibrary { name: String },
    #[error(
        "{name} is no plugin: it exports nothing of weir:plugin\n  next: put #[transform] on its function in src/lib.rs, \
         and `use weir_sdk::prelude::*;` above it"
    )]
    NoTransform { name: String },
    #[error("{name} cannot become a component: {cause}")]
    Component { name: String, cause: weir_sandbox::SandboxError },
    #[error("cannot run cargo: {0}\n  next: install Rust, https://rustup.rs")]
    Cargo(io::Error),
    #[error("cannot write {}: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
}

/// What Cargo says of the crate in a folder.
struct Package {
    name: String,
    version: String,
    /// `target` of its workspace, also where Cargo is told to build elsewhere: manifests and commands look here.
    target_folder: PathBuf,
}

/// Builds the plugin in `folder`. `say` is told about what takes long beside the build itself.
///
/// # Errors
/// [`BuildError`]; what was built before stays as it is.
pub fn build(folder: &Path, options: &BuildOptions, say: &mut dyn FnMut(&str)) -> Result<Built, BuildError> {
    let started = Instant::now();
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(BuildError::NoManifest { folder: folder.to_owned() });
    }
    let package = Package::read(&manifest, options)?;
    let toolchain = toolchain::prepare(folder, &options.cache, say)?;
    let module = compile(folder, &package, &toolchain, options)?;
    let component = componentize(&package.name, &module)?;
    let path = package.target_folder.join("weir").join(format!("{}.wasm", package.name));
    write_whole(&path, &component).map_err(|cause| BuildError::Write { path: path.clone(), cause })?;
    Ok(Built {
        name: package.name,
        version: package.version,
        path,
        digest: weir_sandbox::digest(&component),
        size_bytes: component.len(),
        took: started.elapsed(),
    })
}

fn cargo(folder: &Path, options: &BuildOptions) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(folder).stdin(Stdio::null());
    if options.offline {
        cargo.env("CARGO_NET_OFFLINE", "true");
    }
    cargo
}

impl Package {
    fn read(manifest: &Path, options: &BuildOptions) -> Result<Self, BuildError> {
        let folder = manifest.parent().unwrap_or(Path::new("."));
        let mut command = cargo(folder, options);
        let output =
            command.args(["metadata", "--no-deps", "--format-version=1"]).output().map_err(BuildError::Cargo)?;
        let unreadable = |output: String| BuildError::Manifest { manifest: manifest.to_owned(), output };
        if !output.status.success() {
            return Err(unreadable(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()));
        }
        let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| unreadable(error.to_string()))?;
        let here = fs::canonicalize(manifest).ok();
        let is_here = |package: &&Value| {
            let path = package["manifest_path"].as_str().map(Path::new);
            path.and_then(|path| fs::canonicalize(path).ok()) == here
        };
        let workspace = || BuildError::Workspace { manifest: manifest.to_owned() };
        let package = metadata["packages"].as_array().into_iter().flatten().find(is_here).ok_or_else(workspace)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        let kinds = package["targets"].as_array().into_iter().flatten().flat_map(|target| target["kind"].as_array());
        if !kinds.flatten().filter_map(Value::as_str).any(|kind| matches!(kind, "lib" | "rlib" | "cdylib")) {
            return Err(BuildError::NoLibrary { name });
        }
        Ok(Self { name, version, target_folder: Path::new(&text(&metadata["workspace_root"])).join("target") })
    }
}

/// Compiles the core module.
fn compile(
    folder: &Path,
    package: &Package,
    toolchain: &Toolchain,
    options: &BuildOptions,
) -> Result<Vec<u8>, BuildError> {
    let mut command = cargo(folder, options);
    toolchain.apply(&mut command);
    // The crate type here and not in Cargo.toml: natively, under `cargo test`, a plugin is a plain library.
    command.args(["rustc", "--lib", "--release", "--crate-type=cdylib", "--target", TARGET]);
    command.arg("--message-format=json-render-diagnostics").args(["--package", &package.name]);
    if options.cargo_output == CargoOutput::Quiet {
        command.arg("--quiet");
    }
    let captured = options.cargo_output == CargoOutput::Captured;
    command.stdout(Stdio::piped()).stderr(if captured { Stdio::piped() } else { Stdio::inherit() });
    let output = command.spawn().and_then(|child| child.wait_with_output()).map_err(BuildError::Cargo)?;
    if !output.status.success() {
        let text = captured.then(|| String::from_utf8_lossy(&output.stderr).trim_end().to_owned());
        return Err(BuildError::Compile { name: package.name.clone(), output: text });
    }
    let no_library = || BuildError::NoLibrary { name: package.name.clone() };
    let path = artifact(&output.stdout).ok_or_else(no_library)?;
    fs::read(&path).map_err(|cause| BuildError::Write { path, cause })
}

/// The last `.wasm` that Cargo says it has made: dependencies come first.
fn artifact(messages: &[u8]) -> Option<PathBuf> {
    let messages = messages.split(|byte| *byte == b'\n').rev();
    let mut files = messages.filter_map(|line| {
        let message: Value = serde_json::from_slice(line).ok()?;
        let files = message["filenames"].as_array()?.iter().filter_map(Value::as_str);
        files.map(PathBuf::from).find(|path| path.extension().is_some_and(|extension| extension == "wasm"))
    });
    files.next()
}

fn componentize(name: &str, module: &[u8]) -> Result<Vec<u8>, BuildError> {
    let failed = |cause| BuildError::Component { name: name.to_owned(), cause };
    let component = weir_sandbox::encode(module).map_err(failed)?;
    let info = weir_sandbox::inspect(&component).map_err(failed)?;
    if info.worlds.is_empty() { Err(BuildError::NoTransform { name: name.to_owned() }) } else { Ok(component) }
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let for_everyone_to_read = fs::Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().permissions(for_everyone_to_read).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}
