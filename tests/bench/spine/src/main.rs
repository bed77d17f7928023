//! Benches of the whole program on a real Kafka (`KAFKA_BROKERS`):
//!
//! * `spine [EVENTS] [ROUNDS]`: Kafka -> decode -> plugin -> encode -> Kafka, ours with epochs, outbox and transactions,
//!   against the same by hand at least once. Interleaved; events per CPU-second of the engine process, peak memory.
//! * `spine epochs [EVENTS] [ROUNDS]`: the same with epochs of 100 ms, against a log that keeps nothing (`WEIR_BUGS`, or the
//!   repository's target/release/weir-bugs).
//! * `spine latency [RATE] [SECONDS]`: from a producer's clock to a committed read, epochs of 20 ms; without a rate at half of
//!   what a first run takes.
//! * `spine swaps [SWAPS]`: swaps at 100,000 events/s into a file; the pause of each, from the old version's last row to
//!   the new one's first, waiting for the next events included.
//!
//! `WEIR_BIN` names the binary (default: the repository's target/release/weir); both plugins must be built.

mod latency;
mod native;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: u64| args.get(index).and_then(|text| text.parse().ok()).unwrap_or(default);
    match args.first().map(String::as_str) {
        Some("native") => native::run(&brokers(), &args[1], &args[2], number(3, 0)),
        Some("epochs") => epochs(number(1, 2_000_000), number(2, 5)),
        Some("latency") => latency(number(1, 0), number(2, 20)),
        Some("swaps") => swaps(number(1, 200)),
        _ => throughput(number(0, 2_000_000), number(1, 5)),
    }
}

fn brokers() -> String {
    std::env::var("KAFKA_BROKERS").expect("KAFKA_BROKERS says where Kafka is")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn weir() -> Command {
    let binary = std::env::var_os("WEIR_BIN").map_or_else(|| root().join("target/release/weir"), PathBuf::from);
    Command::new(binary)
}

/// A name that no earlier run used.
fn fresh(name: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    format!("bench.{name}.{}", now.as_micros())
}

struct Used {
    cpu_s: f64,
    wall_s: f64,
    peak_mib: f64,
}

/// Waits for a process and tells what it used, its threads and the Kafka client in it included.
fn used(mut child: Child, started: Instant) -> Used {
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    // SAFETY: both pointers are to live locals; the child is ours and waited for once.
    let waited = unsafe { libc::wait4(child.id() as libc::pid_t, &mut status, 0, &mut usage) };
    assert!(waited > 0 && status == 0, "the process failed with status {status}");
    let _ = child.stdin.take();
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Used {
        cpu_s: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        wall_s: started.elapsed().as_secs_f64(),
        peak_mib: usage.ru_maxrss as f64 / 1024.0,
    }
}

fn fill(topic: &str, events: u64) {
    let events = events.to_string();
    let done = weir()
        .args(["generate", "ecommerce", "--events", &events, "--topic", topic, "--event-rate", "100000"])
        .args(["--brokers", &brokers(), "--partitions", "4"])
        .status();
    assert!(done.expect("weir runs").success(), "the input could not be written");
}

fn run_weir(input: &str) -> Used {
    let state = std::env::temp_dir().join(fresh("state"));
    let started = Instant::now();
    let child = weir()
        .args(["run", "--until-end", "--quiet", "--profile", "kafka", "--admin", "127.0.0.1:0", "--state"])
        .arg(&state)
        .arg(root().join("tests/bench/spine/pipeline.yaml"))
        .env("BENCH_IN", input)
        .env("BENCH_OUT", fresh("out"))
        .stderr(Stdio::null())
        .spawn()
        .expect("weir runs");
    let used = used(child, started);
    let _ = std::fs::remove_dir_all(state);
    used
}

fn run_native(input: &str, events: u64) -> Used {
    let output = fresh("native");
    native::create(&brokers(), &output);
    let started = Instant::now();
    let this = std::env::current_exe().expect("this program has a path");
    let child = Command::new(this).args(["native", input, &output, &events.to_string()]).spawn();
    used(child.expect("this program runs"), started)
}

fn throughput(events: u64, rounds: u64) {
    let input = fresh("in");
    fill(&input, events);
    let (mut ours, mut native) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        native.push(run_native(&input, events));
        ours.push(run_weir(&input));
    }
    println!("{events} events, {rounds} rounds, thousand events per CPU-second");
    let (native_best, native_median) = show("native", &native, events);
    let (best, median) = show("weir", &ours, events);
    println!("  ratio   best {:>6.0}%  median {:>6.0}%", 100.0 * best / native_best, 100.0 * median / native_median);
}

/// Prints a line and answers the best and the median rate.
fn show(name: &str, runs: &[Used], events: u64) -> (f64, f64) {
    let mut rates: Vec<f64> = runs.iter().map(|used| events as f64 / used.cpu_s / 1000.0).collect();
    rates.sort_by(f64::total_cmp);
    let peak = runs.iter().map(|used| used.peak_mib).fold(0.0, f64::max);
    let wall = runs.iter().map(|used| used.wall_s).fold(f64::INFINITY, f64::min);
    let (best, median) = (rates[rates.len() - 1], rates[rates.len() / 2]);
    println!("  {name:<7} best {best:>7.0}  median {median:>7.0}  peak {peak:>6.0} MiB  shortest {wall:>5.1} s");
    (best, median)
}

