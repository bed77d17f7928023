//! What must be equal, from both sides: what the pipeline counted, and what its targets hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use arrow_array::{Array, StringArray};
use serde_json::json;
use weir_connectors::parquet::{count_parquet_rows, read_parquet};
use weir_connectors::sql::{TableRows, read_sqlite_table};
use weir_runtime::{Status, StepCounts, SwapReport};
use weir_stream::SinkError;

use super::shape::Shape;
use crate::output::{FAILED, Failure};
use crate::run::grouped;

/// A number for the rows that saw the old version, one for those that saw the new one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Split {
    pub before: u64,
    pub after: u64,
}

impl Split {
    fn all(self) -> u64 {
        self.before + self.after
    }

    fn plus(self, other: Self) -> Self {
        Self { before: self.before + other.before, after: self.after + other.after }
    }

    fn minus(self, other: Self) -> Self {
        Self { before: self.before.saturating_sub(other.before), after: self.after.saturating_sub(other.after) }
    }

    fn add(&mut self, is_before: bool, rows: u64) {
        if is_before {
            self.before += rows;
        } else {
            self.after += rows;
        }
    }
}

/// One comparison.
pub struct Sum {
    counted_as: String,
    counted: Split,
    found_as: String,
    found: Split,
}

impl Sum {
    fn is_right(&self) -> bool {
        self.counted == self.found
    }
}

/// All comparisons, and what the tables need.
pub struct Sums {
    sums: Vec<Sum>,
    pub table: TableRows,
    /// Keys of the rows that only the old, and only the new version makes.
    pub old_keys: BTreeSet<String>,
    pub new_keys: BTreeSet<String>,
}

/// # Errors
/// When a target cannot be read.
pub fn reconcile(shape: &Shape, status: &Status, swap: &SwapReport) -> Result<Sums, Failure> {
    let step = |name: &str| {
        let of = |counts: &BTreeMap<String, StepCounts>| counts.get(name).copied().unwrap_or_default();
        (of(&swap.counts_before), of(&status.steps))
    };
    let split = |name: &str, of: fn(&StepCounts) -> u64| {
        let (before, all) = step(name);
        Split { before: of(&before), after: of(&all).saturating_sub(of(&before)) }
    };
    let read = split(&shape.source, |counts| counts.rows_in);
    let accepted = split(&shape.plugin, |counts| counts.rows_out);
    let refused = split(&shape.source, |counts| counts.rejected).plus(split(&shape.plugin, |counts| counts.rejected));
    let past_filter = split(&shape.filtered, |counts| counts.rows_out);
    let late = split(&shape.window, |counts| counts.late);

    let raw = Raw::read(shape, &swap.digest)?;
    let table = read_sqlite_table(&shape.table_path, &shape.table_name, &["window_start", &shape.key]);
    let table = table.map_err(unreadable)?;
    let windows = windows(&table, shape, &raw)?;
    let letters = dead_letters(&shape.dead_letters, swap.epoch)?;
    let sum = |counted_as: &str, counted, found_as: String, found| Sum {
        counted_as: counted_as.to_owned(),
        counted,
        found_as,
        found,
    };
    let Shape { filtered, count, table_name, .. } = shape;
    let sums = vec![
        sum("read", read, "accepted + rejected".into(), accepted.plus(refused)),
        sum("accepted", accepted, "rows in Parquet".into(), raw.rows),
        sum(
            &format!("past `{filtered}` - late"),
            past_filter.minus(late),
            format!("sum of {table_name}.{count}"),
            windows,
        ),
        sum("rejected + late", refused.plus(late), "dead letters".into(), letters),
    ];
    Ok(Sums { sums, table, old_keys: raw.old_keys, new_keys: raw.new_keys })
}

fn unreadable(error: SinkError) -> Failure {
    Failure::new(FAILED, error.to_string())
}

/// What the folder of accepted rows says.
struct Raw {
    rows: Split,
    old_keys: BTreeSet<String>,
    new_keys: BTreeSet<String>,
}

