//! The `weir` binary under test: running pipelines to watch, to ask and to kill.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::Process;

/// From the process's start to its admin address; a machine under load compiles a plugin meanwhile.
const START_BOUND: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(10);

/// The binary.
#[derive(Debug, Clone)]
pub struct Weir {
    binary: PathBuf,
}

impl Weir {
    /// The binary that `WEIR_BIN` names, or the one that was built into the same target folder as this program.
    ///
    /// # Errors
    /// When it is not there; the message says how it is built.
    pub fn find() -> Result<Self> {
        if let Some(binary) = std::env::var_os("WEIR_BIN") {
            return Ok(Self { binary: binary.into() });
        }
        let this = std::env::current_exe()?;
        let found = this.ancestors().skip(1).take(2).map(|folder| folder.join("weir")).find(|path| path.is_file());
        let binary = found.with_context(|| {
            let folder = this.parent().unwrap_or(&this).display();
            format!("no `weir` beside {folder}\n  next: cargo build --release -p weir-cli")
        })?;
        Ok(Self { binary })
    }

    pub fn command(&self) -> Command {
        Command::new(&self.binary)
    }

    /// Runs a command to its end and answers its stdout.
    ///
    /// # Errors
    /// When it ends with another code than 0; with its stderr.
    pub fn output(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command().args(arguments).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("weir {}: {}\n{said}", arguments.join(" "), output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Builds one of the repository's plugins, if its sources changed, and answers the component's path.
    ///
    /// # Errors
    /// What the build says.
    pub fn build_plugin(&self, name: &str) -> Result<PathBuf> {
        static BUILDING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let folder = crate::repository().join("plugins").join(name);
        self.output(&["plugin", "build", &folder.display().to_string()])?;
        Ok(crate::repository().join("plugins/target/weir").join(format!("{name}.wasm")))
    }

    /// Starts `weir run` and waits until its admin API has an address. Its logs are kept in `logs`, a pair of files a run.
    ///
    /// # Errors
    /// When it ends before; with what it said.
    pub fn run(&self, name: &str, logs: &Path, configure: impl FnOnce(&mut Command)) -> Result<Run> {
        let mut process = self.spawn(name, logs, configure)?;
        let log = process.log.clone();
        let mut admin = None;
        process.process.wait_ready(START_BOUND, || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let place = said.lines().find_map(|line| Some(line.split_once(" · admin ")?.1.trim()));
            admin = place.map(|place| place.trim_start_matches("http://").to_owned());
            admin.is_some()
        })?;
        process.admin = admin.unwrap_or_default();
        Ok(process)
    }

    /// As [`Weir::run`], without waiting for anything.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn spawn(&self, name: &str, logs: &Path, configure: impl FnOnce(&mut Command)) -> Result<Run> {
        let mut command = self.command();
        command.args(["run", "--quiet", "-o", "json", "--admin", "127.0.0.1:0"]);
        configure(&mut command);
        let log = logs.join(format!("{name}.log"));
        let process = Process::spawn(&format!("weir run ({name})"), command, &log)?;
        Ok(Run { process, admin: String::new(), log })
    }
}

/// A started `weir run`.
#[derive(Debug)]
pub struct Run {
    pub process: Process,
    /// `host:port` of its admin API; with `https://` before it where it speaks TLS.
    pub admin: String,
    log: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stderr: String,
    /// What it wrote to stdout, as JSON; null when that is none.
    pub report: serde_json::Value,
}

impl Run {
    fn agent() -> ureq::Agent {
        let config = ureq::Agent::config_builder();
        config.timeout_global(Some(Duration::from_secs(10))).http_status_as_error(false).build().into()
    }

    /// `GET /pipeline`.
    ///
    /// # Errors
    /// When the process does not answer.
    pub fn status(&self) -> Result<serde_json::Value> {
        let mut answer = Self::agent().get(format!("http://{}/pipeline", self.admin)).call()?;
        Ok(answer.body_mut().read_json()?)
    }

    /// `GET /ready`: nothing, or why not.
    ///
    /// # Errors
    /// When the process does not answer.
    pub fn not_ready(&self) -> Result<Option<String>> {
        let mut answer = Self::agent().get(format!("http://{}/ready", self.admin)).call()?;
        let text = answer.body_mut().read_to_string()?;
        Ok(if answer.status().is_success() { None } else { Some(text) })
    }

    /// Waits until the run's status satisfies a condition, and answers that status.
    ///
    /// # Errors
    /// When the process ends first or the condition does not come in time.
    pub fn wait_for(
        &mut self,
        what: &str,
        bound: Duration,
        mut condition: impl FnMut(&serde_json::Value) -> bool,
    ) -> Result<serde_json::Value> {
        let until = std::time::Instant::now() + bound;
        let mut last = serde_json::Value::Null;
        while std::time::Instant::now() < until {
            if self.process.has_ended() {
                bail!("waiting for {what}: the run ended\n{}", self.process.log());
            }
            if let Ok(status) = self.status() {
                if condition(&status) {
                    return Ok(status);
                }
                last = status;
            }
            std::thread::sleep(POLL);
        }
        bail!("waited {} s for {what}; status {last:#}\n{}", bound.as_secs(), self.process.log())
    }

    /// Waits for the end of the run.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn end(mut self, bound: Duration) -> Result<Ended> {
        let status = self.process.wait_end(bound)?;
        let report = serde_json::from_str(&self.process.stdout()).unwrap_or_default();
        Ok(Ended { status, stderr: self.process.log(), report })
    }
}
