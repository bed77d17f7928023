//! Says which shifts an entry belongs to: windows of 6, 10 and 8 hours, which no fixed length could be. An entry made in
//! overtime belongs to the shift that follows, too.

use weir_sdk::prelude::*;

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// When shifts change, in hours of the day, from the one that began the day before to the one that ends the day after.
const CHANGES_H: [i64; 6] = [-2, 6, 12, 22, 30, 36];

#[derive(Input)]
struct Entry {
    at: Timestamp,
    overtime: bool,
}

/// The two columns that a window is made of.
#[derive(Output, Debug, PartialEq)]
struct Shift {
    window_start: Timestamp,
    window_end: Timestamp,
}

#[transform]
fn shifts(entry: Entry) -> Vec<Shift> {
    let at_us = entry.at.micros();
    let midnight_us = at_us.div_euclid(DAY_US) * DAY_US;
    let changes = CHANGES_H.map(|hours| midnight_us + hours * HOUR_US);
    let own = changes.windows(2).position(|shift| (shift[0]..shift[1]).contains(&at_us)).expect("shifts fill the day");
    let last = if entry.overtime { own + 1 } else { own };
    let shift = |at: usize| Shift {
        window_start: Timestamp::from_micros(changes[at]),
        window_end: Timestamp::from_micros(changes[at + 1]),
    };
    (own..=last).map(shift).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(at: i64, overtime: bool) -> Vec<(i64, i64)> {
        let entry = Entry { at: Timestamp::from_micros(at * HOUR_US), overtime };
        let hours = |moment: Timestamp| moment.micros() / HOUR_US;
        shifts(entry).iter().map(|shift| (hours(shift.window_start), hours(shift.window_end))).collect()
    }

    #[test]
    fn every_hour_of_a_day_is_in_one_shift() {
        assert_eq!((hours(5, false), hours(6, false)), (vec![(-2, 6)], vec![(6, 12)]));
        assert_eq!((hours(21, false), hours(23, false)), (vec![(12, 22)], vec![(22, 30)]));
    }

    #[test]
    fn overtime_is_in_the_next_shift_too() {
        assert_eq!(hours(11, true), [(6, 12), (12, 22)]);
        assert_eq!(hours(23, true), [(22, 30), (30, 36)]);
    }
}
