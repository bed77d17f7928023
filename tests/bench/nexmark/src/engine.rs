//! A program under measurement: started, waited for, its CPU and memory taken from the kernel.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::topic;

/// What a process used, its threads and the Kafka client in it included.
pub struct Used {
    pub cpu_s: f64,
    pub wall_s: f64,
    pub peak_mib: f64,
}

pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn manifest(query: &str) -> PathBuf {
    folder().join(format!("queries/{query}.yaml"))
}

/// `WEIR_BIN`, or the repository's own.
pub fn weir() -> Command {
    let built = || folder().join("../../../target/release/weir");
    Command::new(std::env::var_os("WEIR_BIN").map_or_else(built, PathBuf::from))
}

/// Runs a query to the end of its input, into `output` and `output.dead`.
pub fn run_weir(query: &str, input: &str, output: &str) -> Used {
    let dead = format!("{output}.dead");
    topic::create(output);
    topic::create(&dead);
    let state = std::env::temp_dir().join(topic::fresh("state"));
    let mut command = weir();
    command
        .args(["run", "--until-end", "--quiet", "--profile", "kafka", "--admin", "127.0.0.1:0", "--state"])
        .arg(&state)
        .arg(manifest(query))
        .env("NEXMARK_IN", input)
        .env("NEXMARK_OUT", output)
        .env("WEIR_LOG", "warn")
        .stdout(Stdio::null());
    let used = run(command, &format!("weir with {query}"));
    remove(&state);
    used
}

fn this_program() -> Command {
    Command::new(std::env::current_exe().expect("this program has a path"))
}

/// Fills a topic in a process of its own: a child's peak memory begins at its parent's, so this one must stay small.
pub fn fill(input: &str, events: u64) {
    let mut command = this_program();
    command.args(["fill", input, &events.to_string()]);
    run(command, "writing the events");
}

/// Runs this program again, as the one written by hand.
pub fn run_native(query: &str, input: &str, output: &str, events: u64) -> Used {
    topic::create(output);
    let mut command = this_program();
    command.args(["native", query, input, output, &events.to_string()]);
    run(command, &format!("native {query}"))
}

fn remove(state: &Path) {
    // It lies in the folder for temporary files: whoever keeps that clean finds it.
    let _ = std::fs::remove_dir_all(state);
}

fn run(mut command: Command, what: &str) -> Used {
    let started = Instant::now();
    let child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
    wait(child, started, what)
}

fn wait(child: Child, started: Instant, what: &str) -> Used {
    // SAFETY: plain numbers, for which zeros are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    // SAFETY: both pointers are to live locals; the child is ours and waited for once.
    let waited = unsafe { libc::wait4(child.id() as libc::pid_t, &mut status, 0, &mut usage) };
    assert!(waited > 0 && status == 0, "{what} failed with status {status}");
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Used {
        cpu_s: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        wall_s: started.elapsed().as_secs_f64(),
        peak_mib: usage.ru_maxrss as f64 / 1024.0,
    }
}
