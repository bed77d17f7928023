//! A PostgreSQL server of its own, from the machine's packages. It can be killed and started again on its data.
//!
//! The server refuses to run as root; as root it runs as user `postgres`, or `nobody` where there is none.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::install::{POSTGRES, find_or_install, is_root};
use crate::process::Process;

const START_BOUND: Duration = Duration::from_secs(30);

/// Who owns the server's files and processes.
#[derive(Debug, Clone, Copy)]
struct Owner {
    user: u32,
    group: u32,
}

/// A server, running or stopped; its data stays until the handle is dropped.
#[derive(Debug)]
pub struct Postgres {
    process: Option<Process>,
    programs: PathBuf,
    owner: Option<Owner>,
    port: u16,
    // Dropped after the process: fields drop in order.
    folder: tempfile::TempDir,
}

impl Postgres {
    /// Makes a database cluster and starts it.
    ///
    /// # Errors
    /// When the server is missing or does not come up.
    pub fn start() -> Result<Self> {
        let mut stopped = Self::prepare()?;
        stopped.resume()?;
        Ok(stopped)
    }

    /// Makes a database cluster that does not run yet.
    ///
    /// # Errors
    /// When the server's programs are missing or fail.
    pub fn prepare() -> Result<Self> {
        let server = find_or_install(POSTGRES)?;
        let programs = std::fs::canonicalize(&server)?.parent().context("postgres is in no folder")?.to_owned();
        let folder = tempfile::Builder::new().prefix("weir-postgres-").tempdir()?;
        let owner = if is_root() { Some(unprivileged()?) } else { None };
        if let Some(Owner { user, group }) = owner {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group))?;
        }
        let made = Self { process: None, programs, owner, port: crate::free_port()?, folder };
        made.init()?;
        Ok(made)
    }

    /// `postgres://...` of the database `postgres`.
    pub fn url(&self) -> String {
        format!("postgres://weir@127.0.0.1:{}/postgres", self.port)
    }

    /// `kill -9`: as a machine that went away.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again, on the same port and data.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn resume(&mut self) -> Result<()> {
        // After a kill the former server's own children may still be leaving: try until they are gone.
        let mut tries = 0;
        loop {
            let mut process = self.spawn()?;
            match process.wait_ready(START_BOUND, || self.is_ready()) {
                Ok(()) => {
                    self.process = Some(process);
                    return Ok(());
                }
                Err(error) if tries == 50 => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
            tries += 1;
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        if let Some(Owner { user, group }) = self.owner {
            command.uid(user).gid(group);
        }
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        command
    }

    fn init(&self) -> Result<()> {
        let mut command = self.command("initdb");
        command.args(["-U", "weir", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C", "-D"]).arg(self.data());
        let output = command.output().context("initdb does not start")?;
        if !output.status.success() {
            bail!("initdb failed\n{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    fn spawn(&self) -> Result<Process> {
        let mut command = self.command("postgres");
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            format!("unix_socket_directories={}", self.folder.path().display()),
            "max_connections=50".to_owned(),
            "shared_buffers=32MB".to_owned(),
        ];
        command.arg("-D").arg(self.data());
        for setting in &settings {
            command.arg("-c").arg(setting);
        }
        Process::spawn("PostgreSQL", command, &self.folder.path().join("server.log"))
    }

    fn is_ready(&self) -> bool {
        let mut command = Command::new(self.programs.join("pg_isready"));
        command.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Runs SQL with the server's own client and answers its output, one line a row, `|` between columns.
    ///
    /// # Errors
    /// What the server says.
    pub fn sql(&self, sql: &str) -> Result<String> {
        let mut command = self.command("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(), "-c", sql]);
        let output = command.output().context("psql does not start")?;
        if !output.status.success() {
            bail!("{sql}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }
}

fn unprivileged() -> Result<Owner> {
    let accounts = std::fs::read_to_string(Path::new("/etc/passwd"))?;
    let owner = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(Owner { user: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
    };
    owner("postgres").or_else(|| owner("nobody")).context("the server needs a user that is not root: make `postgres`")
}
