//! Plugins that misbehave while they run: each ends in a fault that says what it did, the host lives, and the next
//! call is served by a fresh instance.

mod guest;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use guest::layout::{Answer, Column, Contract, INT64};
use guest::{Guest, batch, numbers};
use weir_sandbox::{Limits, LogLevel, WasmTransformFactory};
use weir_stream::{FunctionFault, Transform, TransformFactory};

const ENDLESS: &str = "(loop $ever (br $ever))";

fn quiet() -> Guest {
    Guest::new(&Contract::writing(&[]))
}

/// A guest that does this for a batch of one row only.
fn for_one_row(instructions: &str) -> Guest {
    quiet().first(&format!("(if (i32.eq (local.get $rows) (i32.const 1)) (then {instructions}))"))
}

fn fails(guest: &Guest) -> FunctionFault {
    guest.run(&numbers(1)).unwrap_err()
}

#[test]
fn a_trap_costs_its_batch_alone() {
    let guest = for_one_row("unreachable");
    let mut transform = guest.transform(&numbers(2));
    for _ in 0..3 {
        let fault = transform.process(&batch(&numbers(1))).unwrap_err();
        assert_eq!(fault.to_string(), "trapped: wasm trap: wasm `unreachable` instruction executed");
        assert_eq!(fault.code(), "plugin-trap");
        transform.process(&batch(&numbers(2))).unwrap();
    }
}

#[test]
fn an_instance_after_a_trap_remembers_nothing() {
    let guest = Guest::new(&Contract::writing(&[("n", INT64)]))
        .answers(&Answer::of(0, None, vec![Column::int64(&[0])]))
        .extra("(global $calls (mut i32) (i32.const 0))")
        .first(
            "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                (if (i32.eq (global.get $calls) (i32.const 3)) (then unreachable))",
        );
    let mut transform = guest.transform(&numbers(1));
    let calls: Vec<bool> = (0..9).map(|_| transform.process(&batch(&numbers(1))).is_ok()).collect();
    assert_eq!(calls, [true, true, false, true, true, false, true, true, false]);
}

#[test]
fn the_text_of_a_panic_is_in_the_fault_and_in_the_log() {
    let mut guest = quiet();
    let logging = guest.logging(LogLevel::Error as u32, "panicked at src/lib.rs:6:83:\nboom");
    let guest = guest.first(&format!("{logging} unreachable"));
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let log = Arc::new(move |line: &weir_sandbox::LogLine<'_>| {
        sink.lock().unwrap().push((line.step.to_owned(), line.plugin.to_owned(), line.level, line.text.to_owned()));
    });
    let input = numbers(1);
    let factory =
        WasmTransformFactory::new(&guest.load(), "null", input.schema(), &Limits::default(), "clean", Some(log))
            .unwrap();
    let fault = factory.instantiate().unwrap().process(&batch(&input)).unwrap_err();
    assert_eq!(fault, FunctionFault::Trap("panicked at src/lib.rs:6:83:\\nboom".into()));
    let line = ("clean".into(), "guest".into(), LogLevel::Error, "panicked at src/lib.rs:6:83:\\nboom".into());
    assert_eq!(*lines.lock().unwrap(), [line]);
}

#[test]
fn an_endless_loop_ends_at_its_limit_and_the_next_batch_passes() {
    let limits = Limits { time_per_batch_ms: 50, ..Limits::default() };
    let mut transform = for_one_row(ENDLESS).factory(&numbers(2), &limits).instantiate().unwrap();
    let started = Instant::now();
    let fault = transform.process(&batch(&numbers(1))).unwrap_err();
    assert_eq!(fault, FunctionFault::Timeout { limit_ms: 50 });
    assert!(started.elapsed() >= Duration::from_millis(50), "{:?}", started.elapsed());
    assert!(transform.last_call_cpu_ns() >= 50_000_000, "{}", transform.last_call_cpu_ns());
    transform.process(&batch(&numbers(2))).unwrap();
}

#[test]
fn a_recursion_without_end_is_a_trap() {
    let guest = for_one_row("(drop (call $deep (i32.const 1)))").extra(
        "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (i32.add (local.get 0) (i32.const 1)))))",
    );
    assert_eq!(fails(&guest).to_string(), "trapped: wasm trap: call stack exhausted");
}

#[test]
fn memory_without_end_is_refused_at_its_limit() {
    let hog = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let limits = Limits { memory_bytes: 8 << 20, ..Limits::default() };
    let mut transform = for_one_row(hog).factory(&numbers(2), &limits).instantiate().unwrap();
    let fault = transform.process(&batch(&numbers(1))).unwrap_err();
    assert_eq!(fault.to_string(), "asked for more than its 8388608 bytes of memory");
    transform.process(&batch(&numbers(2))).unwrap();
}

#[test]
fn a_guest_that_copes_with_refused_memory_goes_on() {
    let guest = for_one_row("(drop (memory.grow (i32.const 60000)))");
    guest.run(&numbers(1)).unwrap();
}

