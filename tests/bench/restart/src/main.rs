//! What a large state costs a pipeline, against one of the same kind with ten thousand keys in the same run: `weir run` with
//! a group-by over millions of keys.
//!
//! * Without a word: it is stopped, gets some records more, and is started again. Seconds of wall time from the start of the
//!   process to the epoch that holds the new result being in SQLite.
//! * `throughput`: records of random keys, all of them held, as small as they can be and from a file, so that little else
//!   costs. Events per CPU-second of the whole process, epochs of a second.
//! * `kafka`: the same with events such as the shop's, from Kafka to Kafka (`KAFKA_BROKERS`), all of them there before the
//!   pipeline starts.
//!
//! Files are in the page cache.
//!
//!     WEIR_BIN=target/release/weir cargo run --release -p weir-bench-restart -- [throughput|kafka] [thousands of keys] [times]

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

/// What stands before the rows of the step.
const ROWS: &str = "\"totals\":{\"rows_in\":";

/// Of the keys one in a thousand reaches the target, so that the target is not what is measured.
const PIPELINE: &str = "pipeline: restart
sources:
  events: { columns: { COLUMNS }, event_time: { column: at } }
steps:
  totals: { from: events, key: [key], aggregate: { rows: count(), total: sum(n) }, ttl: never }
  some: { from: totals, sample: { share: 0.1%, by: [key] } }
sinks:
  table: { from: some, upsert: [key] }
