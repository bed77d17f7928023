//! What a run left in every sink, in one form: rows by the place of their record, every one that is there.

use std::collections::BTreeMap;
use std::path::Path;

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
    let sqlite = |file: &str, table: &str| sqlite_rows(&out.join(file), table);
    let postgres = |table: &str| postgres_rows(room, table);
    let letters = topic::read(&room.brokers, &room.letters())?;
    let letter = |record: &topic::Record| {
        serde_json::from_slice(&record.value).with_context(|| String::from_utf8_lossy(&record.value).into_owned())
    };
    Ok(Found {
        raw: vec![("raw_files", parquet_rows(&out.join("raw"))?), ("raw_topic", topic_rows(room, &room.out())?)],
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

/// # Errors
/// When the table cannot be read.
pub fn sqlite_rows(file: &Path, table: &str) -> Result<Rows> {
    Ok(table_rows(read_sqlite_table(file, table, &[])?))
}

/// # Errors
/// When the table cannot be read.
pub fn postgres_rows(room: &Room, table: &str) -> Result<Rows> {
    Ok(table_rows(read_postgres_table(&room.postgres, table, &[])?))
}

fn table_rows(table: TableRows) -> Rows {
    let TableRows { columns, rows } = table;
    rows.into_iter().map(|row| columns.iter().cloned().zip(row).collect()).collect()
}

/// # Errors
/// When a file cannot be read.
pub fn parquet_rows(folder: &Path) -> Result<Rows> {
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

/// # Errors
/// When the topic cannot be read, or holds other things than JSON objects.
pub fn topic_rows(room: &Room, topic: &str) -> Result<Rows> {
    let records = topic::read(&room.brokers, topic)?;
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
