//! What was found against what is expected: nothing lost, nothing doubled, nothing changed, nothing made up.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::found::{self, Cells, Found, Rows, place};
use crate::model::{self, Expected, Place, Row};
use crate::room::Room;
use crate::topic::{self, Record};

/// Faults that a message shows.
const SHOWN: usize = 10;

/// What was counted on the way, for result files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub records: u64,
    pub rows: u64,
    pub windows: u64,
    pub dead_letters: u64,
    pub late: u64,
    /// Rows that the second version of the plugin made.
    pub by_next: u64,
}

/// Reads input and every sink, and holds them against each other. `steps`: the counts of the finished run's status.
///
/// # Errors
/// Everything that is not as it must be, by sink.
pub fn check(room: &Room, steps: &Value) -> Result<Figures> {
    let records = topic::read(&room.brokers, &room.events())?;
    let expected = model::expect(&records);
    let found = found::read(room)?;
    let mut faults = Vec::new();
    let makers = makers(&found)?;
    let next = digest(room, "clean-events-next")?;
    let category = |place: &Place, row: &Row| {
        let by_next = makers.get(place) == Some(&next);
        row.category.as_deref().map(|name| if by_next { model::department(name) } else { name }.to_owned())
    };
    for (sink, rows) in &found.raw {
        let wanted = expected.raw.iter().map(|(place, row)| (*place, row_text(row, category(place, row))));
        compare(sink, wanted.collect(), rows, &mut faults)?;
    }
    for (sink, rows) in &found.paid {
        let wanted = expected.paid.keys().map(|place| {
            let row = &expected.raw[place];
            (*place, row_text(row, category(place, row)))
        });
        compare(sink, wanted.collect(), rows, &mut faults)?;
    }
    let sales = sales_text(&expected, category);
    for (sink, rows) in &found.sales {
        compare_sales(sink, &sales, rows, &mut faults)?;
    }
    compare_letters(&expected, &found, &records, &mut faults);
    compare_counts(&expected, steps, sales.len() as u64, &mut faults);
    if !faults.is_empty() {
        let shown: Vec<&String> = faults.iter().take(SHOWN).collect();
        bail!("{} faults, the first of them {shown:#?}", faults.len());
    }
    Ok(Figures {
        records: expected.records,
        rows: expected.raw.len() as u64,
        windows: sales.len() as u64,
        dead_letters: expected.letters.len() as u64,
        late: expected.late.len() as u64,
        by_next: makers.values().filter(|maker| **maker == next).count() as u64,
    })
}

fn digest(room: &Room, plugin: &str) -> Result<String> {
    let digest = Sha256::digest(std::fs::read(room.component(plugin))?);
    Ok(digest.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}")))
}

/// Which digest made the row of each place; both raw sinks must agree on it.
fn makers(found: &Found) -> Result<BTreeMap<Place, String>> {
    let mut makers = BTreeMap::new();
    for (sink, rows) in &found.raw {
        for cells in rows {
            let (place, maker) = (place(cells)?, cells.get("made_by").cloned().flatten().context("no made_by")?);
            let before = makers.insert(place, maker.clone());
            ensure!(
                before.as_ref().is_none_or(|before| *before == maker),
                "{sink}: {place:?} was made by two versions"
            );
        }
    }
    Ok(makers)
}

fn euro(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// The columns that are compared, as text.
fn row_text(row: &Row, category: Option<String>) -> Vec<Option<String>> {
    let Row { event_id, kind, quantity, cents, .. } = row;
    vec![Some(event_id.clone()), Some(kind.clone()), category, quantity.map(|n| n.to_string()), cents.map(euro)]
}

fn found_text(cells: &Cells) -> Vec<Option<String>> {
    let columns = ["event_id", "kind", "category", "quantity", "amount_eur"];
    columns.iter().map(|column| cells.get(*column).cloned().flatten()).collect()
}

fn compare(
    sink: &str,
    mut wanted: BTreeMap<Place, Vec<Option<String>>>,
    rows: &Rows,
    faults: &mut Vec<String>,
) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for cells in rows {
        let place = place(cells)?;
        if !seen.insert(place) {
            faults.push(format!("{sink}: {place:?} is there twice"));
            continue;
        }
        match wanted.remove(&place) {
            None => faults.push(format!("{sink}: {place:?} should not be there: {cells:?}")),
            Some(wanted) if wanted != found_text(cells) => {
                faults.push(format!("{sink}: {place:?} is {cells:?}, not {wanted:?}"));
            }
            Some(_) => {}
        }
    }
    faults.extend(wanted.keys().map(|place| format!("{sink}: {place:?} is lost")));
    Ok(())
}

type SalesText = BTreeMap<(i64, Option<String>), Vec<Option<String>>>;

