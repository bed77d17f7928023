//! Manifests that are sound as files and unsound as plans: each says exactly what its `.err` says.
//!
//! Adding a case is adding `faults/NAME.yaml` and `UPDATE=1 cargo test`, then reading the `.err`.

use std::fs;
use std::path::Path;

use weir_manifest::ParseOptions;
use weir_runtime::Purpose;
use weir_sandbox::SandboxEngine;

#[test]
fn every_unsound_plan_says_what_its_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults");
    let engine = SandboxEngine::new(None).unwrap();
    let update = std::env::var_os("UPDATE").is_some();
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut manifests: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    manifests.sort();
    assert!(!manifests.is_empty());
    let mut different = Vec::new();
    for path in manifests {
        let text = fs::read_to_string(&path).unwrap();
        let options = ParseOptions { profile: None, environment: &|_| None, overlays: Vec::new() };
        let checked = weir_manifest::check(Path::new(path.file_name().unwrap()), &text, &options);
        assert!(!checked.faults.has_errors(), "the file itself has faults: {}", checked.faults);
        let Err(faults) = weir_runtime::plan(checked, &engine, Purpose::Test) else {
            panic!("{} has no fault", path.display());
        };
        let (shown, expected) = (faults.to_string(), path.with_extension("err"));
        if update {
            fs::write(&expected, &shown).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != shown {
            different.push(format!("{}:\n{shown}", expected.display()));
        }
    }
    assert!(different.is_empty(), "texts changed; read them, then UPDATE=1\n{}", different.join("\n"));
}
