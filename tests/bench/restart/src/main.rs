//! What a large state costs a pipeline, against one of the same kind with ten thousand keys in the same run: `weir run` with
//! a group-by over millions of keys.
//!
//! * Without a word: it is stopped, gets some records more, and is started again. Seconds of wall time from the start of the
//!   process to the epoch that holds the new result being in SQLite.
//! * `throughput`: records of random keys, all of them held. Events per CPU-second of the whole process, epochs of a second.
//!
//! Files are in the page cache.
//!
//!     WEIR_BIN=target/release/weir cargo run --release -p weir-bench-restart -- [throughput] [thousands of keys] [times]

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

/// What is compared with.
const FEW_KEYS: u64 = 10_000;

/// Rows whose cost is measured.
const MEASURED: u64 = 4_000_000;

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
state: { memory: 8GiB, epoch: { interval: INTERVAL } }
profiles:
  only:
    events: { file: { path: in.jsonl } }
    table: { sqlite: { path: out.db, table: totals } }
    dead_letters: { file: { path: letters.jsonl } }
";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let throughput = arguments.next_if(|argument| argument == "throughput").is_some();
    let mut numbers = arguments.map(|argument| argument.parse::<u64>());
    let keys = numbers.next().transpose()?.unwrap_or(10_000) * 1_000;
    let times = numbers.next().transpose()?.unwrap_or(3);
    let root = std::env::temp_dir().join(format!("weir-bench-restart-{}", std::process::id()));
    let measure = if throughput { measure_throughput } else { measure_restart };
    let measured = [FEW_KEYS, keys].map(|keys| measure(&root.join(keys.to_string()), keys, times));
    fs::remove_dir_all(&root)?;
    let [few, many] = measured;
    let (few, many) = (few?, many?);
    if throughput {
        let share = 100.0 * many / few;
        println!(
            "best of {times}, events per CPU-second: {keys} keys {many:.0}, {FEW_KEYS} keys {few:.0}: {share:.0} %"
        );
    } else {
        println!(
            "best of {times} restarts to the first new result: {keys} keys {many:.2} s, {FEW_KEYS} keys {few:.2} s"
        );
    }
    Ok(())
}

/// Writes rows of these keys behind the others.
fn append(folder: &Path, mut keys: impl Iterator<Item = u64>) -> Result<()> {
    let mut input = BufWriter::new(OpenOptions::new().create(true).append(true).open(folder.join("in.jsonl"))?);
    keys.try_for_each(|key| writeln!(input, "{{\"key\":{key},\"n\":1,\"at\":\"2026-03-01T00:00:00Z\"}}"))?;
    Ok(input.flush()?)
}

/// A pipeline that has read a row of every key.
fn loaded(folder: &Path, keys: u64, interval: &str) -> Result<Running> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("pipeline.yaml"), PIPELINE.replace("INTERVAL", interval))?;
    append(folder, 0..keys)?;
    let began = Instant::now();
    let mut running = Running::start(folder)?;
    running.wait_for_rows(keys)?;
    println!("{keys} keys: first run {:.1} s", began.elapsed().as_secs_f64());
    Ok(running)
}

/// Events per CPU-second, the best of so many times.
fn measure_throughput(folder: &Path, keys: u64, times: u64) -> Result<f64> {
    let mut running = loaded(folder, keys, "1s")?;
    running.settle()?;
    let (mut rows, mut state, mut best) = (keys, 1_u64, 0.0_f64);
    for _ in 0..times {
        // Knuth's multiplier: every key is as likely, neighbours are far apart.
        let random = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % keys
        });
        let began = running.cpu_s()?;
        append(folder, random.take(MEASURED as usize))?;
        rows += MEASURED;
        running.wait_for_rows(rows)?;
        running.settle()?;
        let per_second = MEASURED as f64 / (running.cpu_s()? - began);
        println!("{keys} keys: {per_second:.0} events per CPU-second");
        best = best.max(per_second);
    }
    running.stop()?;
    Ok(best)
}

/// Seconds, the best of so many restarts.
fn measure_restart(folder: &Path, keys: u64, restarts: u64) -> Result<f64> {
    let mut exposed = loaded(folder, keys, "100ms")?.stop()?;
    let mut best = f64::MAX;
    for _ in 0..restarts {
        append(folder, 0..MORE)?;
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

    fn wait_for_rows(&mut self, rows: u64) -> Result<()> {
        self.wait_for(|status| number(status, "\"totals\":{\"rows_in\":") == Some(rows), LOADING)
    }

    /// CPU time of the process so far, in seconds.
    fn cpu_s(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, behind_name) = stat.rsplit_once(')').ok_or("a line of /proc")?;
        // User and system time are the 14th and 15th fields, in hundredths of a second; the name is the second.
        let ticks = behind_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        Ok(ticks.sum::<std::result::Result<u64, _>>()? as f64 / 100.0)
    }

    /// Waits until nothing moves any more, and answers the last epoch in the target.
    fn settle(&mut self) -> Result<u64> {
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
        Ok(last.ok_or("the pipeline ended before it was stopped")?.1)
    }

    fn stop(mut self) -> Result<u64> {
        let exposed = self.settle()?;
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
