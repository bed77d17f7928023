//! Values of `wit/` as the canonical ABI lays them out: sizes and offsets by hand.

use arrow_schema::{DataType, Field, FieldRef};

/// A contract that a guest will claim.
#[derive(Clone)]
pub struct Contract {
    pub name: String,
    pub version: String,
    pub reads: Vec<String>,
    /// 0 one-to-one, 1 filter, 2 many.
    pub cardinality: u8,
    pub outputs: Vec<Output>,
    pub config_schema: String,
}

#[derive(Clone)]
pub struct Output {
    pub name: String,
    pub writes: Vec<Written>,
    pub drops: Vec<String>,
}

#[derive(Clone)]
pub struct Written {
    pub name: String,
    pub data_type: Type,
    pub nullable: bool,
    pub children: u32,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Type {
    /// A case without payload, by its number.
    Plain(u8),
    /// Unit and, if it has one, the zone.
    Timestamp(u8, Option<&'static str>),
    Decimal(u8, i8),
}

pub const BOOLEAN: Type = Type::Plain(0);
pub const INT64: Type = Type::Plain(4);
pub const UINT32: Type = Type::Plain(7);
pub const UTF8: Type = Type::Plain(11);
pub const LIST: Type = Type::Plain(16);
pub const STRUCT: Type = Type::Plain(17);

impl Written {
    /// A field with everything in it, as it is listed.
    pub fn tree(field: &Field, fields: &mut Vec<Self>) {
        let (data_type, children): (_, Vec<&FieldRef>) = match field.data_type() {
            DataType::Boolean => (BOOLEAN, Vec::new()),
            DataType::Int64 => (INT64, Vec::new()),
            DataType::Utf8 => (UTF8, Vec::new()),
            DataType::Decimal128(precision, scale) => (Type::Decimal(*precision, *scale), Vec::new()),
            DataType::List(item) => (LIST, vec![item]),
            DataType::Struct(parts) => (STRUCT, parts.iter().collect()),
            other => unreachable!("no test nests {other}"),
        };
        let (name, nullable) = (field.name().clone(), field.is_nullable());
        fields.push(Self { name, data_type, nullable, children: children.len() as u32 });
        children.into_iter().for_each(|child| Self::tree(child, fields));
    }
}

impl Contract {
    /// Reads nothing, one output `main` that writes these columns, many rows from one.
    pub fn writing(writes: &[(&str, Type)]) -> Self {
        let written = |(name, data_type): &(&str, Type)| Written {
            name: (*name).to_owned(),
            data_type: *data_type,
            nullable: true,
            children: 0,
        };
        let output = Output { name: "main".into(), writes: writes.iter().map(written).collect(), drops: Vec::new() };
        Self {
            name: "guest".into(),
            version: "1.0.0".into(),
            reads: Vec::new(),
            cardinality: 2,
            outputs: vec![output],
            config_schema: String::new(),
        }
    }

    pub fn reading(mut self, reads: &[&str]) -> Self {
        self.reads = reads.iter().map(ToString::to_string).collect();
        self
    }

    pub fn one_to_one(mut self) -> Self {
        self.cardinality = 0;
        self
    }

    pub fn filter(mut self) -> Self {
        self.cardinality = 1;
        self
    }

    pub fn with_output(mut self, name: &str) -> Self {
        self.outputs.push(Output { name: name.into(), writes: Vec::new(), drops: Vec::new() });
        self
    }

    pub fn not_null(mut self) -> Self {
        self.outputs[0].writes.iter_mut().for_each(|written| written.nullable = false);
        self
    }
}

/// An answer to `process`.
#[derive(Clone, Default)]
pub struct Answer {
    pub outputs: Vec<Rows>,
    pub rejects: Vec<(u32, String, Vec<u8>)>,
}

#[derive(Clone)]
pub struct Rows {
    pub output: u32,
    /// `None`: all.
    pub rows: Option<Vec<u32>>,
    pub columns: Vec<Column>,
}

#[derive(Clone)]
pub struct Column {
    pub validity: Option<Vec<u8>>,
    pub values: Values,
}

#[derive(Clone)]
pub enum Values {
    /// Case, bytes, size of one entry.
    Typed(u8, Vec<u8>, usize),
    Bytes(Vec<i32>, Vec<u8>),
    /// A list of this case that claims to be somewhere in memory.
    Claimed {
        case: u8,
        at: u32,
        length: u32,
    },
}

impl Answer {
    pub fn of(output: u32, rows: Option<&[u32]>, columns: Vec<Column>) -> Self {
        Self::default().and(output, rows, columns)
    }

    pub fn and(mut self, output: u32, rows: Option<&[u32]>, columns: Vec<Column>) -> Self {
        self.outputs.push(Rows { output, rows: rows.map(<[u32]>::to_vec), columns });
        self
    }

    pub fn rejecting(mut self, row: u32, code: &str) -> Self {
        self.rejects.push((row, code.to_owned(), b"because".to_vec()));
        self
    }
}

impl Column {
    pub fn int64(values: &[i64]) -> Self {
        Self::typed(4, values.iter().flat_map(|value| value.to_le_bytes()).collect(), 8)
    }

    pub fn decimal(values: &[i128]) -> Self {
        Self::typed(11, values.iter().flat_map(|value| value.to_le_bytes()).collect(), 8)
    }

    pub fn utf8(offsets: &[i32], data: &[u8]) -> Self {
        Self { validity: None, values: Values::Bytes(offsets.to_vec(), data.to_vec()) }
    }

    /// A list's own column.
    pub fn offsets(offsets: &[i32]) -> Self {
        Self::typed(13, offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect(), 4)
    }

    /// A struct's own column.
    pub fn nothing() -> Self {
        Self::typed(14, Vec::new(), 1)
    }

    pub fn typed(case: u8, bytes: Vec<u8>, size: usize) -> Self {
        Self { validity: None, values: Values::Typed(case, bytes, size) }
    }

    pub fn valid(mut self, validity: &[u8]) -> Self {
        self.validity = Some(validity.to_vec());
        self
    }
}

/// A guest's static memory.
pub struct Memory {
    base: u32,
    bytes: Vec<u8>,
}

impl Memory {
    pub fn new(base: u32) -> Self {
        Self { base, bytes: Vec::new() }
    }

    pub fn base(&self) -> u32 {
        self.base
    }

    pub fn end(&self) -> u32 {
        self.base + self.bytes.len() as u32
    }

    pub fn escaped(&self) -> String {
        self.bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
    }

    pub fn put(&mut self, align: usize, bytes: &[u8]) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(align.max(1)), 0);
        let at = self.end();
        self.bytes.extend(bytes);
        at
    }

