//! Child processes that cannot outlive us: killed and reaped on drop, and killed by the kernel when this process dies.
//!
//! Everything that is waited for is waited for with a bound, and only as long as the child lives: a port that answers
//! may belong to somebody else.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const POLL: Duration = Duration::from_millis(20);

/// Lines of a log that an error shows.
const SHOWN_LINES: usize = 15;

/// A running child and the file that its output goes to.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it says on stderr goes to the end of `log`, stdout to a file beside it.
    ///
    /// # Errors
    /// When the program cannot be started or the log not be written.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let open = |path: &Path| {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            file.with_context(|| format!("the log {}", path.display()))
        };
        command.stdin(std::process::Stdio::null()).stdout(open(&log.with_extension("out"))?).stderr(open(log)?);
        let child = spawn_bound(command).with_context(|| format!("{name} does not start"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` answers true.
    ///
    /// # Errors
    /// When the process ends first, or is not ready in time; with the last lines of its log.
    pub fn wait_ready(&mut self, bound: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let until = Instant::now() + bound;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}\n{}", self.name, self.last_lines());
            }
            if ready() {
                return Ok(());
            }
            if Instant::now() >= until {
                bail!("{} is not ready after {} s\n{}", self.name, bound.as_secs(), self.last_lines());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end in time; it is left running.
    pub fn wait_end(&mut self, bound: Duration) -> Result<ExitStatus> {
        let until = Instant::now() + bound;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= until {
                bail!("{} still runs after {} s\n{}", self.name, bound.as_secs(), self.last_lines());
            }
            std::thread::sleep(POLL);
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Sends a signal: `libc::SIGTERM` and its like.
    pub fn signal(&self, signal: i32) {
        // SAFETY: a plain system call; the child is not reaped yet, so its id is still its own.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have ended by itself already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it has said on stderr so far.
    pub fn log(&self) -> String {
        text(&self.log)
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        text(&self.log.with_extension("out"))
    }

    fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

fn text(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a process was ended by a signal of its own making, as `abort` does.
pub fn aborted(status: ExitStatus) -> bool {
    status.signal() == Some(libc::SIGABRT)
}

type Request = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Spawns a child that the kernel kills when we die. The kernel binds a child to the thread that made it, and test
/// threads come and go: so all children are made by one thread that stays.
///
/// # Errors
/// As [`Command::spawn`].
pub fn spawn_bound(mut command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Request>>> = OnceLock::new();
    // SAFETY: prctl is a plain system call, allowed between fork and exec.
    #[cfg(target_os = "linux")]
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, received) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, reply) in received {
                // Nobody waits for an answer only when we are ending.
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(requests)
    });
    let gone = |_| std::io::Error::other("the spawning thread ended");
    let (reply, answer) = mpsc::channel();
    let requests = spawner.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    requests.send((command, reply)).map_err(|error| gone(error.to_string()))?;
    answer.recv().map_err(|error| gone(error.to_string()))?
}
