//! The sink itself, the same for every database: recovery, the guard, the transaction, the remembered rejects.

use weir_stream::{ExposeOutcome, Held, Sink, SinkData, SinkEpoch, SinkError, SinkPosition, SinkReject};

use super::apply::apply;
use super::database::{Database, DatabaseError, Kind, Value};
use super::operations::Operations;
use super::table::{PROGRESS_TABLE, REJECTED_TABLE, Table};
use super::{CreateTable, SqlTarget};
use crate::identity::{SinkIdentity, chain_broken, fatal, fenced};

/// Rows in, transactions out.
pub(super) struct SqlSink<D> {
    database: D,
    table: Table,
    identity: SinkIdentity,
    create: CreateTable,
    /// Set by the first recovery of this instance.
    generation: Option<i64>,
}

impl<D: Database> SqlSink<D> {
    pub(super) fn new(database: D, table: Table, target: &SqlTarget) -> Self {
        Self { database, table, identity: target.identity.clone(), create: target.create, generation: None }
    }

    fn me(&self) -> Vec<Value> {
        vec![Value::Text(self.identity.pipeline.clone()), Value::Text(self.identity.sink.clone())]
    }

    fn me_and(&self, numbers: impl IntoIterator<Item = i64>) -> Vec<Value> {
        let mut values = self.me();
        values.extend(numbers.into_iter().map(Value::Int));
        values
    }

    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, SinkError> {
        self.database.execute(sql, values).map_err(DatabaseError::into_sink_error)
    }

