//! Entries there and back, the bytes of version 1, and bytes that no codec wrote.

use std::hash::{BuildHasher, RandomState};

use arrow_array::{BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray};
use arrow_schema::Field;

use super::*;

fn fields() -> Vec<FieldRef> {
    let field = |name: &str, data_type, nullable| Arc::new(Field::new(name, data_type, nullable));
    vec![
        field("flag", DataType::Boolean, true),
        field("count", DataType::Int64, false),
        field("text", DataType::Utf8, true),
        field("price", DataType::Decimal128(12, 2), true),
        field("level", DataType::Float64, false),
    ]
}

fn columns() -> Vec<ArrayRef> {
    let price = Decimal128Array::from(vec![Some(150), None, Some(-7), Some(i128::from(i64::MAX))]);
    vec![
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])),
        Arc::new(Int64Array::from(vec![i64::MIN, 0, -1, i64::MAX])),
        Arc::new(StringArray::from(vec![Some(""), Some("grün"), None, Some("x")])),
        Arc::new(price.with_precision_and_scale(12, 2).unwrap()),
        Arc::new(Float64Array::from(vec![0.5, -0.0, f64::INFINITY, 3.0])),
    ]
}

#[test]
fn entries_of_several_keys_come_back_as_they_were() {
    let codec = EntryCodec::new(&fields()).unwrap();
    let entries = StateEntries { offsets: vec![0, 1, 1, 4], columns: columns() };
    let bytes = codec.encode(&entries).unwrap();
    assert_eq!(bytes[1], Vec::<u8>::new());
    assert_eq!(codec.decode(bytes.iter().map(Vec::as_slice)).unwrap(), entries);
    let last = codec.decode([&*bytes[2]].into_iter()).unwrap();
    assert_eq!(last.columns[0].as_boolean(), &columns()[0].slice(1, 3).as_boolean().clone());
}

#[test]
fn the_bytes_are_those_of_version_1() {
    let codec = EntryCodec::new(&fields()[1..3]).unwrap();
    let entries = StateEntries { offsets: vec![0, 2], columns: columns()[1..3].to_vec() };
    let entries =
        StateEntries { columns: entries.columns.iter().map(|column| column.slice(1, 2)).collect(), ..entries };
    let expected = [
        &[2, 0, 0, 0][..],
        &[0, 0, 0, 0, 0, 0, 0, 0, 1, 5, 0, 0, 0, b'g', b'r', 0xc3, 0xbc, b'n'],
        &[255, 255, 255, 255, 255, 255, 255, 255, 0],
    ];
    assert_eq!(codec.encode(&entries).unwrap(), [expected.concat()]);
}

#[test]
fn bytes_that_no_codec_wrote_are_refused() {
    let codec = EntryCodec::new(&fields()).unwrap();
    let whole = codec.encode(&StateEntries { offsets: vec![0, 4], columns: columns() }).unwrap().remove(0);
    for length in 1..whole.len() {
        assert!(codec.decode([&whole[..length]].into_iter()).is_err(), "{length} bytes");
    }
    let longer = [&whole[..], &[0]].concat();
    assert!(codec.decode([&*longer].into_iter()).unwrap_err().contains("1 bytes too many"));
}

#[test]
fn entries_of_another_schema_are_refused() {
    let codec = EntryCodec::new(&fields()[1..2]).unwrap();
    let wrong =
        |offsets: Vec<u32>, columns: Vec<ArrayRef>| codec.encode(&StateEntries { offsets, columns }).unwrap_err();
    assert_eq!(wrong(vec![0, 4], columns()), "5 columns instead of 1");
    assert_eq!(wrong(vec![0, 4], columns()[4..].to_vec()), "a column of Float64 instead of Int64");
    assert!(wrong(vec![0, 3], columns()[1..2].to_vec()).starts_with("offsets that do not rise"));
    assert!(wrong(vec![1, 4], columns()[1..2].to_vec()).starts_with("offsets that do not rise"));
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1)]));
    assert_eq!(wrong(vec![0, 2], vec![nulls]), "a null in a column that is declared not null");
}

