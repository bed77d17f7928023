//! Rows of a Cassandra table by key, for look-ups: a prepared statement for one key, run for many of them at once.
//!
//! Not one statement with `IN`: its keys live on many nodes, so that one of them would have to collect them all, it knows
//! no bound of rows by key, and with a key of several columns it asks for every combination. Each key alone goes straight
//! to a node that has it.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, FieldRef};
use scylla::client::session::Session;
use scylla::cluster::metadata::ColumnType;
use scylla::errors::ExecutionError;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row};
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use weir_stream::{SinkError, SourceError};

use super::connection::{CassandraCluster, Connection};
use super::types;
use crate::identity::fatal;
use crate::sql::{AnsweredRow, Question, TableReader, as_source, quote, quote_table};

/// Keys that are asked at once.
const CONCURRENT_KEYS: usize = 64;

/// Asks a Cassandra table.
pub struct CassandraReader {
    connection: Connection,
    cql: String,
    keyspace: String,
    table: String,
    /// Types of the key, as declared.
    key: Vec<FieldRef>,
    values: Vec<FieldRef>,
    prepared: Option<Arc<Prepared>>,
}

/// A statement that the cluster has looked at.
struct Prepared {
    statement: PreparedStatement,
    /// Cassandra's types of the key.
    key: Vec<ColumnType<'static>>,
    values: Vec<FieldRef>,
}

impl CassandraReader {
    /// Nothing is connected yet. `key`: the columns of the question's key, with their types.
    ///
    /// # Errors
    /// `Fatal` when a name cannot be used.
    pub fn new(
        question: &Question,
        key: &[FieldRef],
        cluster: CassandraCluster,
        keyspace: &str,
    ) -> Result<Self, SourceError> {
        let cql = statement(question, keyspace).map_err(as_source)?;
        Ok(Self {
            connection: Connection::new(cluster).map_err(as_source)?,
            cql,
            keyspace: keyspace.to_owned(),
            table: question.table.clone(),
            key: key.to_vec(),
            values: question.values.clone(),
            prepared: None,
        })
    }

    /// Whether a column of this type can be looked up, and asked with.
    pub fn takes(data_type: &DataType, as_key: bool) -> bool {
        types::takes(data_type, as_key)
    }

    fn answer(&mut self, keys: &[ArrayRef]) -> Result<Vec<AnsweredRow>, SinkError> {
        let session = self.connection.session()?;
        let prepared = match &self.prepared {
            Some(prepared) => Arc::clone(prepared),
            None => {
                let prepared = Arc::new(self.prepare(&session)?);
                self.prepared = Some(Arc::clone(&prepared));
                prepared
            }
        };
        let count = keys.first().map_or(0, |column| column.len());
        // What Cassandra's types have no room for is in none of its tables.
        let value = |row: usize| -> Option<Vec<CqlValue>> {
            keys.iter().zip(&prepared.key).map(|(column, has)| types::key(column, row, has)).collect()
        };
        let asked: Vec<(usize, Vec<CqlValue>)> = (0..count).filter_map(|row| Some((row, value(row)?))).collect();
        let answered = self.connection.drive(ask_all(session, prepared, asked));
        answered.map_err(|error| self.connection.not_executed(&error))
    }

    /// Lets the cluster look at the statement, and holds its types against those declared.
    fn prepare(&self, session: &Session) -> Result<Prepared, SinkError> {
        let prepared = self.connection.drive(session.prepare(self.cql.as_str()));
        let mut statement = prepared.map_err(|error| self.connection.not_prepared(&error))?;
        statement.set_is_idempotent(true);
        let key: Vec<ColumnType<'static>> =
            statement.get_variable_col_specs().iter().map(|column| column.typ().clone()).collect();
        for (declared, has) in self.key.iter().zip(&key) {
            if !types::asks(declared.data_type(), has) {
                return Err(self.unfit(declared, has, "looked up by"));
            }
        }
        let columns = statement.get_current_result_set_col_specs();
        for (declared, column) in self.values.iter().zip(columns.get().iter()) {
            if !types::reads(declared.data_type(), column.typ()) {
                return Err(self.unfit(declared, column.typ(), "read"));
            }
        }
        drop(columns);
        Ok(Prepared { statement, key, values: self.values.clone() })
    }

