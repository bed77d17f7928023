//! The rules, held against the repository as it is.

use weir_tidy::*;

fn rust_files() -> Vec<SourceFile> {
    let ours = |file: &SourceFile| ["host/", "plugins/", "tests/"].iter().any(|folder| file.path.starts_with(folder));
    // Programs that must not compile, as the derives' tests feed them to the compiler.
    let is_input = |file: &SourceFile| file.path.contains("/tests/refused/");
    let files: Vec<_> = files(&[".rs"]).into_iter().filter(|file| ours(file) && !is_input(file)).collect();
    assert!(files.len() > 100, "only {} Rust files were found", files.len());
    files
}

fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "{} faults\n  {}", faults.len(), faults.join("\n  "));
}

#[test]
fn every_file_says_what_it_is_for() {
    none(rust_files().iter().flat_map(module_doc_faults).collect());
}

#[test]
fn files_and_functions_fit_on_their_screens() {
    none(rust_files().iter().flat_map(length_faults).collect());
}

#[test]
fn nothing_ends_the_process_on_bad_input() {
    none(rust_files().iter().flat_map(call_faults).collect());
}

#[test]
fn nothing_is_left_half_done() {
    let endings = [".rs", ".toml", ".md", ".wit", ".yaml", "Makefile"];
    none(files(&endings).iter().flat_map(marker_faults).collect());
}

#[test]
fn nothing_names_the_machine_that_it_was_written_on() {
    let endings = [".rs", ".toml", ".md", ".wit", ".yaml", "Makefile"];
    let elsewhere = |file: &&SourceFile| !file.path.starts_with("tests/tidy/");
    none(files(&endings).iter().filter(elsewhere).flat_map(path_faults).collect());
}

#[test]
fn the_arrows_between_crates_point_one_way() {
    let manifests = files(&["Cargo.toml"]);
    let crates = manifests.iter().filter_map(|file| {
        let name = file.path.strip_prefix("host/")?.strip_suffix("/Cargo.toml")?;
        Some((name, &file.text))
    });
    let crates: Vec<_> = crates.collect();
    assert_eq!(crates.len(), 10, "host crates");
    none(crates.iter().flat_map(|(name, manifest)| crate_faults(name, manifest)).collect());
}

#[test]
fn exempt_files_are_there() {
    for (path, why) in EXEMPT {
        assert!(root().join(path).is_file(), "{path} is exempt ({why}) and not there");
    }
}

#[test]
fn every_dependency_may_be_used_and_comes_from_the_registry() {
    let allowed = allowed(&std::fs::read_to_string(root().join("deny.toml")).unwrap());
    for workspace in ["Cargo.toml", "plugins/Cargo.toml"] {
        let mut tree = std::process::Command::new(env!("CARGO"));
        let format = ["--workspace", "--target", "all", "--prefix", "none", "-f", "{p} | {l}"];
        tree.args(["tree", "--locked", "--color", "never", "--manifest-path"]).arg(root().join(workspace)).args(format);
        let output = tree.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let listed = String::from_utf8(output.stdout).unwrap();
        let packages = listed.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once(" | "));
        let faults = packages.filter(|(_, licence)| !is_allowed(licence, &allowed));
        none(faults.map(|(package, licence)| format!("{package}: `{licence}`")).collect());
        let lock = root().join(workspace).with_extension("lock");
        let lock = std::fs::read_to_string(lock).unwrap();
        let foreign = lock.lines().filter(|line| line.starts_with("source = ") && !line.contains("/crates.io-index\""));
        none(foreign.map(|line| format!("{workspace}: {line}")).collect());
    }
}

/// Lines without their indentation.
fn trimmed(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim())).collect()
}

#[test]
fn manifests_in_the_documents_are_excerpts_of_manifests_that_are_run() {
    let whole = ["pipelines/ecommerce/pipeline.yaml", "host/manifest/tests/valid/maximal.yaml"];
    let whole = whole.map(|path| trimmed(&std::fs::read_to_string(root().join(path)).unwrap()));
    let mut excerpts = 0;
    for file in files(&[".md"]).iter().filter(|file| file.path.starts_with("docs/")) {
        for block in file.text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            excerpts += 1;
            let found = whole.iter().any(|whole| whole.contains(&trimmed(block)));
            assert!(found, "{}: no manifest holds this\n{block}", file.path);
        }
    }
    assert!(excerpts > 2, "{excerpts} excerpts");
}

#[test]
fn what_the_documents_link_to_is_there() {
    let mut missing = Vec::new();
    for file in files(&[".md"]).iter().filter(|file| !file.path.contains("template/")) {
        for target in file.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or(target);
            let folder = root().join(&file.path).with_file_name("");
            if !path.is_empty() && !path.contains("://") && !folder.join(path).exists() {
                missing.push(format!("{}: {target}", file.path));
            }
        }
    }
    none(missing);
}
