//! What a run left behind, in a form that can be compared: rows as JSON objects, sorted by their text.
//!
//! Dead letters are reduced to place and code, after their payloads were held against the input's own bytes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Value, json};
use weir_connectors::parquet::read_parquet;
use weir_connectors::sql::read_sqlite_table;
use weir_stream::DeadLetter;

/// The file of dead letters, by convention.
pub const DEAD_LETTERS: &str = "dead-letters";

/// By the name of the expectation's file, without `.json`.
pub type Outputs = BTreeMap<String, Value>;

/// Reads everything in `<folder>/out`: SQLite files, JSON lines, folders of Parquet.
///
/// # Errors
/// What cannot be read, and dead letters that do not hold their record's bytes.
pub fn read(folder: &Path) -> Result<Outputs> {
    let mut outputs = Outputs::new();
    for entry in std::fs::read_dir(folder.join("out")).context("the run wrote nothing to out/")? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("db") => sqlite_tables(&path, &stem, &mut outputs)?,
            Some("jsonl") if stem == DEAD_LETTERS => {
                outputs.insert(stem, dead_letters(&path, folder)?);
            }
            Some("jsonl") => {
                outputs.insert(stem, json_lines(&path)?);
            }
            None if path.is_dir() && !stem.starts_with('.') => {
                outputs.insert(stem, parquet_rows(&path)?);
            }
            _ => {}
        }
    }
    Ok(outputs)
}

fn sorted(mut rows: Vec<Value>) -> Value {
    rows.sort_by_cached_key(Value::to_string);
    Value::Array(rows)
}

fn sqlite_tables(path: &Path, stem: &str, outputs: &mut Outputs) -> Result<()> {
    let tables = read_sqlite_table(path, "sqlite_master", &[])?;
    let column = |name: &str| tables.columns.iter().position(|column| column == name);
    let (kind, name) = column("type").zip(column("name")).context("sqlite_master has changed")?;
    for row in tables.rows.iter().filter(|row| row[kind].as_deref() == Some("table")) {
        let table = row[name].clone().unwrap_or_default();
        // The sinks' own tables hold epochs, which differ from run to run.
        if table.starts_with("weir_") || table.starts_with("sqlite_") {
            continue;
        }
        let found = read_sqlite_table(path, &table, &[])?;
        let objects = found.rows.into_iter().map(|row| {
            let cells = found.columns.iter().cloned().zip(row.into_iter().map(Value::from));
            Value::Object(cells.collect())
        });
        outputs.insert(format!("{stem}.{table}"), sorted(objects.collect()));
    }
    Ok(())
}

fn json_lines(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path)?;
    let rows = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
    Ok(sorted(rows.with_context(|| path.display().to_string())?))
}

fn parquet_rows(folder: &Path) -> Result<Value> {
    let options = FormatOptions::new();
    let mut rows = Vec::new();
    for batch in read_parquet(folder)? {
        let formatters = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let formatters = formatters.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cell = |(column, formatter): (usize, &ArrayFormatter)| {
                let text = (!batch.column(column).is_null(row)).then(|| formatter.value(row).to_string());
                (batch.schema().field(column).name().clone(), Value::from(text))
            };
            rows.push(Value::Object(formatters.iter().enumerate().map(cell).collect::<Map<_, _>>()));
        }
    }
    Ok(sorted(rows))
}

fn dead_letters(path: &Path, folder: &Path) -> Result<Value> {
    let mut letters = Vec::new();
    for line in std::fs::read_to_string(path)?.lines() {
        let letter: DeadLetter = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let topic = Path::new(&*letter.topic);
        let file = topic.strip_prefix(folder).ok().or_else(|| topic.file_name().map(Path::new));
        let file = file.and_then(Path::to_str).unwrap_or("").to_owned();
        if let Ok(offset) = usize::try_from(letter.offset) {
            let input = std::fs::read(folder.join(&file)).with_context(|| format!("{file} of {line}"))?;
            let rest = input[offset..].strip_prefix(letter.payload.as_slice());
            let ends = |rest: &[u8]| rest.is_empty() || rest.starts_with(b"\n") || rest.starts_with(b"\r\n");
            // Of a record over the limit only its beginning was ever in memory.
            let held = rest.is_some_and(|rest| letter.code == "too-large" || ends(rest));
            ensure!(held, "a dead letter does not hold its record's bytes: {line:.300}");
        }
        let mut shown = json!({
            "file": file,
            "offset": letter.offset,
            "step": &*letter.step,
            "stage": &*letter.stage,
            "code": letter.code,
        });
        if let Some(line) = letter.line {
            shown["line"] = line.into();
        }
        letters.push(shown);
    }
    Ok(sorted(letters))
}
