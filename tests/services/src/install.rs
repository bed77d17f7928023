//! Finds the programs that services need, and says which command installs one that is missing.
//!
//! As root on Debian or Ubuntu that command is run, after saying so; as anyone else nothing is installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Result, bail};

/// A program and the Debian package that brings it.
#[derive(Debug, Clone, Copy)]
pub struct Needed {
    pub program: &'static str,
    pub package: &'static str,
    pub why: &'static str,
}

pub const JAVA: Needed =
    Needed { program: "java", package: "default-jre-headless", why: "Kafka and Cassandra run on Java 17 or later" };
pub const MAVEN: Needed = Needed { program: "mvn", package: "maven", why: "jars are fetched with Maven, once" };
pub const POSTGRES: Needed =
    Needed { program: "postgres", package: "postgresql", why: "the PostgreSQL sink is tested on a real server" };

/// The path of a program, installing its package if that is possible.
///
/// # Errors
/// When it is missing; the message is the command that installs it.
pub fn find_or_install(needed: Needed) -> Result<PathBuf> {
    // Two tests that miss the same program install it once.
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(path) = find(needed.program) {
        return Ok(path);
    }
    let Needed { program, package, why } = needed;
    let may_install = is_root() && Path::new("/usr/bin/apt-get").exists();
    if !may_install {
        bail!("`{program}` is missing ({why})\n  next: sudo apt-get install -y {package}");
    }
    eprintln!("`{program}` is missing ({why}): apt-get install -y --no-install-recommends {package}");
    apt_get(&["update"])?;
    apt_get(&["install", "-y", "--no-install-recommends", package])?;
    match find(program) {
        Some(path) => Ok(path),
        None => bail!("package {package} is installed, and `{program}` is still not found"),
    }
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let output = Command::new("apt-get").arg("-q").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").output()?;
    if !output.status.success() {
        bail!("apt-get {} failed\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// In PATH, or where Debian keeps PostgreSQL's server programs, the newest version first.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file());
    in_path.or_else(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let mut found: Vec<(u32, PathBuf)> = versions
            .filter_map(Result::ok)
            .filter_map(|version| {
                let number = version.file_name().to_str()?.parse().ok()?;
                Some((number, version.path().join("bin").join(program)))
            })
            .filter(|(_, path)| path.is_file())
            .collect();
        found.sort();
        found.pop().map(|(_, path)| path)
    })
}

pub fn is_root() -> bool {
    // SAFETY: a plain system call without arguments.
    unsafe { libc::geteuid() == 0 }
}
