//! The tests are tested: the engine is built once more, with bugs that can be put in, and each of them must be noticed.

use std::path::Path;
use std::process::Command;

#[test]
fn every_seeded_bug_is_caught_and_without_one_nothing_is_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    // The same selection of packages as everywhere, so that no dependency is built again; no other binary is touched.
    let build = ["build", "--release", "--locked", "--workspace", "--features", "weir-simulation/seeded-bugs", "--bin"];
    let built = Command::new(cargo).current_dir(root).args(build).arg("weir-bugs").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let here = std::env::current_exe().unwrap();
    let bugs = here.parent().and_then(Path::parent).expect("tests run from a folder of the target").join("weir-bugs");
    let output = Command::new(bugs).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}
