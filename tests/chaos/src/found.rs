//! What a run left in every sink, in one form: rows by the place of their record, every one that is there.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;
use weir_connectors::parquet::read_parquet;
use weir_connectors::sql::{TableRows, read_postgres_table, read_sqlite_table};
use weir_stream::DeadLetter;

use crate::model::Place;
use crate::room::Room;
use crate::topic;

/// One row, every value as text.
pub type Cells = BTreeMap<String, Option<String>>;

/// Rows as they were found: a place that is there twice is there twice.
pub type Rows = Vec<Cells>;

/// Everything that was found.
#[derive(Debug)]
pub struct Found {
    /// By sink: `raw_files` and `raw_topic`.
    pub raw: Vec<(&'static str, Rows)>,
    pub paid: Vec<(&'static str, Rows)>,
    pub sales: Vec<(&'static str, Rows)>,
    pub letters: Vec<DeadLetter>,
}

/// # Errors
/// When a sink cannot be read.
pub fn read(room: &Room) -> Result<Found> {
    let out = room.path("out");
    let (sales, paid) = (format!("sales_{}", room.name), format!("paid_{}", room.name));
    let sqlite = |file: &str, table: &str| read_sqlite_table(&out.join(file), table, &[]).map(table_rows);
    let postgres = |table: &str| read_postgres_table(&room.postgres, table, &[]).map(table_rows);
    let letters = topic::read(&room.brokers, &room.letters())?;
    let letter = |record: &topic::Record| {
        serde_json::from_slice(&record.value).with_context(|| String::from_utf8_lossy(&record.value).into_owned())
    };
    Ok(Found {
        raw: vec![("raw_files", parquet_rows(&out.join("raw"))?), ("raw_topic", topic_rows(room)?)],
        paid: vec![("paid_lite", sqlite("paid.db", "paid")?), ("paid_server", postgres(&paid)?)],
        sales: vec![("sales_lite", sqlite("shop.db", "sales")?), ("sales_server", postgres(&sales)?)],
        letters: letters.iter().map(letter).collect::<Result<_>>()?,
    })
}

/// The place of the record that a row was made of.
///
/// # Errors
/// When the row does not name one.
pub fn place(cells: &Cells) -> Result<Place> {
    let number = |name: &str| cells.get(name).cloned().flatten().with_context(|| format!("no {name} in {cells:?}"));
    Ok((number("part")?.parse()?, number("place")?.parse()?))
}

fn table_rows(table: TableRows) -> Rows {
    let TableRows { columns, rows } = table;
    rows.into_iter().map(|row| columns.iter().cloned().zip(row).collect()).collect()
}

fn parquet_rows(folder: &std::path::Path) -> Result<Rows> {
    let options = FormatOptions::new();
    let mut rows = Rows::new();
    for batch in read_parquet(folder)? {
        let formatters = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let formatters = formatters.collect::<Result<Vec<_>, _>>()?;
        let schema = batch.schema();
        rows.extend((0..batch.num_rows()).map(|row| {
            let cell = |(column, formatter): (usize, &ArrayFormatter)| {
                let text = (!batch.column(column).is_null(row)).then(|| formatter.value(row).to_string());
                (schema.field(column).name().clone(), text)
            };
            formatters.iter().enumerate().map(cell).collect()
        }));
    }
    Ok(rows)
}

fn topic_rows(room: &Room) -> Result<Rows> {
    let records = topic::read(&room.brokers, &room.out())?;
    let rows = records.iter().map(|record| {
        let row: BTreeMap<String, Value> = serde_json::from_slice(&record.value)?;
        let text = |value| match value {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        Ok(row.into_iter().map(|(name, value)| (name, text(value))).collect())
    });
    rows.collect()
}