    /// Runs `work` in a transaction; on any error the connection goes, and the transaction with it.
    fn transaction<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, SinkError>) -> Result<T, SinkError> {
        let begin = self.database.dialect().begin;
        let begun = begin.iter().try_for_each(|statement| self.execute(statement, &[]).map(drop));
        let done = begun.and_then(|()| work(self)).and_then(|done| {
            self.execute("COMMIT", &[])?;
            Ok(done)
        });
        if done.is_err() {
            self.database.disconnect();
        }
        done
    }

    fn exists(&mut self, name: &str) -> Result<bool, SinkError> {
        let dialect = self.database.dialect();
        let name = if dialect.quoted_name { name.to_owned() } else { name.replace('"', "") };
        let found = self.database.query(dialect.table_exists, &[Value::Text(name)], &[Kind::Int]);
        let found = found.map_err(DatabaseError::into_sink_error)?;
        Ok(found.into_iter().flatten().any(|count| count.int() > 0))
    }

    /// Generation and epoch that the target holds for this sink.
    fn progress(&mut self) -> Result<Option<(i64, i64)>, SinkError> {
        let for_update = self.database.dialect().for_update;
        let sql =
            format!("SELECT generation, epoch FROM {PROGRESS_TABLE} WHERE pipeline = $1 AND sink = $2{for_update}");
        let rows = self.database.query(&sql, &self.me(), &[Kind::Int, Kind::Int]);
        let mut rows = rows.map_err(DatabaseError::into_sink_error)?;
        Ok(rows.pop().map(|row| {
            let mut numbers = row.into_iter().map(Value::int);
            let mut next = || numbers.next().expect("the query names two columns");
            (next(), next())
        }))
    }

    fn own_tables(&self) -> [(&'static str, String); 2] {
        let bytes = self.database.dialect().bytes_type;
        let progress = "pipeline TEXT NOT NULL, sink TEXT NOT NULL, generation BIGINT NOT NULL, epoch BIGINT NOT NULL, \
                        cut TEXT, PRIMARY KEY (pipeline, sink)";
        let rejected = format!(
            "pipeline TEXT NOT NULL, sink TEXT NOT NULL, epoch BIGINT NOT NULL, row_number BIGINT NOT NULL, \
             code TEXT NOT NULL, reason TEXT NOT NULL, payload {bytes} NOT NULL, \
             PRIMARY KEY (pipeline, sink, epoch, row_number)"
        );
        [
            (PROGRESS_TABLE, format!("CREATE TABLE IF NOT EXISTS {PROGRESS_TABLE} ({progress})")),
            (REJECTED_TABLE, format!("CREATE TABLE IF NOT EXISTS {REJECTED_TABLE} ({rejected})")),
        ]
    }

    fn make_tables(&mut self) -> Result<(), SinkError> {
        let own = self.own_tables().map(|(name, statement)| (name.to_owned(), statement));
        let wanted = own.into_iter().chain([(self.table.name.clone(), self.table.create_statement())]);
        let mut locked = false;
        for (name, statement) in wanted {
            if self.exists(&name)? {
                continue;
            }
            if self.create == CreateTable::Never {
                return Err(fatal(
                    format!("{} has no table {name}, and the sink may not create it", self.database.target()),
                    format!("create it: {statement};  or write `create: if_missing`"),
                ));
            }
            if let (Some(lock), false) = (self.database.dialect().lock_tables, locked) {
                self.execute(lock, &[])?;
                locked = true;
            }
            self.execute(&statement, &[])?;
        }
        Ok(())
    }

    fn look(&mut self) -> Result<Option<Held>, SinkError> {
        if !self.exists(PROGRESS_TABLE)? {
            return Ok(None);
        }
        let sql = format!(
            "SELECT epoch, cut, (SELECT COUNT(*) FROM {REJECTED_TABLE} WHERE pipeline = $1 AND sink = $2) \
             FROM {PROGRESS_TABLE} WHERE pipeline = $1 AND sink = $2"
        );
        let rows = self.database.query(&sql, &self.me(), &[Kind::Int, Kind::Text, Kind::Int]);
        let mut rows = rows.map_err(DatabaseError::into_sink_error)?;
        Ok(rows.pop().map(|row| {
            let mut values = row.into_iter();
            let mut next = || values.next().expect("the query names three columns");
            let (epoch, cut, rejects) = (next().int() as u64, next().optional_text(), next().int() as u64);
            Held { epoch, cut: cut.filter(|cut| !cut.is_empty()).map(Into::into), rejects }
        }))
    }

    /// The part of recovery inside its transaction: the position, and the generation that is now this instance's.
    fn take_over(&mut self, acked: u64) -> Result<(SinkPosition, Option<i64>), SinkError> {
        let known = if self.exists(PROGRESS_TABLE)? { self.progress()? } else { None };
        if known.is_none() && (acked > 0 || self.generation.is_some()) {
            return Ok((SinkPosition::Absent, None));
        }
        self.make_tables()?;
        // Again, behind the lock that making the tables took.
        let (position, generation) = match (self.progress()?, self.generation) {
            (None, _) => {
                let sql =
                    format!("INSERT INTO {PROGRESS_TABLE} (pipeline, sink, generation, epoch) VALUES ($1, $2, 1, 0)");
                self.execute(&sql, &self.me())?;
                (SinkPosition::Absent, 1)
            }
            (Some((found, _)), Some(mine)) if found != mine => {
                return Err(fenced(self.database.target(), mine as u64, found as u64));
            }
            (Some((found, epoch)), Some(_)) => (SinkPosition::Epoch(epoch as u64), found),
            (Some((found, epoch)), None) => {
                let sql = format!("UPDATE {PROGRESS_TABLE} SET generation = $3 WHERE pipeline = $1 AND sink = $2");
                self.execute(&sql, &self.me_and([found + 1]))?;
                (SinkPosition::Epoch(epoch as u64), found + 1)
            }
        };
        self.database.rehearse(&self.table).map_err(DatabaseError::into_sink_error)?;
        Ok((position, Some(generation)))
    }

    fn guard(&mut self, entry: &SinkEpoch, mine: i64) -> Result<(), SinkError> {
        let sql = format!(
            "UPDATE {PROGRESS_TABLE} SET epoch = $3, cut = $6 \
             WHERE pipeline = $1 AND sink = $2 AND epoch = $4 AND generation = $5"
        );
        let mut values = self.me_and([entry.epoch as i64, entry.previous as i64, mine]);
        values.push(Value::Text(entry.cut.as_deref().unwrap_or_default().to_owned()));
        if self.execute(&sql, &values)? == 1 {
            return Ok(());
        }
        let target = self.database.target().to_owned();
        Err(match self.progress()? {
            None => fatal(
                format!("{target} lost the progress of {}", self.identity),
                "restore the table weir_progress, or start the sink on a new target",
            ),
            Some((found, _)) if found != mine => fenced(&target, mine as u64, found as u64),
            Some((_, epoch)) => chain_broken(&target, epoch as u64, entry.previous),
        })
    }

    fn remember(&mut self, rejects: &[SinkReject]) -> Result<(), SinkError> {
        let sql = format!(
            "INSERT INTO {REJECTED_TABLE} (pipeline, sink, epoch, row_number, code, reason, payload) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)"
        );
        for reject in rejects {
            let mut values = self.me_and([reject.epoch as i64, reject.row as i64]);
            values.extend([Value::Text(reject.code.clone()), Value::Text(reject.reason.replace('\0', "\u{fffd}"))]);
            values.push(Value::Bytes(reject.payload.clone()));
            self.execute(&sql, &values)?;
        }
        Ok(())
    }

    fn connected(&self) -> Result<i64, SinkError> {
        let generation = self.generation.filter(|_| self.database.is_connected());
        generation.ok_or_else(|| SinkError::Retry(format!("{} is not connected", self.database.target())))
    }
}