    /// Pointer and length of bytes put aside.
    fn slice(&mut self, align: usize, bytes: &[u8], length: usize) -> Vec<u8> {
        let at = self.put(align, bytes);
        [at.to_le_bytes(), (length as u32).to_le_bytes()].concat()
    }

    pub fn string(&mut self, text: &str) -> Vec<u8> {
        self.slice(1, text.as_bytes(), text.len())
    }

    fn records(&mut self, records: &[Vec<u8>]) -> Vec<u8> {
        self.slice(8, &records.concat(), records.len())
    }

    fn strings(&mut self, texts: &[String]) -> Vec<u8> {
        let records: Vec<_> = texts.iter().map(|text| self.string(text)).collect();
        self.records(&records)
    }

    fn optional(&mut self, text: Option<&str>) -> Vec<u8> {
        let mut option = vec![u8::from(text.is_some()), 0, 0, 0];
        option.extend(text.map_or(vec![0; 8], |text| self.string(text)));
        option
    }

    fn field(&mut self, written: &Written) -> Vec<u8> {
        let mut field = self.string(&written.name);
        let (case, payload) = match written.data_type {
            Type::Plain(case) => (case, vec![0; 16]),
            Type::Decimal(precision, scale) => (15, [vec![precision, scale as u8], vec![0; 14]].concat()),
            Type::Timestamp(unit, zone) => (14, [vec![unit, 0, 0, 0], self.optional(zone)].concat()),
        };
        field.extend([case, 0, 0, 0]);
        field.extend(payload);
        field.extend([u8::from(written.nullable), 0, 0, 0]);
        field.extend(written.children.to_le_bytes());
        field
    }

