//! Nothing is lost and nothing doubled in any sink, however often the process is killed.

use weir_chaos::kills::round;
use weir_chaos::room::{Load, Room};
use weir_chaos::seed;
use weir_chaos::services::Services;

/// A tenth of the soak.
const KILLS: u32 = 6;

#[test]
fn six_kills_under_load_lose_and_double_nothing_in_any_sink() {
    let room = Room::new(Services::shared()).unwrap();
    let load = Load { seed: seed::printed(), events: 36_000, per_second: 4_000 };
    let killed = round(&room, load, KILLS).unwrap();
    eprintln!("{killed:?}");
    assert!(killed.under_load >= 3, "the load ended too early: {killed:?}");
    assert_eq!(killed.figures.records, load.events + u64::from(KILLS));
    assert!(killed.figures.late >= 1, "{:?}", killed.figures);
    assert!(killed.figures.windows >= 12 && killed.figures.dead_letters > 100, "{:?}", killed.figures);
}