impl<D: Database> Sink for SqlSink<D> {
    fn recover(&mut self, acked: u64) -> Result<SinkPosition, SinkError> {
        self.database.disconnect();
        let create = self.create == CreateTable::IfMissing && acked == 0;
        if !self.database.connect(create)? {
            if acked > 0 {
                return Ok(SinkPosition::Absent);
            }
            let message = format!("{} does not exist, and the sink may not create it", self.database.target());
            return Err(fatal(message, "correct `path`, or write `create: if_missing`"));
        }
        let (position, generation) = self.transaction(|sink| sink.take_over(acked))?;
        self.generation = generation.or(self.generation);
        Ok(position)
    }

    fn held(&mut self) -> Result<Option<Held>, SinkError> {
        self.database.disconnect();
        let held = if self.database.connect(false)? { self.look() } else { Ok(None) };
        self.database.disconnect();
        held
    }

    fn expose(&mut self, entry: &SinkEpoch) -> Result<ExposeOutcome, SinkError> {
        let SinkData::Rows(blocks) = &*entry.data else {
            return Err(fatal("a SQL sink takes columns, not encoded rows", "remove `format` from the sink"));
        };
        let mine = self.connected()?;
        let mut operations = Operations::gather(&self.table, blocks)?;
        let rejects = self.transaction(|sink| {
            sink.guard(entry, mine)?;
            let rejects = apply(&mut sink.database, &sink.table, &mut operations, entry.epoch)?;
            sink.remember(&rejects)?;
            Ok(rejects)
        })?;
        Ok(ExposeOutcome { exposed: Some(entry.epoch), rejects })
    }

    fn remembered_rejects(&mut self) -> Result<Vec<SinkReject>, SinkError> {
        if self.connected().is_err() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT epoch, row_number, code, reason, payload FROM {REJECTED_TABLE} \
             WHERE pipeline = $1 AND sink = $2 ORDER BY epoch, row_number"
        );
        let columns = [Kind::Int, Kind::Int, Kind::Text, Kind::Text, Kind::Bytes];
        let rows = self.database.query(&sql, &self.me(), &columns).map_err(DatabaseError::into_sink_error)?;
        let reject = |row: Vec<Value>| {
            let mut values = row.into_iter();
            let mut next = || values.next().expect("the query names five columns");
            SinkReject {
                epoch: next().int() as u64,
                row: next().int() as u64,
                code: next().text(),
                reason: next().text(),
                payload: next().bytes(),
            }
        };
        Ok(rows.into_iter().map(reject).collect())
    }

    fn forget_rejects(&mut self, through_epoch: u64) -> Result<(), SinkError> {
        self.connected()?;
        let sql = format!("DELETE FROM {REJECTED_TABLE} WHERE pipeline = $1 AND sink = $2 AND epoch <= $3");
        self.execute(&sql, &self.me_and([through_epoch as i64])).map(drop)
    }
}
