//! `weir plugin new`: writes a project that builds and passes its tests as it is.
//!
//! The SDK's sources are part of this binary and are written into the project, under `vendor/`: it works with the
//! installed command alone, the project builds the same on every machine, and no absolute path gets into it.
//!
//! Invariant: a project is whole or not there; nothing that exists is overwritten.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const MAX_NAME_BYTES: usize = 64;

/// Names that Cargo or Rust keep for themselves.
#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "abstract", "alloc", "as", "async", "await", "become", "box", "break", "build", "const", "continue", "core",
    "crate", "deps", "do", "dyn", "else", "enum", "examples", "extern", "false", "final", "fn", "for", "gen", "if",
    "impl", "in", "incremental", "let", "loop", "macro", "main", "match", "mod", "move", "mut", "override", "priv",
    "proc-macro", "pub", "ref", "return", "self", "static", "std", "struct", "super", "test", "trait", "true", "try",
    "type", "typeof", "unsafe", "unsized", "use", "virtual", "weir-sdk", "weir-sdk-derive", "where", "while",
    "wit-bindgen", "yield",
];

macro_rules! sdk_files {
    ($($path:literal)*) => {
        /// The SDK's sources: path below its folder, text.
        pub const SDK_FILES: &[(&str, &str)] =
            &[$(($path, include_str!(concat!("../../../../plugins/sdk/rust/", $path)))),*];
    };
}
sdk_files! {
    "Cargo.toml"
    "derive/Cargo.toml"
    "derive/src/aggregate.rs"
    "derive/src/attribute.rs"
    "derive/src/attribution.rs"
    "derive/src/columns.rs"
    "derive/src/config.rs"
    "derive/src/enrich.rs"
    "derive/src/input.rs"
    "derive/src/item.rs"
    "derive/src/lib.rs"
    "derive/src/lookup_key.rs"
    "derive/src/output.rs"
    "derive/src/process.rs"
    "derive/src/state.rs"
    "derive/src/template.rs"
    "derive/src/timer.rs"
    "derive/src/transform.rs"
    "src/aggregate.rs"
    "src/aggregate_bindings.rs"
    "src/attribute.rs"
    "src/attribute_bindings.rs"
    "src/bindings.rs"
    "src/columns.rs"
    "src/columns/lists.rs"
    "src/columns/take.rs"
    "src/config.rs"
    "src/decimal.rs"
    "src/enrich.rs"
    "src/enrich/asked.rs"
    "src/enrich_bindings.rs"
    "src/http.rs"
    "src/input.rs"
    "src/json.rs"
    "src/lib.rs"
    "src/log.rs"
    "src/nested.rs"
    "src/output.rs"
    "src/plugin.rs"
    "src/process.rs"
    "src/process_bindings.rs"
    "src/reject.rs"
    "src/returned.rs"
    "src/state.rs"
    "src/state/entry.rs"
    "src/tables.rs"
    "src/testing.rs"
    "src/testing/aggregate.rs"
    "src/testing/attribute.rs"
    "src/testing/keyed.rs"
    "src/testing/nested.rs"
    "src/testing/tables.rs"
    "src/time.rs"
    "src/types.rs"
    "src/write.rs"
}

/// Where a project keeps the SDK.
pub const SDK_FOLDER: &str = "vendor/weir-sdk";

/// A language that plugins can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Rust,
}

impl std::str::FromStr for Language {
    type Err = ScaffoldError;

    fn from_str(name: &str) -> Result<Self, ScaffoldError> {
        match name {
            "rust" => Ok(Self::Rust),
            _ => Err(ScaffoldError::Language { name: name.into() }),
        }
    }
}

/// The worlds of `wit/` that there is a project for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Template {
    /// Row by row.
    Transform,
    /// Row by row with state by key, and timers.
    Process,
    /// Among the aggregates of a window or a key.
    Aggregate,
    /// Row by row, asking services.
    Enrich,
    /// Which pairs of a join go on.
    Attribute,
}

impl Template {
    /// Its `src/lib.rs`, and what stands in the step that it is used in.
    fn source(self) -> (&'static str, &'static str) {
        match self {
            Self::Transform => {
                (include_str!("template/lib.rs"), "plugin: { use: path/to/{name}, config: { large_from: 100 } }")
            }
            Self::Process => (
                include_str!("template/process.rs"),
                "key: [COLUMN], plugin: { use: path/to/{name}, config: { silent_after_s: 600 } }",
            ),
            Self::Aggregate => (
                include_str!("template/aggregate.rs"),
                "aggregate: { share: { plugin: { use: path/to/{name}, config: { large_from: 100 } } } }",
            ),
            Self::Enrich => (
                include_str!("template/enrich.rs"),
                "plugin: { use: path/to/{name}, config: { url: \"http://HOST:PORT\" }, http: { allow: [\"HOST:PORT\"] } }",
            ),
            Self::Attribute => (
                include_str!("template/attribute.rs"),
                "join: { ..., attribute: { use: path/to/{name}, config: { without: direct } } }",
            ),
        }
    }
}

