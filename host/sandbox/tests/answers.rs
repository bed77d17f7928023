//! Plugins whose answers break the contract: every rule of `wit/README.md` and `transform.wit`, each with the text
//! that names output, column and row.

mod guest;

use guest::layout::{Answer, BOOLEAN, Column, Contract, INT64, Type, UTF8, Values};
use guest::{Guest, numbers};
use weir_stream::{FunctionFault, Selection};

/// Three rows go in.
fn malformed(contract: &Contract, answer: &Answer) -> String {
    let fault = Guest::new(contract).answers(answer).run(&numbers(3)).unwrap_err();
    let FunctionFault::Malformed(what) = fault else { panic!("not malformed: {fault}") };
    what
}

fn ints() -> Contract {
    Contract::writing(&[("n", INT64)])
}

fn texts() -> Contract {
    Contract::writing(&[("text", UTF8)])
}

fn three() -> Vec<Column> {
    vec![Column::int64(&[1, 2, 3])]
}

fn text(offsets: &[i32], data: &[u8]) -> String {
    malformed(&texts(), &Answer::of(0, None, vec![Column::utf8(offsets, data)]))
}

#[test]
fn an_answer_that_keeps_the_contract_passes() {
    let answer = Answer::of(0, Some(&[0, 0, 2]), three()).rejecting(1, "no-good");
    let transformed = Guest::new(&ints()).answers(&answer).run(&numbers(3)).unwrap();
    assert_eq!(transformed.outputs[0].selection, Selection::Rows(vec![0, 0, 2]));
    let reject = &transformed.rejects[0];
    assert_eq!((reject.row, &*reject.code, &*reject.reason), (1, "no-good", "because"));
}

#[test]
fn rows_out_of_range() {
    let what = malformed(&ints(), &Answer::of(0, Some(&[0, 1, 3]), three()));
    assert_eq!(what, "output `main` entry 2: row 3 of an input of 3 rows");
    let what = malformed(&ints(), &Answer::of(0, Some(&[u32::MAX]), vec![Column::int64(&[1])]));
    assert_eq!(what, "output `main` entry 0: row 4294967295 of an input of 3 rows");
}

#[test]
fn rows_that_do_not_ascend() {
    let what = malformed(&ints(), &Answer::of(0, Some(&[0, 2, 1]), three()));
    assert_eq!(what, "output `main` entry 2: row 1 behind a later one; rows must ascend");
}

#[test]
fn outputs_that_the_contract_does_not_have() {
    assert_eq!(malformed(&ints(), &Answer::of(1, None, three())), "output 1: the contract has 1");
}

#[test]
fn an_output_twice() {
    let what = malformed(&ints(), &Answer::of(0, None, three()).and(0, None, three()));
    assert_eq!(what, "output `main`: it stands twice in one answer");
}

#[test]
fn too_few_and_too_many_columns() {
    assert_eq!(malformed(&ints(), &Answer::of(0, None, vec![])), "output `main`: 0 columns, writes 1");
    let two = [three(), three()].concat();
    assert_eq!(malformed(&ints(), &Answer::of(0, None, two)), "output `main`: 2 columns, writes 1");
}

#[test]
fn values_of_a_wrong_number() {
    let what = malformed(&ints(), &Answer::of(0, None, vec![Column::int64(&[1, 2])]));
    assert_eq!(what, "output `main` column `n`: 2 values for 3 rows, not 3");
    let what = malformed(&ints(), &Answer::of(0, Some(&[1]), three()));
    assert_eq!(what, "output `main` column `n`: 3 values for 1 rows, not 1");
}

#[test]
fn values_of_another_type() {
    let bits = Column::typed(0, vec![7], 1);
    let what = malformed(&ints(), &Answer::of(0, None, vec![bits]));
    assert_eq!(what, "output `main` column `n`: buffers of bits, writes Int64");
}

#[test]
fn bits_of_a_wrong_number() {
    let contract = Contract::writing(&[("yes", BOOLEAN)]);
    let what = malformed(&contract, &Answer::of(0, None, vec![Column::typed(0, vec![7, 0], 1)]));
    assert_eq!(what, "output `main` column `yes`: 2 bytes of bits for 3 rows, not 1");
}