/// The pipeline with epochs of another length, in a folder of its own.
fn with_epochs(interval_ms: u64) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let manifest = folder.path().join("pipeline.yaml");
    let plugins = root().canonicalize().expect("the repository is there").join("plugins");
    let text = include_str!("../pipeline.yaml").replace("../../../plugins", &plugins.display().to_string());
    let text = format!("{text}\nstate: {{ epoch: {{ interval: {interval_ms}ms }} }}\n");
    std::fs::write(&manifest, text).expect("the disk has room");
    (folder, manifest)
}

/// The engine with the log, and with one that keeps nothing: the same binary, so that nothing else differs.
fn run_live(verb: &str, manifest: &Path, input: &str) -> Used {
    let binary = std::env::var_os("WEIR_BUGS").map_or_else(|| root().join("target/release/weir-bugs"), PathBuf::from);
    let state = std::env::temp_dir().join(fresh("state"));
    let started = Instant::now();
    let mut command = Command::new(binary);
    command.arg(verb).arg(manifest).arg("kafka").arg(&state).env("BENCH_IN", input).env("BENCH_OUT", fresh("out"));
    let used = used(command.spawn().expect("weir-bugs runs"), started);
    let _ = std::fs::remove_dir_all(state);
    used
}

fn epochs(events: u64, rounds: u64) {
    let input = fresh("in");
    fill(&input, events);
    let (_folder, manifest) = with_epochs(100);
    let (mut kept, mut forgotten) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        forgotten.push(run_live("forget", &manifest, &input));
        kept.push(run_live("run", &manifest, &input));
    }
    println!("{events} events, {rounds} rounds, epochs of 100 ms, thousand events per CPU-second");
    let (best, median) = show("forgets", &forgotten, events);
    let (ours, ours_median) = show("keeps", &kept, events);
    println!("  ratio   best {:>6.0}%  median {:>6.0}%", 100.0 * ours / best, 100.0 * ours_median / median);
}

fn latency(rate: u64, seconds: u64) {
    let rate = if rate > 0 { rate } else { half_load() };
    let (_folder, manifest) = with_epochs(20);
    let topics = latency::Topics { input: fresh("in"), output: fresh("out") };
    latency::create(&brokers(), &topics);
    let port = 7432;
    let state = tempfile::tempdir().expect("a folder for temporary files");
    let child = weir()
        .args(["run", "--quiet", "--profile", "kafka", "--admin", &format!("127.0.0.1:{port}"), "--state"])
        .arg(state.path().join("state"))
        .arg(&manifest)
        .env("BENCH_IN", &topics.input)
        .env("BENCH_OUT", &topics.output)
        .stderr(Stdio::null())
        .spawn()
        .expect("weir runs");
    wait_until_ready(port);
    latency::run(&brokers(), &topics, rate, seconds);
    let mut status = ureq::get(format!("http://127.0.0.1:{port}/pipeline")).call().expect("a status");
    latency::stages(&status.body_mut().read_json().expect("a status"));
    stop(port, child);
}

/// Half of the events per second of wall time that the pipeline takes from a full topic.
fn half_load() -> u64 {
    let (input, events) = (fresh("in"), 1_000_000);
    fill(&input, events);
    (events as f64 / run_weir(&input).wall_s / 2.0) as u64
}

fn stop(port: u16, child: Child) {
    let _ = ureq::post(format!("http://127.0.0.1:{port}/pipeline/stop"))
        .header("content-type", "application/json")
        .send("{}");
    used(child, Instant::now());
}

fn swaps(count: u64) {
    let port = 7431;
    let state = std::env::temp_dir().join(fresh("state"));
    std::fs::create_dir_all(&state).expect("a folder for temporary files");
    let child = weir()
        .args(["run", "--quiet", "--profile", "paced", "--admin", &format!("127.0.0.1:{port}"), "--state"])
        .arg(state.join("state"))
        .arg(root().join("tests/bench/spine/pipeline.yaml"))
        .env("BENCH_OUT", &state)
        .stderr(Stdio::null())
        .spawn()
        .expect("weir runs");
    let body = plugin("clean-events");
    let mut pauses_ms: Vec<f64> = Vec::new();
    wait_until_ready(port);
    for _ in 0..count {
        let url = format!("http://127.0.0.1:{port}/pipeline/steps/clean/plugin");
        let mut answer =
            ureq::post(&url).header("content-type", "application/wasm").send(&body).expect("a swap is taken");
        let report: serde_json::Value = answer.body_mut().read_json().expect("a report");
        pauses_ms.extend(report["pause_us"].as_f64().map(|us| us / 1000.0));
    }
    pauses_ms.sort_by(f64::total_cmp);
    let at = |share: f64| pauses_ms[((pauses_ms.len() - 1) as f64 * share) as usize];
    println!("{count} swaps at 100,000 events/s, pause in ms over {} with rows", pauses_ms.len());
    println!("  p50 {:.2}  p99 {:.2}  max {:.2}", at(0.5), at(0.99), at(1.0));
    stop(port, child);
    let _ = std::fs::remove_dir_all(state);
}

fn plugin(name: &str) -> Vec<u8> {
    let path = root().join(format!("plugins/target/weir/{name}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `weir plugin build plugins/{name}`", path.display()))
}

fn wait_until_ready(port: u16) {
    let until = Instant::now() + Duration::from_secs(30);
    while ureq::get(format!("http://127.0.0.1:{port}/ready")).call().is_err() {
        assert!(Instant::now() < until, "the pipeline is not ready after 30 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}
