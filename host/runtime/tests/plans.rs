//! Plans of manifests whose parts do not fit together say exactly what their `.err` says.
//!
//! Adding a case is adding `plans/NAME.yaml` and `UPDATE=1 cargo test`, then reading the `.err`. What shows without the
//! planner belongs to the manifest's own cases.

use std::fs;
use std::path::Path;

use weir_manifest::ParseOptions;
use weir_runtime::{Purpose, plan};
use weir_sandbox::SandboxEngine;

fn faults(path: &Path, engine: &SandboxEngine) -> String {
    let text = fs::read_to_string(path).unwrap();
    let options = ParseOptions { profile: None, environment: &|_| None, overlays: Vec::new() };
    let checked = weir_manifest::check(Path::new(path.file_name().unwrap()), &text, &options);
    match plan(checked, engine, Purpose::Run) {
        Ok(_) => panic!("{} has no fault", path.display()),
        Err(faults) => faults.to_string(),
    }
}

#[test]
fn every_plan_that_cannot_be_says_what_its_file_says() {
    let engine = SandboxEngine::new(None).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut different = Vec::new();
    for path in paths {
        let (shown, expected) = (faults(&path, &engine), path.with_extension("err"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected, &shown).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != shown {
            different.push(format!("{}:\n{shown}", expected.display()));
        }
    }
    assert!(different.is_empty(), "texts changed; read them, then UPDATE=1\n{}", different.join("\n"));
}