/// xorshift64*; the seed is printed when a test fails.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn field(&mut self, name: &str, depth: usize) -> FieldRef {
        let data_type = match (depth, self.below(4)) {
            (0, kind) => {
                [DataType::Boolean, DataType::Int64, DataType::Utf8, DataType::Decimal128(20, 2)][kind].clone()
            }
            (_, 0 | 1) => DataType::List(self.field("item", depth - 1)),
            _ => DataType::Struct(vec![self.field("a", depth - 1), self.field("b", 0)].into()),
        };
        Arc::new(Field::new(name, data_type, self.below(2) == 0))
    }

    fn array(&mut self, field: &Field, rows: usize) -> ArrayRef {
        let nulls = field.is_nullable().then(|| (0..rows).map(|_| self.below(3) > 0).collect());
        match field.data_type() {
            DataType::Boolean => Arc::new(BooleanArray::new((0..rows).map(|_| self.below(2) == 0).collect(), nulls)),
            DataType::Int64 => {
                let values: Vec<i64> = (0..rows).map(|_| self.below(1000) as i64 - 500).collect();
                Arc::new(Int64Array::new(values.into(), nulls))
            }
            DataType::Decimal128(precision, scale) => {
                let values: Vec<i128> = (0..rows).map(|_| self.below(1000) as i128 - 500).collect();
                let array = Decimal128Array::new(values.into(), nulls);
                Arc::new(array.with_precision_and_scale(*precision, *scale).unwrap())
            }
            DataType::Utf8 => {
                let text: Vec<String> = (0..rows).map(|_| "grün".repeat(self.below(3))).collect();
                let (offsets, values, _) = StringArray::from_iter_values(text).into_parts();
                Arc::new(StringArray::new(offsets, values, nulls))
            }
            DataType::List(item) => {
                let lengths: Vec<usize> = (0..rows).map(|_| self.below(4)).collect();
                let items = self.array(item, lengths.iter().sum());
                Arc::new(ListArray::new(item.clone(), OffsetBuffer::from_lengths(lengths), items, nulls))
            }
            DataType::Struct(fields) => {
                let children = fields.iter().map(|field| self.array(field, rows)).collect();
                Arc::new(StructArray::new(fields.clone(), children, nulls))
            }
            other => unreachable!("{other} is not among the types of this test"),
        }
    }
}

#[test]
fn random_lists_and_structs_come_back_as_they_were_and_are_refused_where_they_are_cut() {
    let seed = RandomState::new().hash_one("seed") | 1;
    println!("seed {seed}");
    let mut random = Random(seed);
    for _ in 0..300 {
        let fields: Vec<FieldRef> = (0..2).map(|depth| random.field("x", 1 + depth)).collect();
        let codec = EntryCodec::new(&fields).unwrap();
        let rows = random.below(6);
        // Sliced out of longer ones: entries need not begin at row 0.
        let columns = fields.iter().map(|field| random.array(field, rows + 3).slice(2, rows)).collect();
        let offsets = [0, random.below(rows + 1) as u32, rows as u32].to_vec();
        let entries = StateEntries { offsets, columns };
        let bytes = codec.encode(&entries).unwrap();
        assert_eq!(codec.decode(bytes.iter().map(Vec::as_slice)).unwrap(), entries, "{fields:?}");
        for length in 1..bytes[1].len() {
            assert!(codec.decode([&bytes[1][..length]].into_iter()).is_err(), "{length} bytes of {fields:?}");
        }
    }
}

#[test]
fn the_bytes_of_a_list_and_a_struct_are_those_of_version_1() {
    let item: FieldRef = Arc::new(Field::new("item", DataType::Int64, true));
    let list = ListArray::new(
        item.clone(),
        OffsetBuffer::from_lengths([2]),
        Arc::new(Int64Array::from(vec![Some(7), None])),
        None,
    );
    let part = Field::new("part", DataType::Boolean, false);
    let structure = StructArray::new(vec![part.clone()].into(), vec![Arc::new(BooleanArray::from(vec![true]))], None);
    let fields: Vec<FieldRef> = vec![
        Arc::new(Field::new("list", DataType::List(item), false)),
        Arc::new(Field::new("struct", DataType::Struct(vec![part].into()), true)),
    ];
    let columns: Vec<ArrayRef> = vec![Arc::new(list), Arc::new(structure)];
    let bytes = EntryCodec::new(&fields).unwrap().encode(&StateEntries { offsets: vec![0, 1], columns }).unwrap();
    let expected = [&[1, 0, 0, 0][..], &[2, 0, 0, 0, 1, 7, 0, 0, 0, 0, 0, 0, 0, 0], &[1, 1]].concat();
    assert_eq!(bytes, [expected]);
}