state: { memory: 8GiB, epoch: { interval: INTERVAL } }
profiles:
  file:
    events: { file: { path: in.jsonl } }
    table: { sqlite: { path: out.db, table: totals } }
    dead_letters: { file: { path: letters.jsonl } }
  kafka:
    events: { kafka: { brokers: \"${KAFKA_BROKERS}\", topic: \"${BENCH_TOPIC}\" } }
    table: { kafka: { brokers: \"${KAFKA_BROKERS}\", topic: \"${BENCH_TOPIC}.out\", partitions: 4 } }
    dead_letters: { file: { path: letters.jsonl } }
";

/// The least that the pipeline needs.
const SMALL: &str = "key: int64!, n: int64!, at: timestamp(ms)!";

/// A shop's event.
const SHOP: &str = "key: int64!, kind: utf8, n: int32!, category: utf8, amount: 'decimal(12, 2)', currency: utf8, \
                    at: timestamp(ms)!";

/// Puts the file into the topic.
const FILL: &str = "pipeline: fill
sources:
  events: { columns: { COLUMNS }, event_time: { column: at } }
sinks:
  topic: { from: events, append: true }
profiles:
  only:
    events: { file: { path: in.jsonl } }
    topic: { kafka: { brokers: \"${KAFKA_BROKERS}\", topic: \"${BENCH_TOPIC}\", partitions: 4 } }
    dead_letters: { file: { path: fill-letters.jsonl } }
";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let throughput = arguments.next_if(|argument| argument == "throughput" || argument == "kafka");
    let mut numbers = arguments.map(|argument| argument.parse::<u64>());
    let keys = numbers.next().transpose()?.unwrap_or(10_000) * 1_000;
    let times = numbers.next().transpose()?.unwrap_or(3);
    let root = std::env::temp_dir().join(format!("weir-bench-restart-{}", std::process::id()));
    let measured = [FEW_KEYS, keys].map(|keys| {
        let folder = root.join(keys.to_string());
        fs::create_dir_all(&folder)?;
        match throughput.as_deref() {
            Some(mode) => measure_throughput(&folder, mode == "kafka", keys, times),
            None => measure_restart(&folder, keys, times),
        }
    });
    fs::remove_dir_all(&root)?;
    let [few, many] = measured;
    let (few, many) = (few?, many?);
    if throughput.is_some() {
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

/// Writes records of these keys behind the others.
fn append(folder: &Path, columns: &str, mut keys: impl Iterator<Item = u64>) -> Result<()> {
    let mut input = BufWriter::new(OpenOptions::new().create(true).append(true).open(folder.join("in.jsonl"))?);
    let rest = match columns {
        SHOP => r#","kind":"payment","category":"books","amount":"12.50","currency":"EUR""#,
        _ => "",
    };
    keys.try_for_each(|key| writeln!(input, r#"{{"key":{key},"n":1,"at":"2026-03-01T00:00:00Z"{rest}}}"#))?;
    Ok(input.flush()?)
}

/// A pipeline that has read a record of every key.
fn loaded(folder: &Path, profile: &str, columns: &str, keys: u64, interval: &str) -> Result<Running> {
    let pipeline = PIPELINE.replace("COLUMNS", columns).replace("INTERVAL", interval);
    fs::write(folder.join("pipeline.yaml"), pipeline)?;
    let began = Instant::now();
    let mut running = Running::start(folder, profile)?;
    running.wait_for_rows(keys)?;
    println!("{keys} keys: first run {:.1} s", began.elapsed().as_secs_f64());
    Ok(running)
}

/// Events per CPU-second once every key is held, the best of so many times `MEASURED` events.
fn measure_throughput(folder: &Path, kafka: bool, keys: u64, times: u64) -> Result<f64> {
    let (profile, columns) = if kafka { ("kafka", SHOP) } else { ("file", SMALL) };
    let mut state = 1_u64;
    // The upper bits of Knuth's generator: every key is as likely, neighbours are far apart.
    let random = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % keys
    });
    append(folder, columns, (0..keys).chain(random.take((MEASURED * times) as usize)))?;
    if kafka {
        fs::write(folder.join("fill.yaml"), FILL.replace("COLUMNS", columns))?;
        let filled = weir(folder)?.args(["run", "fill.yaml", "--until-end", "--quiet"]).status()?;
        filled.success().then_some(()).ok_or("the topic was not filled")?;
    }
    let mut running = loaded(folder, profile, columns, keys, "1s")?;
    let (mut rows, mut best) = (running.rows().unwrap_or(keys), 0.0_f64);
    for _ in 0..times {
        let began = running.cpu_s()?;
        let goal = (rows + MEASURED).min(keys + MEASURED * times);
        running.wait_for_rows(goal)?;
        let (now, cpu_s) = (running.rows().unwrap_or(goal), running.cpu_s()? - began);
        let per_second = (now - rows) as f64 / cpu_s;
        println!("{keys} keys: {per_second:.0} events per CPU-second");
        best = best.max(per_second);
        rows = now;
    }
    running.stop()?;
    Ok(best)
}

/// Seconds, the best of so many restarts.
fn measure_restart(folder: &Path, keys: u64, restarts: u64) -> Result<f64> {
    append(folder, SMALL, 0..keys)?;
    let mut exposed = loaded(folder, "file", SMALL, keys, "100ms")?.stop()?;
    let mut best = f64::MAX;
    for _ in 0..restarts {
        append(folder, SMALL, 0..MORE)?;
        let began = Instant::now();
        let mut running = Running::start(folder, "file")?;
        running.wait_for(|status| number(status, EXPOSED) > Some(exposed), Duration::from_secs(300))?;
        let seconds = began.elapsed().as_secs_f64();
        exposed = running.stop()?;
        println!("{keys} keys: restart {seconds:.2} s");
        best = best.min(seconds);
    }
    Ok(best)
}

/// The binary in this folder, with a topic that is the folder's own.
fn weir(folder: &Path) -> Result<Command> {
    let binary = PathBuf::from(std::env::var("WEIR_BIN").map_err(|_| "WEIR_BIN names the binary to measure")?);
    let mut command = Command::new(binary.canonicalize()?);
    let topic = folder.display().to_string().replace('/', ".");
    command.current_dir(folder).env("BENCH_TOPIC", topic.trim_start_matches('.'));
    Ok(command)
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
    fn start(folder: &Path, profile: &str) -> Result<Self> {
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut command = weir(folder)?;
        command.args(["run", "pipeline.yaml", "--profile", profile, "--quiet", "--admin", &admin]);
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
        self.wait_for(|status| number(status, ROWS) >= Some(rows), LOADING)
    }

    /// How many rows the step has read.
    fn rows(&self) -> Option<u64> {
        number(&self.status()?, ROWS)
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