#[test]
fn validity_of_a_wrong_length() {
    let what = malformed(&ints(), &Answer::of(0, None, vec![Column::int64(&[1, 2, 3]).valid(&[])]));
    assert_eq!(what, "output `main` column `n`: 0 bytes of validity for 3 rows, not 1");
}

#[test]
fn a_null_in_a_column_that_is_not_null() {
    let answer = Answer::of(0, None, vec![Column::int64(&[1, 2, 3]).valid(&[0b101])]);
    let what = malformed(&ints().not_null(), &answer);
    assert_eq!(what, "output `main` column `n` row 1: null, though the column is declared not null");
    Guest::new(&ints()).answers(&answer).run(&numbers(3)).unwrap();
}

#[test]
fn bits_behind_the_last_row_mean_nothing() {
    let answer = Answer::of(0, None, vec![Column::int64(&[1, 2, 3]).valid(&[0b0000_0111])]);
    let transformed = Guest::new(&ints().not_null()).answers(&answer).run(&numbers(3)).unwrap();
    assert_eq!(transformed.outputs[0].columns[0].null_count(), 0);
}

#[test]
fn offsets_that_break_a_rule() {
    assert_eq!(text(&[0, 1, 2], b"abc"), "output `main` column `text`: 3 offsets for 3 rows, not 4");
    assert_eq!(text(&[1, 1, 2, 3], b"abc"), "output `main` column `text` row 0: begins at offset 1, not at 0");
    assert_eq!(text(&[-1, 1, 2, 3], b"abc"), "output `main` column `text` row 0: begins at offset -1, not at 0");
    let what = text(&[0, 2, 1, 3], b"abc");
    assert_eq!(what, "output `main` column `text` row 1: ends at offset 1, before its begin at 2");
    let what = text(&[0, 1, 2, 4], b"abc");
    assert_eq!(what, "output `main` column `text`: the last offset is 4, the data has 3 bytes");
    let what = text(&[0, 1, 2, 2], b"abc");
    assert_eq!(what, "output `main` column `text`: the last offset is 2, the data has 3 bytes");
    let what = text(&[0, i32::MAX, 2, 3], b"abc");
    assert_eq!(what, "output `main` column `text` row 1: ends at offset 2, before its begin at 2147483647");
}

#[test]
fn text_that_is_not_utf8() {
    assert_eq!(text(&[0, 1, 3, 4], b"a\xc3\x28b"), "output `main` column `text` row 1: not UTF-8");
    assert_eq!(text(&[0, 1, 2, 3], b"ab\xff"), "output `main` column `text` row 2: not UTF-8");
}

#[test]
fn text_that_is_utf8_only_as_a_whole() {
    assert_eq!(text(&[0, 1, 2, 3], "a\u{e9}".as_bytes()), "output `main` column `text` row 1: not UTF-8");
}

#[test]
fn binary_may_hold_any_bytes() {
    let contract = Contract::writing(&[("bytes", Type::Plain(12))]);
    let answer = Answer::of(0, None, vec![Column::utf8(&[0, 1, 2, 3], b"\xff\xfe\x80")]);
    Guest::new(&contract).answers(&answer).run(&numbers(3)).unwrap();
}

#[test]
fn decimals_with_too_many_digits() {
    let contract = Contract::writing(&[("amount", Type::Decimal(5, 2))]);
    let answer = |values: &[i128]| Answer::of(0, None, vec![Column::decimal(values)]);
    let what = malformed(&contract, &answer(&[1, -99_999, -100_000]));
    assert_eq!(what, "output `main` column `amount` row 2: -100000 has more digits than decimal(5, 2)");
    let mut nulled = answer(&[1, i128::MIN, 99_999]);
    nulled.outputs[0].columns[0].validity = Some(vec![0b101]);
    Guest::new(&contract).answers(&nulled).run(&numbers(3)).unwrap();
}

