//! `top` and `collect`: some of the values themselves, as the text of a JSON array, written as the JSON codec writes them.
//!
//! `top` keeps the largest, `collect` the earliest by event time (of one time: the smallest first). Values that are equal
//! are kept as often as they came.
//!
//! Stored: number of values (u32), then each as its event time (8 bytes, 0 for `top`) and the value.

use std::cmp::Ordering;
use std::fmt::Write as _;

use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;

use super::Cell;
use crate::aggregate::argument::Argument;
use crate::aggregate::slots::take;
use crate::aggregate::value::{Held, Value, array};

/// The most bytes that the stored values of one key may take.
pub const LIST_BYTES_MAX: usize = 1 << 20;

/// Bytes of a stored value's time.
const TIME_BYTES: usize = size_of::<i64>();

#[derive(Debug, Clone)]
pub(in crate::aggregate) struct List<T> {
    /// Event time and value, in the order of the list.
    items: Vec<(i64, T)>,
    /// Bytes of the stored form.
    bytes: usize,
}

/// Which values come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::aggregate) enum Order {
    Earliest,
    Largest,
}

#[derive(Debug, Clone)]
pub(in crate::aggregate) struct ListSettings {
    pub order: Order,
    /// How many are kept.
    pub most: usize,
    /// Of the values.
    pub data_type: DataType,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new(), bytes: 0 }
    }
}

impl<T: Held> List<T> {
    fn offer(&mut self, settings: &ListSettings, time_us: i64, value: T::Borrowed<'_>) {
        let time_us = if settings.order == Order::Earliest { time_us } else { 0 };
        let at = self.items.partition_point(|(held_us, held)| {
            let order = match settings.order {
                Order::Earliest => held_us.cmp(&time_us).then_with(|| T::compare(held.borrowed(), value)),
                Order::Largest => T::compare(value, held.borrowed()),
            };
            order != Ordering::Greater
        });
        if at >= settings.most {
            return;
        }
        self.items.insert(at, (time_us, T::held(value)));
        self.bytes += TIME_BYTES + T::stored_bytes(value);
        if self.items.len() > settings.most
            && let Some((_, last)) = self.items.pop()
        {
            self.bytes -= TIME_BYTES + T::stored_bytes(last.borrowed());
        }
    }

    fn json(&self, data_type: &DataType) -> Option<String> {
        let values: Vec<Value> = self.items.iter().map(|(_, value)| value.value()).collect();
        let array = array(&values, data_type).ok()?;
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(&array, &options).ok()?;
        let mut json = String::from("[");
        for (row, value) in values.iter().enumerate() {
            if row > 0 {
                json.push(',');
            }
            let text = formatter.value(row).to_string();
            match value {
                Value::F64(number) if !number.is_finite() => json.push_str("null"),
                Value::F64(_) | Value::U64(_) => json.push_str(&text),
                Value::I64(_) if data_type.is_integer() || *data_type == DataType::Boolean => json.push_str(&text),
                _ => quote(&text, &mut json),
            }
        }
        json.push(']');
        Some(json)
    }
}

fn quote(text: &str, json: &mut String) {
    json.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => json.extend(['\\', letter]),
            control if control < ' ' => {
                let _infallible = write!(json, "\\u{:04x}", u32::from(control));
            }
            other => json.push(other),
        }
    }
    json.push('"');
}

impl<T: Held> Cell for List<T> {
    type Settings = ListSettings;

    const BOUNDED: bool = true;

    fn add(&mut self, settings: &ListSettings, argument: &Argument, row: usize) {
        self.offer(settings, argument.times_us[row], T::at(&argument.values, row));
    }

    fn merge(&mut self, settings: &ListSettings, other: &Self) {
        other.items.iter().for_each(|(time_us, value)| self.offer(settings, *time_us, value.borrowed()));
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&(self.items.len() as u32).to_le_bytes());
        for (time_us, value) in &self.items {
            bytes.extend_from_slice(&time_us.to_le_bytes());
            value.write(bytes);
        }
    }

    fn read(settings: &ListSettings, rest: &mut &[u8]) -> Result<Self, String> {
        let mut read = Self::default();
        for _ in 0..u32::from_le_bytes(take(rest)?) {
            let time_us = i64::from_le_bytes(take(rest)?);
            read.offer(settings, time_us, T::read(rest)?.borrowed());
        }
        Ok(read)
    }

    fn value(&self, settings: &ListSettings) -> Value<'_> {
        if self.items.is_empty() {
            return Value::Null;
        }
        self.json(&settings.data_type).map_or(Value::Null, Value::Text)
    }

    fn heap_bytes(&self) -> usize {
        // The stored form holds the bytes of text; fixed widths are in the items.
        self.items.capacity() * size_of::<(i64, T)>()
            + if size_of::<T>() == size_of::<Box<[u8]>>() { self.bytes } else { 0 }
    }

    fn takes(_: &ListSettings, argument: &Argument, row: usize) -> bool {
        TIME_BYTES + T::stored_bytes(T::at(&argument.values, row)) <= LIST_BYTES_MAX
    }

    fn surely_fits(&self, _: &ListSettings, argument: &Argument, rows: usize) -> bool {
        self.bytes + argument.stored_bytes + rows * TIME_BYTES <= LIST_BYTES_MAX
    }

    fn fits(&self, _: &ListSettings, argument: &Argument, row: usize) -> bool {
        self.bytes + TIME_BYTES + T::stored_bytes(T::at(&argument.values, row)) <= LIST_BYTES_MAX
    }
}
