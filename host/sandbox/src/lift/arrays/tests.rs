//! Random buffers against every type: never a panic, and what is built is an array that Arrow itself accepts.

use std::hash::{BuildHasher, RandomState};

use arrow_array::Array;
use arrow_array::cast::AsArray;

use super::*;

/// One flat column.
fn one(column: OwnedColumn, field: &Field, rows: usize) -> Result<ArrayRef, Wrong> {
    build(&mut vec![column].into_iter(), field, rows, None)
}

/// xorshift64*; the seed is printed when a test fails.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = RandomState::new().hash_one("seed") | 1;
        println!("seed {seed}");
        Self(seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let kind = self.below(3);
        let byte = |random: &mut Self| match kind {
            0 => b'a' + random.below(26) as u8,
            1 => [b'a', 0xc3, 0xa9, 0xf0][random.below(4)],
            _ => random.below(256) as u8,
        };
        (0..length).map(|_| byte(self)).collect()
    }

    /// Mostly good offsets: what fails at once tests nothing.
    fn offsets(&mut self, rows: usize, bytes: usize) -> Vec<i32> {
        let mut offsets: Vec<i32> = (0..rows + 1).map(|_| self.below(bytes + 1) as i32).collect();
        offsets.sort_unstable();
        offsets[0] = 0;
        offsets[rows] = bytes as i32;
        if self.below(4) == 0 {
            let broken = self.below(rows + 1);
            offsets[broken] = self.below(1 << 32) as u32 as i32;
        }
        offsets
    }

    fn length(&mut self, right: usize) -> usize {
        if self.below(8) == 0 { self.below(right + 3) } else { right }
    }
}

#[test]
fn random_text_is_built_exactly_when_the_standard_library_agrees() {
    let mut random = Random::new();
    let (mut built, field) = (0, Field::new("text", DataType::Utf8, true));
    for _ in 0..20_000 {
        let (rows, bytes) = (random.below(6), random.below(24));
        let (offsets, data) = (random.offsets(rows, bytes), random.bytes(bytes));
        let good = offsets.windows(2).enumerate().all(|(row, pair)| {
            let value = usize::try_from(pair[0]).ok().and_then(|begin| data.get(begin..usize::try_from(pair[1]).ok()?));
            (row > 0 || pair[0] == 0) && value.is_some_and(|value| std::str::from_utf8(value).is_ok())
        }) && (rows > 0 || offsets[0] == 0)
            && offsets[rows] as usize == bytes;
        let values = OwnedValues::Bytes(OwnedVarBytes { offsets: offsets.clone(), data: data.clone() });
        let array = one(OwnedColumn { validity: None, values }, &field, rows);
        assert_eq!(array.is_ok(), good, "{offsets:?} {data:?}: {array:?}");
        if let Ok(array) = array {
            array.to_data().validate_full().unwrap();
            array.as_string::<i32>().iter().for_each(|value| assert!(value.is_some()));
            built += 1;
        }
    }
    assert!(built > 2_000, "only {built} were good");
}

#[test]
fn random_buffers_of_any_type_never_panic_and_never_make_a_broken_array() {
    let mut random = Random::new();
    let types = [
        DataType::Boolean,
        DataType::Int8,
        DataType::Int64,
        DataType::UInt32,
        DataType::Float64,
        DataType::Utf8,
        DataType::Binary,
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        DataType::Decimal128(10, 2),
    ];
    for _ in 0..20_000 {
        let rows = random.below(20);
        let field = Field::new("x", types[random.below(types.len())].clone(), random.below(2) == 0);
        let bytes = random.below(40);
        let validity_bytes = random.length(rows.div_ceil(8));
        let length = random.length(rows);
        let values = match random.below(9) {
            0 => OwnedValues::Bits(random.bytes(bytes)),
            1 => OwnedValues::Int8(vec![1; length]),
            2 => OwnedValues::Int64(vec![-1; length]),
            3 => OwnedValues::Uint32(vec![1; length]),
            4 => OwnedValues::Float64(vec![f64::NAN; length]),
            5 => OwnedValues::Int32(vec![i32::MIN; length]),
            6 => OwnedValues::Decimal128(vec![u64::MAX; random.length(rows * 2)]),
            7 => OwnedValues::Nothing,
            _ => OwnedValues::Bytes(OwnedVarBytes { offsets: random.offsets(rows, bytes), data: random.bytes(bytes) }),
        };
        let validity = (random.below(2) == 0).then(|| random.bytes(validity_bytes));
        if let Ok(array) = one(OwnedColumn { validity, values }, &field, rows) {
            array.to_data().validate_full().unwrap();
            assert_eq!((array.len(), array.data_type()), (rows, field.data_type()));
            assert!(field.is_nullable() || array.null_count() == 0);
        }
    }
}

