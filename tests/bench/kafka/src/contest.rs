//! Contenders, run in turns, measured in CPU time of the process.

use rustix::time::{ClockId, clock_gettime};

fn cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

fn measured(run: &mut dyn FnMut(), records: usize) -> f64 {
    let start = cpu_ns();
    run();
    (cpu_ns() - start) / records as f64
}

fn best_and_median(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[0], times[times.len() / 2])
}

/// Runs every one of ours and the rival `passes` times, in turns and after a pass to warm up, and prints a line each.
pub fn run(ours: &mut [(&str, Box<dyn FnMut() + '_>)], rival: &mut dyn FnMut(), records: usize, passes: usize) {
    let mut our_times = vec![Vec::new(); ours.len()];
    let mut rival_times = Vec::new();
    for pass in 0..=passes {
        for (times, (_, ours)) in our_times.iter_mut().zip(ours.iter_mut()) {
            let time = measured(ours, records);
            times.extend((pass > 0).then_some(time));
        }
        let time = measured(rival, records);
        rival_times.extend((pass > 0).then_some(time));
    }
    let rival = best_and_median(rival_times);
    for ((name, _), times) in ours.iter().zip(our_times) {
        let ours = best_and_median(times);
        let ratio = (rival.0 / ours.0, rival.1 / ours.1);
        println!(
            "{name:44} {:8.1} / {:6.1} {:8.1} / {:6.1} {:6.2} / {:4.2}",
            ours.0, ours.1, rival.0, rival.1, ratio.0, ratio.1
        );
    }
}
