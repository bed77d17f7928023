//! One case: how it is laid out for a run, run in one of its ways, and compared.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use weir_services::process::aborted;
use weir_services::{Weir, repository};

use crate::outputs::{self, Outputs};

/// One run of a case; most take a quarter of a second.
const RUN_BOUND: Duration = Duration::from_secs(120);

/// The output that says what each step read, wrote and refused.
const COUNTS: &str = "counts";

/// No case needs more epochs; a run that is killed more often makes no progress.
const MOST_EPOCHS: u64 = 60;

/// Where a run is aborted, at every epoch in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killed {
    Never,
    Sealed,
    Durable,
    Exposed,
}

impl Killed {
    pub const ALL: [Self; 4] = [Self::Never, Self::Sealed, Self::Durable, Self::Exposed];

    fn point(self) -> Option<&'static str> {
        match self {
            Self::Never => None,
            Self::Sealed => Some("sealed"),
            Self::Durable => Some("durable"),
            Self::Exposed => Some("exposed"),
        }
    }
}

/// How a case is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    pub tasks: u32,
    pub killed: Killed,
    /// Whether state leaves memory at every barrier, wherever it can.
    pub evict: bool,
}

#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    folder: PathBuf,
}

/// All cases, by name.
///
/// # Errors
/// When the folder cannot be read.
pub fn all() -> Result<Vec<Case>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let folder = entry?.path();
        if folder.join("pipeline.yaml").is_file() {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            cases.push(Case { name, folder });
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

/// A folder of its own for one way of running a case, as deep below its root as cases are below the repository's.
struct Room {
    root: tempfile::TempDir,
    folder: PathBuf,
}

impl Case {
    /// The repository's plugins that the manifest uses.
    ///
    /// # Errors
    /// When the manifest cannot be read.
    pub fn plugins(&self) -> Result<Vec<String>> {
        let manifest = std::fs::read_to_string(self.folder.join("pipeline.yaml"))?;
        let used = manifest.split("/plugins/").skip(1);
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        Ok(used.map(|rest| rest.chars().take_while(|letter| is_name(*letter)).collect()).collect())
    }

    fn lay_out(&self) -> Result<Room> {
        let root = tempfile::Builder::new().prefix("weir-golden-").tempdir()?;
        std::os::unix::fs::symlink(repository().join("plugins").canonicalize()?, root.path().join("plugins"))?;
        let folder = root.path().join("tests/golden/cases").join(&self.name);
        copy_files(&self.folder, &folder)?;
        Ok(Room { root, folder })
    }

    /// Runs the case to its end in one way and answers what it left; several answers when it took several runs from
    /// the beginning to be killed at every epoch.
    ///
    /// # Errors
    /// When a run fails, or was never killed where it should have been.
    pub fn run(&self, weir: &Weir, way: Way) -> Result<Vec<Outputs>> {
        let killed = way.killed;
        let mut all = Vec::new();
        let mut kills = 0;
        let mut epoch = 1;
        let mut ended = false;
        while !ended {
            let room = self.lay_out()?;
            let mut finished = false;
            while let (Some(point), false) = (killed.point(), finished) {
                ensure!(epoch <= MOST_EPOCHS, "killed at {point} {kills} times and not at its end");
                let report = self.run_once(weir, &room, way, Some(&format!("{point}:{epoch}")))?;
                kills += u32::from(report.is_none());
                finished = report.is_some();
                // An epoch that owes no sink anything is not exposed, so nothing kills there: the next one is tried from
                // the beginning, until there is none.
                ended = report.is_some_and(|report| report["status"]["durable_epoch"].as_u64() < Some(epoch));
                epoch += 1;
            }
            ended |= killed == Killed::Never;
            all.push(self.outcome(weir, &room, way)?);
        }
        ensure!(kills > 0 || killed == Killed::Never, "was never killed at {killed:?}");
        Ok(all)
    }

    /// Lets it run to its end, if it is not there yet, and reads what it left.
    fn outcome(&self, weir: &Weir, room: &Room, way: Way) -> Result<Outputs> {
        let report = self.run_once(weir, room, way, None)?.context("a run without crash point aborted")?;
        let mut outputs = outputs::read(&room.folder)?;
        outputs.insert(COUNTS.into(), report["status"]["steps"].clone());
        self.name_digests(&mut outputs)?;
        Ok(outputs)
    }

    /// `None`: it aborted, as it was told to.
    fn run_once(&self, weir: &Weir, room: &Room, way: Way, crash_at: Option<&str>) -> Result<Option<Value>> {
        // A log of its own for every run: its report is what it wrote to stdout.
        let logs = tempfile::Builder::new().prefix("log-").tempdir_in(room.root.path())?;
        let run = weir.spawn(&self.name, logs.path(), |command| {
            command.arg(room.folder.join("pipeline.yaml")).args(["--profile", "test"]);
            command.arg("--state").arg(room.root.path().join("state")).args(["--workers", &way.tasks.to_string()]);
            if way.evict {
                command.arg("--evict");
            }
            if let Some(crash_at) = crash_at {
                command.args(["--crash-at", crash_at]);
            }
        })?;
        let ended = run.end(RUN_BOUND)?;
        if aborted(ended.status) && crash_at.is_some() {
            return Ok(None);
        }
        let how = crash_at.unwrap_or("no crash point");
        ensure!(ended.status.success(), "the run ({how}) ended with {}\n{}", ended.status, ended.stderr);
        Ok(Some(ended.report))
    }

    /// Digests depend on the compiler: expectations name the plugin instead.
    fn name_digests(&self, outputs: &mut Outputs) -> Result<()> {
        for plugin in self.plugins()? {
            let component = std::fs::read(repository().join(format!("plugins/target/weir/{plugin}.wasm")))?;
            let digest: String = Sha256::digest(&component).iter().map(|byte| format!("{byte:02x}")).collect();
            for output in outputs.values_mut() {
                let text = output.to_string().replace(&format!("sha256:{digest}"), &format!("digest of {plugin}"));
                *output = serde_json::from_str(&text)?;
            }
        }
        Ok(())
    }

    /// # Errors
    /// When an expectation cannot be read.
    pub fn expected(&self) -> Result<Outputs> {
        let mut expected = Outputs::new();
        let folder = self.folder.join("expected");
        for entry in
            std::fs::read_dir(&folder).with_context(|| format!("{}: make it with UPDATE=1", folder.display()))?
        {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            expected.insert(name, serde_json::from_str(&std::fs::read_to_string(&path)?)?);
        }
        Ok(expected)
    }

    /// Writes what came out as what is expected; to be read before it is committed.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn update(&self, outputs: &Outputs) -> Result<()> {
        let folder = self.folder.join("expected");
        let mut outputs = outputs.clone();
        if folder.exists() {
            let before = self.expected()?;
            for (step, _) in counts(&before).filter(|(_, counts)| counts.is_null()) {
                if let Some(Value::Object(now)) = outputs.get_mut(COUNTS) {
                    now.insert(step.clone(), Value::Null);
                }
            }
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        for (name, output) in &outputs {
            std::fs::write(folder.join(format!("{name}.json")), line_per_row(output))?;
        }
        Ok(())
    }
}

fn counts(outputs: &Outputs) -> impl Iterator<Item = (&String, &Value)> {
    outputs.get(COUNTS).and_then(Value::as_object).into_iter().flatten()
}

/// Copies files and folders of input; expectations stay behind.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let to = to.join(path.file_name().unwrap_or_default());
        if path.is_file() {
            std::fs::copy(&path, to)?;
        } else if !path.ends_with("expected") {
            copy_files(&path, &to)?;
        }
    }
    Ok(())
}

