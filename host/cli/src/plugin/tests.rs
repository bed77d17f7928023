//! A project from nothing to a component, and every way in which that is refused.

mod run;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::{BuildError, Built};
use super::scaffold::ScaffoldError;
use super::toolchain;
use super::*;

fn never(line: &str) {
    panic!("nothing to say is expected, not: {line}");
}

fn captured() -> BuildOptions {
    BuildOptions { cargo_output: CargoOutput::Captured, ..Default::default() }
}

fn build_in(folder: &Path) -> Result<Built, BuildError> {
    build(folder, &captured(), &mut |line| eprintln!("{line}"))
}

fn sdk_sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/sdk/rust")
}

#[test]
fn every_source_of_the_sdk_is_in_the_binary() {
    let root = sdk_sources();
    let mut found = vec!["Cargo.toml".to_owned(), "derive/Cargo.toml".to_owned()];
    let mut folders = vec!["src".to_owned(), "derive/src".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    let mut embedded: Vec<&str> = scaffold::SDK_FILES.iter().map(|(path, _)| *path).collect();
    embedded.sort_unstable();
    assert_eq!(embedded, found);
}

#[test]
fn a_new_project_passes_its_tests_and_becomes_a_component() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("some where/clean-orders");
    let created = scaffold("clean-orders", Language::Rust, Template::Transform, Some(&folder)).unwrap();
    let locked = fs::read_to_string(folder.join("Cargo.lock")).unwrap();
    assert_eq!(created.source, folder.join("src/lib.rs"));
    let beside: Vec<_> = fs::read_dir(folder.parent().unwrap()).unwrap().collect();
    assert_eq!(beside.len(), 1, "nothing is left beside the project");

    let test = Command::new("cargo").args(["test", "--quiet"]).current_dir(&folder).output().unwrap();
    let output = String::from_utf8_lossy(&test.stdout).into_owned() + &String::from_utf8_lossy(&test.stderr);
    assert!(test.status.success() && output.contains("2 passed"), "{output}");
    assert!(!output.contains("warning"), "{output}");

    assert_eq!(fs::read_to_string(folder.join("Cargo.lock")).unwrap(), locked, "the lock file is the one Cargo writes");

    let built = build_in(&folder).unwrap();
    assert_eq!((built.name.as_str(), built.version.as_str()), ("clean-orders", "0.1.0"));
    assert_eq!(built.path, folder.join("target/weir/clean-orders.wasm"));
    let component = fs::read(&built.path).unwrap();
    assert_eq!((component.len(), weir_sandbox::digest(&component)), (built.size_bytes, built.digest.clone()));
    let info = weir_sandbox::inspect(&component).unwrap();
    assert_eq!(info.worlds, ["transform@0.1.0"]);
    assert_eq!(info.imports, ["weir:plugin/log@0.1.0"]);
    let line = built.to_string();
    assert!(line.starts_with("built clean-orders 0.1.0 · sha256:") && line.ends_with(" s"), "{line}");

    let again = build(&folder, &BuildOptions { offline: true, ..captured() }, &mut never).unwrap();
    assert_eq!(again.digest, built.digest, "the same source gives the same component, offline too");

    fs::write(&created.source, "use weir_sdk::prelude::*;\nfn clean(x: NoSuchType) {}\n").unwrap();
    let error = build_in(&folder).unwrap_err().to_string();
    assert!(error.starts_with("clean-orders did not compile:\n") && error.contains("NoSuchType"), "{error}");
    assert_eq!(fs::read(&built.path).unwrap(), component, "the component of before stays");

    fs::write(&created.source, "pub fn clean() {}\n").unwrap();
    let error = build_in(&folder).unwrap_err().to_string();
    assert!(error.contains("clean-orders is no plugin") && error.contains("put #[transform] on"), "{error}");
}

#[test]
fn a_lock_file_is_in_cargos_order_whatever_the_name() {
    let work = tempfile::tempdir().unwrap();
    for name in ["window-sums", "zeros", "weir-sdk-e"] {
        let folder = work.path().join(name);
        scaffold(name, Language::Rust, Template::Transform, Some(&folder)).unwrap();
        let locked =
            Command::new("cargo").args(["metadata", "--locked", "--format-version=1"]).current_dir(&folder).output();
        let locked = locked.unwrap();
        assert!(locked.status.success(), "{name}: {}", String::from_utf8_lossy(&locked.stderr));
    }
}

