//! What may be loaded at all: size, kind, world, imports, types, compile time.

mod guest;

use std::time::{Duration, Instant};

use guest::layout::Contract;
use guest::{Guest, engine};
use weir_sandbox::{Limits, PluginComponent, SandboxEngine, SandboxError, WasmTransformFactory, encode, inspect};
use weir_stream::TransformFactory;

fn quiet() -> Guest {
    Guest::new(&Contract::writing(&[]))
}

fn refusal(wasm: &[u8]) -> String {
    match PluginComponent::load(&engine(), wasm, &Limits::default()) {
        Ok(_) => panic!("it must not load"),
        Err(error) => error.to_string(),
    }
}

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn a_plugin_tells_what_it_is_without_being_run() {
    let component = quiet().component();
    let info = inspect(&component).unwrap();
    assert_eq!(info.worlds, ["transform@0.1.0"]);
    assert_eq!(info.imports, ["weir:plugin/log@0.1.0"]);
    assert_eq!(info.exports, ["weir:plugin/transform@0.1.0"]);
    assert_eq!((info.size, info.digest), (component.len(), weir_sandbox::digest(&component)));
}

#[test]
fn a_core_module_is_encoded_and_a_component_stays_as_it_is() {
    let guest = quiet();
    let (core, component) = (guest.core(), guest.component());
    assert_ne!(core, component);
    assert_eq!(encode(&component).unwrap(), component);
    let loaded = PluginComponent::load(&engine(), &core, &Limits::default()).unwrap();
    assert_eq!(**loaded.digest(), weir_sandbox::digest(&component));
    assert_eq!(**loaded.bytes(), component);
}

#[test]
fn bytes_that_are_no_wasm_are_refused() {
    assert_eq!(refusal(b"#!/bin/sh"), "not a WebAssembly binary: it does not begin with \\0asm");
    assert_eq!(refusal(b""), "not a WebAssembly binary: it does not begin with \\0asm");
}

#[test]
fn a_torn_component_is_refused_wherever_it_ends() {
    let component = quiet().component();
    // The last sections hold names alone: without them the component is whole.
    for length in (0..component.len() * 9 / 10).step_by(7) {
        let torn = PluginComponent::load(&engine(), &component[..length], &Limits::default());
        assert!(torn.is_err(), "{length} of {} bytes", component.len());
    }
}

#[test]
fn a_core_module_without_a_world_is_refused() {
    let text = refusal(&component("(module (func (export \"run\")))"));
    assert!(text.contains("core module") || text.contains("no world of weir:plugin@0.1"), "{text}");
}

#[test]
fn a_component_without_our_world_is_refused() {
    let text = refusal(&component("(component)"));
    assert_eq!(
        text,
        "component exports nothing, but no world of weir:plugin@0.1; a transform exports weir:plugin/transform@0.1.0, a keyed plugin weir:plugin/process@0.1.0, one that asks services weir:plugin/enrich@0.1.0, one that aggregates weir:plugin/aggregate@0.1.0, one that attributes weir:plugin/attribute@0.1.0"
    );
}

#[test]
fn a_component_for_another_version_is_refused() {
    let text = r#"(component (instance $i) (export "weir:plugin/transform@0.2.0" (instance $i)))"#;
    assert_eq!(
        refusal(&component(text)),
        "component is built for weir:plugin@0.2.0, this host serves weir:plugin@0.1; rebuild it with a matching SDK"
    );
}

#[test]
fn imports_that_are_not_granted_are_refused_by_name() {
    let text = r#"(component
        (import "wasi:cli/environment@0.2.6" (instance (export "get-environment" (func))))
        (import "weir:plugin/log@0.1.0" (instance (export "log" (func)) (export "erase" (func))))
        (import "reboot" (func))
        (instance $i) (export "weir:plugin/transform@0.1.0" (instance $i)))"#;
    assert_eq!(
        refusal(&component(text)),
        "component imports wasi:cli/environment@0.2.6, weir:plugin/log@0.1.0#erase, reboot, which is not granted; \
         build it without them"
    );
}