    fn unfit(&self, declared: &FieldRef, has: &ColumnType<'_>, verb: &str) -> SinkError {
        let (target, keyspace, table) = (self.connection.target(), &self.keyspace, &self.table);
        let (name, data_type) = (declared.name(), declared.data_type());
        let message = format!(
            "{target}: column `{name}` of {keyspace}.{table} is {}, which cannot be {verb} as {data_type}",
            cql_type(has)
        );
        fatal(message, "declare the column as what it is, or leave it out of `columns`")
    }
}

impl TableReader for CassandraReader {
    fn ask(&mut self, keys: &[ArrayRef]) -> Result<Vec<AnsweredRow>, SourceError> {
        self.answer(keys).map_err(|error| {
            self.prepared = None;
            self.connection.disconnect();
            as_source(error)
        })
    }

    fn target(&self) -> &str {
        self.connection.target()
    }
}

/// Asks every key, some at once.
async fn ask_all(
    session: Arc<Session>,
    prepared: Arc<Prepared>,
    asked: Vec<(usize, Vec<CqlValue>)>,
) -> Result<Vec<AnsweredRow>, Box<ExecutionError>> {
    let mut open = JoinSet::new();
    let mut answered = Vec::new();
    for (key, values) in asked {
        if open.len() == CONCURRENT_KEYS {
            take(open.join_next().await, &mut answered)?;
        }
        let (session, prepared) = (Arc::clone(&session), Arc::clone(&prepared));
        open.spawn(async move { ask_one(&session, &prepared, key, values).await });
    }
    while !open.is_empty() {
        take(open.join_next().await, &mut answered)?;
    }
    Ok(answered)
}

type Joined = Option<Result<Result<Vec<AnsweredRow>, Box<ExecutionError>>, tokio::task::JoinError>>;

fn take(joined: Joined, answered: &mut Vec<AnsweredRow>) -> Result<(), Box<ExecutionError>> {
    let of_key = joined.expect("there is one open").expect("a question does not panic");
    answered.extend(of_key?);
    Ok(())
}

async fn ask_one(
    session: &Session,
    prepared: &Prepared,
    key: usize,
    values: Vec<CqlValue>,
) -> Result<Vec<AnsweredRow>, Box<ExecutionError>> {
    let found = session.execute_unpaged(&prepared.statement, values).await.map_err(Box::new)?;
    let rows = found.into_rows_result().expect("a SELECT answers rows");
    let rows = rows.rows::<Row>().expect("a row of any columns");
    let as_text = |row: Row| {
        let mut object = Map::with_capacity(prepared.values.len());
        for (field, value) in prepared.values.iter().zip(row.columns) {
            object.insert(field.name().clone(), value.map_or(Value::Null, types::json));
        }
        AnsweredRow { key, row: Value::Object(object).to_string() }
    };
    // A row that the driver cannot read is one that the codec cannot either.
    Ok(rows.map(|row| row.map_or_else(|error| AnsweredRow { key, row: format!("{error}") }, as_text)).collect())
}

fn statement(question: &Question, keyspace: &str) -> Result<String, SinkError> {
    let table = format!("{}.{}", quote("keyspace", keyspace)?, quote_table(&question.table, false)?);
    let columns = question.values.iter().map(|field| quote("column", field.name()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let key = question.key.iter().map(|name| quote("column", name)).collect::<Result<Vec<_>, _>>()?;
    // Something must be read of a row for it to be there: the key itself.
    let columns = if columns.is_empty() { key.join(", ") } else { columns.join(", ") };
    let same = key.iter().map(|column| format!("{column} = ?")).collect::<Vec<_>>().join(" AND ");
    Ok(format!("SELECT {columns} FROM {table} WHERE {same} LIMIT {}", question.rows_per_key))
}

/// A type as Cassandra writes it.
fn cql_type(has: &ColumnType<'_>) -> String {
    match has {
        ColumnType::Native(native) => format!("{native:?}").to_lowercase(),
        ColumnType::Collection { .. } => "a collection".into(),
        ColumnType::Vector { .. } => "a vector".into(),
        ColumnType::UserDefinedType { .. } => "a type of its own".into(),
        ColumnType::Tuple(_) => "a tuple".into(),
        _ => "of a type that is not known".into(),
    }
}
