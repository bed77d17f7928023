//! One JSON value into a column, and what is inside it into the columns of a list or struct.
//!
//! Recursion is bounded by the column's type, whose depth the manifest bounds, and by the scanner's own limit.

use std::fmt;

use crate::codec::reject_code;
use crate::column::{Column, Nested, Refused};
use crate::column_set::Fault;
use crate::json::scan::{Scanner, Stop};

/// Where a value is: the declared field, then names and numbers inside it.
pub(crate) enum Path<'a> {
    Field(&'a str),
    Part(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => f.write_str(name),
            Self::Part(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, number) => write!(f, "{parent}[{number}]"),
        }
    }
}

/// Reads a value that is neither an array nor an object; `None` when one of them is next, or nothing that is a value.
#[inline]
pub(crate) fn scalar(
    scanner: &mut Scanner<'_>,
    scratch: &mut String,
    column: &mut Column,
) -> Result<Option<Result<(), Refused>>, Stop> {
    Ok(Some(match scanner.peek() {
        b'"' => column.put_text(scanner.string(scratch)?),
        b'-' | b'0'..=b'9' => {
            let number = scanner.number()?;
            match (number.integer, number.float) {
                _ if column.wants_number_text() => column.put_number_text(number.text),
                (Some(integer), _) => column.put_i64(integer),
                (None, Some(float)) => column.put_f64(float),
                (None, None) => column.put_number_text(number.text),
            }
        }
        b'n' => {
            scanner.literal("null")?;
            column.put_null()
        }
        b't' => {
            scanner.literal("true")?;
            column.put_bool(true)
        }
        b'f' => {
            scanner.literal("false")?;
            column.put_bool(false)
        }
        _ => return Ok(None),
    }))
}

/// Reads values of columns that have columns inside.
pub(crate) struct Parts<'a, 'p> {
    pub scanner: &'a mut Scanner<'p>,
    pub scratch: &'a mut String,
}

impl Parts<'_, '_> {
    /// Reads an array or object; `depth` of them are around it.
    pub(crate) fn read(&mut self, column: &mut Column, path: &Path<'_>, depth: usize) -> Result<(), Stop> {
        let start = self.scanner.position();
        match (self.scanner.peek(), column.nested()) {
            (b'[', Some(list @ Nested::List { .. })) => self.list(list, path, depth + 1),
            (b'{', Some(object @ Nested::Struct { .. })) => self.object(object, path, depth + 1),
            _ => {
                self.scanner.skip(depth)?;
                Err(self.refused(Refused::WrongType, column, path, start))
            }
        }
    }

    fn list(&mut self, list: &mut Nested, path: &Path<'_>, depth: usize) -> Result<(), Stop> {
        let Nested::List { items, .. } = list else { unreachable!("its caller saw a list") };
        self.scanner.open(depth)?;
        if self.scanner.peek() == b']' {
            self.scanner.advance(1);
        } else {
            let mut number = 0;
            loop {
                self.value(items, &Path::Item(path, number), depth)?;
                number += 1;
                if !self.scanner.another(b']')? {
                    break;
                }
            }
        }
        list.end_value();
        Ok(())
    }

    fn object(&mut self, object: &mut Nested, path: &Path<'_>, depth: usize) -> Result<(), Stop> {
        let Nested::Struct { names, fields, rows } = object else { unreachable!("its caller saw a struct") };
        self.scanner.open(depth)?;
        if self.scanner.peek() == b'}' {
            self.scanner.advance(1);
        } else {
            loop {
                self.part(names, fields, *rows, path, depth)?;
                if !self.scanner.another(b'}')? {
                    break;
                }
            }
        }
        for (name, field) in names.iter().zip(fields).filter(|(_, field)| field.len() == *rows) {
            field.put_null().map_err(|refused| {
                let place = Path::Part(path, name).to_string();
                Box::new(Fault::refused(refused, &place, &field.type_name(), "missing"))
            })?;
        }
        object.end_value();
        Ok(())
    }

    /// A key and its value.
    fn part(
        &mut self,
        names: &[Box<str>],
        fields: &mut [Column],
        rows: usize,
        path: &Path<'_>,
        depth: usize,
    ) -> Result<(), Stop> {
        if self.scanner.peek() != b'"' {
            return Err(self.scanner.expected("a key"));
        }
        let name = self.scanner.string(self.scratch)?;
        let number = names.iter().position(|known| **known == *name);
        self.scanner.colon()?;
        self.scanner.skip_space();
        let Some(number) = number else { return self.scanner.skip(depth) };
        let path = Path::Part(path, &names[number]);
        if fields[number].len() > rows {
            let reason = format!("field `{path}` occurs twice");
            return Err(Box::new(Fault { code: reject_code::DUPLICATE_FIELD, reason }));
        }
        self.value(&mut fields[number], &path, depth)
    }

    fn value(&mut self, column: &mut Column, path: &Path<'_>, depth: usize) -> Result<(), Stop> {
        let start = self.scanner.position();
        match scalar(self.scanner, self.scratch, column)? {
            Some(Ok(())) => Ok(()),
            Some(Err(refused)) => Err(self.refused(refused, column, path, start)),
            None => self.read(column, path, depth),
        }
    }

    #[cold]
    fn refused(&self, refused: Refused, column: &Column, path: &Path<'_>, start: usize) -> Stop {
        let found = self.scanner.text_from(start);
        Box::new(Fault::refused(refused, &path.to_string(), &column.type_name(), found))
    }
}
