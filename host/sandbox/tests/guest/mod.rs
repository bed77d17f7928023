//! Guests for the tests: core modules in the text format whose contract and answer are laid out in memory by the
//! test itself, so that a guest can break any rule of `wit/` and needs no compiler for guests.
//!
//! Layouts are the component model's canonical ABI, written out by hand: a second reading of the contract,
//! independent of the host's.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod layout;

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::{Field, Schema};
use layout::{Answer, Contract, Memory};
use weir_sandbox::{Limits, PluginComponent, SandboxEngine, SandboxError, WasmTransformFactory};
use weir_stream::{Batch, Changes, FunctionFault, Origin, Transform, TransformFactory, Transformed};
use wit_component::StringEncoding;
use wit_parser::Resolve;

/// A guest to be.
pub struct Guest {
    memory: Memory,
    pages: u32,
    describe: String,
    open: String,
    process: String,
    imports: String,
    extra: String,
}

impl Guest {
    /// A guest that answers every `describe` with this contract and every batch with nothing.
    pub fn new(contract: &Contract) -> Self {
        let mut memory = Memory::new(4096);
        let contract = memory.contract_answer(contract);
        let opened = memory.put(4, &[0; 12]);
        let answer = memory.answer(&Answer::default());
        Self {
            memory,
            pages: 4,
            describe: format!("i32.const {contract}"),
            open: format!("i32.const {opened}"),
            process: format!("i32.const {answer}"),
            imports: String::new(),
            extra: String::new(),
        }
    }

    /// Answers every batch with this, whatever the batch holds.
    pub fn answers(mut self, answer: &Answer) -> Self {
        let at = self.memory.answer(answer);
        self.process = format!("i32.const {at}");
        self
    }

    /// Refuses every `describe` with these faults.
    pub fn refuses(mut self, faults: &[(Option<&str>, Option<&str>, &str)]) -> Self {
        let at = self.memory.refusal(faults);
        self.describe = format!("i32.const {at}");
        self
    }

    pub fn refuses_to_open(mut self, reason: &str) -> Self {
        let text = self.memory.string(reason);
        let mut answer = vec![1, 0, 0, 0];
        answer.extend(text);
        let at = self.memory.put(4, &answer);
        self.open = format!("i32.const {at}");
        self
    }

    /// Instructions that run before the answer; `$rows`, `$columns`, `$count` are the batch.
    pub fn first(mut self, instructions: &str) -> Self {
        self.process = format!("{instructions}\n{}", self.process);
        self
    }

    pub fn describe_first(mut self, instructions: &str) -> Self {
        self.describe = format!("{instructions}\n{}", self.describe);
        self
    }

    /// The columns that came in go out again as the writes of output 0, all rows.
    pub fn echoes(mut self) -> Self {
        let mut output = vec![0; 24];
        output[4] = 0;
        let output = self.memory.put(4, &output);
        let mut answer = Vec::new();
        for word in [output, 1, 0, 0] {
            answer.extend(word.to_le_bytes());
        }
        let answer = self.memory.put(4, &answer);
        self.process = format!(
            "(i32.store (i32.const {}) (local.get $columns)) (i32.store (i32.const {}) (local.get $count))
             i32.const {answer}",
            output + 16,
            output + 20
        );
        self
    }

    pub fn pages(mut self, pages: u32) -> Self {
        self.pages = pages;
        self
    }

    pub fn import(mut self, import: &str) -> Self {
        self.imports.push_str(import);
        self
    }

    pub fn extra(mut self, definitions: &str) -> Self {
        self.extra.push_str(definitions);
        self
    }

    /// A text in the guest's memory, as `(address, length)`.
    pub fn text(&mut self, text: &str) -> (u32, usize) {
        (self.memory.put(1, text.as_bytes()), text.len())
    }

    /// Instructions that log a text.
    pub fn logging(&mut self, level: u32, text: &str) -> String {
        let (at, length) = self.text(text);
        format!("(call $log (i32.const {level}) (i32.const {at}) (i32.const {length}))\n")
    }

    pub fn text_format(&self) -> String {
        let Self { memory, pages, describe, open, process, imports, extra } = self;
        let heap = memory.end().next_multiple_of(8);
        let pages = (*pages).max(heap / 65536 + 2);
        format!(
            r#"(module
  (import "weir:plugin/log@0.1.0" "log" (func $log (param i32 i32 i32)))
  {imports}
  (memory (export "memory") {pages})
  (global $heap (mut i32) (i32.const {heap}))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (block $fits (loop $grow
      (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
      (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
      unreachable))
    local.get $at)
  (func (export "weir:plugin/transform@0.1.0#describe") (param i32 i32 i32 i32) (result i32) {describe})
  (func (export "weir:plugin/transform@0.1.0#open") (param i32 i32 i32 i32) (result i32) {open})
  (func (export "weir:plugin/transform@0.1.0#process")
    (param $rows i32) (param $columns i32) (param $count i32) (result i32) {process})
  (func (export "cabi_post_weir:plugin/transform@0.1.0#process") (param i32)
    (global.set $heap (i32.const {heap})))
  {extra}
  (data (i32.const {base}) "{data}"))"#,
            base = memory.base(),
            data = memory.escaped(),
        )
    }

    pub fn core(&self) -> Vec<u8> {
        core(&self.text_format())
    }

    pub fn component(&self) -> Vec<u8> {
        weir_sandbox::encode(&self.core()).unwrap()
    }

    pub fn load(&self) -> Arc<PluginComponent> {
        self.try_load(&Limits::default()).unwrap()
    }

    pub fn try_load(&self, limits: &Limits) -> Result<Arc<PluginComponent>, SandboxError> {
        PluginComponent::load(&engine(), &self.component(), limits)
    }

    pub fn factory(&self, input: &RecordBatch, limits: &Limits) -> WasmTransformFactory {
        WasmTransformFactory::new(&self.load(), "null", input.schema(), limits, "step", None).unwrap()
    }

    pub fn transform(&self, input: &RecordBatch) -> Box<dyn Transform> {
        self.factory(input, &Limits::default()).instantiate().unwrap()
    }

    /// Loads, opens and calls once.
    pub fn run(&self, input: &RecordBatch) -> Result<Transformed, FunctionFault> {
        self.transform(input).process(&batch(input))
    }
}

/// A core module that carries the world of `wit/`.
pub fn core(text: &str) -> Vec<u8> {
    let mut core = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let (package, _) = resolve.push_dir(&folder).unwrap();
    let world = resolve.select_world(&[package], Some("transform-plugin")).unwrap();
    wit_component::embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
    core
}

pub fn engine() -> SandboxEngine {
    static ENGINE: std::sync::OnceLock<SandboxEngine> = std::sync::OnceLock::new();
    ENGINE.get_or_init(|| SandboxEngine::new(None).unwrap()).clone()
}

pub fn table(columns: Vec<(Field, ArrayRef)>) -> RecordBatch {
    let (fields, columns): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// `rows` rows with one column `n` of numbers from 0 on.
pub fn numbers(rows: u32) -> RecordBatch {
    let field = Field::new("n", arrow_schema::DataType::UInt32, false);
    table(vec![(field, Arc::new(UInt32Array::from_iter_values(0..rows)))])
}

pub fn batch(columns: &RecordBatch) -> Batch {
    let rows = columns.num_rows();
    Batch {
        columns: columns.clone(),
        event_times_us: vec![0; rows].into(),
        watermarks_us: vec![i64::MIN; rows].into(),
        origin: Origin::Step("test".into()),
        changes: Changes::Inserts,
    }
}
