//! Panes, windows and their ends, by hand and against a naive search.

use super::*;

fn tumbling(size_us: i64, offset_us: i64) -> WindowGrid {
    WindowGrid::tumbling(size_us, offset_us).unwrap()
}

#[test]
fn event_times_before_1970_fall_into_the_window_that_holds_them() {
    let minute = tumbling(60, 0);
    for (time, window) in [(-1, (-60, 0)), (-60, (-60, 0)), (-61, (-120, -60)), (0, (0, 60)), (59, (0, 60))] {
        assert_eq!(minute.pane_of(time), Some(window));
    }
}

#[test]
fn an_offset_moves_the_starts_and_nothing_else() {
    for (offset, expected) in [(15, (-45, 15)), (-15, (-15, 45))] {
        assert_eq!(tumbling(60, offset).pane_of(5), Some(expected));
    }
}

#[test]
fn a_window_that_leaves_i64_is_none_and_the_last_whole_one_is_there() {
    let window = tumbling(10, 0);
    assert_eq!(window.pane_of(i64::MAX), None);
    assert_eq!(window.pane_of(i64::MIN), None);
    let last = i64::MAX / 10 * 10;
    assert_eq!(window.pane_of(last - 1), Some((last - 10, last)));
    assert_eq!(tumbling(i64::MAX, 0).pane_of(5), Some((0, i64::MAX)));
    assert_eq!(tumbling(i64::MAX, i64::MAX - 1).pane_of(i64::MIN), Some((i64::MIN, -1)));
    let hopping = WindowGrid::hopping(30, 10, 0).unwrap();
    assert_eq!(hopping.pane_of(last - 31), Some((last - 40, last - 30)));
    assert_eq!(hopping.pane_of(last - 1), None, "its newest window would end behind the last whole one");
}

#[test]
fn windows_that_hold_nothing_or_leave_something_out_are_refused() {
    assert_eq!(WindowGrid::tumbling(0, 0), Err(WindowError::Size { size_us: 0 }));
    assert_eq!(WindowGrid::tumbling(-5, 0), Err(WindowError::Size { size_us: -5 }));
    assert_eq!(WindowGrid::tumbling(60, 60), Err(WindowError::Offset { offset_us: 60, every_us: 60 }));
    assert_eq!(WindowGrid::tumbling(60, i64::MIN), Err(WindowError::Offset { offset_us: i64::MIN, every_us: 60 }));
    assert_eq!(WindowGrid::hopping(60, 0, 0), Err(WindowError::Every { every_us: 0 }));
    assert_eq!(WindowGrid::hopping(60, 61, 0), Err(WindowError::Gaps { size_us: 60, every_us: 61 }));
    let error = WindowGrid::hopping(10_001, 10_000, 0).unwrap_err();
    assert_eq!(error, WindowError::Panes { size_us: 10_001, every_us: 10_000, panes: 10_001 });
    assert!(WindowGrid::hopping(10_000, 1, 0).is_ok());
    assert_eq!(WindowGrid::zoned(7, 0, "UTC"), Err(WindowError::ZonedSize));
    let error = WindowGrid::zoned(HOUR, 0, "Mars/Olympus").unwrap_err();
    assert_eq!(error.to_string(), "no time zone `Mars/Olympus`; write an IANA name such as Europe/Berlin");
}

#[test]
fn a_panes_windows_are_exactly_those_that_hold_it() {
    for (size, every, offset) in [(10, 10, 3), (10, 5, -2), (10, 4, 1), (7, 3, 0), (60, 1, 0), (9, 8, 7), (5, 5, 0)] {
        let grid = WindowGrid::hopping(size, every, offset).unwrap();
        for time in -100..100 {
            let (pane, pane_end) = grid.pane_of(time).unwrap();
            assert!((pane..pane_end).contains(&time));
            let starts = (-300..300).filter(|start| (start - offset).rem_euclid(every) == 0);
            let holding: Vec<(i64, i64)> =
                starts.filter(|start| *start <= pane && start + size >= pane_end).map(|s| (s, s + size)).collect();
            assert_eq!(grid.windows_of(pane).collect::<Vec<_>>(), holding, "{size} {every} {offset} at {time}");
            let open = (-300i64..300).filter(|start| (start - offset).rem_euclid(every) == 0);
            assert_eq!(grid.first_open(time), open.into_iter().find(|start| start + size > time).unwrap());
        }
    }
}

const HOUR: i64 = 3_600_000_000;

fn at(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

#[test]
fn days_of_a_zone_have_23_hours_in_spring_and_25_in_autumn() {
    let days = WindowGrid::zoned(24 * HOUR, 0, "Europe/Berlin").unwrap();
    let day = |text: &str| days.pane_of(at(text)).unwrap();
    assert_eq!(day("2026-03-29T12:00:00Z"), (at("2026-03-28T23:00:00Z"), at("2026-03-29T22:00:00Z")));
    assert_eq!(day("2026-10-25T12:00:00Z"), (at("2026-10-24T22:00:00Z"), at("2026-10-25T23:00:00Z")));
    let (start, end) = day("2026-07-01T00:00:00Z");
    assert_eq!((end - start, days.end_of(start), days.first_open(start)), (24 * HOUR, end, start));
    let shift = WindowGrid::zoned(24 * HOUR, 6 * HOUR, "Europe/Berlin").unwrap();
    let six = shift.pane_of(at("2026-03-29T12:00:00Z")).unwrap();
    assert_eq!(six, (at("2026-03-29T04:00:00Z"), at("2026-03-30T04:00:00Z")));
}

#[test]
fn hours_of_a_zone_stand_side_by_side_where_the_clock_changes() {
    for (zone, from) in [
        ("Europe/Berlin", "2026-03-28T20:00:00Z"),
        ("Europe/Berlin", "2026-10-24T20:00:00Z"),
        ("Asia/Kolkata", "2026-01-01T00:00:00Z"),
        ("Pacific/Apia", "2011-12-29T00:00:00Z"),
        ("America/Sao_Paulo", "2018-11-03T20:00:00Z"),
    ] {
        for hours in [1, 2, 12, 24, 48] {
            let grid = WindowGrid::zoned(hours * HOUR, 0, zone).unwrap();
            let mut last: Option<(i64, i64)> = None;
            for step in 0..400 {
                let time = at(from) + step * HOUR / 4;
                let window = grid.pane_of(time).unwrap();
                assert!(window.0 <= time && time < window.1, "{zone} {hours}");
                if let Some(last) = last.filter(|last| *last != window) {
                    assert_eq!(last.1, window.0, "{zone} {hours} at {time}");
                }
                last = Some(window);
            }
        }
    }
}

#[test]
fn times_beyond_the_calendar_are_in_no_window_of_a_zone() {
    let days = WindowGrid::zoned(24 * HOUR, 0, "UTC").unwrap();
    assert_eq!((days.pane_of(i64::MAX), days.pane_of(i64::MIN)), (None, None));
    assert_eq!((days.first_open(i64::MIN), days.first_open(i64::MAX)), (i64::MIN, i64::MAX));
}
