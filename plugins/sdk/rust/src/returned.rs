//! What a function may return, and how that becomes rows and rejects.

use crate::output::Output;
use crate::reject::Reject;
use crate::types::Type;
use crate::wit::{self, Cardinality};

/// A function's return type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a #[transform] function can return",
    note = "it returns a struct or enum with #[derive(Output)], bool, Option<Row>, Vec<Row>, or Result<_, Reject> of these"
)]
pub trait Returned {
    type Output: Output;
    const CARDINALITY: Cardinality;

    /// Puts the rows that `source` became into the collector, or its reject.
    fn collect(self, source: u32, collector: &mut Collector<Self::Output>);
}

impl<O: Output> Returned for O {
    type Output = O;
    const CARDINALITY: Cardinality = Cardinality::OneToOne;

    #[inline]
    fn collect(self, source: u32, collector: &mut Collector<O>) {
        collector.push(source, self);
    }
}

impl<O: Output> Returned for Option<O> {
    type Output = O;
    const CARDINALITY: Cardinality = Cardinality::Filter;

    #[inline]
    fn collect(self, source: u32, collector: &mut Collector<O>) {
        if let Some(row) = self {
            collector.push(source, row);
        }
    }
}

/// `true` keeps the row as it is.
impl Returned for bool {
    type Output = ();
    const CARDINALITY: Cardinality = Cardinality::Filter;

    #[inline]
    fn collect(self, source: u32, collector: &mut Collector<()>) {
        if self {
            collector.push(source, ());
        }
    }
}

impl<O: Output> Returned for Vec<O> {
    type Output = O;
    const CARDINALITY: Cardinality = Cardinality::Many;

    fn collect(self, source: u32, collector: &mut Collector<O>) {
        // All before the first: a rejected row is in no output.
        if let Err(reject) = self.iter().try_for_each(|row| row.check(&collector.sinks)) {
            return collector.reject(source, reject);
        }
        for row in self {
            row.push(source, &mut collector.sinks);
        }
    }
}

impl<R: Returned> Returned for Result<R, Reject> {
    type Output = R::Output;
    const CARDINALITY: Cardinality = R::CARDINALITY;

    #[inline]
    fn collect(self, source: u32, collector: &mut Collector<R::Output>) {
        match self {
            Ok(returned) => returned.collect(source, collector),
            Err(reject) => collector.reject(source, reject),
        }
    }
}

/// Takes what the function returned for each row of one batch.
pub struct Collector<O: Output> {
    sinks: O::Sinks,
    rejects: Vec<wit::Reject>,
}

impl<O: Output> Collector<O> {
    /// `types`: those of each output's columns; `rows`: of the batch.
    pub fn new(types: &[Vec<Type>], rows: usize) -> Self {
        Self { sinks: O::sinks(types, rows), rejects: Vec::new() }
    }

    #[inline]
    fn push(&mut self, source: u32, row: O) {
        match row.check(&self.sinks) {
            Ok(()) => row.push(source, &mut self.sinks),
            Err(reject) => self.reject(source, reject),
        }
    }

    /// Puts rows of several input rows, the first being `first`, into the collector: all of them, or the reject of the first
    /// that does not fit.
    pub(crate) fn push_group(&mut self, first: u32, rows: Vec<Option<O>>) {
        if let Err(reject) = rows.iter().flatten().try_for_each(|row| row.check(&self.sinks)) {
            return self.reject(first, reject);
        }
        for (source, row) in (first..).zip(rows) {
            if let Some(row) = row {
                row.push(source, &mut self.sinks);
            }
        }
    }

    #[cold]
    pub(crate) fn reject(&mut self, row: u32, Reject { code, reason }: Reject) {
        self.rejects.push(wit::Reject { row, code: code.into_owned(), reason });
    }

    pub fn finish(self, input_rows: u32) -> wit::Transformed {
        wit::Transformed { outputs: O::finish(self.sinks, input_rows), rejects: self.rejects }
    }
}
