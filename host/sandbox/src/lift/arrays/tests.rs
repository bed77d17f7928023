//! Random buffers against every type: never a panic, and what is built is an array that Arrow itself accepts.

use std::hash::{BuildHasher, RandomState};

use arrow_array::Array;
use arrow_array::cast::AsArray;

use super::*;

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
        let array = build(OwnedColumn { validity: None, values }, &field, rows);
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
        if let Ok(array) = build(OwnedColumn { validity, values }, &field, rows) {
            array.to_data().validate_full().unwrap();
            assert_eq!((array.len(), array.data_type()), (rows, field.data_type()));
            assert!(field.is_nullable() || array.null_count() == 0);
        }
    }
}
