//! The target table as SQL names it. Invariant: every identifier in here was checked and is quoted; nothing else of
//! a manifest ever becomes part of a statement's text.

use arrow_array::RecordBatch;
use arrow_cast::cast;
use arrow_schema::{DataType, SchemaRef};
use weir_stream::SinkError;

use super::{SqlTarget, WriteMode};
use crate::identity::fatal;

/// The longest identifier that both databases take whole.
pub(crate) const MAX_IDENTIFIER_BYTES: usize = 63;

/// Tables of Weir's own.
pub(super) const PROGRESS_TABLE: &str = "weir_progress";
pub(super) const REJECTED_TABLE: &str = "weir_rejected";

/// Checks and quotes one identifier.
///
/// # Errors
/// `Fatal` unless it is letters, digits and `_`, not beginning with a digit, and short enough.
pub(crate) fn quote(what: &str, name: &str) -> Result<String, SinkError> {
    let mut bytes = name.bytes();
    let well_formed = bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.len() <= MAX_IDENTIFIER_BYTES;
    if well_formed {
        return Ok(format!("\"{name}\""));
    }
    Err(fatal(
        format!("`{}` cannot be a {what} in SQL", name.escape_debug()),
        format!("use letters, digits and `_`, not beginning with a digit, at most {MAX_IDENTIFIER_BYTES} long"),
    ))
}

/// Quotes `table` or, where the database has schemas, `schema.table`.
pub(crate) fn quote_table(name: &str, schemas: bool) -> Result<String, SinkError> {
    match name.split_once('.') {
        Some((schema, table)) if schemas => Ok(format!("{}.{}", quote("schema", schema)?, quote("table", table)?)),
        _ => quote("table", name),
    }
}

/// A checked target.
#[derive(Debug)]
pub(super) struct Table {
    /// Quoted.
    pub name: String,
    /// Quoted, in the schema's order.
    pub columns: Vec<String>,
    /// SQL types, in the schema's order.
    pub types: Vec<String>,
    /// Column numbers of the key; empty for append.
    pub key: Vec<usize>,
    pub schema: SchemaRef,
}

impl Table {
    /// # Errors
    /// `Fatal` for a name, a column, a key or a type that the database cannot have.
    pub(super) fn new(
        target: &SqlTarget,
        schemas: bool,
        sql_type: fn(&DataType) -> Option<String>,
    ) -> Result<Self, SinkError> {
        let SqlTarget { table, schema, mode, .. } = target;
        let bare = table.rsplit('.').next().unwrap_or(table).to_ascii_lowercase();
        if bare == PROGRESS_TABLE || bare == REJECTED_TABLE || bare.starts_with("sqlite_") {
            return Err(fatal(
                format!("table `{table}` is not for rows of a pipeline"),
                "give the sink another `table`",
            ));
        }
        let mut columns: Vec<String> = Vec::new();
        let mut types = Vec::new();
        for field in schema.fields() {
            let quoted = quote("column", field.name())?;
            if columns.iter().any(|column| column.eq_ignore_ascii_case(&quoted)) {
                return Err(fatal(
                    format!(
                        "column `{}` of table `{table}` is there twice (SQL does not tell case apart)",
                        field.name()
                    ),
                    "rename one of them in a `select` before the sink",
                ));
            }
            columns.push(quoted);
            types.push(sql_type(field.data_type()).ok_or_else(|| unsupported(table, field))?);
        }
        if columns.is_empty() {
            return Err(fatal(format!("table `{table}` would have no column"), "give the sink at least one column"));
        }
        let key = key_columns(table, schema, mode)?;
        Ok(Self { name: quote_table(table, schemas)?, columns, types, key, schema: schema.clone() })
    }

    pub(super) fn create_statement(&self) -> String {
        let definitions = self.columns.iter().zip(&self.types).zip(self.schema.fields()).enumerate();
        let mut parts: Vec<String> = definitions
            .map(|(number, ((name, sql_type), field))| {
                let required = !field.is_nullable() || self.key.contains(&number);
                format!("{name} {sql_type}{}", if required { " NOT NULL" } else { "" })
            })
            .collect();
        if !self.key.is_empty() {
            parts.push(format!("PRIMARY KEY ({})", self.key_list()));
        }
        format!("CREATE TABLE IF NOT EXISTS {} ({})", self.name, parts.join(", "))
    }

    pub(super) fn column_list(&self) -> String {
        self.columns.join(", ")
    }

    fn key_list(&self) -> String {
        self.key.iter().map(|column| self.columns[*column].as_str()).collect::<Vec<_>>().join(", ")
    }

    /// What follows the values of an insert: nothing for append.
    pub(super) fn on_conflict(&self) -> String {
        if self.key.is_empty() {
            return String::new();
        }
        let others = (0..self.columns.len()).filter(|column| !self.key.contains(column));
        let sets: Vec<String> = others.map(|column| format!("{0} = excluded.{0}", self.columns[column])).collect();
        let action = if sets.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", sets.join(", ")) };
        format!(" ON CONFLICT ({}) DO {action}", self.key_list())
    }

    /// Checks that rows are of the agreed columns, and brings the variants of a type into its plain form.
    ///
    /// # Errors
    /// `Fatal` when they are not.
    pub(super) fn normalise(&self, rows: &RecordBatch) -> Result<Vec<arrow_array::ArrayRef>, SinkError> {
        let found = rows.schema();
        let same = found.fields().len() == self.schema.fields().len()
            && found
                .fields()
                .iter()
                .zip(self.schema.fields())
                .all(|(found, agreed)| found.name() == agreed.name() && found.data_type() == agreed.data_type());
        if !same {
            return Err(fatal(
                format!("rows for table {} have columns other than were agreed: {:?}", self.name, found.fields()),
                "this is a fault of weir: report it with the manifest",
            ));
        }
        let plain = |array: &arrow_array::ArrayRef| match array.data_type() {
            DataType::LargeUtf8 | DataType::Utf8View => cast(array, &DataType::Utf8),
            DataType::LargeBinary | DataType::BinaryView => cast(array, &DataType::Binary),
            _ => Ok(array.clone()),
        };
        let columns: Result<Vec<_>, _> = rows.columns().iter().map(plain).collect();
        columns.map_err(|error| fatal(format!("rows cannot be prepared: {error}"), "report it with the manifest"))
    }
}

fn key_columns(table: &str, schema: &SchemaRef, mode: &WriteMode) -> Result<Vec<usize>, SinkError> {
    let WriteMode::Upsert { key } = mode else { return Ok(Vec::new()) };
    if key.is_empty() {
        return Err(fatal(format!("table `{table}` is upserted without a key"), "name the key columns under `upsert`"));
    }
    let number = |name: &String| {
        schema.index_of(name).map_err(|_| {
            let has: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            fatal(
                format!("table `{table}` is upserted by `{name}`, which is not a column of its rows"),
                format!("name one of {}", has.join(", ")),
            )
        })
    };
    key.iter().map(number).collect()
}

fn unsupported(table: &str, field: &arrow_schema::Field) -> SinkError {
    fatal(
        format!(
            "column `{}` of table `{table}` has type {}, which this database cannot hold",
            field.name(),
            field.data_type()
        ),
        "cast it in a `select` before the sink",
    )
}
