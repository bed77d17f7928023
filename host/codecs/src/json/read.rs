//! One payload into the columns: the serde seeds that sonic-rs drives.
//!
//! There are two passes over the same seeds. The quick one takes values as the parser types them and does not say
//! what is wrong. When it fails, the record is read again with every declared value as its own text: that pass
//! decides, exactly, and names field and value. So the common road carries no bookkeeping for reasons.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sonic_rs::LazyValue;

use crate::codec::reject_code;
use crate::column::{Column, Refused};
use crate::column_set::Fault;
use crate::json::keys::{Action, Object};

/// Where a pass reads to.
pub(crate) struct Reader<'a> {
    pub objects: &'a mut [Object],
    pub columns: &'a mut [Column],
    /// Number of this pass; tells keys of this pass from those of any before.
    pub pass: u64,
    /// Whether this is the pass that explains.
    pub exact: bool,
    /// What is wrong, noted by the exact pass.
    pub fault: Fault,
}

/// Whether a payload is one JSON document.
///
/// # Errors
/// The parser's error otherwise.
pub(crate) fn validate(payload: &str) -> Result<(), sonic_rs::Error> {
    let mut parser = sonic_rs::Deserializer::from_str(payload);
    <IgnoredAny as serde::Deserialize>::deserialize(&mut parser)?;
    parser.end()
}

impl Reader<'_> {
    /// Reads the document.
    ///
    /// # Errors
    /// The parser's error; [`Reader::fault`] has the fault when this is the exact pass and the document is valid.
    pub(crate) fn read(&mut self, payload: &str) -> Result<(), sonic_rs::Error> {
        let mut parser = sonic_rs::Deserializer::from_str(payload);
        ObjectSeed { reader: self, object: 0 }.deserialize(&mut parser)?;
        parser.end()
    }

    fn refuse<E: Error>(&mut self, fault: impl FnOnce(&Self) -> Fault) -> E {
        if self.exact {
            self.fault = fault(self);
        }
        E::custom("")
    }

    fn refuse_value<E: Error>(&mut self, refused: Refused, (object, key): (usize, usize), found: &str) -> E {
        self.refuse(|reader| {
            let path = reader.objects[object].path_of(&reader.objects[object].keys[key].name);
            let type_name = match reader.objects[object].keys[key].action {
                Action::Column(column) => reader.columns[column as usize].type_name(),
                _ => "an object".into(),
            };
            Fault::refused(refused, &path, &type_name, found)
        })
    }

    /// Nulls for every declared key of an object that this pass has not seen.
    fn fill_unseen<E: Error>(&mut self, object: usize) -> Result<(), E> {
        for key in 0..self.objects[object].declared {
            if self.objects[object].keys[key].seen_in == self.pass {
                continue;
            }
            self.fill_missing((object, key), "missing")?;
        }
        Ok(())
    }

    fn fill_missing<E: Error>(&mut self, at: (usize, usize), why: &str) -> Result<(), E> {
        match self.objects[at.0].keys[at.1].action {
            Action::Column(column) => match self.columns[column as usize].put_null() {
                Ok(()) => Ok(()),
                Err(refused) => Err(self.refuse_value(refused, at, why)),
            },
            Action::Object(inner) => self.fill_object(inner as usize, why),
            Action::Skip => Ok(()),
        }
    }

    /// Nulls for everything inside an object that is null or missing itself.
    fn fill_object<E: Error>(&mut self, object: usize, why: &str) -> Result<(), E> {
        (0..self.objects[object].declared).try_for_each(|key| self.fill_missing((object, key), why))
    }
}

/// Reads one object. Only its fields are kept, so it has no value.
struct ObjectSeed<'r, 'a> {
    reader: &'r mut Reader<'a>,
    object: usize,
}

