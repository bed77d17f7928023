//! Finds a Rust compiler for wasm32-unknown-unknown, or makes one.
//!
//! Where the compiler in use has the target's standard library (`rustup target add`), that is used. Where it has not,
//! Debian's `rustc-web` compiles one from `rust-web-src`, once, into a cached sysroot.
//!
//! Invariant: a sysroot in the cache is complete (it is made beside and renamed) and belongs to exactly the compiler
//! whose `rustc -vV` its name is a hash of: a standard library serves no other compiler.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

/// What plugins are compiled for: nothing to import but the host's own functions.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// The oldest compiler that the SDK takes.
const OLDEST_MINOR: u32 = 95;

/// The compiler that distributions keep new for their browsers, and its source.
const PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
const DISTRIBUTION_RUSTC: &str = "/usr/bin/rustc";

/// Hexadecimal digits of a compiler's hash in the name of its sysroot.
const KEY_DIGITS: usize = 16;

/// How to call Cargo for the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// Set for every Cargo call.
    pub environment: Vec<(OsString, OsString)>,
    /// Taken out of the environment first: they would win over what is set.
    pub removed: Vec<OsString>,
    /// In words: `rustc 1.95.0 with its target`.
    pub description: String,
}

impl Toolchain {
    pub fn apply(&self, command: &mut Command) {
        for name in &self.removed {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    #[error("cannot run `{program}`: {cause}\n  next: install Rust 1.{OLDEST_MINOR} or newer, https://rustup.rs")]
    NotFound { program: String, cause: io::Error },
    #[error(
        "no standard library for {TARGET}: {reason}\n  next, one of these:\n    rustup target add {TARGET}\n    \
         apt-get install --no-install-recommends {} {}   (as root, on Debian or Ubuntu)",
        PACKAGES[0],
        PACKAGES[1]
    )]
    NoTarget { reason: String },
    #[error(
        "no linker for {TARGET}: neither rust-lld in {} nor wasm-ld on the PATH\n  next: apt-get install lld",
        sysroot.display()
    )]
    NoLinker { sysroot: PathBuf },
    #[error("the standard library did not compile:\n{output}")]
    StandardLibrary { output: String },
    #[error("cannot write the cached standard library in {}: {cause}", path.display())]
    Cache { path: PathBuf, cause: io::Error },
}

/// A compiler's own account of itself.
struct Compiler {
    path: OsString,
    /// `rustc -vV`
    version: String,
    sysroot: PathBuf,
}

/// The toolchain for a plugin in `folder` (where a `rust-toolchain.toml` may choose one). `say` is told what is done
/// and why, where it takes longer than a moment.
///
/// # Errors
/// [`ToolchainError`], with the command to run where one is missing.
pub fn prepare(folder: &Path, cache: &Path, say: &mut dyn FnMut(&str)) -> Result<Toolchain, ToolchainError> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compiler = Compiler::ask(rustc, folder)?;
    if compiler.has_target() {
        return Ok(compiler.as_it_is());
    }
    let distribution = || Compiler::ask(DISTRIBUTION_RUSTC.into(), folder).ok().filter(Compiler::is_new_enough);
    if let Some(distribution) = distribution() {
        let sysroot = distribution.cached_sysroot(cache);
        if distribution.has_target() || sysroot.is_dir() {
            return distribution.with_sysroot(sysroot);
        }
    }
    let reason = format!("{} has none", compiler.name());
    if distribution().is_none_or(|distribution| !distribution.has_source()) {
        install_packages(say).map_err(|why| ToolchainError::NoTarget { reason: format!("{reason}, {why}") })?;
    }
    let Some(distribution) = distribution().filter(Compiler::has_source) else {
        let why = format!("{DISTRIBUTION_RUSTC} is missing, older than 1.{OLDEST_MINOR} or without its source");
        return Err(ToolchainError::NoTarget { reason: format!("{reason}, {why}") });
    };
    let sysroot = distribution.cached_sysroot(cache);
    distribution.compile_standard_library(&compiler, &sysroot, say)?;
    distribution.with_sysroot(sysroot)
}

