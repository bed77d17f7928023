//! Nexmark on a real Kafka (`KAFKA_BROKERS`): manifests of `queries/`, an oracle, and programs by hand beside them.
//!
//! * `weir-bench-nexmark check [EVENTS] [QUERIES...]`: the final table of each query, read back as committed, is what the
//!   oracle recomputes; those of the programs by hand too. Fails otherwise.
//! * `weir-bench-nexmark [EVENTS] [ROUNDS] [QUERIES...]`: events per CPU-second of the engine process, ours with epochs, outbox
//!   and transactions, theirs at least once; interleaved.
//!
//! `WEIR_BIN` names the binary (default: the repository's target/release/weir). Figures are ratios within one run; nothing
//! here compares across machines.

mod engine;
mod events;
mod native;
mod oracle;
mod side_input;
mod topic;

use engine::Used;
use events::EventOptions;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Few events, over as much event time as a long run: windows close.
const CHECKED: EventOptions = EventOptions { rate: 1000, disorder: 500 };

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: u64| args.get(index).and_then(|text| text.parse().ok()).unwrap_or(default);
    let queries = || args.iter().filter(|arg| arg.starts_with('q')).map(String::as_str).collect::<Vec<&str>>();
    match args.first().map(String::as_str) {
        Some("native") => native::run(&args[1], &args[2], &args[3], number(4, 0)),
        Some("fill") => topic::fill(&args[1], number(2, 0), &EventOptions::default()),
        Some("check") => check(number(1, 40_000), &or_all(queries())),
        _ => throughput(number(0, 2_000_000), number(1, 3), &or_all(queries())),
    }
}

fn or_all(queries: Vec<&str>) -> Vec<&str> {
    if queries.is_empty() { oracle::QUERIES.iter().map(|(name, _)| *name).collect() } else { queries }
}

fn check(events: u64, queries: &[&str]) {
    side_input::write();
    let input = topic::fresh("in");
    topic::fill(&input, events, &CHECKED);
    let expected = oracle::Input::new(events, &CHECKED);
    let mut faults = 0;
    let mut report = |program: &str, query: &str, rows: usize, fault: Option<String>| match fault {
        None => println!("  {query:<4} {program:<7} {rows:>8} rows, as recomputed"),
        Some(fault) => {
            faults += 1;
            println!("  {query:<4} {program:<7} DIFFERS: {fault}");
        }
    };
    println!("{events} events");
    for query in queries {
        let wanted = oracle::rows(query, &expected);
        let output = topic::fresh(query);
        engine::run_weir(query, &input, &output);
        report("weir", query, wanted.len(), oracle::difference(&topic::table(&output), &wanted));
        let dead = topic::table(&format!("{output}.dead"));
        if !dead.is_empty() {
            report("weir", query, dead.len(), Some(format!("{} dead letters, as {}", dead.len(), dead[0])));
        }
        if native::QUERIES.contains(query) {
            let output = topic::fresh(&format!("{query}.native"));
            engine::run_native(query, &input, &output, events);
            report("by hand", query, wanted.len(), oracle::difference(&topic::table(&output), &wanted));
        }
    }
    if faults > 0 {
        eprintln!("{faults} results differ from the oracle's");
        std::process::exit(1);
    }
}

fn throughput(events: u64, rounds: u64, queries: &[&str]) {
    side_input::write();
    let input = topic::fresh("in");
    engine::fill(&input, events);
    println!("{events} events, {rounds} rounds, thousand events per CPU-second");
    for query in queries {
        let rival = native::QUERIES.contains(query);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            if rival {
                theirs.push(engine::run_native(query, &input, &topic::fresh(&format!("{query}.native")), events));
            }
            ours.push(engine::run_weir(query, &input, &topic::fresh(query)));
        }
        let (best, median) = show(query, "weir", &ours, events);
        if rival {
            let (their_best, their_median) = show(query, "by hand", &theirs, events);
            let (best, median) = (100.0 * best / their_best, 100.0 * median / their_median);
            println!("  {query:<4} ratio   best {best:>7.0}%  median {median:>7.0}%");
        }
    }
}

/// Prints a line and answers best and median.
fn show(query: &str, program: &str, runs: &[Used], events: u64) -> (f64, f64) {
    let mut rates: Vec<f64> = runs.iter().map(|used| events as f64 / used.cpu_s / 1000.0).collect();
    rates.sort_by(f64::total_cmp);
    let peak = runs.iter().map(|used| used.peak_mib).fold(0.0, f64::max);
    let wall = runs.iter().map(|used| used.wall_s).fold(f64::INFINITY, f64::min);
    let (best, median) = (rates[rates.len() - 1], rates[rates.len() / 2]);
    println!(
        "  {query:<4} {program:<7} best {best:>8.0}  median {median:>8.0}  peak {peak:>6.0} MiB  shortest {wall:>5.1} s"
    );
    (best, median)
}
