//! Two contenders, run in turns, measured in CPU time of this thread.

use rustix::time::{ClockId, clock_gettime};

/// Each closure does all events once and answers how many it did.
pub struct Contest<'a> {
    pub ours: Box<dyn FnMut() -> usize + 'a>,
    pub rival: Box<dyn FnMut() -> usize + 'a>,
}

fn cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

fn measured(run: &mut dyn FnMut() -> usize, events: usize) -> f64 {
    let start = cpu_ns();
    assert_eq!(run(), events);
    (cpu_ns() - start) / events as f64
}

fn best_and_median(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[0], times[times.len() / 2])
}

impl Contest<'_> {
    /// Runs both `passes` times, in turns and after a pass to warm up, and prints one line.
    pub fn run(mut self, name: &str, events: usize, passes: usize) {
        let (mut ours, mut rival) = (Vec::new(), Vec::new());
        for pass in 0..=passes {
            let times = (measured(&mut self.ours, events), measured(&mut self.rival, events));
            if pass > 0 {
                ours.push(times.0);
                rival.push(times.1);
            }
        }
        let (ours, rival) = (best_and_median(ours), best_and_median(rival));
        println!(
            "{name:44} {:7.1} / {:6.1} {:7.1} / {:6.1} {:6.2} / {:4.2}",
            ours.0,
            ours.1,
            rival.0,
            rival.1,
            rival.0 / ours.0,
            rival.1 / ours.1
        );
    }
}