/// A project that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    pub name: String,
    pub folder: PathBuf,
    /// The file to edit.
    pub source: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    #[error("no template for {name:?}\n  next: --lang rust")]
    Language { name: String },
    #[error("{name:?} cannot be a plugin's name: {why}\n  next: a name such as clean-orders")]
    Name { name: String, why: &'static str },
    #[error("{} is not empty\n  next: another name, or --path with a new folder", folder.display())]
    NotEmpty { folder: PathBuf },
    #[error("{} is a file\n  next: another name, or --path with a new folder", folder.display())]
    NotAFolder { folder: PathBuf },
    #[error("cannot write {}: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
}

/// Writes a project called `name` into `folder`, or into `./<name>`.
///
/// # Errors
/// [`ScaffoldError`]; then nothing was left behind.
pub fn scaffold(
    name: &str,
    language: Language,
    template: Template,
    folder: Option<&Path>,
) -> Result<Created, ScaffoldError> {
    let Language::Rust = language;
    check_name(name)?;
    let folder = folder.map_or_else(|| PathBuf::from(name), Path::to_owned);
    check_folder(&folder)?;
    write_project(name, template, &folder)?;
    Ok(Created { name: name.into(), source: folder.join("src/lib.rs"), folder })
}

fn check_name(name: &str) -> Result<(), ScaffoldError> {
    let mut bytes = name.bytes();
    let why = if !bytes.next().is_some_and(|first| first.is_ascii_lowercase()) {
        "it begins with a lower-case letter"
    } else if !bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        "it has lower-case letters, digits and `-` only"
    } else if name.ends_with('-') || name.contains("--") {
        "each `-` joins two words"
    } else if name.len() > MAX_NAME_BYTES {
        "it has 64 characters at most"
    } else if RESERVED.contains(&name) {
        "Rust or Cargo keep it for themselves"
    } else {
        return Ok(());
    };
    Err(ScaffoldError::Name { name: name.into(), why })
}

fn check_folder(folder: &Path) -> Result<(), ScaffoldError> {
    match fs::read_dir(folder).map(|entries| entries.count()) {
        Ok(0) => Ok(()),
        Ok(_) => Err(ScaffoldError::NotEmpty { folder: folder.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(ScaffoldError::NotAFolder { folder: folder.to_owned() })
        }
        Err(cause) => Err(ScaffoldError::Write { path: folder.to_owned(), cause }),
    }
}

/// Writes everything beside the folder first and puts it in place with one rename.
fn write_project(name: &str, template: Template, folder: &Path) -> Result<(), ScaffoldError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| ScaffoldError::Write { path, cause }
    };
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(failed(parent))?;
    let work = tempfile::Builder::new().prefix(".weir-new-").tempdir_in(parent).map_err(failed(parent))?;
    let project = work.path().join("project");
    for (path, text) in project_files(name, template) {
        let path = project.join(path);
        let inside = path.parent().unwrap_or(&project);
        fs::create_dir_all(inside).and_then(|()| fs::write(&path, text)).map_err(failed(&path))?;
    }
    // An empty folder gives way to the rename.
    fs::rename(&project, folder).map_err(failed(folder))
}

fn project_files(name: &str, template: Template) -> Vec<(String, String)> {
    let (source, step) = template.source();
    let filled = |text: &str| {
        text.replace("{step}", step).replace("{name}", name).replace("{function}", &name.replace('-', "_"))
    };
    let own = [
        ("Cargo.toml", include_str!("template/Cargo.toml.in")),
        ("README.md", include_str!("template/README.md")),
        (".gitignore", include_str!("template/gitignore")),
        ("src/lib.rs", source),
    ];
    let own = own.into_iter().map(|(path, text)| (path.to_owned(), filled(text)));
    let lock = ("Cargo.lock".to_owned(), lock_file(name));
    let sdk = SDK_FILES.iter().map(|(path, text)| (format!("{SDK_FOLDER}/{path}"), (*text).to_owned()));
    own.chain([lock]).chain(sdk).collect()
}

/// The lock file that Cargo would write: with it a first build asks no registry's index, so that it works offline
/// once the SDK's one dependency has been fetched for any project.
fn lock_file(name: &str) -> String {
    let own = format!("name = \"{name}\"\nversion = \"0.1.0\"\ndependencies = [\n \"weir-sdk\",\n]");
    let sdk = include_str!("template/sdk.lock").split("[[package]]\n").map(str::trim).filter(|text| !text.is_empty());
    let mut packages: Vec<&str> = sdk.chain([own.as_str()]).collect();
    packages.sort_unstable_by_key(|package| package.lines().next());
    let packages: String = packages.iter().map(|package| format!("\n[[package]]\n{package}\n")).collect();
    let head =
        "# This file is automatically @generated by Cargo.\n# It is not intended for manual editing.\nversion = 4\n";
    format!("{head}{packages}")
}