#[test]
fn a_folder_without_a_plugin_is_refused_with_the_next_act() {
    let work = tempfile::tempdir().unwrap();
    let error = build_in(work.path()).unwrap_err();
    assert!(
        matches!(error, BuildError::NoManifest { .. }) && error.to_string().contains("next: weir plugin new"),
        "{error}"
    );

    let manifest = work.path().join("Cargo.toml");
    fs::write(&manifest, "[workspace]\nmembers = []\n").unwrap();
    assert!(matches!(build_in(work.path()).unwrap_err(), BuildError::Workspace { .. }));

    fs::write(&manifest, "[package]\nname = \n").unwrap();
    let error = build_in(work.path()).unwrap_err();
    assert!(matches!(error, BuildError::Manifest { .. }), "{error}");

    fs::write(&manifest, "[package]\nname = \"tool\"\nversion = \"1.0.0\"\nedition = \"2024\"\n[workspace]\n").unwrap();
    fs::create_dir(work.path().join("src")).unwrap();
    fs::write(work.path().join("src/main.rs"), "fn main() {}").unwrap();
    assert!(matches!(build_in(work.path()).unwrap_err(), BuildError::NoLibrary { .. }));
}

#[test]
fn names_that_cargo_would_refuse_are_refused_first() {
    let work = tempfile::tempdir().unwrap();
    let long = "a".repeat(65);
    for name in [
        "",
        "Clean",
        "1st",
        "-x",
        "x-",
        "a--b",
        "a_b",
        "a b",
        "../x",
        "caf\u{e9}",
        "fn",
        "test",
        "std",
        "wit-bindgen",
        &long,
    ] {
        let error = scaffold(name, Language::Rust, Template::Transform, Some(&work.path().join("p"))).unwrap_err();
        assert!(matches!(error, ScaffoldError::Name { .. }), "{name}: {error}");
    }
    assert!(!work.path().join("p").exists());
    assert!(matches!("cobol".parse::<Language>(), Err(ScaffoldError::Language { .. })));
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("mine"), "kept").unwrap();
    let error = scaffold("clean", Language::Rust, Template::Transform, Some(work.path())).unwrap_err();
    assert!(matches!(error, ScaffoldError::NotEmpty { .. }), "{error}");
    let error = scaffold("clean", Language::Rust, Template::Transform, Some(&work.path().join("mine"))).unwrap_err();
    assert!(matches!(error, ScaffoldError::NotAFolder { .. }), "{error}");
    assert_eq!(fs::read_to_string(work.path().join("mine")).unwrap(), "kept");
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 1);

    let empty = work.path().join("empty");
    fs::create_dir(&empty).unwrap();
    scaffold("clean", Language::Rust, Template::Transform, Some(&empty)).unwrap();
    assert!(empty.join("vendor/weir-sdk/src/lib.rs").is_file());
}

#[test]
fn a_compiler_that_is_missing_is_named_with_the_next_act() {
    let error = toolchain::ToolchainError::NotFound {
        program: "rustc".into(),
        cause: std::io::Error::from(std::io::ErrorKind::NotFound),
    };
    assert!(error.to_string().contains("next: install Rust 1.95 or newer"), "{error}");
    let error = toolchain::ToolchainError::NoTarget { reason: "rustc 1.95.0 has none".into() };
    let text = error.to_string();
    assert!(
        text.contains("rustup target add wasm32-unknown-unknown") && text.contains("rustc-web rust-web-src"),
        "{text}"
    );
}

#[test]
fn a_new_project_of_every_world_passes_its_test_and_becomes_a_component_of_that_world() {
    for (template, world) in [
        (Template::Process, "process@0.1.0"),
        (Template::Aggregate, "aggregate@0.1.0"),
        (Template::Enrich, "enrich@0.1.0"),
        (Template::Attribute, "attribute@0.1.0"),
    ] {
        let imports = new_project(template, world);
        let asks = imports.contains(&"weir:plugin/http@0.1.0".to_owned());
        assert_eq!(asks, template == Template::Enrich, "{imports:?}");
    }
}

/// Answers what the component imports.
fn new_project(template: Template, world: &str) -> Vec<String> {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("rates");
    scaffold("rates", Language::Rust, template, Some(&folder)).unwrap();
    let test = Command::new("cargo").args(["test", "--quiet"]).current_dir(&folder).output().unwrap();
    let output = String::from_utf8_lossy(&test.stdout).into_owned() + &String::from_utf8_lossy(&test.stderr);
    assert!(test.status.success() && output.contains("1 passed") && !output.contains("warning"), "{output}");
    let built = build_in(&folder).unwrap();
    let info = weir_sandbox::inspect(&fs::read(&built.path).unwrap()).unwrap();
    assert_eq!(info.worlds, [world]);
    info.imports
}
