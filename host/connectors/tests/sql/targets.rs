//! The two databases as the cases see them.

use std::sync::atomic::{AtomicU32, Ordering};

use arrow_schema::SchemaRef;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use weir_connectors::SinkIdentity;
use weir_connectors::sql::{
    CreateTable, PostgresReader, PostgresSink, Question, SqlTarget, SqliteReader, SqliteSink, TableReader, TableRows,
    WriteMode, read_postgres_table, read_sqlite_table,
};
use weir_stream::{Sink, SinkError, SourceError};

/// A target upserted by `id`.
pub fn upsert(table: &str) -> SqlTarget {
    SqlTarget {
        identity: SinkIdentity::new("shop", "sales"),
        table: table.into(),
        schema: crate::rows::schema(),
        mode: WriteMode::Upsert { key: vec!["id".into()] },
        create: CreateTable::IfMissing,
    }
}

pub fn append(table: &str, schema: SchemaRef) -> SqlTarget {
    SqlTarget { schema, mode: WriteMode::Append, ..upsert(table) }
}

/// A database of one test.
pub trait Target {
    fn is_postgres(&self) -> bool;
    fn sink(&self, target: &SqlTarget) -> Result<Box<dyn Sink>, SinkError>;
    fn read(&self, table: &str, order_by: &[&str]) -> Result<TableRows, SinkError>;
    fn reader(&self, question: &Question) -> Result<Box<dyn TableReader>, SourceError>;
    fn run(&self, sql: &str);

    /// A sink that has been recovered.
    fn open(&self, target: &SqlTarget) -> Box<dyn Sink> {
        let mut sink = self.sink(target).unwrap();
        sink.recover(0).unwrap();
        sink
    }

    /// Rows as `a|b|c`, null as `-`.
    fn lines(&self, table: &str, order_by: &str) -> Vec<String> {
        let text = |row: Vec<Option<String>>| {
            row.into_iter().map(|value| value.unwrap_or("-".into())).collect::<Vec<_>>().join("|")
        };
        self.read(table, &[order_by]).unwrap().rows.into_iter().map(text).collect()
    }
}

pub struct SqliteFile(tempfile::TempDir);

impl SqliteFile {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("out/shop.db")
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl Target for SqliteFile {
    fn is_postgres(&self) -> bool {
        false
    }

    fn sink(&self, target: &SqlTarget) -> Result<Box<dyn Sink>, SinkError> {
        Ok(Box::new(SqliteSink::new(target, self.path())?))
    }

    fn reader(&self, question: &Question) -> Result<Box<dyn TableReader>, SourceError> {
        Ok(Box::new(SqliteReader::new(question, self.path())?))
    }

    fn read(&self, table: &str, order_by: &[&str]) -> Result<TableRows, SinkError> {
        read_sqlite_table(&self.path(), table, order_by)
    }

    fn run(&self, sql: &str) {
        std::fs::create_dir_all(self.path().parent().unwrap()).unwrap();
        block_on(async {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.path()).create_if_missing(true);
            let mut connection = options.connect().await.unwrap();
            connection.execute(sqlx::query(AssertSqlSafe(sql.to_owned()))).await.unwrap();
            connection.close().await.unwrap();
        });
    }
}

/// A schema of its own on the test server, dropped at the end.
pub struct PostgresSchema {
    server: String,
    name: String,
}

pub fn server_url() -> String {
    std::env::var("WEIR_TEST_POSTGRES")
        .expect("WEIR_TEST_POSTGRES names the test server; `make test` starts one and sets it")
}

impl PostgresSchema {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("weir_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let schema = Self { server: server_url(), name };
        run_postgres(&schema.server, &format!("CREATE SCHEMA {}", schema.name));
        schema
    }

    pub fn url(&self) -> String {
        self.url_of(&self.server)
    }

    /// The same schema through another server address.
    pub fn url_of(&self, server: &str) -> String {
        let sign = if server.contains('?') { '&' } else { '?' };
        format!("{server}{sign}options=-csearch_path%3D{}", self.name)
    }
}

impl Drop for PostgresSchema {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            run_postgres(&self.server, &format!("DROP SCHEMA {} CASCADE", self.name));
        }
    }
}

pub fn run_postgres(url: &str, sql: &str) {
    block_on(async {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap();
        connection.close().await.unwrap();
    });
}

impl Target for PostgresSchema {
    fn is_postgres(&self) -> bool {
        true
    }

    fn sink(&self, target: &SqlTarget) -> Result<Box<dyn Sink>, SinkError> {
        Ok(Box::new(PostgresSink::new(target, &self.url())?))
    }

    fn reader(&self, question: &Question) -> Result<Box<dyn TableReader>, SourceError> {
        Ok(Box::new(PostgresReader::new(question, &self.url())?))
    }

    fn read(&self, table: &str, order_by: &[&str]) -> Result<TableRows, SinkError> {
        read_postgres_table(&self.url(), table, order_by)
    }

    fn run(&self, sql: &str) {
        run_postgres(&self.url(), sql);
    }
}
