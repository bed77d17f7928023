//! Messages into the arena of one batch: each payload is copied once, nothing is allocated per record.

use std::sync::Arc;

use weir_stream::{PayloadBuilder, SourceRecords, TimestampType};

use super::native::Message;

/// Builds one [`SourceRecords`].
pub struct RecordsBuilder {
    offsets: Vec<i64>,
    timestamps_us: Vec<i64>,
    timestamp_type: Vec<TimestampType>,
    values: PayloadBuilder,
    keys: Option<PayloadBuilder>,
    headers: Option<PayloadBuilder>,
}

impl RecordsBuilder {
    pub fn new(records: usize, bytes: usize, keys: bool, headers: bool) -> Self {
        Self {
            offsets: Vec::with_capacity(records),
            timestamps_us: Vec::with_capacity(records),
            timestamp_type: Vec::with_capacity(records),
            values: PayloadBuilder::with_capacity(records, bytes),
            keys: keys.then(PayloadBuilder::default),
            headers: headers.then(PayloadBuilder::default),
        }
    }

    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    pub fn byte_len(&self) -> usize {
        let side = |builder: &Option<PayloadBuilder>| builder.as_ref().map_or(0, PayloadBuilder::byte_len);
        self.values.byte_len() + side(&self.keys) + side(&self.headers)
    }

    pub fn push(&mut self, message: Message<'_>) {
        self.offsets.push(message.offset());
        let (timestamp_us, kind) = message.timestamp();
        self.timestamps_us.push(timestamp_us);
        self.timestamp_type.push(kind);
        push(&mut self.values, message.value());
        if let Some(keys) = &mut self.keys {
            push(keys, message.key());
        }
        if let Some(headers) = &mut self.headers {
            write_headers(headers.buffer(), message.headers());
            headers.end_payload();
        }
    }

    pub fn finish(self, source: &Arc<str>, topic: &Arc<str>, partition: u32, next_offset: i64) -> SourceRecords {
        SourceRecords {
            source: Arc::clone(source),
            topic: Arc::clone(topic),
            partition,
            offsets: self.offsets,
            timestamps_us: self.timestamps_us,
            timestamp_type: self.timestamp_type,
            values: self.values.finish(),
            keys: self.keys.map(PayloadBuilder::finish),
            headers: self.headers.map(PayloadBuilder::finish),
            next_offset,
            ..SourceRecords::default()
        }
    }
}

fn push(builder: &mut PayloadBuilder, payload: Option<&[u8]>) {
    match payload {
        Some(payload) => builder.push(payload),
        None => builder.push_absent(),
    }
}

/// Headers as one JSON object in their order: a value is a string when it is UTF-8, `{"hex": ...}` when it is not,
/// null when it is absent. A name that repeats gets all its values as an array, where it first stood.
fn write_headers<'a>(json: &mut Vec<u8>, headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) {
    let headers: Vec<_> = headers.collect();
    json.push(b'{');
    let mut comma = false;
    for (index, (name, value)) in headers.iter().enumerate() {
        if headers[..index].iter().any(|(earlier, _)| earlier == name) {
            continue;
        }
        if std::mem::replace(&mut comma, true) {
            json.push(b',');
        }
        write_text(json, &String::from_utf8_lossy(name));
        json.push(b':');
        let repeats: Vec<_> = headers[index + 1..].iter().filter(|(later, _)| later == name).collect();
        if repeats.is_empty() {
            write_value(json, *value);
            continue;
        }
        json.push(b'[');
        write_value(json, *value);
        for (_, value) in repeats {
            json.push(b',');
            write_value(json, *value);
        }
        json.push(b']');
    }
    json.push(b'}');
}

fn write_value(json: &mut Vec<u8>, value: Option<&[u8]>) {
    match value.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => json.extend_from_slice(b"null"),
        Some((_, Ok(text))) => write_text(json, text),
        Some((bytes, Err(_))) => {
            json.extend_from_slice(b"{\"hex\":\"");
            bytes.iter().for_each(|byte| json.extend_from_slice(format!("{byte:02x}").as_bytes()));
            json.extend_from_slice(b"\"}");
        }
    }
}

fn write_text(json: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(json, text).expect("text is written to memory");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(headers: &[(&str, Option<&[u8]>)]) -> String {
        let mut json = Vec::new();
        write_headers(&mut json, headers.iter().map(|(name, value)| (name.as_bytes(), *value)));
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn headers_become_one_json_object_that_loses_nothing() {
        assert_eq!(json(&[]), "{}");
        let headers: [(&str, Option<&[u8]>); 5] =
            [("a", Some(b"1")), ("b\"", None), ("a", Some(&[0xff])), ("c", Some(b"")), ("a", None)];
        assert_eq!(json(&headers), r#"{"a":["1",{"hex":"ff"},null],"b\"":null,"c":""}"#);
    }
}