    fn output(&mut self, output: &Output) -> Vec<u8> {
        let writes: Vec<_> = output.writes.iter().map(|written| self.field(written)).collect();
        [self.string(&output.name), self.records(&writes), self.strings(&output.drops)].concat()
    }

    /// `result<contract, list<fault>>`, at its address.
    pub fn contract_answer(&mut self, contract: &Contract) -> u32 {
        let outputs: Vec<_> = contract.outputs.iter().map(|output| self.output(output)).collect();
        let answer = [
            vec![0; 4],
            self.string(&contract.name),
            self.string(&contract.version),
            self.strings(&contract.reads),
            vec![contract.cardinality, 0, 0, 0],
            self.records(&outputs),
            vec![1, 0, 0, 0],
            self.string(&contract.config_schema),
        ];
        self.put(8, &answer.concat())
    }

    pub fn refusal(&mut self, faults: &[(Option<&str>, Option<&str>, &str)]) -> u32 {
        let fault = |memory: &mut Self, (path, column, message): &(Option<&str>, Option<&str>, &str)| {
            [memory.optional(*path), memory.optional(*column), memory.string(message)].concat()
        };
        let faults: Vec<_> = faults.iter().map(|parts| fault(self, parts)).collect();
        let answer = [vec![1, 0, 0, 0], self.records(&faults), vec![0; 40]].concat();
        self.put(8, &answer)
    }

    fn column(&mut self, column: &Column) -> Vec<u8> {
        let mut bytes = vec![u8::from(column.validity.is_some()), 0, 0, 0];
        bytes.extend(column.validity.as_ref().map_or(vec![0; 8], |bits| self.slice(1, bits, bits.len())));
        let (case, mut payload) = match &column.values {
            Values::Typed(case, values, size) => (*case, self.slice(8, values, values.len() / size)),
            Values::Claimed { case, at, length } => (*case, [at.to_le_bytes(), length.to_le_bytes()].concat()),
            Values::Bytes(offsets, data) => {
                let raw: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
                (12, [self.slice(4, &raw, offsets.len()), self.slice(1, data, data.len())].concat())
            }
        };
        payload.resize(16, 0);
        bytes.extend([case, 0, 0, 0]);
        bytes.extend(payload);
        bytes
    }

    fn rows(&mut self, rows: &Rows) -> Vec<u8> {
        let mut bytes = rows.output.to_le_bytes().to_vec();
        bytes.extend([u8::from(rows.rows.is_some()), 0, 0, 0]);
        let selected = rows.rows.clone().unwrap_or_default();
        let raw: Vec<u8> = selected.iter().flat_map(|row| row.to_le_bytes()).collect();
        bytes.extend(self.slice(4, &raw, selected.len()));
        let columns: Vec<_> = rows.columns.iter().map(|column| self.column(column)).collect();
        bytes.extend(self.records(&columns));
        bytes
    }

    /// `transformed`, at its address.
    pub fn answer(&mut self, answer: &Answer) -> u32 {
        let outputs: Vec<_> = answer.outputs.iter().map(|rows| self.rows(rows)).collect();
        let rejects: Vec<_> = answer
            .rejects
            .iter()
            .map(|(row, code, reason)| {
                [row.to_le_bytes().to_vec(), self.string(code), self.slice(1, reason, reason.len())].concat()
            })
            .collect();
        let answer = [self.records(&outputs), self.records(&rejects)].concat();
        self.put(8, &answer)
    }
}
