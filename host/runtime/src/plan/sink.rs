//! Sinks: what they get, how it is encoded, and whether their target can hold it.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use weir_codecs::{JsonEncodeOptions, JsonEncoder, RawEncoder};
use weir_manifest::{Binding, Connector, DEAD_LETTERS, Fault, Format, Manifest, SinkMode, Spanned, nearest, type_text};

use super::{Output, Planner, Port, Purpose};

/// One sink; its binding stays in the manifest.
pub struct PlannedSink {
    pub id: Arc<str>,
    /// `None`: the dead letters, which come from everywhere.
    pub from: Option<Port>,
    pub schema: SchemaRef,
    /// Key columns of an upsert.
    pub upsert: Option<Vec<String>>,
    pub takes_columns: bool,
    pub format: Format,
}

impl Planner<'_> {
    pub(super) fn sinks(&mut self, manifest: &Manifest) -> (Vec<PlannedSink>, Option<usize>) {
        let mut sinks = Vec::new();
        for (id, sink) in manifest.sinks.iter() {
            let Some((from, Output { schema, changes, .. })) = self.port(&sink.from) else { continue };
            self.sink_fits(id, &sink.from, &sink.mode, &changes);
            let upsert = match &sink.mode {
                SinkMode::Append => None,
                SinkMode::Upsert(columns) => Some(self.upsert_key(columns, &schema)),
            };
            let binding = manifest.binding(id);
            if binding.is_none() && self.purpose == Purpose::Run {
                continue;
            }
            let format = binding.and_then(|binding| binding.format.as_ref()).map_or(Format::Json, |f| f.value.clone());
            let takes_columns =
                self.purpose == Purpose::Test || binding.is_some_and(|binding| binding.connector.takes_columns());
            let planned =
                PlannedSink { id: id.value.as_str().into(), from: Some(from), schema, upsert, takes_columns, format };
            self.columns_fit(id, &planned, binding);
            if !takes_columns && let Err(error) = encoder(&planned.schema, &planned.format) {
                self.fault(Fault::new(sink.from.span, "format", error));
            }
            if binding.is_some_and(|binding| matches!(binding.connector, Connector::Parquet(_)))
                && planned.upsert.is_some()
            {
                let message = "Parquet files only grow: an upsert has no place in them";
                self.fault(Fault::new(id.span, "append-only", message).next("say `append: true`"));
            }
            sinks.push(planned);
        }
        let bound = manifest.binding(DEAD_LETTERS).is_some() || self.purpose == Purpose::Test;
        let dead_letters = bound.then_some(sinks.len());
        if bound {
            sinks.push(PlannedSink {
                id: DEAD_LETTERS.into(),
                from: None,
                schema: Arc::new(Schema::empty()),
                upsert: None,
                takes_columns: false,
                format: Format::Json,
            });
        }
        (sinks, dead_letters)
    }

    /// Database tables have no columns of columns.
    fn columns_fit(&mut self, id: &Spanned<String>, sink: &PlannedSink, binding: Option<&Binding>) {
        let database = binding.map(|binding| &binding.connector);
        let Some(Connector::Sqlite(_) | Connector::Postgres(_)) = database else { return };
        let nested = |field: &&Arc<Field>| matches!(field.data_type(), DataType::List(_) | DataType::Struct(_));
        if let Some(field) = sink.schema.fields().iter().find(nested) {
            let name = field.name();
            let message =
                format!("column `{name}` is {}, which a database table does not hold", type_text(field.data_type()));
            let fault = Fault::new(id.span, "column-type", message);
            self.fault(fault.next("`flatten` it, `select` parts of it, or write it to kafka, a file or parquet"));
        }
    }

    fn upsert_key(&mut self, columns: &[Spanned<String>], schema: &SchemaRef) -> Vec<String> {
        for column in columns {
            if schema.index_of(column).is_err() {
                let names = schema.fields().iter().map(|field| field.name().as_str());
                let hint = nearest(column, names).map_or(String::new(), |name| format!("; did you mean `{name}`?"));
                let message = format!("no column `{}` in what this sink gets{hint}", column.value);
                self.fault(Fault::new(column.span, "unknown-column", message));
            }
        }
        columns.iter().map(|column| column.value.clone()).collect()
    }
}

/// The encoder of rows for a sink that takes payloads.
///
/// # Errors
/// When the format cannot hold the sink's columns.
pub fn encoder(schema: &SchemaRef, format: &Format) -> Result<Box<dyn weir_codecs::Encoder>, String> {
    let schema = Arc::clone(schema);
    match format {
        Format::Json => JsonEncoder::new(schema, JsonEncodeOptions::default())
            .map(|encoder| Box::new(encoder) as Box<dyn weir_codecs::Encoder>)
            .map_err(|error| error.to_string()),
        Format::Raw => RawEncoder::new(schema)
            .map(|encoder| Box::new(encoder) as Box<dyn weir_codecs::Encoder>)
            .map_err(|error| error.to_string()),
        Format::Csv(_) => Err("csv is read and not written".into()),
    }
}
