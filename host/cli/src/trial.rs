//! `weir test`: a pipeline's own tests, each on the real engine, and what is not as expected.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};
use weir_runtime::Purpose;
use weir_runtime::trial::{self, Difference, Fault, Row, Verdict, What};

use crate::load::{self, ManifestArgs};
use crate::output::{self, CONFIG, FAILED, Failure, Format};

pub const EXAMPLES: &str = "Examples:
  weir test pipelines/ecommerce/pipeline.yaml
  weir test pipeline.yaml --only late_payment_corrects_its_minute -o json";

/// Differences of one test that are shown.
const MOST_SHOWN: usize = 20;

#[derive(Args)]
pub struct TestArgs {
    #[command(flatten)]
    pub manifest: ManifestArgs,
    /// Run the tests with this in their name.
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,
}

pub fn test(args: &TestArgs, format: Format) -> Result<(), Failure> {
    crate::run::start_log("error");
    let engine = load::engine()?;
    let mut plan = load::plan(&args.manifest, &engine, Purpose::Test)?;
    trial::prepare(&mut plan);
    let wanted = |name: &str| args.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let tests: Vec<_> = plan.tests.iter().filter(|test| wanted(&test.name)).collect();
    if tests.is_empty() {
        let only = args.only.as_ref().map_or(String::new(), |only| format!(" with `{only}` in its name"));
        let message = format!("{}: no test{only}; nothing was tested", args.manifest.manifest.display());
        return Err(Failure::new(CONFIG, message).next("add one under `tests:`; docs/manifest.md shows how"));
    }
    let mut verdicts = Vec::new();
    for test in tests {
        let verdict = trial::run(&plan, test, &engine);
        if format == Format::Text {
            show(&args.manifest.manifest, &verdict);
        }
        verdicts.push(verdict);
    }
    let failed = verdicts.iter().filter(|verdict| !verdict.passed()).count();
    if format == Format::Json {
        output::print_json(&json!({ "passed": verdicts.len() - failed, "failed": failed, "tests": verdicts }))?;
    }
    match failed {
        0 => Ok(()),
        _ if format == Format::Json => Err(Failure::silent(FAILED)),
        failed => Err(Failure::new(FAILED, format!("{failed} of {} tests failed", verdicts.len()))),
    }
}

fn show(manifest: &Path, verdict: &Verdict) {
    let Verdict { name, line, epochs, kills, elapsed_ms, faults } = verdict;
    let killed = if *kills > 0 { format!(", killed {kills} times") } else { String::new() };
    let seconds = *elapsed_ms as f64 / 1000.0;
    if verdict.passed() {
        println!("ok      {name} · {epochs} epochs{killed}, {seconds:.1} s");
        return;
    }
    println!("FAILED  {name} · {}:{line}{killed}, {seconds:.1} s", manifest.display());
    for fault in faults.iter().take(MOST_SHOWN) {
        lines(fault, manifest).into_iter().for_each(|line| println!("  {line}"));
    }
    if faults.len() > MOST_SHOWN {
        println!("  and {} more", faults.len() - MOST_SHOWN);
    }
}

fn lines(fault: &Fault, manifest: &Path) -> Vec<String> {
    let killed = fault.killed.map_or(String::new(), |point| format!(" (killed when {point})"));
    let file = manifest.file_name().unwrap_or_default().to_string_lossy();
    let of = &fault.of;
    match &fault.what {
        What::Failed(message) => vec![format!("the pipeline ended{killed}: {message}")],
        What::Row(Difference::Missing { line, row }) => {
            vec![format!("{of}, {file}:{line}{killed}: missing {}", text(row))]
        }
        What::Row(Difference::Surplus { row }) => vec![format!("{of}{killed}: not expected {}", text(row))],
        What::Row(Difference::Differs { line, columns }) => {
            let mut lines = vec![format!("{of}, {file}:{line}{killed}: the row is another")];
            let column = |one: &trial::ColumnDifference| {
                format!("  {}: expected {}, found {}", one.column, one.expected, one.found)
            };
            lines.extend(columns.iter().map(column));
            lines
        }
    }
}

/// A row as the manifest would write it.
fn text(row: &Row) -> String {
    let plain = |value: &Value| match value {
        Value::String(text) if is_word(text) => text.clone(),
        other => other.to_string(),
    };
    let pairs: Vec<String> = row.iter().map(|(name, value)| format!("{name}: {}", plain(value))).collect();
    format!("{{ {} }}", pairs.join(", "))
}

/// Text that YAML reads as text without quotes.
fn is_word(text: &str) -> bool {
    let letters = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    letters && text.starts_with(|c: char| c.is_ascii_alphabetic()) && !["true", "false", "null"].contains(&text)
}
