//! Wall time, and CPU time of this thread and of the process.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

fn cpu_ms(clock: ClockId) -> f64 {
    let now = clock_gettime(clock);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

/// CPU time of the whole process in seconds.
pub fn process_cpu_s() -> f64 {
    cpu_ms(ClockId::ProcessCPUTime) / 1e3
}

pub fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").map_or_else(|_| "unknown".into(), |load| load.trim().to_owned())
}

/// Measures laps and leaves out what is between them.
#[derive(Default)]
pub struct Stopwatch {
    walls: Vec<Duration>,
    thread_ms: Vec<f64>,
    process_ms: f64,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self::default()
    }

    pub fn lap(&mut self, work: impl FnOnce()) {
        let start = (Instant::now(), cpu_ms(ClockId::ThreadCPUTime), cpu_ms(ClockId::ProcessCPUTime));
        work();
        self.walls.push(start.0.elapsed());
        self.thread_ms.push(cpu_ms(ClockId::ThreadCPUTime) - start.1);
        self.process_ms += cpu_ms(ClockId::ProcessCPUTime) - start.2;
    }

    pub fn print(mut self, name: &str) {
        self.walls.sort();
        self.thread_ms.sort_by(f64::total_cmp);
        let laps = self.walls.len();
        let wall_ms = |share: usize| self.walls[(laps * share / 100).min(laps - 1)].as_secs_f64() * 1e3;
        println!(
            "{name:44} cpu of thread best {:.2} median {:.2} ms, of process mean {:.2} ms; wall p50 {:.1} p99 {:.1} max {:.1} ms",
            self.thread_ms[0],
            self.thread_ms[laps / 2],
            self.process_ms / laps as f64,
            wall_ms(50),
            wall_ms(99),
            wall_ms(100),
        );
    }
}