impl Raw {
    /// Rows by the digest of the version that made them.
    fn read(shape: &Shape, new_digest: &str) -> Result<Self, Failure> {
        let mut raw = Self { rows: Split::default(), old_keys: BTreeSet::new(), new_keys: BTreeSet::new() };
        for batch in read_parquet(&shape.raw_folder).map_err(unreadable)? {
            let text = |name: &str| -> Result<StringArray, Failure> {
                let column =
                    batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref::<StringArray>());
                let column = column.cloned();
                column.ok_or_else(|| Failure::new(FAILED, format!("the accepted rows have no text column `{name}`")))
            };
            let (digests, keys) = (text(&shape.digest)?, text(&shape.key)?);
            for row in 0..batch.num_rows() {
                let is_before = digests.value(row) != new_digest;
                raw.rows.add(is_before, 1);
                let known = if is_before { &mut raw.old_keys } else { &mut raw.new_keys };
                if !keys.is_null(row) && !known.contains(keys.value(row)) {
                    known.insert(keys.value(row).to_owned());
                }
            }
        }
        let counted = count_parquet_rows(&shape.raw_folder).map_err(unreadable)?;
        if counted != raw.rows.all() {
            return Err(Failure::new(
                FAILED,
                format!("the Parquet manifests name {counted} rows, the files hold others"),
            ));
        }
        Ok(raw)
    }
}

/// Rows in the windows, by the version that made their key.
fn windows(table: &TableRows, shape: &Shape, raw: &Raw) -> Result<Split, Failure> {
    let column = |name: &str| {
        let found = table.columns.iter().position(|column| column == name);
        found.ok_or_else(|| Failure::new(FAILED, format!("table {} has no column `{name}`", shape.table_name)))
    };
    if raw.old_keys.intersection(&raw.new_keys).next().is_some() {
        return Err(Failure::new(FAILED, format!("both versions write the same `{}`", shape.key)));
    }
    let (key, count) = (column(&shape.key)?, column(&shape.count)?);
    let mut windows = Split::default();
    for row in &table.rows {
        let rows = row[count].as_deref().and_then(|text| text.parse().ok()).unwrap_or(0);
        windows.add(!row[key].as_ref().is_some_and(|key| raw.new_keys.contains(key)), rows);
    }
    Ok(windows)
}

/// Lines of the dead letters, before and from `epoch` on.
fn dead_letters(path: &Path, epoch: u64) -> Result<Split, Failure> {
    #[derive(serde::Deserialize)]
    struct Letter {
        epoch: u64,
    }
    let failed = |why: String| Failure::new(FAILED, format!("{}: {why}", path.display()));
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut letters = Split::default();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|error| failed(error.to_string()))?;
        let letter: Letter = serde_json::from_str(&line).map_err(|error| failed(error.to_string()))?;
        letters.add(letter.epoch < epoch, 1);
    }
    Ok(letters)
}

impl Sums {
    pub fn wrong(&self) -> usize {
        self.sums.iter().filter(|sum| !sum.is_right()).count()
    }

    /// Two lines a comparison: counted, then found.
    pub fn show(&self) {
        println!("{:<36}{:>13}{:>12}{:>11}", "reconciliation", "before swap", "after swap", "all");
        for sum in &self.sums {
            let line = |what: &str, split: Split| {
                let [before, after, all] = [split.before, split.after, split.all()].map(grouped);
                format!("  {what:<34}{before:>13}{after:>12}{all:>11}")
            };
            println!("{}", line(&sum.counted_as, sum.counted));
            println!(
                "{}  {}",
                line(&format!("= {}", sum.found_as), sum.found),
                if sum.is_right() { "ok" } else { "WRONG" }
            );
        }
    }

    pub fn to_json(&self) -> serde_json::Value {
        let split = |split: Split| json!({ "before": split.before, "after": split.after });
        let sums = self.sums.iter().map(|sum| {
            let (counted, found) = (split(sum.counted), split(sum.found));
            json!({ (sum.counted_as.as_str()): counted, (sum.found_as.as_str()): found, "ok": sum.is_right() })
        });
        sums.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(found: Split) -> Sums {
        let sum = Sum {
            counted_as: "accepted".into(),
            counted: Split { before: 3, after: 4 },
            found_as: "rows".into(),
            found,
        };
        let table = TableRows { columns: Vec::new(), rows: Vec::new() };
        Sums { sums: vec![sum], table, old_keys: BTreeSet::new(), new_keys: BTreeSet::new() }
    }

    #[test]
    fn a_row_on_the_wrong_side_of_the_swap_is_wrong_though_the_sum_is_right() {
        assert_eq!(sums(Split { before: 3, after: 4 }).wrong(), 0);
        assert_eq!(sums(Split { before: 4, after: 3 }).wrong(), 1);
        assert_eq!(sums(Split { before: 3, after: 3 }).wrong(), 1);
    }

    #[test]
    fn dead_letters_are_split_at_the_first_epoch_of_the_new_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letters.jsonl");
        std::fs::write(&path, "{\"epoch\":6}\n{\"epoch\":7,\"code\":\"x\"}\n{\"epoch\":8}\n").unwrap();
        let letters = dead_letters(&path, 7).map_err(|_| ()).unwrap();
        assert_eq!(letters, Split { before: 1, after: 2 });
    }
}