/// Where sysroots are kept: `$WEIR_CACHE`, otherwise `~/.cache/weir`.
pub fn cache_folder() -> PathBuf {
    let home = || std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
    std::env::var_os("WEIR_CACHE").map_or_else(|| home().join(".cache").join("weir"), PathBuf::from)
}

impl Compiler {
    fn ask(path: OsString, folder: &Path) -> Result<Self, ToolchainError> {
        let answer = |argument: &str, value: &str| {
            let mut command = Command::new(&path);
            command.args([argument, value]).current_dir(folder).stdin(Stdio::null());
            let failed = |cause| ToolchainError::NotFound { program: path.to_string_lossy().into(), cause };
            let output = command.output().map_err(failed)?;
            if output.status.success() {
                return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
            }
            Err(failed(io::Error::other(last_line(&output))))
        };
        let (version, sysroot) = (answer("--version", "--verbose")?, answer("--print", "sysroot")?.into());
        Ok(Self { version, sysroot, path })
    }

    /// `rustc 1.96.0`
    fn name(&self) -> String {
        self.version.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    fn field(&self, key: &str) -> &str {
        self.version.lines().find_map(|line| line.strip_prefix(key)).map_or("", str::trim)
    }

    fn is_new_enough(&self) -> bool {
        let mut numbers = self.field("release:").split(['.', '-']).map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(1)), Some(Ok(minor))) => minor >= OLDEST_MINOR,
            (Some(Ok(major)), _) => major > 1,
            _ => false,
        }
    }

    fn has_target(&self) -> bool {
        has_standard_library(&self.sysroot)
    }

    fn has_source(&self) -> bool {
        self.sysroot.join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file()
    }

    fn as_it_is(&self) -> Toolchain {
        let description = format!("{} with its {TARGET}", self.name());
        Toolchain { environment: Vec::new(), removed: Vec::new(), description }
    }

    /// Named by the hash of everything that the compiler says of itself.
    fn cached_sysroot(&self, cache: &Path) -> PathBuf {
        let digest = weir_sandbox::digest(self.version.as_bytes());
        let key: String = digest.trim_start_matches("sha256:").chars().take(KEY_DIGITS).collect();
        cache.join("wasm-sysroot").join(key)
    }

    fn with_sysroot(&self, sysroot: PathBuf) -> Result<Toolchain, ToolchainError> {
        let linked = sysroot.join(self.linker_place());
        let mut flags = if self.has_target() { OsString::new() } else { OsString::from("--sysroot ") };
        if !self.has_target() {
            flags.push(&sysroot);
        }
        if !linked.exists() {
            if !is_on_path("wasm-ld") {
                return Err(ToolchainError::NoLinker { sysroot });
            }
            flags.push(" -Clinker=wasm-ld");
        }
        Ok(Toolchain {
            environment: vec![
                ("RUSTC".into(), self.path.clone()),
                ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS".into(), flags),
            ],
            // Set through the target's own variable, the flags leave build scripts and proc-macros alone.
            removed: ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"].map(OsString::from).into(),
            description: format!("{} with a standard library of its own source", self.name()),
        })
    }

    /// Relative to a sysroot: where rustc looks for its linker.
    fn linker_place(&self) -> PathBuf {
        Path::new("lib/rustlib").join(self.field("host:")).join("bin").join("rust-lld")
    }

    /// Compiles the standard library from this compiler's source. `other` lends its linker.
    fn compile_standard_library(
        &self,
        other: &Self,
        sysroot: &Path,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), ToolchainError> {
        say(&format!(
            "plugins are {TARGET}, and {} has no standard library for that: {} compiles it from its own source, once, \
             into {}; about a minute",
            other.name(),
            self.name(),
            sysroot.display()
        ));
        let started = Instant::now();
        let folder = sysroot.parent().unwrap_or(sysroot);
        let in_cache = |cause| ToolchainError::Cache { path: folder.to_owned(), cause };
        fs::create_dir_all(folder).map_err(in_cache)?;
        let work = tempfile::Builder::new().prefix("building-").tempdir_in(folder).map_err(in_cache)?;
        self.run_cargo_build_std(work.path())?;
        self.collect(other, work.path()).map_err(in_cache)?;
        let finished = work.path().join("sysroot");
        match fs::rename(finished, sysroot) {
            // Another build was faster: its result is the same.
            Err(_) if has_standard_library(sysroot) => {}
            result => result.map_err(in_cache)?,
        }
        say(&format!("standard library for {TARGET} ready after {} s", started.elapsed().as_secs()));
        Ok(())
    }

    /// Builds an empty crate, so that Cargo builds its standard library.
    fn run_cargo_build_std(&self, work: &Path) -> Result<(), ToolchainError> {
        let seed = || {
            fs::create_dir_all(work.join("seed/src"))?;
            fs::write(work.join("seed/src/lib.rs"), "")?;
            fs::write(work.join("seed/Cargo.toml"), SEED)
        };
        seed().map_err(|cause| ToolchainError::Cache { path: work.to_owned(), cause })?;
        let mut cargo = Command::new("cargo");
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_BUILD_TARGET"] {
            cargo.env_remove(name);
        }
        cargo
            .args(["build", "--release", "--quiet", "-Zbuild-std=std,panic_abort", "--target", TARGET])
            .current_dir(work.join("seed"))
            .env("RUSTC", &self.path)
            // `-Z` flags are for nightly compilers; the source at hand is exactly this compiler's, so they are safe.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", work.join("target"))
            // Plugins are linked with fat LTO, which needs the bitcode.
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", "-Cembed-bitcode=yes")
            .stdin(Stdio::null());
        let output = cargo.output().map_err(|cause| ToolchainError::NotFound { program: "cargo".into(), cause })?;
        if output.status.success() {
            return Ok(());
        }
        Err(ToolchainError::StandardLibrary { output: String::from_utf8_lossy(&output.stderr).into() })
    }

    /// Lays `work/sysroot` out as rustc expects it: the libraries, and a linker if `other` has one.
    fn collect(&self, other: &Self, work: &Path) -> io::Result<()> {
        let libraries = work.join("sysroot").join("lib/rustlib").join(TARGET).join("lib");
        fs::create_dir_all(&libraries)?;
        for entry in fs::read_dir(work.join("target").join(TARGET).join("release/deps"))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default();
            let is_seed = name.to_string_lossy().contains(SEED_NAME);
            if path.extension().is_some_and(|extension| extension == "rlib") && !is_seed {
                fs::copy(&path, libraries.join(name))?;
            }
        }
        let place = self.linker_place();
        let linker =
            [&self.sysroot, &other.sysroot].map(|sysroot| sysroot.join(&place)).into_iter().find(|p| p.is_file());
        if let Some(linker) = linker {
            let link = work.join("sysroot").join(place);
            fs::create_dir_all(link.parent().unwrap_or(work))?;
            std::os::unix::fs::symlink(linker, link)?;
        }
        Ok(())
    }
}

