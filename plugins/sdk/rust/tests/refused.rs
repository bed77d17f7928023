//! What the derives refuse, and in which words: each `refused/*.rs` beside the compiler's errors in its `.err`.
//!
//! Only error messages and their places are held, not the compiler's further notes, which change from one version to
//! the next. `WEIR_UPDATE=1 cargo test -p weir-sdk --test refused` writes the `.err` files anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Cargo put this test, and so the SDK that it was linked with.
fn libraries() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// The newest `libweir_sdk-*.rlib`: that of the build which made this test.
fn sdk() -> PathBuf {
    let files = fs::read_dir(libraries()).unwrap().map(|entry| entry.unwrap().path());
    let is_sdk = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("libweir_sdk-") && name.ends_with(".rlib")
    };
    files
        .filter(is_sdk)
        .max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap())
        .expect("Cargo built the SDK")
}

/// Each error's message, its places in the case itself, and the SDK's own help, in the order told.
fn errors(case: &Path, sdk: &Path) -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=lib", "--emit=obj", "--cap-lints=allow", "-Cpanic=abort"])
        .arg("--out-dir")
        .arg(std::env::temp_dir())
        .arg(format!("-Ldependency={}", libraries().display()))
        .arg(format!("--extern=weir_sdk={}", sdk.display()))
        .args(["--color=never", "--error-format=human"])
        .env("CARGO_PKG_NAME", "case")
        .env("CARGO_PKG_VERSION", "1.0.0")
        .current_dir(case.parent().unwrap())
        .arg(case.file_name().unwrap())
        .output()
        .unwrap();
    assert!(!output.status.success(), "{} compiles", case.display());
    let text = String::from_utf8(output.stderr).unwrap();
    let name = case.file_name().unwrap().to_string_lossy();
    let kept = |line: &&str| {
        let line = line.trim_start();
        let error = line.starts_with("error") && !line.starts_with("error: aborting");
        let note =
            line.strip_prefix("= note: ").is_some_and(|note| note.contains("columns") || note.contains("returns"));
        let here = line.strip_prefix("--> ").is_some_and(|place| place.starts_with(&*name));
        error || note || here || line.contains("^ put #")
    };
    let lines = text.lines().filter(kept).map(|line| line.trim_start_matches([' ', '|']).trim());
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn each_refusal_reads_as_it_should() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused");
    let (sdk, update) = (sdk(), std::env::var_os("WEIR_UPDATE").is_some());
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    cases.sort();
    let mut wrong = String::new();
    for case in &cases {
        let (found, kept) = (errors(case, &sdk), case.with_extension("err"));
        if update {
            fs::write(&kept, &found).unwrap();
        }
        let expected = fs::read_to_string(&kept).unwrap_or_default();
        if found != expected {
            wrong += &format!("{}\nexpected:\n{expected}\nfound:\n{found}\n", case.display());
        }
    }
    assert!(!cases.is_empty() && wrong.is_empty(), "{wrong}");
}
