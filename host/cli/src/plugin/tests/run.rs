//! The repository's own plugins, built and run in the real sandbox.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{ArrayRef, Decimal128Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use weir_sandbox::{Limits, PluginComponent, SandboxEngine, WasmTransformFactory};
use weir_stream::{Batch, Changes, FunctionFault, Origin, Selection, Transform, TransformFactory};

use super::build_in;

/// Builds `plugins/<name>` and agrees on its contract.
fn instance(name: &str, config: &str, input: &SchemaRef) -> (WasmTransformFactory, Box<dyn Transform>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins").join(name);
    let built = build_in(&folder).unwrap();
    let engine = SandboxEngine::new(None).unwrap();
    let limits = Limits::default();
    let plugin = PluginComponent::load_file(&engine, &built.path, &limits).unwrap();
    assert_eq!(**plugin.digest(), *built.digest);
    let factory = WasmTransformFactory::new(&plugin, config, Arc::clone(input), &limits, "step", None);
    let factory = factory.unwrap_or_else(|faults| panic!("{faults:?}"));
    let transform = factory.instantiate().unwrap();
    (factory, transform)
}

fn shop_schema() -> SchemaRef {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    let amount = Field::new("amount", DataType::Decimal128(12, 2), true);
    Arc::new(Schema::new(vec![
        text("event_id", false),
        text("kind", true),
        text("category", true),
        amount,
        text("currency", true),
    ]))
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Batch {
    let columns = RecordBatch::try_new(Arc::clone(schema), columns).unwrap();
    let rows = columns.num_rows();
    Batch {
        columns,
        event_times_us: vec![0; rows].into(),
        watermarks_us: vec![i64::MIN; rows].into(),
        origin: Origin::Step("test".into()),
        changes: Changes::Inserts,
    }
}

fn shop_batch() -> Batch {
    let amounts = Decimal128Array::from(vec![Some(10_000), None, None, Some(99), Some(1_000_001)]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["a", "b", "c", "d", "e"])),
        Arc::new(StringArray::from(vec![Some(" PAYMENT"), None, Some("page_view"), Some("refund"), Some("payment")])),
        Arc::new(StringArray::from(vec![Some("books"), Some("toys"), None, Some("pets"), Some("home")])),
        Arc::new(amounts.with_precision_and_scale(12, 2).unwrap()),
        Arc::new(StringArray::from(vec![Some("USD"), None, None, Some("XXX"), Some("EUR")])),
    ];
    batch(&shop_schema(), columns)
}

#[test]
fn clean_events_cleans_in_the_sandbox() {
    let (factory, mut transform) = instance("clean-events", r#"{"max_amount": 10000}"#, &shop_schema());
    let contract = factory.contract();
    assert_eq!((contract.name.as_str(), contract.version.as_str()), ("clean-events", "1.0.0"));
    assert_eq!(contract.reads, ["kind", "amount", "currency"]);
    let transformed = transform.process(&shop_batch()).unwrap();
    let [output] = &transformed.outputs[..] else { panic!("one output") };
    assert_eq!(output.selection, Selection::Rows(vec![0, 2]));
    assert_eq!(output.columns[0].as_string::<i32>(), &StringArray::from(vec!["payment", "page_view"]));
    let amounts: Vec<Option<i128>> = output.columns[1].as_primitive::<Decimal128Type>().iter().collect();
    assert_eq!(amounts, [Some(9_200), None]);
    let rejects: Vec<(u32, &str)> = transformed.rejects.iter().map(|reject| (reject.row, &*reject.code)).collect();
    assert_eq!(rejects, [(1, "kind-missing"), (3, "unknown-currency"), (4, "amount-too-large")]);
}

#[test]
fn the_next_version_is_the_same_plugin_with_departments() {
    let (factory, mut transform) = instance("clean-events-next", r#"{"max_amount": 10000}"#, &shop_schema());
    let contract = factory.contract();
    assert_eq!((contract.name.as_str(), contract.version.as_str()), ("clean-events", "1.1.0"));
    let transformed = transform.process(&shop_batch()).unwrap();
    let categories = transformed.outputs[0].columns[2].as_string::<i32>();
    assert_eq!(categories, &StringArray::from(vec![Some("media"), None]));
    assert_eq!(transformed.rejects.len(), 3);
}

#[test]
fn each_misdeed_is_its_own_fault() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("kind", DataType::Utf8, true)]));
    let kinds = |kinds: Vec<Option<&str>>| batch(&schema, vec![Arc::new(StringArray::from(kinds)) as ArrayRef]);
    let config = r#"{"trap": "boom", "spin": "spin", "hog": "hog", "flood": "flood", "shout": "shout",
        "multiply": "multiply", "bloat": "bloat", "reject": "bad", "recurse": "deep"}"#;
    let (factory, _) = instance("adversary", config, &schema);
    let fault = |kind: &str| {
        let mut transform = factory.instantiate().unwrap();
        transform.process(&kinds(vec![Some("good"), Some(kind)])).map(|_| ())
    };
    let trap = fault("boom").unwrap_err();
    assert!(matches!(&trap, FunctionFault::Trap(text) if text.contains("told to trap on boom")), "{trap}");
    assert!(matches!(fault("deep"), Err(FunctionFault::Trap(_))));
    assert!(matches!(fault("spin"), Err(FunctionFault::Timeout { .. })));
    assert!(matches!(fault("hog"), Err(FunctionFault::Memory { .. })));
    for harmless in ["flood", "shout", "bad", "other"] {
        assert_eq!(fault(harmless), Ok(()), "{harmless}");
    }
    for kind in ["multiply", "bloat"] {
        assert!(matches!(fault(kind), Err(FunctionFault::TooMuch { .. })), "{kind}");
    }
}