const SEED_NAME: &str = "stdseed";
const SEED: &str = "[package]
name = \"stdseed\"
version = \"0.0.0\"
edition = \"2024\"

[workspace]

[profile.release]
opt-level = 3
panic = \"abort\"
codegen-units = 1
";

fn has_standard_library(sysroot: &Path) -> bool {
    let Ok(entries) = fs::read_dir(sysroot.join("lib/rustlib").join(TARGET).join("lib")) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

/// Installs the distribution's compiler and its source.
fn install_packages(say: &mut dyn FnMut(&str)) -> Result<(), String> {
    if !is_on_path("apt-get") {
        return Err("there is no apt-get to install a compiler that has its source".into());
    }
    // The owner of a process's own folder there is the user it acts as.
    if !fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        return Err("and installing one takes root".into());
    }
    say(&format!(
        "installing {} and {} with apt-get: a compiler with the source of its standard library",
        PACKAGES[0], PACKAGES[1]
    ));
    for arguments in
        [&["update", "-qq"][..], &["install", "-y", "-qq", "--no-install-recommends", PACKAGES[0], PACKAGES[1]]]
    {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        let output = apt.output().map_err(|cause| format!("apt-get does not run: {cause}"))?;
        if !output.status.success() {
            return Err(format!("apt-get {} failed ({})", arguments[0], last_line(&output)));
        }
    }
    Ok(())
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing").trim().to_owned()
}