impl ObjectSeed<'_, '_> {
    fn no_object<E: Error>(self, found: &str) -> E {
        let object = self.object;
        self.reader.refuse(|reader| {
            let reason = match reader.objects[object].path.as_str() {
                "" => format!("expected one JSON object, found {found}"),
                path => format!("field `{path}`: expected an object, found {found}"),
            };
            Fault { code: reject_code::WRONG_TYPE, reason }
        })
    }
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_, '_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { reader, object } = self;
        let (mut previous, mut declared) = (None, 0);
        while let Some(found) = map.next_key_seed(KeySeed { object: &mut reader.objects[object], previous })? {
            let Some(key) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            previous = Some(key);
            let entry = &mut reader.objects[object].keys[key];
            let action = entry.action;
            if action == Action::Skip {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if std::mem::replace(&mut entry.seen_in, reader.pass) == reader.pass {
                return Err(reader.refuse(|reader| duplicate(&reader.objects[object], key)));
            }
            declared += 1;
            match action {
                Action::Column(column) => map.next_value_seed(ValueSeed { reader, column, at: (object, key) })?,
                Action::Object(inner) => map.next_value_seed(ObjectSeed { reader, object: inner as usize })?,
                Action::Skip => {}
            }
        }
        if declared == reader.objects[object].declared { Ok(()) } else { reader.fill_unseen(object) }
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if self.object == 0 {
            return Err(self.no_object("null"));
        }
        let why = if self.reader.exact {
            format!("`{}` is null", self.reader.objects[self.object].path)
        } else {
            String::new()
        };
        self.reader.fill_object(self.object, &why)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        Err(self.no_object(if value { "true" } else { "false" }))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Err(self.no_object("a number"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Err(self.no_object("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Err(self.no_object("a number"))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(self.no_object("a string"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.no_object("an array"))
    }
}

fn duplicate(object: &Object, key: usize) -> Fault {
    let path = object.path_of(&object.keys[key].name);
    Fault { code: reject_code::DUPLICATE_FIELD, reason: format!("field `{path}` occurs twice") }
}

/// Recognises a key: its number in the object, or `None` for one to skip and forget.
struct KeySeed<'r> {
    object: &'r mut Object,
    previous: Option<usize>,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Option<usize>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("a key")
    }

    #[inline]
    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.object.find(self.previous, name))
    }
}

/// Reads one declared value into its column.
struct ValueSeed<'r, 'a> {
    reader: &'r mut Reader<'a>,
    column: u32,
    at: (usize, usize),
}

impl ValueSeed<'_, '_> {
    #[inline]
    fn put<E: Error>(self, put: impl FnOnce(&mut Column) -> Result<(), Refused>) -> Result<(), E> {
        // Only the quick pass comes here, and that one gives no reasons.
        put(&mut self.reader.columns[self.column as usize]).map_err(|_| E::custom(""))
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_, '_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !self.reader.exact && !self.reader.columns[self.column as usize].wants_number_text() {
            return deserializer.deserialize_any(self);
        }
        let value = <LazyValue as serde::Deserialize>::deserialize(deserializer)?;
        let token = value.as_raw_str();
        put_token(&mut self.reader.columns[self.column as usize], token)
            .map_err(|refused| self.reader.refuse_value(refused, self.at, token))
    }
}

/// Any valid JSON value, given as its text.
fn put_token(column: &mut Column, token: &str) -> Result<(), Refused> {
    match token.as_bytes().first() {
        Some(b'"') => match &token[1..token.len() - 1] {
            escaped if escaped.contains('\\') => {
                let text: String = sonic_rs::from_str(token).map_err(|_| Refused::WrongType)?;
                column.put_text(&text)
            }
            plain => column.put_text(plain),
        },
        Some(b'-' | b'0'..=b'9') => column.put_number_text(token),
        Some(b't' | b'f') => column.put_bool(token == "true"),
        Some(b'n') => column.put_null(),
        _ => Err(Refused::WrongType),
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("a value")
    }

    #[inline]
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.put(|column| column.put_u64(value))
    }

    #[inline]
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.put(|column| column.put_i64(value))
    }

    #[inline]
    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.put(|column| column.put_f64(value))
    }

    #[inline]
    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.put(|column| column.put_bool(value))
    }

    #[inline]
    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.put(|column| column.put_text(value))
    }

    #[inline]
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.put(Column::put_null)
    }
}
