//! One payload into the columns, driven by the tree of declared fields.

use crate::codec::reject_code;
use crate::column::{Column, Refused};
use crate::column_set::Fault;
use crate::json::keys::{Action, Object};
use crate::json::nested::{Parts, Path, scalar};
use crate::json::scan::{Scanner, Stop};

/// Reads one payload. Whatever it has put when it stops is cut back by its caller.
pub(crate) struct Reader<'a, 'p> {
    pub scanner: Scanner<'p>,
    pub objects: &'a mut [Object],
    pub columns: &'a mut [Column],
    /// Number of this payload; tells keys that were seen in it from those of any before.
    pub payload: u64,
    /// Room for a text whose escapes must be resolved.
    pub scratch: &'a mut String,
}

/// A declared key: its object and its number there.
type At = (usize, usize);

impl Reader<'_, '_> {
    /// Reads the document.
    ///
    /// # Errors
    /// What is wrong with it. A broken document is always called broken, whatever is wrong with its fields before.
    pub(crate) fn read(&mut self) -> Result<(), Stop> {
        let whole = self.scanner.clone();
        self.document().map_err(|stop| validate(whole).err().unwrap_or(stop))
    }

    fn document(&mut self) -> Result<(), Stop> {
        self.scanner.skip_space();
        if self.scanner.peek() != b'{' {
            return Err(self.no_object(0, 0));
        }
        self.object(0, 1)?;
        self.scanner.end_document()
    }

    /// An object whose brace is next; it is the `depth`-th around its fields.
    fn object(&mut self, object: usize, depth: usize) -> Result<(), Stop> {
        self.scanner.open(depth)?;
        if self.scanner.peek() == b'}' {
            self.scanner.advance(1);
            return self.fill_unseen(object);
        }
        let (mut previous, mut declared) = (None, 0);
        loop {
            let key = self.key(object, previous)?;
            self.scanner.skip_space();
            declared += self.field(object, key, depth)?;
            previous = key.or(previous);
            if !self.scanner.another(b'}')? {
                break;
            }
        }
        if declared == self.objects[object].declared { Ok(()) } else { self.fill_unseen(object) }
    }

    /// Reads a key and its colon.
    #[inline]
    fn key(&mut self, object: usize, previous: Option<usize>) -> Result<Option<usize>, Stop> {
        match self.objects[object].guess(previous, self.scanner.ahead()) {
            Some((key, length)) => {
                self.scanner.advance(length);
                Ok(Some(key))
            }
            None => self.unexpected_key(object, previous),
        }
    }

    #[cold]
    fn unexpected_key(&mut self, object: usize, previous: Option<usize>) -> Result<Option<usize>, Stop> {
        if self.scanner.peek() != b'"' {
            return Err(self.scanner.expected("a key"));
        }
        let name = self.scanner.string(self.scratch)?;
        let key = self.objects[object].look_up(previous, name);
        self.scanner.colon()?;
        Ok(key)
    }

    /// Reads a field's value; answers how many declared fields that was.
    #[inline]
    fn field(&mut self, object: usize, key: Option<usize>, depth: usize) -> Result<usize, Stop> {
        let Some(key) = key else { return self.scanner.skip(depth).map(|()| 0) };
        let entry = &mut self.objects[object].keys[key];
        let action = entry.action;
        if action == Action::Skip {
            return self.scanner.skip(depth).map(|()| 0);
        }
        if std::mem::replace(&mut entry.seen_in, self.payload) == self.payload {
            return Err(self.duplicate((object, key)));
        }
        match action {
            Action::Column(column) => self.value(column as usize, (object, key), depth)?,
            Action::Object(inner) => self.inner_object(inner as usize, depth)?,
            Action::Skip => {}
        }
        Ok(1)
    }

    fn inner_object(&mut self, object: usize, depth: usize) -> Result<(), Stop> {
        match self.scanner.peek() {
            b'{' => self.object(object, depth + 1),
            b'n' => {
                self.scanner.literal("null")?;
                self.fill_object(object, "an object around it is null")
            }
            _ => Err(self.no_object(object, depth)),
        }
    }

    /// Reads one value into its column.
    #[inline]
    fn value(&mut self, column: usize, at: At, depth: usize) -> Result<(), Stop> {
        let start = self.scanner.position();
        match scalar(&mut self.scanner, self.scratch, &mut self.columns[column])? {
            Some(put) => put.map_err(|refused| self.refused(refused, at, self.scanner.text_from(start))),
            None => self.parts(column, at, depth),
        }
    }

    fn parts(&mut self, column: usize, at: At, depth: usize) -> Result<(), Stop> {
        let path = self.path(at);
        let mut parts = Parts { scanner: &mut self.scanner, scratch: self.scratch };
        parts.read(&mut self.columns[column], &Path::Field(&path), depth)
    }

    /// Nulls for every declared key of an object that this payload does not have.
    #[cold]
    fn fill_unseen(&mut self, object: usize) -> Result<(), Stop> {
        for key in 0..self.objects[object].declared {
            if self.objects[object].keys[key].seen_in != self.payload {
                self.fill((object, key), "missing")?;
            }
        }
        Ok(())
    }

    /// Nulls for everything inside an object that is null or missing itself.
    fn fill_object(&mut self, object: usize, why: &str) -> Result<(), Stop> {
        (0..self.objects[object].declared).try_for_each(|key| self.fill((object, key), why))
    }

    fn fill(&mut self, at: At, why: &str) -> Result<(), Stop> {
        match self.objects[at.0].keys[at.1].action {
            Action::Column(column) => {
                self.columns[column as usize].put_null().map_err(|refused| self.refused(refused, at, why))
            }
            Action::Object(inner) => self.fill_object(inner as usize, why),
            Action::Skip => Ok(()),
        }
    }

    fn path(&self, (object, key): At) -> String {
        self.objects[object].path_of(&self.objects[object].keys[key].name)
    }

    #[cold]
    fn refused(&self, refused: Refused, at: At, found: &str) -> Stop {
        let type_name = match self.objects[at.0].keys[at.1].action {
            Action::Column(column) => self.columns[column as usize].type_name(),
            _ => "an object".into(),
        };
        Box::new(Fault::refused(refused, &self.path(at), &type_name, found))
    }

    #[cold]
    fn duplicate(&self, at: At) -> Stop {
        let reason = format!("field `{}` occurs twice", self.path(at));
        Box::new(Fault { code: reject_code::DUPLICATE_FIELD, reason })
    }

    #[cold]
    fn no_object(&mut self, object: usize, depth: usize) -> Stop {
        let start = self.scanner.position();
        if let Err(stop) = self.scanner.skip(depth) {
            return stop;
        }
        let (found, path) = (self.scanner.text_from(start), &self.objects[object].path);
        if path.is_empty() {
            return Box::new(Fault::refused(Refused::WrongType, "the payload", "one JSON object", found));
        }
        Box::new(Fault::refused(Refused::WrongType, path, "an object", found))
    }
}

#[cold]
fn validate(mut scanner: Scanner<'_>) -> Result<(), Stop> {
    scanner.skip_space();
    scanner.skip(0)?;
    scanner.end_document()
}