#[test]
fn a_core_module_that_imports_more_than_its_world_is_refused() {
    let guest = quiet().import(r#"(import "env" "system" (func (param i32)))"#);
    let error = encode(&guest.core()).unwrap_err();
    assert!(matches!(error, SandboxError::Encode(_)) && error.to_string().contains("env"), "{error}");
}

#[test]
fn functions_of_another_type_are_refused() {
    let missing = r#"(component (instance $i) (export "weir:plugin/transform@0.1.0" (instance $i)))"#;
    assert_eq!(
        refusal(&component(missing)),
        "describe does not have the type of weir:plugin/transform@0.1.0: it is missing"
    );
    let other = r#"(component
        (core module $m (func (export "f")))
        (core instance $c (instantiate $m))
        (func $f (canon lift (core func $c "f")))
        (instance $i (export "describe" (func $f)))
        (export "weir:plugin/transform@0.1.0" (instance $i)))"#;
    let text = refusal(&component(other));
    assert!(text.starts_with("describe does not have the type of weir:plugin/transform@0.1.0: "), "{text}");
}

#[test]
fn a_component_over_its_size_is_refused_before_it_is_parsed() {
    let limits = Limits { component_bytes: 1000, ..Limits::default() };
    let error = quiet().try_load(&limits).err().unwrap();
    assert!(matches!(error, SandboxError::TooLarge { limit: 1000, .. }), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plugin.wasm");
    std::fs::write(&file, vec![0; 1001]).unwrap();
    let error = PluginComponent::load_file(&engine(), &file, &limits).err().unwrap();
    let text = "component has 1001 bytes, over its limit of 1000; strip it, or raise the limit component_bytes";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = PluginComponent::load_file(&engine(), "/nowhere/plugin.wasm".as_ref(), &Limits::default());
    let text = error.err().unwrap().to_string();
    assert_eq!(text, "cannot read /nowhere/plugin.wasm: No such file or directory (os error 2)");
}

#[test]
fn limits_over_their_maximum_are_refused() {
    let limits = Limits { memory_bytes: usize::MAX, ..Limits::default() };
    assert!(matches!(quiet().try_load(&limits), Err(SandboxError::Limits(_))));
}

#[test]
fn a_compilation_that_takes_too_long_is_given_up_and_few_may_be_overdue() {
    let body = "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 3)) (i32.const 1)))".repeat(200);
    let functions: String = (0..400).map(|_| format!("(func (param i32) (result i32) {body} local.get 0)")).collect();
    let slow = quiet().extra(&functions).component();
    let engine = SandboxEngine::new(None).unwrap();
    let limits = Limits { compile_ms: 1, ..Limits::default() };
    let load = || PluginComponent::load(&engine, &slow, &limits).err().map(|error| error.to_string());
    let late = "compiling took longer than 0.001 s; make the component smaller, or raise the limit compile_ms";
    assert_eq!((load().as_deref(), load().as_deref()), (Some(late), Some(late)));
    let busy = load().unwrap();
    assert!(busy.starts_with("2 compilations that passed their time limit are still running"), "{busy}");
    let patience = Instant::now() + Duration::from_secs(120);
    while PluginComponent::load(&engine, &quiet().component(), &Limits::default()).is_err() {
        assert!(Instant::now() < patience, "overdue compilations must end and make room");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_instance_too_many_is_a_fault_and_room_comes_back() {
    let (engine, limits, input) = (SandboxEngine::new(None).unwrap(), Limits::default(), guest::numbers(1).schema());
    let plugin = PluginComponent::load(&engine, &quiet().component(), &limits).unwrap();
    let factory = WasmTransformFactory::new(&plugin, "null", input, &limits, "step", None).unwrap();
    let engine_is_full = (0..2000).map(|_| factory.instantiate()).collect::<Result<Vec<_>, _>>();
    let text = engine_is_full.err().unwrap().to_string();
    assert!(text.starts_with("trapped: cannot be instantiated: "), "{text}");
    factory.instantiate().unwrap();
}
