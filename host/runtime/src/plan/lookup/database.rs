//! A look-up in a database: what is asked of which, and what its types must be.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use arrow_schema::{DataType, FieldRef, Schema, SchemaRef};
use weir_connectors::cassandra::{CassandraCluster, CassandraReader};
use weir_connectors::sql::{PostgresReader, Question, SqliteReader, TableReader};
use weir_manifest::{CassandraTable, Fault, LookupTable, Manifest, type_text};
use weir_operators::lookup::{AnswerCache, MAX_ROWS_PER_KEY, RemoteLookup, RemoteTable, TableShape};
use weir_operators::{Answerer, LookupKind, RowFormat, WaitingLimits};

use super::super::{PlannedWaiting, Planner};
use super::TablePlace;
use crate::lookup::{Board, DatabaseAnswerer, Desk};
use crate::status::StatusBoard;

/// How a database is reached.
enum Reach {
    /// May hold a password: not for showing.
    Postgres(String),
    Sqlite(PathBuf),
    Cassandra {
        cluster: CassandraCluster,
        keyspace: String,
    },
}

impl Reach {
    fn name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "PostgreSQL",
            Self::Sqlite(_) => "SQLite",
            Self::Cassandra { .. } => "Cassandra",
        }
    }

    /// Whether a column of this type can be looked up there, or asked with.
    fn takes(&self, data_type: &DataType, as_key: bool) -> bool {
        match (self, as_key) {
            (Self::Postgres(_), true) => PostgresReader::takes(data_type),
            (Self::Postgres(_), false) => true,
            (Self::Sqlite(_), true) => SqliteReader::takes(data_type),
            (Self::Sqlite(_), false) => *data_type != DataType::Binary,
            (Self::Cassandra { .. }, as_key) => CassandraReader::takes(data_type, as_key),
        }
    }
}

pub(in crate::plan) struct PlannedDatabase {
    /// The step or, of a plugin, its table.
    label: Arc<str>,
    reach: Reach,
    question: Question,
    /// The columns of the question's key.
    key: Vec<FieldRef>,
    values: RowFormat,
    several: bool,
    /// Keys and time to live.
    cache: (usize, u64),
    pub board: Board,
}

impl PlannedDatabase {
    /// One connection, with a cache of its own.
    ///
    /// # Errors
    /// A fault of Weir: the plan saw that it can be made.
    pub(in crate::plan) fn desk(&self) -> Result<Desk, String> {
        let Self { label, reach, question, key, values, several, cache, board } = self;
        let reader: Result<Box<dyn TableReader>, _> = match reach {
            Reach::Postgres(url) => PostgresReader::new(question, url).map(|reader| Box::new(reader) as _),
            Reach::Sqlite(path) => SqliteReader::new(question, path.clone()).map(|reader| Box::new(reader) as _),
            Reach::Cassandra { cluster, keyspace } => {
                CassandraReader::new(question, key, cluster.clone(), keyspace).map(|reader| Box::new(reader) as _)
            }
        };
        let reader = reader.map_err(|error| error.to_string())?;
        let table = RemoteTable::new(values.clone(), AnswerCache::new(cache.0, cache.1));
        Desk::new(label, reader, table, *several, Arc::clone(board))
    }
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
        let lookup = RemoteLookup::new(&self.on, self.kind, &self.input, &self.output);
        let lookup = lookup.map_err(|(_, error)| error.message)?;
        Ok(Box::new(DatabaseAnswerer::spawn(self.database.desk()?, lookup)?))
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
    pub(in crate::plan) fn database(
        &mut self,
        label: &Arc<str>,
        place: TablePlace<'_>,
        shape: &TableShape,
        manifest: &Manifest,
    ) -> Option<PlannedDatabase> {
        let (reach, table) = match place.table {
            LookupTable::Postgres(postgres) => (Reach::Postgres(postgres.url.expose().to_owned()), &postgres.table),
            LookupTable::Sqlite(sqlite) => (Reach::Sqlite(manifest.resolve(&sqlite.path)), &sqlite.table),
            LookupTable::Cassandra(cassandra) => (cassandra_reach(cassandra), &cassandra.table),
            LookupTable::File(_) => unreachable!("a file is no database"),
        };
        self.database_types(&reach, place, shape)?;
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
        let cache = place.cache.map(|cache| (cache.rows as usize, cache.ttl.as_us().unsigned_abs() * 1000));
        let values = RowFormat::new(&Arc::new(Schema::new(values)));
        let values = values.map_err(|message| self.fault(Fault::new(table.span, "lookup-columns", message)));
        Some(PlannedDatabase {
            label: Arc::clone(label),
            reach,
            question,
            key: shape.key.iter().map(|column| Arc::clone(&fields[*column])).collect(),
            values: values.ok()?,
            several: shape.several,
            cache: cache.unwrap_or((0, 0)),
            board: Board::default(),
        })
    }

    /// Types that a database has no equal for.
    fn database_types(&mut self, reach: &Reach, place: TablePlace<'_>, shape: &TableShape) -> Option<()> {
        let mut fits = Some(());
        for (number, (column, column_type)) in place.columns.iter().enumerate() {
            let data_type = &column_type.data_type;
            if !reach.takes(data_type, shape.key.contains(&number)) {
                let name = reach.name();
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

fn cassandra_reach(cassandra: &CassandraTable) -> Reach {
    let cluster = CassandraCluster {
        hosts: cassandra.hosts.iter().map(|host| host.value.clone()).collect(),
        user: cassandra.user.as_ref().map(|user| user.value.clone()),
        password: cassandra.password.as_ref().map(|password| password.expose().to_owned()),
    };
    Reach::Cassandra { cluster, keyspace: cassandra.keyspace.value.clone() }
}
