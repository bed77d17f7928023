//! Hopping windows, each row in sixty of them, against tumbling ones of the same slide: 1,000 keys, a pass of rows in each
//! slide. What the windows give out when a slide ends is counted apart.

use weir_operators::{KeyedOperator, Outputs, WindowGrid};
use weir_stream::Batch;

use crate::{ROWS, Steps, WINDOW_US, batches, best_and_median, cpu_ns, per, tumbling};

const KEYS: u64 = 1_000;
const OVERLAP: i64 = 60;

pub fn run(passes: usize) {
    let hopping = WindowGrid::hopping(WINDOW_US * OVERLAP, WINDOW_US, 0).expect("a valid window");
    let mut steps = [Steps::new(&tumbling()), Steps::new(&hopping)];
    let mut rows = batches(KEYS);
    let (mut times, mut firing): ([Vec<f64>; 2], [Vec<f64>; 2]) = Default::default();
    // As many slides as a window spans come first: from then on a slide gives out windows that are full.
    for slide in 0..OVERLAP as usize + passes {
        let measured = slide >= OVERLAP as usize;
        let taken = if measured { rows.len() } else { 1 };
        for (index, steps) in steps.iter_mut().enumerate() {
            let (pass, fired) = one_slide(steps, &rows[..taken], slide as i64);
            if measured {
                times[index].push(pass);
                firing[index].push(fired);
            }
        }
        rows.iter_mut().for_each(|batch| later(batch, WINDOW_US));
    }
    let [once, often] = times.map(best_and_median);
    let [once_fired, often_fired] = firing.map(best_and_median);
    println!("\n{KEYS} keys, {ROWS} rows a slide");
    println!(
        "  tumbling             {:>6.1} best {:>6.1} median, firing {:>6.1} ns a key",
        once.0, once.1, once_fired.0
    );
    println!(
        "  overlap {OVERLAP}           {:>6.1} best {:>6.1} median, firing {:>6.1} ns a key",
        often.0, often.1, often_fired.0
    );
    println!("  tumbling / overlap   {:>6.2} best {:>6.2} median", once.0 / often.0, once.1 / often.1);
}

/// CPU nanoseconds per row of the rows, and per key of what the slide's end gives out.
fn one_slide(steps: &mut Steps, rows: &[Batch], slide: i64) -> (f64, f64) {
    let start = cpu_ns();
    rows.iter().for_each(|batch| steps.whole(batch));
    let passed = cpu_ns();
    let mut fired = Outputs::default();
    steps.window.advance((slide + 1) * WINDOW_US, &mut fired).expect("the window fires");
    (per(passed - start, ROWS), per(cpu_ns() - passed, KEYS as usize))
}

fn later(batch: &mut Batch, by_us: i64) {
    batch.event_times_us = batch.event_times_us.iter().map(|time| time + by_us).collect();
}
