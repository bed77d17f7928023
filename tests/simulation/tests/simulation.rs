//! `WEIR_SEEDS=n` tries more seeds, `WEIR_SEED=n` begins elsewhere.

use weir_simulation::simulate_all;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn whatever_fails_every_row_arrives_once_and_the_pipeline_comes_to_its_end() {
    let (first, count) = (number("WEIR_SEED", 1), number("WEIR_SEEDS", 2000));
    let began = std::time::Instant::now();
    let seen = simulate_all(first, count).unwrap_or_else(|broken| panic!("{broken}"));
    let per_minute = count as f64 / began.elapsed().as_secs_f64() * 60.0;
    println!("seeds {first}..{}: {per_minute:.0} a minute, {seen:?}", first + count);
    assert!(count < 500 || seen.met_all(), "some danger was never met: {seen:?}");
}