/// A type of lists and structs at most so deep.
fn nested_type(random: &mut Random, depth: usize) -> DataType {
    let field = |random: &mut Random, name: &str| {
        Field::new(name, nested_type(random, depth.saturating_sub(1)), random.below(3) > 0)
    };
    match (depth, random.below(5)) {
        (0, _) | (_, 0) => [DataType::Boolean, DataType::Int64, DataType::Utf8][random.below(3)].clone(),
        (_, 1 | 2) => DataType::List(Arc::new(field(random, types::ITEM))),
        _ => {
            let fields = (0..1 + random.below(3)).map(|number| field(random, &format!("f{number}")));
            DataType::Struct(fields.collect::<Vec<_>>().into())
        }
    }
}

/// Buffers for a type, mostly good ones.
fn nested_columns(random: &mut Random, data_type: &DataType, rows: usize, columns: &mut Vec<OwnedColumn>) {
    let validity = (random.below(3) == 0).then(|| {
        let bytes = random.length(rows.div_ceil(8));
        (0..bytes).map(|_| if random.below(2) == 0 { 0xff } else { random.below(256) as u8 }).collect()
    });
    let own = columns.len();
    columns.push(OwnedColumn { validity, values: OwnedValues::Nothing });
    let length = if random.below(40) == 0 { random.below(rows + 3) } else { rows };
    columns[own].values = match data_type {
        DataType::Boolean => OwnedValues::Bits(vec![0b1010_0101; length.div_ceil(8)]),
        DataType::Int64 => OwnedValues::Int64(vec![7; length]),
        DataType::Utf8 => {
            let offsets = (0..=length as i32).map(|row| row * 2).collect();
            OwnedValues::Bytes(OwnedVarBytes { offsets, data: b"ab".repeat(length) })
        }
        DataType::List(item) => {
            let mut offsets = vec![0];
            (0..length).for_each(|row| offsets.push(offsets[row] + random.below(4) as i32));
            let items = offsets[length] as usize;
            if random.below(20) == 0 {
                let broken = random.below(length + 1);
                offsets[broken] = random.below(1 << 32) as u32 as i32;
            }
            nested_columns(random, item.data_type(), items, columns);
            OwnedValues::ListOffsets(offsets)
        }
        DataType::Struct(fields) => {
            fields.iter().for_each(|field| nested_columns(random, field.data_type(), length, columns));
            OwnedValues::Nothing
        }
        other => unreachable!("{other} is not among the types of this test"),
    };
}

#[test]
fn random_nested_buffers_never_panic_and_never_make_a_broken_array() {
    let mut random = Random::new();
    let mut built = 0;
    for _ in 0..20_000 {
        let (rows, depth) = (random.below(12), 1 + random.below(4));
        let field: FieldRef = Arc::new(Field::new("x", nested_type(&mut random, depth), random.below(2) == 0));
        let mut columns = Vec::new();
        nested_columns(&mut random, field.data_type(), rows, &mut columns);
        match random.below(30) {
            0 => drop(columns.pop()),
            1 => columns.push(columns[0].clone()),
            2 => {
                let (one, other) = (random.below(columns.len()), random.below(columns.len()));
                columns.swap(one, other);
            }
            _ => {}
        }
        let place = || "the test's".to_owned();
        if let Ok(arrays) = build_all(columns, std::slice::from_ref(&field), rows, "writes", place) {
            arrays[0].to_data().validate_full().unwrap();
            assert_eq!((arrays[0].len(), arrays[0].data_type()), (rows, field.data_type()));
            built += 1;
        }
    }
    assert!((2_000..18_000).contains(&built), "{built} were good");
}
