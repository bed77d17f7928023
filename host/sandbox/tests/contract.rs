//! What a plugin promises, held against its input: everything that does not fit, at once, with its column.

mod guest;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema};
use guest::Guest;
use guest::layout::{Contract, INT64, LIST, Output, STRUCT, Type, UTF8, Written};
use weir_sandbox::Limits;
use weir_stream::Cardinality;

fn schema() -> Schema {
    let item = Arc::new(Field::new("item", DataType::Int64, true));
    Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("tags", DataType::List(item), true),
        Field::new("half", DataType::Float16, true),
    ])
}

fn faults_of(guest: &Guest) -> Vec<String> {
    let faults = guest.load().describe("{}", &schema(), &Limits::default()).unwrap_err();
    faults.iter().map(ToString::to_string).collect()
}

fn faults(contract: &Contract) -> Vec<String> {
    faults_of(&Guest::new(contract))
}

#[test]
fn a_contract_that_fits_is_given_back_whole() {
    let mut contract = Contract::writing(&[("upper", UTF8), ("id", Type::Timestamp(2, Some("UTC")))]).filter();
    contract.reads = vec!["name".into(), "id".into()];
    contract.outputs[0].drops = vec!["half".into()];
    contract.config_schema = r#"{"type":"object"}"#.into();
    let description = Guest::new(&contract).load().describe_in_full("{}", &schema(), &Limits::default()).unwrap();
    assert_eq!(description.config_schema, Some(serde_json::json!({"type": "object"})));
    let agreed = description.contract;
    assert_eq!((agreed.name.as_str(), agreed.version.as_str()), ("guest", "1.0.0"));
    assert_eq!(agreed.reads, ["name", "id"]);
    assert_eq!((agreed.cardinality, agreed.deterministic), (Cardinality::Filter, true));
    let output = agreed.output_schema(0, &Arc::new(schema()));
    let names: Vec<_> = output.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "name", "tags", "upper"]);
}

#[test]
fn everything_that_does_not_fit_is_told_at_once() {
    let mut contract = Contract::writing(&[("x", INT64), ("x", UTF8), ("", UTF8), ("d", Type::Decimal(39, 2))]);
    contract.reads = ["nmae", "id", "id"].map(String::from).to_vec();
    contract.outputs[0].drops = ["gone", "id", "id"].map(String::from).to_vec();
    contract.name = String::new();
    contract.config_schema = "{".into();
    assert_eq!(
        faults(&contract),
        [
            "plugin's name must be 1 to 128 printable bytes",
            "column `nmae`: read by the plugin, not in its input (has: id, name, tags, half)",
            "column `id`: read twice by the plugin",
            "plugin's configuration schema is not JSON: EOF while parsing an object at line 1 column 1",
            "column `gone`: dropped by the plugin, not in its input (has: id, name, tags, half)",
            "column `id`: dropped twice in output `main`",
            "column `x`: written twice in output `main`",
            "output `main` writes a column without a name",
            "column `d`: decimal(39, 2) is out of range: precision 1 to 38, scale within it",
        ]
    );
}

fn field(name: &str, data_type: Type, children: u32) -> Written {
    Written { name: name.into(), data_type, nullable: true, children }
}

/// A contract that writes these fields, children behind their parents.
fn writing(fields: Vec<Written>) -> Contract {
    let mut contract = Contract::writing(&[]);
    contract.outputs[0].writes = fields;
    contract
}

#[test]
fn lists_and_structs_are_read_and_written_with_everything_in_them() {
    let contract = writing(vec![
        field("pair", STRUCT, 2),
        field("left", INT64, 0),
        field("rights", LIST, 1),
        field("whatever", UTF8, 0),
        field("plain", INT64, 0),
    ]);
    let contract = contract.reading(&["tags"]);
    let agreed = Guest::new(&contract).load().describe("{}", &schema(), &Limits::default()).unwrap();
    let rights = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    let pair = vec![Field::new("left", DataType::Int64, true), Field::new("rights", rights, true)];
    let written: Vec<_> = agreed.outputs[0].writes.iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(written, [DataType::Struct(pair.into()), DataType::Int64]);
}

#[test]
fn nested_types_that_do_not_fit_are_told_once_with_their_place() {
    let decimal = Type::Decimal(39, 2);
    let contract = writing(vec![
        field("prices", LIST, 1),
        field("item", STRUCT, 2),
        field("sku", UTF8, 0),
        field("price", decimal, 0),
        field("two", LIST, 2),
        field("item", INT64, 0),
        field("item", INT64, 0),
        field("hollow", STRUCT, 0),
        field("alike", STRUCT, 2),
        field("x", INT64, 0),
        field("x", UTF8, 0),
        field("nameless", STRUCT, 1),
        field("", UTF8, 0),
        field("leaf", LIST, 1),
        field("item", INT64, 3),
        field("a", INT64, 0),
        field("b", INT64, 0),
        field("c", INT64, 0),
        field("cut", STRUCT, 3),
        field("x", INT64, 0),
    ]);
    assert_eq!(
        faults(&contract.reading(&["half"])),
        [
            "column `half`: plugins cannot read or write Float16",
            "column `prices`: in `item.price`: decimal(39, 2) is out of range: precision 1 to 38, scale within it",
            "column `two`: a list has one child, which its items are, not 2",
            "column `hollow`: a struct has at least one field",
            "column `alike`: it has a field \"x\", a name that is empty or taken twice",
            "column `nameless`: it has a field \"\", a name that is empty or taken twice",
            "column `leaf`: in `item`: a flat type cannot have 3 children",
            "column `cut`: 3 fields are to be in it, there are 1",
        ]
    );
}