#[test]
fn rejects_that_break_a_rule() {
    let none = || Answer::of(0, Some(&[]), vec![Column::int64(&[])]);
    let what = malformed(&ints(), &none().rejecting(3, "late"));
    assert_eq!(what, "reject of row 3: the input has 3 rows");
    let what = malformed(&ints(), &none().rejecting(1, "late").rejecting(1, "late"));
    assert_eq!(what, "reject of row 1: the row was rejected before");
    let what = malformed(&ints(), &none().rejecting(2, "late").rejecting(1, "late"));
    assert_eq!(what, "reject of row 1: it stands behind that of row 2; they must ascend");
    let what = malformed(&ints(), &Answer::of(0, None, three()).rejecting(1, "late"));
    assert_eq!(what, "reject of row 1: the row is also in an output");
    let what = malformed(&ints(), &none().rejecting(0, "Not Kebab"));
    assert_eq!(what, "reject of row 0: its code must be 1 to 64 of a-z, 0-9 and -, is \"Not Kebab\"");
    assert!(malformed(&ints(), &none().rejecting(0, "")).contains("its code must be"));
}

#[test]
fn a_reason_that_is_not_utf8() {
    let mut answer = Answer::default();
    answer.rejects.push((0, "late".into(), vec![0xff]));
    let what = malformed(&ints(), &answer);
    assert!(what.starts_with("a value outside the component model's rules: "), "{what}");
}

#[test]
fn a_long_reason_is_cut() {
    let mut answer = Answer::default();
    answer.rejects.push((0, "late".into(), vec![b'x'; 100_000]));
    let transformed = Guest::new(&ints()).answers(&answer).run(&numbers(3)).unwrap();
    assert_eq!(transformed.rejects[0].reason.len(), 1024);
}

#[test]
fn a_one_to_one_plugin_that_loses_or_doubles_a_row() {
    let contract = ints().one_to_one();
    let what = malformed(&contract, &Answer::of(0, Some(&[0, 2]), vec![Column::int64(&[1, 2])]));
    assert_eq!(what, "row 1: nothing, though the plugin is one-to-one");
    let what = malformed(&contract, &Answer::of(0, Some(&[0, 0, 1]), three()));
    assert_eq!(what, "output `main` entry 1: row 0 a second time, against its cardinality");
    let answer = Answer::of(0, Some(&[0, 2]), vec![Column::int64(&[1, 2])]).rejecting(1, "late");
    Guest::new(&contract).answers(&answer).run(&numbers(3)).unwrap();
}

#[test]
fn a_filter_that_doubles_a_row() {
    let what = malformed(&ints().filter(), &Answer::of(0, Some(&[1, 1]), vec![Column::int64(&[1, 2])]));
    assert_eq!(what, "output `main` entry 1: row 1 a second time, against its cardinality");
    let two = ints().filter().with_output("other");
    let what = malformed(&two, &Answer::of(0, None, three()).and(1, Some(&[2]), vec![]));
    assert_eq!(what, "output `other` entry 0: row 2 a second time, against its cardinality");
    let what = malformed(&two, &Answer::of(1, Some(&[2]), vec![]).and(0, None, three()));
    assert_eq!(what, "output `main`: row 2 a second time, against its cardinality");
}

#[test]
fn a_plugin_for_many_may_send_a_row_to_every_output() {
    let contract = ints().with_output("other");
    let answer = Answer::of(0, None, three()).and(1, Some(&[0, 2, 2]), vec![]);
    let transformed = Guest::new(&contract).answers(&answer).run(&numbers(3)).unwrap();
    assert_eq!(transformed.outputs.len(), 2);
}

#[test]
fn lists_that_point_outside_the_memory() {
    for (at, length) in [(u32::MAX, 1), (0x7fff_fff8, 3), (8, 0x2000_0000), (3, 3)] {
        let column = Column { validity: None, values: Values::Claimed { case: 4, at, length } };
        let what = malformed(&ints(), &Answer::of(0, None, vec![column]));
        assert!(what.starts_with("a value outside the component model's rules: "), "{what}");
    }
}

#[test]
fn a_case_that_does_not_exist() {
    let column = Column { validity: None, values: Values::Claimed { case: 99, at: 8, length: 3 } };
    let what = malformed(&ints(), &Answer::of(0, None, vec![column]));
    assert!(what.starts_with("a value outside the component model's rules: "), "{what}");
}

#[test]
fn an_answer_at_no_address() {
    let fault = Guest::new(&ints()).first("(return (i32.const -16))").run(&numbers(3)).unwrap_err();
    assert_eq!(fault.code(), "plugin-malformed", "{fault}");
}
