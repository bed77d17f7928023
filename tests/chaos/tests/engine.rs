//! Windows, an interval join, a dedup and a keyed plugin in one pipeline lose nothing and double nothing in any sink,
//! however often the process is killed.

use weir_chaos::room::Room;
use weir_chaos::services::Services;
use weir_chaos::{engine, seed};

/// A tenth of the soak.
const KILLS: u32 = 20;

#[test]
fn twenty_kills_lose_and_double_nothing_of_a_dedup_a_window_a_join_and_a_keyed_plugin() {
    let room = Room::of(Services::shared(), &engine::SCENE).unwrap();
    let killed = engine::round(&room, seed::printed(), KILLS).unwrap();
    eprintln!("{killed:?}");
    let figures = killed.figures;
    assert!(figures.windows > 200 && figures.pairs > figures.passed / 2, "{figures:?}");
    assert!(figures.silences > 32 && figures.dead_letters > 100, "{figures:?}");
}