#[test]
fn types_are_nested_as_deep_as_manifests_write_them_and_no_deeper() {
    let nested = |lists: usize| {
        let mut fields = vec![field("deep", LIST, 1)];
        fields.extend((1..lists).map(|_| field("item", LIST, 1)));
        fields.push(field("item", INT64, 0));
        writing(fields)
    };
    Guest::new(&nested(8)).load().describe("{}", &schema(), &Limits::default()).unwrap();
    let place = ["item"; 8].join(".");
    let too_deep = format!("column `deep`: in `{place}`: lists and structs stand in each other at most 8 deep");
    assert_eq!(faults(&nested(9)), std::slice::from_ref(&too_deep));
    assert_eq!(faults(&nested(4000)), [too_deep]);
    let claims = vec![field("x", STRUCT, u32::MAX), field("y", STRUCT, u32::MAX), field("z", STRUCT, u32::MAX)];
    assert_eq!(faults(&writing(claims)), ["column `x`: in `y.z`: 4294967295 fields are to be in it, there are 0"]);
}

#[test]
fn a_column_that_holds_what_cannot_cross_passes_by_and_cannot_be_read() {
    let half = DataType::List(Arc::new(Field::new("item", DataType::Float16, true)));
    let halves = DataType::Struct(vec![Field::new("halves", half, true)].into());
    let schema = Schema::new(vec![Field::new("held", halves, true)]);
    let guest = Guest::new(&Contract::writing(&[]).reading(&["held"]));
    let faults = guest.load().describe("{}", &schema, &Limits::default()).unwrap_err();
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults, ["column `held`: in `halves.item`: plugins cannot read or write Float16"]);
}

#[test]
fn a_flat_column_cannot_have_children() {
    let mut contract = Contract::writing(&[("x", INT64)]);
    contract.outputs[0].writes[0].children = 3;
    assert_eq!(faults(&contract), ["column `x`: a flat type cannot have 3 children"]);
}

#[test]
fn outputs_need_names_of_their_own() {
    let mut contract = Contract::writing(&[]).with_output("main");
    contract.outputs.push(Output { name: String::new(), writes: vec![], drops: vec![] });
    assert_eq!(
        faults(&contract),
        ["output name `main` is empty or taken twice", "output name `` is empty or taken twice"]
    );
    contract.outputs.clear();
    assert_eq!(faults(&contract), ["plugin has 0 outputs with 0 columns; must be 1 to 4096 in all"]);
}

#[test]
fn a_plugin_refuses_its_configuration_with_the_place() {
    let guest = Guest::new(&Contract::writing(&[])).refuses(&[
        (Some("/max_amount"), None, "must be over 0\n"),
        (None, Some("name"), "needs int64, is utf8"),
        (None, None, "no luck"),
    ]);
    assert_eq!(
        faults_of(&guest),
        ["config /max_amount: must be over 0\\n", "column `name`: needs int64, is utf8", "no luck"]
    );
}

#[test]
fn a_configuration_that_is_not_json_never_reaches_the_plugin() {
    let guest = Guest::new(&Contract::writing(&[])).describe_first("unreachable");
    let faults = guest.load().describe("{max: 1", &schema(), &Limits::default()).unwrap_err();
    assert_eq!(faults[0].config_path.as_deref(), Some(""));
    assert!(faults[0].to_string().starts_with("config /: is not JSON: "), "{}", faults[0]);
}

#[test]
fn a_describe_that_traps_loops_or_takes_memory_is_one_fault() {
    let limits = Limits { setup_ms: 50, memory_bytes: 4 << 20, ..Limits::default() };
    let describing = |instructions: &str| {
        let guest = Guest::new(&Contract::writing(&[])).describe_first(instructions);
        let faults = guest.load().describe("null", &schema(), &limits).unwrap_err();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("|")
    };
    let trap = describing("unreachable");
    assert_eq!(trap, "plugin gave no contract: it trapped: wasm trap: wasm `unreachable` instruction executed");
    assert_eq!(describing("(loop $ever (br $ever))"), "plugin gave no contract: it took longer than 50 ms");
    let hog = describing("(if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then unreachable))");
    assert_eq!(hog, "plugin gave no contract: it asked for more than its 4194304 bytes of memory");
}

#[test]
fn a_plugin_that_begins_with_more_memory_than_allowed_is_a_fault_of_memory() {
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    let guest = Guest::new(&Contract::writing(&[])).pages(100);
    let faults = guest.load().describe("null", &schema(), &limits).unwrap_err();
    assert_eq!(faults[0].to_string(), "plugin gave no contract: it asked for more than its 1048576 bytes of memory");
}

#[test]
fn a_contract_that_is_endless_is_not_copied() {
    let mut contract = Contract::writing(&[]);
    contract.config_schema = format!("\"{}\"", "x".repeat(2 << 20));
    let text = faults(&contract).join("|");
    assert!(text.contains("more bytes than may leave the sandbox in one call"), "{text}");
}

#[test]
fn nonsense_instead_of_a_contract_is_a_fault() {
    let guest = Guest::new(&Contract::writing(&[])).describe_first("(return (i32.const -4))");
    let text = faults_of(&guest).join("|");
    assert!(text.contains("a value outside the component model's rules"), "{text}");
}

#[test]
fn an_input_without_columns_can_be_described() {
    let empty = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let contract = Contract::writing(&[("n", INT64)]);
    Guest::new(&contract).load().describe("null", &empty.schema(), &Limits::default()).unwrap();
}
