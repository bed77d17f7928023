//! How long a pipeline with a large state takes from its start to the first new result in the target: `weir run` with a
//! group-by over millions of keys is stopped, gets some records more, and is started again.
//!
//! Units: seconds of wall time from the start of the process to the epoch that holds the new result being in SQLite; beside
//! it the time until a pipeline of the same kind with twenty thousand keys is as far, in the same run. Files are in the page
//! cache.
//!
//!     WEIR_BIN=target/release/weir cargo run --release -p weir-bench-restart -- [thousands of keys] [restarts]

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How often the pipeline is asked.
const POLL: Duration = Duration::from_millis(5);

/// Longer than an epoch: nothing moves any more.
const SETTLED: Duration = Duration::from_secs(3);

/// Rows that come before each restart, of keys that are held: some of them reach the target.
const MORE: u64 = 20_000;

/// A first run reads every key.
const LOADING: Duration = Duration::from_secs(1_800);

/// What stands before the last epoch in the target.
const EXPOSED: &str = "\"table\":{\"exposed_epoch\":";

/// Of the keys one in a thousand reaches the target, so that SQLite is not what is measured.
const PIPELINE: &str = "pipeline: restart
sources:
  events:
    columns: { key: int64!, n: int64!, at: timestamp(ms)! }
    event_time: { column: at }
steps:
  totals: { from: events, key: [key], aggregate: { rows: count(), total: sum(n) }, ttl: never }
  some: { from: totals, sample: { share: 0.1%, by: [key] } }
sinks:
  table: { from: some, upsert: [key] }
state: { memory: 8GiB, epoch: { interval: 100ms } }
profiles:
  only:
    events: { file: { path: in.jsonl } }
    table: { sqlite: { path: out.db, table: totals } }
    dead_letters: { file: { path: letters.jsonl } }
";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let keys = arguments.next().transpose()?.unwrap_or(10_000) * 1_000;
    let restarts = arguments.next().transpose()?.unwrap_or(3);
    let root = std::env::temp_dir().join(format!("weir-bench-restart-{}", std::process::id()));
    let measured = [MORE, keys].map(|keys| measure(&root.join(keys.to_string()), keys, restarts));
    fs::remove_dir_all(&root)?;
    let [few, many] = measured;
    let (few, many) = (few?, many?);
    println!("best of {restarts} restarts to the first new result: {keys} keys {many:.2} s, {MORE} keys {few:.2} s");
    Ok(())
}

fn measure(folder: &Path, keys: u64, restarts: u64) -> Result<f64> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("pipeline.yaml"), PIPELINE)?;
    let mut input = BufWriter::new(File::create(folder.join("in.jsonl"))?);
    (0..keys).try_for_each(|key| writeln!(input, "{{\"key\":{key},\"n\":1,\"at\":\"2026-03-01T00:00:00Z\"}}"))?;
    input.flush()?;
    let began = Instant::now();
    let mut running = Running::start(folder)?;
    running.wait_for(|status| number(status, "\"totals\":{\"rows_in\":") == Some(keys), LOADING)?;
    let mut exposed = running.stop()?;
    println!("{keys} keys: first run {:.1} s, stopped at epoch {exposed}", began.elapsed().as_secs_f64());
    let mut best = f64::MAX;
    for _ in 0..restarts {
        let mut input = OpenOptions::new().append(true).open(folder.join("in.jsonl"))?;
        (0..MORE).try_for_each(|key| writeln!(input, "{{\"key\":{key},\"n\":1,\"at\":\"2026-03-01T00:00:00Z\"}}"))?;
        let began = Instant::now();
        let mut running = Running::start(folder)?;
        running.wait_for(|status| number(status, EXPOSED) > Some(exposed), Duration::from_secs(300))?;
        let seconds = began.elapsed().as_secs_f64();
        exposed = running.stop()?;
        println!("{keys} keys: restart {seconds:.2} s");
        best = best.min(seconds);
    }
    Ok(best)
}

/// A pipeline that runs; ends with this.
struct Running {
    child: Child,
    admin: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(folder: &Path) -> Result<Self> {
        let weir = PathBuf::from(std::env::var("WEIR_BIN").map_err(|_| "WEIR_BIN names the binary to measure")?);
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut command = Command::new(weir.canonicalize()?);
        command.current_dir(folder).args(["run", "pipeline.yaml", "--quiet", "--admin", &admin]);
        let child = command.stdout(Stdio::null()).stderr(File::create(folder.join("log"))?).spawn()?;
        Ok(Self { child, admin })
    }

    /// The status; none while nobody listens yet.
    fn status(&self) -> Option<String> {
        let mut stream = TcpStream::connect(&self.admin).ok()?;
        let request = format!("GET /pipeline HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin);
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn wait_for(&mut self, is_so: impl Fn(&str) -> bool, patience: Duration) -> Result<()> {
        let began = Instant::now();
        while !self.status().is_some_and(|status| is_so(&status)) {
            if began.elapsed() > patience || self.child.try_wait()?.is_some() {
                return Err(format!("ended, or not within {patience:?}: {:?}", self.status()).into());
            }
            sleep(POLL);
        }
        Ok(())
    }

    /// Stops it once nothing moves any more, and answers the last epoch in the target.
    fn stop(mut self) -> Result<u64> {
        let epochs = || {
            let status = self.status()?;
            Some((number(&status, "\"durable_epoch\":")?, number(&status, EXPOSED)?))
        };
        let (mut last, mut since) = (epochs(), Instant::now());
        while since.elapsed() < SETTLED {
            sleep(POLL);
            let now = epochs();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        let (_, exposed) = last.ok_or("the pipeline ended before it was stopped")?;
        let mut stream = TcpStream::connect(&self.admin)?;
        let head = format!("POST /pipeline/stop HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.admin);
        let request = format!("{head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}");
        stream.write_all(request.as_bytes())?;
        self.child.wait()?;
        Ok(exposed)
    }
}

/// The number behind a text in the status.
fn number(status: &str, before: &str) -> Option<u64> {
    let (_, rest) = status.split_once(before)?;
    rest.split(|digit: char| !digit.is_ascii_digit()).next()?.parse().ok()
}
