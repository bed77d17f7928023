//! Services that are jars: fetched once with Maven, kept by name and version.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::install::{MAVEN, find_or_install};

/// A service's jars.
pub struct Jars {
    pub name: &'static str,
    /// Names the folder; the one in `pom`.
    pub version: &'static str,
    pub size: &'static str,
    pub pom: &'static str,
}

impl Jars {
    /// The class path of the jars, downloaded once. Two processes that miss them both download; the first to finish names
    /// the folder.
    ///
    /// # Errors
    /// When they cannot be fetched.
    pub fn class_path(&self) -> Result<PathBuf> {
        self.folder().map(|folder| folder.join("*"))
    }

    fn folder(&self) -> Result<PathBuf> {
        let Self { name, version, size, pom } = self;
        let services = crate::cache_folder()?.join("services");
        let jars = services.join(format!("{}-{version}", name.to_lowercase()));
        if jars.is_dir() {
            return Ok(jars);
        }
        let maven = find_or_install(MAVEN)?;
        eprintln!("downloading {name} {version} ({size}) to {}", jars.display());
        std::fs::create_dir_all(&services)?;
        let work = tempfile::Builder::new().prefix(".jars-").tempdir_in(&services)?;
        let file = work.path().join("pom.xml");
        std::fs::write(&file, pom)?;
        let fetched = work.path().join("jars");
        let output = Command::new(maven)
            .args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-f"])
            .arg(&file)
            .arg(format!("-DoutputDirectory={}", fetched.display()))
            .output()
            .context("mvn does not start")?;
        if !output.status.success() {
            bail!("{name}'s jars cannot be fetched\n{}", String::from_utf8_lossy(&output.stdout));
        }
        match std::fs::rename(&fetched, &jars) {
            Err(_) if jars.is_dir() => Ok(jars),
            renamed => renamed.map(|()| jars).context("the jars cannot be put in their place"),
        }
    }
}