#[test]
fn a_batch_that_does_not_fit_into_the_memory_is_a_fault_of_memory() {
    let contract = Contract::writing(&[]).reading(&["n"]);
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    let input = numbers(1 << 20);
    let mut transform = Guest::new(&contract).factory(&input, &limits).instantiate().unwrap();
    let fault = transform.process(&batch(&input)).unwrap_err();
    assert_eq!(fault, FunctionFault::Memory { limit_bytes: 1 << 20 });
    transform.process(&batch(&input.slice(0, 1000))).unwrap();
}

#[test]
fn a_flood_of_log_lines_is_dropped_and_never_fatal() {
    let mut guest = quiet();
    let line = guest.logging(LogLevel::Info as u32, "a line of a flood");
    let guest = guest.first(&format!(
        "(local $n i32) (loop $more {line} (local.set $n (i32.add (local.get $n) (i32.const 1)))
         (br_if $more (i32.lt_u (local.get $n) (i32.const 5000))))"
    ));
    let limits = Limits { log_bytes_per_s: 1000, time_per_batch_ms: 5000, ..Limits::default() };
    let factory = guest.factory(&numbers(1), &limits);
    let mut transform = factory.instantiate().unwrap();
    (0..3).for_each(|_| drop(transform.process(&batch(&numbers(1))).unwrap()));
    assert!(factory.dropped_log_lines() > 14_000, "{}", factory.dropped_log_lines());
}

#[test]
fn a_log_line_longer_than_any_limit_is_a_fault() {
    let guest = for_one_row("(call $log (i32.const 2) (i32.const 0) (i32.const 40000000))").pages(640);
    let fault = fails(&guest);
    assert_eq!(fault.code(), "plugin-too-much", "{fault}");
}

#[test]
fn a_log_line_outside_the_memory_is_a_fault() {
    let guest = for_one_row("(call $log (i32.const 2) (i32.const -8) (i32.const 100))");
    assert_eq!(fails(&guest).code(), "plugin-malformed");
}

#[test]
fn a_log_line_of_an_unknown_level_is_a_fault() {
    let guest = for_one_row("(call $log (i32.const 77) (i32.const 0) (i32.const 1))");
    assert_eq!(fails(&guest).code(), "plugin-malformed");
}

#[test]
fn more_rows_than_allowed_are_refused() {
    let rows = vec![0; 5000];
    let guest = quiet().answers(&Answer::of(0, Some(&rows), vec![]));
    let limits = Limits { output_rows: 4999, ..Limits::default() };
    let fault = guest.factory(&numbers(1), &limits).instantiate().unwrap().process(&batch(&numbers(1))).unwrap_err();
    assert_eq!(fault.to_string(), "returned 5000 rows, over its limit of 4999 rows");
}

#[test]
fn more_bytes_than_allowed_are_refused_before_they_are_copied() {
    let guest =
        Guest::new(&Contract::writing(&[("n", INT64)])).answers(&Answer::of(0, None, vec![Column::int64(&[7; 2000])]));
    let limits = Limits { output_bytes: 10_000, ..Limits::default() };
    let mut transform = guest.factory(&numbers(2000), &limits).instantiate().unwrap();
    let fault = transform.process(&batch(&numbers(2000))).unwrap_err();
    let text = "returned more bytes than may leave the sandbox in one call, over its limit of 10000 bytes";
    assert_eq!(fault.to_string(), text);
}

#[test]
fn a_plugin_that_refuses_to_open_says_why() {
    let guest = quiet().refuses_to_open("no such table");
    let factory = guest.factory(&numbers(1), &Limits::default());
    let Err(fault) = factory.instantiate() else { panic!("it must not open") };
    assert_eq!(fault.to_string(), "trapped: open refused what describe had accepted: no such table");
}

#[test]
fn instances_of_one_plugin_run_on_many_threads_at_once() {
    let limits = Limits { time_per_batch_ms: 20, ..Limits::default() };
    let factory = Arc::new(for_one_row(ENDLESS).factory(&numbers(2), &limits));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let factory = Arc::clone(&factory);
            std::thread::spawn(move || {
                let mut transform: Box<dyn Transform> = factory.instantiate().unwrap();
                for _ in 0..5 {
                    assert_eq!(transform.process(&batch(&numbers(1))).unwrap_err().code(), "plugin-timeout");
                    transform.process(&batch(&numbers(2))).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn what_an_earlier_call_did_is_not_blamed_for_a_later_trap() {
    let mut guest = quiet();
    let logging = guest.logging(LogLevel::Error as u32, "an error that the plugin got over");
    let guest = guest.first(&format!(
        "(if (i32.eq (local.get $rows) (i32.const 2)) (then {logging} (drop (memory.grow (i32.const 60000)))) (else unreachable))"
    ));
    let mut transform = guest.transform(&numbers(2));
    transform.process(&batch(&numbers(2))).unwrap();
    let fault = transform.process(&batch(&numbers(1))).unwrap_err();
    assert_eq!(fault.to_string(), "trapped: wasm trap: wasm `unreachable` instruction executed");
}
