//! A look-up in a database: what is asked of which, and what its types must be.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use arrow_schema::{DataType, Schema, SchemaRef};
use weir_connectors::sql::{PostgresReader, Question, SqliteReader, TableReader};
use weir_manifest::{Fault, LookupStep, LookupTable, Manifest, type_text};
use weir_operators::lookup::{AnswerCache, MAX_ROWS_PER_KEY, RemoteLookup, TableShape};
use weir_operators::{Answerer, LookupKind, RowFormat, WaitingLimits};

use super::super::{PlannedWaiting, Planner};
use crate::lookup::{Board, DatabaseAnswerer};
use crate::status::StatusBoard;

/// How a database is reached.
enum Reach {
    /// May hold a password: not for showing.
    Postgres(String),
    Sqlite(PathBuf),
}

pub(super) struct PlannedDatabase {
    pub step: Arc<str>,
    reach: Reach,
    question: Question,
    values: RowFormat,
    several: bool,
    /// Keys and time to live.
    cache: (usize, u64),
    board: Board,
}

/// A step that asks a database.
pub(super) struct PlannedDatabaseLookup {
    pub on: Vec<String>,
    pub kind: LookupKind,
    pub input: SchemaRef,
    pub output: SchemaRef,
    pub database: PlannedDatabase,
}

impl PlannedWaiting for PlannedDatabaseLookup {
    fn answerer(&self) -> Result<Box<dyn Answerer>, String> {
        let PlannedDatabase { step, reach, question, values, several, cache, board } = &self.database;
        let reader: Result<Box<dyn TableReader>, _> = match reach {
            Reach::Postgres(url) => PostgresReader::new(question, url).map(|reader| Box::new(reader) as _),
            Reach::Sqlite(path) => SqliteReader::new(question, path.clone()).map(|reader| Box::new(reader) as _),
        };
        let reader = reader.map_err(|error| error.to_string())?;
        let cache = AnswerCache::new(cache.0, cache.1);
        let lookup = RemoteLookup::new(&self.on, self.kind, &self.input, &self.output, values.clone(), cache);
        let lookup = lookup.map_err(|(_, error)| error.message)?;
        Ok(Box::new(DatabaseAnswerer::spawn(step, reader, lookup, *several, Arc::clone(board))?))
    }

    /// A database that is away is waited for: the thread that asks knows when to give up.
    fn limits(&self) -> WaitingLimits {
        WaitingLimits { answer_ms: u64::MAX, ..WaitingLimits::default() }
    }

    fn tell(&self, board: &Arc<StatusBoard>) {
        *self.database.board.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(board));
    }
}

impl Planner<'_> {
    pub(super) fn database(
        &mut self,
        step: &Arc<str>,
        lookup: &LookupStep,
        shape: &TableShape,
        manifest: &Manifest,
    ) -> Option<PlannedDatabase> {
        self.database_types(lookup, shape)?;
        let (reach, table) = match &lookup.table {
            LookupTable::Postgres(postgres) => (Reach::Postgres(postgres.url.expose().to_owned()), &postgres.table),
            LookupTable::Sqlite(sqlite) => (Reach::Sqlite(manifest.resolve(&sqlite.path)), &sqlite.table),
            LookupTable::File(_) => unreachable!("a file is no database"),
        };
        let fields = shape.schema.fields();
        let values: Vec<_> = shape.values().into_iter().map(|column| Arc::clone(&fields[column])).collect();
        let question = Question {
            table: table.value.clone(),
            key: shape.key.iter().map(|column| fields[*column].name().clone()).collect(),
            values: values.clone(),
            // One more than there may be, so that more are noticed.
            rows_per_key: if shape.several { MAX_ROWS_PER_KEY } else { 1 } + 1,
        };
        if let Err(message) = question.check() {
            self.fault(Fault::new(table.span, "lookup-columns", message).next("look up in two steps"));
            return None;
        }
        let cache = lookup.cache.as_ref().map(|cache| (cache.rows as usize, cache.ttl.as_us().unsigned_abs() * 1000));
        let values = RowFormat::new(&Arc::new(Schema::new(values)));
        let values = values.map_err(|message| self.fault(Fault::new(table.span, "lookup-columns", message)));
        Some(PlannedDatabase {
            step: Arc::clone(step),
            reach,
            question,
            values: values.ok()?,
            several: shape.several,
            cache: cache.unwrap_or((0, 0)),
            board: Board::default(),
        })
    }

    /// Types that a database has no equal for.
    fn database_types(&mut self, lookup: &LookupStep, shape: &TableShape) -> Option<()> {
        let is_sqlite = matches!(lookup.table, LookupTable::Sqlite(_));
        let (name, takes): (_, fn(&DataType) -> bool) = match is_sqlite {
            true => ("SQLite", SqliteReader::takes),
            false => ("PostgreSQL", PostgresReader::takes),
        };
        let mut fits = Some(());
        for (number, (column, column_type)) in lookup.columns.iter().enumerate() {
            let data_type = &column_type.data_type;
            let refused = match shape.key.contains(&number) {
                true => !takes(data_type),
                false => is_sqlite && *data_type == DataType::Binary,
            };
            if refused {
                let message = format!("`{column}` is {}, which cannot be looked up in {name}", type_text(data_type));
                self.fault(
                    Fault::new(column_type.span, "lookup-columns", message).next("leave it out, or make a view"),
                );
                fits = None;
            }
        }
        fits
    }
}