fn sales_text(expected: &Expected, category: impl Fn(&Place, &Row) -> Option<String>) -> SalesText {
    let sales = model::sales(expected, category).into_iter().map(|(key, sums)| {
        let items = sums.items.map(|items| items.to_string());
        (key, vec![Some(sums.orders.to_string()), items, Some(euro(sums.cents))])
    });
    sales.collect()
}

fn compare_sales(sink: &str, wanted: &SalesText, rows: &Rows, faults: &mut Vec<String>) -> Result<()> {
    let mut found = SalesText::new();
    for cells in rows {
        let cell = |name: &str| cells.get(name).cloned().flatten();
        let start: jiff::Timestamp = cell("window_start").context("a window without start")?.parse()?;
        let key = (start.as_microsecond(), cell("category"));
        if found.insert(key.clone(), vec![cell("orders"), cell("items"), cell("revenue")]).is_some() {
            faults.push(format!("{sink}: window {key:?} is there twice"));
        }
    }
    for (key, sums) in wanted {
        match found.remove(key) {
            None => faults.push(format!("{sink}: window {key:?} is lost")),
            Some(found) if found != *sums => faults.push(format!("{sink}: window {key:?} is {found:?}, not {sums:?}")),
            Some(_) => {}
        }
    }
    faults.extend(found.keys().map(|key| format!("{sink}: window {key:?} should not be there")));
    Ok(())
}

fn compare_letters(expected: &Expected, found: &Found, records: &[Record], faults: &mut Vec<String>) {
    let payloads: BTreeMap<Place, &[u8]> =
        records.iter().map(|record| ((record.partition, record.offset), &record.value[..])).collect();
    let mut wanted = expected.letters.clone();
    for letter in &found.letters {
        let place = (letter.partition, letter.offset);
        match wanted.remove(&place) {
            None => faults.push(format!("dead letters: {place:?} is too many: {} {}", letter.step, letter.code)),
            Some((step, stage)) if (step, stage) != (&*letter.step, &*letter.stage) => {
                faults.push(format!(
                    "dead letters: {place:?} is of {}, {}; not of {step}, {stage}",
                    letter.step, letter.stage
                ));
            }
            Some(_) if payloads.get(&place) != Some(&&letter.payload[..]) => {
                faults.push(format!("dead letters: {place:?} does not hold its record's bytes"));
            }
            Some(_) => {}
        }
    }
    faults.extend(wanted.iter().map(|(place, (step, _))| format!("dead letters: {place:?} of {step} is lost")));
}

/// The status's own counts: exact sums since the pipeline was created, whatever was run twice.
fn compare_counts(expected: &Expected, steps: &Value, windows: u64, faults: &mut Vec<String>) {
    let refused = |by: &str| expected.letters.values().filter(|(step, _)| *step == by).count() as u64;
    let checked = expected.records - refused("events");
    let (paid, late) = (expected.paid.len() as u64, expected.late.len() as u64);
    let wanted = [
        ("events", "rows_in", expected.records),
        ("events", "rejected", refused("events")),
        ("check", "rows_in", checked),
        ("check", "rejected", refused("check")),
        ("clean", "rejected", refused("clean")),
        ("clean", "rows_out", expected.raw.len() as u64),
        ("paid", "rows_out", paid),
        ("sales_per_minute", "rows_in", paid),
        ("sales_per_minute", "late", late),
        ("sales_per_minute", "rows_out", windows),
    ];
    for (step, count, wanted) in wanted {
        let found = steps[step][count].as_u64();
        if found != Some(wanted) {
            faults.push(format!("status: {step}.{count} is {found:?}, not {wanted}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(place: i64, kind: &str) -> Cells {
        let texts =
            [("part", "0".to_owned()), ("place", place.to_string()), ("event_id", "e".into()), ("kind", kind.into())];
        texts.into_iter().map(|(name, text)| (name.to_owned(), Some(text))).collect()
    }

    fn faults(rows: &[Cells]) -> Vec<String> {
        let row = Row { event_id: "e".into(), kind: "order".into(), category: None, quantity: None, cents: None };
        let wanted = [1, 2].map(|place| ((0, place), row_text(&row, None)));
        let mut faults = Vec::new();
        compare("sink", wanted.into(), &rows.to_vec(), &mut faults).unwrap();
        faults
    }

    #[test]
    fn what_is_lost_doubled_changed_or_made_up_is_seen() {
        let [one, two] = [1, 2].map(|place| cells(place, "order"));
        assert_eq!(faults(&[two.clone(), one.clone()]), Vec::<String>::new());
        assert!(faults(std::slice::from_ref(&one))[0].contains("(0, 2) is lost"));
        assert!(faults(&[one.clone(), two.clone(), two.clone()])[0].contains("(0, 2) is there twice"));
        assert!(faults(&[one.clone(), cells(2, "refund")])[0].contains("(0, 2) is "));
        assert!(faults(&[one, two, cells(3, "order")])[0].contains("(0, 3) should not be there"));
    }
}
