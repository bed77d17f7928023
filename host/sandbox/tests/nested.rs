//! Lists and structs go into the sandbox and come out as they were, from whatever row they begin; and every way in which
//! a plugin can give them wrongly is told with its place.

mod guest;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use guest::layout::{Answer, Column, Contract, Written};
use guest::{Guest, batch, numbers, table};
use weir_stream::FunctionFault;

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

    fn nulls(&mut self, rows: usize, nullable: bool) -> Option<NullBuffer> {
        (nullable && self.below(3) > 0).then(|| (0..rows).map(|_| self.below(4) > 0).collect())
    }

    fn field(&mut self, name: &str, depth: usize) -> FieldRef {
        let data_type = match (depth, self.below(5)) {
            (0, kind) => {
                [DataType::Boolean, DataType::Int64, DataType::Utf8, DataType::Decimal128(30, 2)][kind % 4].clone()
            }
            (_, 0..=2) => DataType::List(self.field("item", depth - 1)),
            _ => {
                let fields: Vec<FieldRef> =
                    (0..1 + self.below(3)).map(|number| self.field(&format!("f{number}"), depth - 1)).collect();
                DataType::Struct(fields.into())
            }
        };
        Arc::new(Field::new(name, data_type, self.below(3) > 0))
    }

    /// Rows of a field; lists also where they are null, and sliced out of longer ones.
    fn array(&mut self, field: &Field, rows: usize) -> ArrayRef {
        let (before, behind) = (self.below(4), self.below(4));
        let whole = self.whole(field, before + rows + behind);
        whole.slice(before, rows)
    }

    fn whole(&mut self, field: &Field, rows: usize) -> ArrayRef {
        let nulls = self.nulls(rows, field.is_nullable());
        let number = |random: &mut Self| random.below(1 << 20) as i64 - (1 << 19);
        match field.data_type() {
            DataType::Boolean => {
                let bits = (0..rows).map(|_| self.below(2) == 0).collect();
                Arc::new(BooleanArray::new(bits, nulls))
            }
            DataType::Int64 => {
                let values: Vec<i64> = (0..rows).map(|_| number(self)).collect();
                Arc::new(Int64Array::new(values.into(), nulls))
            }
            DataType::Decimal128(precision, scale) => {
                let values: Vec<i128> = (0..rows).map(|_| i128::from(number(self)) << 40).collect();
                let array = Decimal128Array::new(values.into(), nulls);
                Arc::new(array.with_precision_and_scale(*precision, *scale).unwrap())
            }
            DataType::Utf8 => {
                let text: Vec<String> = (0..rows).map(|_| "é🦀x".repeat(self.below(4))).collect();
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

/// A guest that gives back all columns of this input.
fn echo(input: &RecordBatch) -> Guest {
    let mut contract = Contract::writing(&[]).one_to_one();
    for field in input.schema().fields() {
        contract.reads.push(field.name().clone());
        Written::tree(field, &mut contract.outputs[0].writes);
    }
    Guest::new(&contract).echoes()
}

#[test]
fn random_lists_and_structs_come_back_as_they_went_in_from_whatever_row_they_begin() {
    let mut random = Random::new();
    for round in 0..60 {
        let rows = 1 + random.below(40);
        let fields: Vec<FieldRef> =
            (0..3).map(|column| random.field(&format!("c{column}"), (round + column) % 5)).collect();
        let columns = fields.iter().map(|field| (field.as_ref().clone(), random.array(field, rows)));
        let input = table(columns.collect());
        let mut transform = echo(&input).transform(&input);
        for _ in 0..8 {
            let offset = random.below(rows);
            let part = input.slice(offset, 1 + random.below(rows - offset));
            let answer = transform.process(&batch(&part)).unwrap();
            for (given, expected) in answer.outputs[0].columns.iter().zip(part.columns()) {
                given.to_data().validate_full().unwrap();
                assert_eq!(given, expected, "{:?}", input.schema());
            }
        }
    }
}

#[test]
fn the_contract_of_an_echo_of_lists_and_structs_is_the_schema_that_went_in() {
    let input = RecordBatch::new_empty(Arc::new(arrow_schema::Schema::new(vec![orders()])));
    let contract = echo(&input).load().describe("null", &input.schema(), &Default::default()).unwrap();
    assert_eq!(contract.output_schema(0, &input.schema()), input.schema());
}

/// `lines: list(struct(sku utf8!, quantity int64))`
fn orders() -> Field {
    let parts = vec![Field::new("sku", DataType::Utf8, false), Field::new("quantity", DataType::Int64, true)];
    Field::new("lines", DataType::List(Arc::new(Field::new("item", DataType::Struct(parts.into()), true))), true)
}

/// What becomes of an answer to three rows that writes `lines` from these columns.
fn answered(field: Field, columns: Vec<Column>) -> Result<ArrayRef, FunctionFault> {
    let mut contract = Contract::writing(&[]);
    Written::tree(&field, &mut contract.outputs[0].writes);
    let answer = Guest::new(&contract).answers(&Answer::of(0, None, columns)).run(&numbers(3));
    answer.map(|mut transformed| transformed.outputs[0].columns.remove(0))
}

fn malformed(columns: Vec<Column>) -> String {
    match answered(orders(), columns) {
        Err(FunctionFault::Malformed(what)) => what,
        other => panic!("not malformed: {other:?}"),
    }
}

/// Four lines in three orders.
fn lines() -> Vec<Column> {
    let skus = Column::utf8(&[0, 1, 2, 3, 4], b"abcd");
    vec![Column::offsets(&[0, 2, 2, 4]), Column::nothing(), skus, Column::int64(&[1, 2, 3, 4])]
}

fn with(at: usize, column: Column) -> Vec<Column> {
    let mut columns = lines();
    columns[at] = column;
    columns
}

#[test]
fn a_list_of_structs_that_keeps_the_contract_passes_with_its_nulls() {
    let mut columns = lines();
    columns[0] = Column::offsets(&[0, 2, 2, 4]).valid(&[0b101]);
    columns[1] = Column::nothing().valid(&[0b1011]);
    // Below the null line stands a null where none is declared: it is the line's.
    columns[2] = Column::utf8(&[0, 1, 2, 3, 4], b"abcd").valid(&[0b1011]);
    let DataType::List(item) = orders().data_type().clone() else { unreachable!() };
    let DataType::Struct(fields): DataType = item.data_type().clone() else { unreachable!() };
    let skus = Arc::new(StringArray::from(vec![Some("a"), Some("b"), None, Some("d")]));
    let structs = StructArray::new(
        Fields::clone(&fields),
        vec![skus, Arc::new(Int64Array::from(vec![1, 2, 3, 4]))],
        Some(vec![true, true, false, true].into()),
    );
    let offsets = OffsetBuffer::new(vec![0, 2, 2, 4].into());
    let expected = ListArray::new(item, offsets, Arc::new(structs), Some(vec![true, false, true].into()));
    assert_eq!(answered(orders(), columns).unwrap().as_ref(), &expected as &dyn Array);
}

#[test]
fn offsets_of_a_list_that_break_a_rule() {
    let offsets = |offsets: &[i32]| malformed(with(0, Column::offsets(offsets)));
    assert_eq!(offsets(&[0, 2, 4]), "output `main` column `lines`: 3 offsets for 3 rows, not 4");
    assert_eq!(offsets(&[]), "output `main` column `lines`: 0 offsets for 3 rows, not 4");
    assert_eq!(offsets(&[1, 2, 2, 4]), "output `main` column `lines` row 0: begins at offset 1, not at 0");
    assert_eq!(offsets(&[0, 3, 2, 4]), "output `main` column `lines` row 1: ends at offset 2, before its begin at 3");
    assert_eq!(offsets(&[0, 2, 2, -1]), "output `main` column `lines` row 2: ends at offset -1, before its begin at 2");
}

#[test]
fn children_of_a_list_that_are_not_as_many_as_its_items() {
    let quantities = malformed(with(3, Column::int64(&[1, 2, 3])));
    assert_eq!(quantities, "output `main` column `lines.item.quantity`: 3 values for 4 items, not 4");
    let skus = malformed(with(2, Column::utf8(&[0, 1, 2], b"ab")));
    assert_eq!(skus, "output `main` column `lines.item.sku`: 3 offsets for 4 items, not 5");
    let longer = malformed(with(0, Column::offsets(&[0, 2, 2, 5])));
    assert_eq!(longer, "output `main` column `lines.item.sku`: 5 offsets for 5 items, not 6");
    let validity = malformed(with(1, Column::nothing().valid(&[])));
    assert_eq!(validity, "output `main` column `lines.item`: 0 bytes of validity for 4 items, not 1");
}

#[test]
fn columns_in_a_list_that_are_missing_too_many_or_of_another_kind() {
    let mut columns = lines();
    columns.pop();
    assert_eq!(malformed(columns), "output `main`: 3 columns, writes 4 with those in them");
    let mut columns = lines();
    columns.push(Column::nothing());
    assert_eq!(malformed(columns), "output `main`: 5 columns, writes 4 with those in them");
    let flat = malformed(with(0, Column::int64(&[1, 2, 3])));
    assert_eq!(flat, "output `main` column `lines`: buffers of int64, writes a list");
    let list = malformed(with(1, Column::offsets(&[0, 0, 0, 0, 0])));
    assert_eq!(list, "output `main` column `lines.item`: buffers of list-offsets, writes a struct");
    let quantity = malformed(with(3, Column::utf8(&[0, 0, 0, 0, 0], b"")));
    assert_eq!(quantity, "output `main` column `lines.item.quantity`: buffers of bytes, writes Int64");
}

#[test]
fn values_in_a_list_that_break_a_rule_are_told_with_their_item() {
    let text = malformed(with(2, Column::utf8(&[0, 1, 2, 3, 4], b"ab\xffd")));
    assert_eq!(text, "output `main` column `lines.item.sku` item 2: not UTF-8");
    let null = malformed(with(2, Column::utf8(&[0, 1, 2, 3, 4], b"abcd").valid(&[0b0111])));
    assert_eq!(null, "output `main` column `lines.item.sku` item 3: null, though the column is declared not null");
    let strict = Field::new("lines", DataType::List(Arc::new(Field::new("item", DataType::Int64, false))), false);
    let items = vec![Column::offsets(&[0, 1, 1, 2]), Column::int64(&[1, 2]).valid(&[0b01])];
    let fault = answered(strict.clone(), items).unwrap_err().to_string();
    assert!(fault.contains("column `lines.item` item 1: null, though the column is declared not null"), "{fault}");
    let lists = vec![Column::offsets(&[0, 1, 1, 2]).valid(&[0b101]), Column::int64(&[1, 2])];
    let fault = answered(strict, lists).unwrap_err().to_string();
    assert!(fault.contains("column `lines` row 1: null, though the column is declared not null"), "{fault}");
}

#[test]
fn a_list_of_more_items_than_an_answer_may_have_is_refused_before_they_are_looked_for() {
    let bits = Field::new("lines", DataType::List(Arc::new(Field::new("item", DataType::Boolean, true))), true);
    let most = 4 << 20;
    let columns = |items: i32| vec![Column::offsets(&[0, 0, 0, items]), Column::typed(0, vec![0; most / 8], 1)];
    assert_eq!(answered(bits.clone(), columns(most as i32)).unwrap().len(), 3);
    let fault = answered(bits, columns(most as i32 + 1)).unwrap_err();
    let FunctionFault::TooMuch { what, limit } = &fault else { panic!("{fault}") };
    assert_eq!(what, "4194305 items in output `main` column `lines`");
    assert_eq!(limit, "4194304 items");
}
