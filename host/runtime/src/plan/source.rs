//! Sources: columns, codec and event time of each, agreed before anything is read.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use weir_codecs::{CodecError, ColumnSource, CsvDecoder, CsvOptions, Decoder, JsonDecoder, JsonLimits, RawDecoder};
use weir_connectors::file::{Framing, HeaderCheck, RowFraming};
use weir_manifest::{
    ColumnOrigin, CsvFormat, EventTimeOrigin, Fault, Format, Manifest, RecordPart, Source, Spanned, nearest,
};
use weir_operators::Expression;

use crate::task::{EventTimeSpec, TimeOrigin};

/// One source, ready to be built any number of times; its binding stays in the manifest.
pub struct PlannedSource {
    pub id: Arc<str>,
    pub schema: SchemaRef,
    columns: Vec<ColumnSource>,
    format: Format,
    limits: JsonLimits,
    pub event_time: EventTimeSpec,
    pub needs_keys: bool,
    pub needs_headers: bool,
}

impl PlannedSource {
    /// # Errors
    /// When the format cannot fill a column; the plan saw that it can.
    pub fn decoder(&self) -> Result<Box<dyn Decoder>, CodecError> {
        let (schema, columns) = (Arc::clone(&self.schema), self.columns.clone());
        Ok(match &self.format {
            Format::Json => Box::new(JsonDecoder::new(schema, columns, self.limits)?),
            Format::Raw => Box::new(RawDecoder::new(schema, columns, self.limits.max_record_bytes)?),
            Format::Csv(csv) => Box::new(self.csv_decoder(csv)?),
        })
    }

    fn csv_decoder(&self, csv: &CsvFormat) -> Result<CsvDecoder, CodecError> {
        let options = CsvOptions {
            delimiter: csv.delimiter.0,
            header: csv.header,
            null_as: csv.null_as.clone(),
            max_record_bytes: self.limits.max_record_bytes,
        };
        CsvDecoder::new(Arc::clone(&self.schema), self.columns.clone(), options)
    }

    /// How a file of this source is cut into records.
    ///
    /// # Errors
    /// As [`PlannedSource::decoder`].
    pub fn framing(&self) -> Result<Framing, CodecError> {
        let Format::Csv(csv) = &self.format else { return Ok(Framing::Lines) };
        let decoder = Mutex::new(self.csv_decoder(csv)?);
        let check = move |header: &[u8]| decoder.lock().unwrap_or_else(PoisonError::into_inner).check_header(header);
        let header = csv.header.then(|| Arc::new(check) as HeaderCheck);
        Ok(Framing::Rows(RowFraming { delimiter: csv.delimiter.0, header }))
    }
}

/// # Errors
/// The first fault of this source.
pub(super) fn plan(id: &Spanned<String>, source: &Source, manifest: &Manifest) -> Result<PlannedSource, Fault> {
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (name, column) in source.columns.iter() {
        let column_type = &column.column_type.value;
        fields.push(Field::new(&name.value, column_type.data_type.clone(), column_type.nullable));
        columns.push(match &column.origin {
            ColumnOrigin::SameName => ColumnSource::Field,
            ColumnOrigin::Field(path) => ColumnSource::path(path),
            ColumnOrigin::Record(part) => record_part(part.value),
        });
    }
    let schema = Arc::new(Schema::new(fields));
    let format =
        manifest.binding(id).and_then(|binding| binding.format.as_ref()).map_or(Format::Json, |f| f.value.clone());
    let limits = JsonLimits {
        max_depth: (manifest.limits.nesting as usize).min(JsonLimits::MOST_DEPTH),
        max_record_bytes: manifest.limits.record.bytes() as usize,
    };
    let planned = PlannedSource {
        id: id.value.as_str().into(),
        event_time: event_time(id, source, &schema)?,
        needs_keys: columns.contains(&ColumnSource::Key),
        needs_headers: columns.contains(&ColumnSource::Headers),
        schema,
        columns,
        format,
        limits,
    };
    planned.decoder().map_err(|error| Fault::new(id.span, "format", error.to_string()))?;
    Ok(planned)
}

fn record_part(part: RecordPart) -> ColumnSource {
    match part {
        RecordPart::Key => ColumnSource::Key,
        RecordPart::Headers => ColumnSource::Headers,
        RecordPart::Topic => ColumnSource::Topic,
        RecordPart::Partition => ColumnSource::Partition,
        RecordPart::Offset => ColumnSource::Offset,
        RecordPart::Timestamp => ColumnSource::Timestamp,
    }
}

fn event_time(id: &Spanned<String>, source: &Source, schema: &SchemaRef) -> Result<EventTimeSpec, Fault> {
    let Some(time) = &source.event_time else {
        // Without event time rows still carry a time, the record's; nothing may refuse them for it.
        let never = i64::MAX;
        let spec = EventTimeSpec {
            origin: TimeOrigin::Record,
            optional: true,
            disorder_us: 0,
            max_future_us: never,
            max_jump_us: never,
            idle_after_us: None,
            alignment_us: None,
        };
        return Ok(spec);
    };
    let origin = match &time.origin {
        EventTimeOrigin::RecordTimestamp => TimeOrigin::Record,
        EventTimeOrigin::Column(name) => TimeOrigin::Column(time_column(name, schema)?),
        EventTimeOrigin::Expression(text) => TimeOrigin::Expression(time_expression(text, id, schema)?),
    };
    Ok(EventTimeSpec {
        origin,
        optional: false,
        disorder_us: time.disorder.as_us(),
        max_future_us: time.max_future.as_us(),
        max_jump_us: time.max_jump.map_or(i64::MAX, |jump| jump.as_us()),
        idle_after_us: Some(time.idle_after.as_us()),
        alignment_us: time.alignment.map(|alignment| alignment.as_us()),
    })
}

fn time_expression(text: &Spanned<String>, id: &Spanned<String>, schema: &SchemaRef) -> Result<Expression, Fault> {
    let expression = Expression::compile(text, schema).map_err(|error| super::expression_fault(text, error, id))?;
    match expression.data_type() {
        DataType::Timestamp(..) | DataType::Date32 => Ok(expression),
        other => {
            let message = format!("event time is a timestamp, this gives {}", weir_manifest::type_text(other));
            let fault = Fault::new(text.span, "event-time-type", message);
            Err(fault.next("use to_timestamp_millis(...) or another function that gives one"))
        }
    }
}

fn time_column(name: &Spanned<String>, schema: &SchemaRef) -> Result<usize, Fault> {
    let Ok(column) = schema.index_of(name) else {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let hint = nearest(name, names).map_or(String::new(), |name| format!("; did you mean `{name}`?"));
        return Err(Fault::new(
            name.span,
            "unknown-column",
            format!("no column `{}` in this source{hint}", name.value),
        ));
    };
    match schema.field(column).data_type() {
        DataType::Timestamp(..) | DataType::Date32 => Ok(column),
        other => {
            let message = format!("event time is a timestamp, `{}` is {}", name.value, weir_manifest::type_text(other));
            Err(Fault::new(name.span, "event-time-type", message))
        }
    }
}