/// JSON that a review can read: one line a row.
fn line_per_row(output: &Value) -> String {
    match output {
        Value::Array(rows) if !rows.is_empty() => {
            let rows: Vec<String> = rows.iter().map(|row| format!("  {row}")).collect();
            format!("[\n{}\n]\n", rows.join(",\n"))
        }
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("  {}: {value}", Value::from(name.as_str()))).collect();
            format!("{{\n{}\n}}\n", fields.join(",\n"))
        }
        other => format!("{other}\n"),
    }
}

/// # Errors
/// The rows that are missing and those that are too many, by output.
pub fn compare(expected: &Outputs, found: &Outputs) -> Result<()> {
    let mut faults = Vec::new();
    let names: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    for name in names {
        match (expected.get(name), found.get(name)) {
            (Some(expected), Some(found)) if expected == found => {}
            (Some(Value::Array(expected)), Some(Value::Array(found))) => {
                faults.extend(row_faults(name, expected, found))
            }
            (Some(Value::Object(expected)), Some(Value::Object(found))) => {
                faults.extend(count_faults(expected, found).into_iter().map(|fault| format!("{name}: {fault}")));
            }
            (expected, found) => faults.push(format!("{name}: expected {expected:?}\n  found {found:?}")),
        }
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

/// Every step is named; null for one whose counts depend on how its partitions interleave.
fn count_faults(expected: &Map<String, Value>, found: &Map<String, Value>) -> Vec<String> {
    let missing = expected.keys().filter(|step| !found.contains_key(*step));
    let mut faults: Vec<String> = missing.map(|step| format!("{step}: is no step")).collect();
    for (step, found) in found {
        match expected.get(step) {
            None => {
                faults.push(format!("{step}: found {found}, nothing is expected (null if it depends on the order)"))
            }
            Some(Value::Null) => {}
            Some(expected) if expected == found => {}
            Some(expected) => faults.push(format!("{step}: expected {expected}, found {found}")),
        }
    }
    faults
}

fn row_faults(name: &str, expected: &[Value], found: &[Value]) -> Vec<String> {
    let mut surplus: Vec<&Value> = found.iter().collect();
    let mut faults = Vec::new();
    for row in expected {
        match surplus.iter().position(|other| *other == row) {
            Some(place) => drop(surplus.swap_remove(place)),
            None => faults.push(format!("{name}: missing {row}")),
        }
    }
    faults.extend(surplus.into_iter().map(|row| format!("{name}: too many {row}")));
    faults
}
