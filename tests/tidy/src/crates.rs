//! Which crate may know which: the arrows of `CONTRIBUTING.md`, and the libraries that stay behind one door.

/// A host crate, and the host crates below it.
const BELOW: [(&str, &[&str]); 10] = [
    ("stream", &[]),
    ("manifest", &["stream"]),
    ("codecs", &["stream"]),
    ("connectors", &["stream"]),
    ("checkpoint", &["stream"]),
    ("sandbox", &["stream"]),
    ("state", &["stream"]),
    ("operators", &["state", "stream"]),
    ("runtime", &["operators", "state", "sandbox", "codecs", "connectors", "checkpoint", "manifest", "stream"]),
    ("cli", &["runtime", "operators", "state", "sandbox", "codecs", "connectors", "checkpoint", "manifest", "stream"]),
];

/// A library, and the only host crates that may use it.
const BEHIND_ONE_DOOR: [(&str, &[&str]); 7] = [
    ("rdkafka", &["connectors"]),
    ("rdkafka-sys", &["connectors"]),
    ("sqlx", &["connectors"]),
    ("parquet", &["connectors"]),
    ("wasmtime", &["sandbox"]),
    ("axum", &["runtime"]),
    ("tokio", &["connectors", "runtime", "cli"]),
];

/// Names in the `[dependencies]` of a `Cargo.toml`.
pub fn dependencies(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]"
            && let Some((name, _)) = line.split_once(['.', '=', ' '])
            && !name.starts_with('#')
        {
            names.push(name.to_owned());
        }
    }
    names
}

/// What a host crate depends on and must not.
pub fn crate_faults(name: &str, manifest: &str) -> Vec<String> {
    let Some((_, below)) = BELOW.iter().find(|(known, _)| *known == name) else {
        return vec![format!("host/{name}: a new crate; say in tests/tidy what is below it")];
    };
    let mut faults = Vec::new();
    for dependency in dependencies(manifest) {
        if let Some(ours) = dependency.strip_prefix("weir-").filter(|ours| !below.contains(ours)) {
            faults.push(format!("host/{name}: an arrow up or sideways, to `{ours}`"));
        }
        let door = BEHIND_ONE_DOOR.iter().find(|(library, users)| *library == dependency && !users.contains(&name));
        if let Some((library, users)) = door {
            faults.push(format!("host/{name}: `{library}` is known to {} alone", users.join(", ")));
        }
    }
    faults
}
