//! The result tables: the last window that only the old version filled, and the first that only the new one did.

use std::collections::{BTreeMap, BTreeSet};

use super::reconcile::Sums;
use super::shape::Shape;
use crate::output::{FAILED, Failure};
use crate::run::grouped;

type Row = Vec<Option<String>>;

/// # Errors
/// When the table is not the one that the shape promised.
pub fn show(shape: &Shape, sums: &Sums) -> Result<(), Failure> {
    let position = |name: &str| sums.table.columns.iter().position(|column| column == name);
    let (Some(start), Some(key)) = (position("window_start"), position(&shape.key)) else {
        return Err(Failure::new(FAILED, format!("{} has no window_start or key", shape.table_name)));
    };
    let mut windows = BTreeMap::<String, Vec<&Row>>::new();
    for row in &sums.table.rows {
        windows.entry(row[start].clone().unwrap_or_default()).or_default().push(row);
    }
    let made_by = |rows: &[&Row], keys: &BTreeSet<String>| {
        rows.iter().all(|row| row[key].as_ref().is_none_or(|key| keys.contains(key)))
    };
    println!(
        "\n{}: {} rows in {} windows, as SQLite has them",
        shape.table_name,
        grouped(sums.table.rows.len() as u64),
        windows.len()
    );
    if let Some((window, rows)) = windows.iter().rfind(|(_, rows)| made_by(rows, &sums.old_keys)) {
        println!("\nthe last window of the version before, {}", minute(window));
        print!("{}", table(&sums.table.columns, rows, key));
    }
    if let Some((window, rows)) = windows.iter().find(|(_, rows)| made_by(rows, &sums.new_keys)) {
        println!("\nthe first window of the new version alone, {}", minute(window));
        print!("{}", table(&sums.table.columns, rows, key));
    }
    println!();
    Ok(())
}

/// `2026-03-01T10:03:00.000000Z` as `2026-03-01 10:03`.
fn minute(window: &str) -> String {
    window.get(..16).unwrap_or(window).replacen('T', " ", 1)
}

/// The columns from the key on, text to the left and numbers to the right.
fn table(columns: &[String], rows: &[&Row], key: usize) -> String {
    let mut lines = vec![columns[key..].to_vec()];
    lines.extend(rows.iter().map(|row| row[key..].iter().map(|cell| cell.clone().unwrap_or("null".into())).collect()));
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        text += &format!("  {:<1$}", line[0], widths[0]);
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            text += &format!("  {cell:>width$}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_under_their_heads() {
        let columns = ["window_start", "category", "orders"].map(String::from);
        let row = |cells: [&str; 3]| cells.map(|cell| Some(cell.to_owned())).to_vec();
        let (books, toys) = (row(["t", "books", "7"]), row(["t", "toys", "1234567"]));
        let shown = table(&columns, &[&books, &toys], 1);
        assert_eq!(shown, "  category   orders\n  books           7\n  toys      1234567\n");
    }
}
