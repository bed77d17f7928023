//! Component binaries: made from core modules, looked into without running or compiling them, and held against
//! the worlds of `wit/`.
//!
//! Invariant: what passes [`inspect_granted`] imports nothing but what its world grants and type-only interfaces of `weir:plugin`.

use sha2::{Digest, Sha256};
use wasmparser::Parser;
use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::{PackageName, Resolve, WorldId, WorldItem, WorldKey};

use crate::cache::hex;
use crate::error::SandboxError;

const PACKAGE: (&str, &str) = ("weir", "plugin");
const SERVED: (u64, u64) = (0, 1);
/// Interfaces with the functions that may be imported of them.
type Grants = &'static [(&'static str, &'static [&'static str])];
const LOG: (&str, &[&str]) = ("log", &["log"]);
const HTTP: (&str, &[&str]) = ("http", &["fetch"]);
const TABLES: (&str, &[&str]) = ("tables", &["look-up"]);

/// What a plugin is for: the interface of `weir:plugin` that it exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// Row by row.
    Transform,
    /// With state by key and timers.
    Process,
    /// Row by row, asking services and tables.
    Enrich,
    /// Rows into accumulators.
    Aggregate,
    /// Which pairs of a join go on.
    Attribute,
}

impl World {
    pub const ALL: [Self; 5] = [Self::Transform, Self::Process, Self::Enrich, Self::Aggregate, Self::Attribute];

    pub fn name(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Process => "process",
            Self::Enrich => "enrich",
            Self::Aggregate => "aggregate",
            Self::Attribute => "attribute",
        }
    }

    /// What a plugin of this world may import.
    fn grants(self) -> Grants {
        match self {
            Self::Transform | Self::Process | Self::Aggregate | Self::Attribute => &[LOG],
            Self::Enrich => &[LOG, HTTP, TABLES],
        }
    }
}

/// What a component says about itself without being run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginInfo {
    /// `sha256:<hex>` of the component's bytes.
    pub digest: String,
    /// Bytes of the component.
    pub size: usize,
    /// Worlds of `weir:plugin` that it implements: `transform@0.1.0`.
    pub worlds: Vec<String>,
    /// Interfaces with functions that it imports: its capabilities.
    pub imports: Vec<String>,
    pub exports: Vec<String>,
}

/// Makes a component of a core module that was built against a world of `wit/`. A component is given back as it is.
///
/// # Errors
/// [`SandboxError::NotWasm`], or [`SandboxError::Encode`] when the module carries no world or imports something
/// outside it.
pub fn encode(wasm: &[u8]) -> Result<Vec<u8>, SandboxError> {
    check_magic(wasm)?;
    if Parser::is_component(wasm) {
        return Ok(wasm.to_vec());
    }
    let encoder = ComponentEncoder::default().validate(true).module(wasm);
    let encoded = encoder.and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| SandboxError::Encode(format!("{error:#}")))
}

/// Looks into a component (or a core module, which is encoded first).
///
/// # Errors
/// As [`encode`], and [`SandboxError::Invalid`].
pub fn inspect(wasm: &[u8]) -> Result<PluginInfo, SandboxError> {
    let component = encode(wasm)?;
    let (resolve, world) = decode(&component)?;
    Ok(info(&component, &resolve, world))
}

/// [`inspect`] of a component that is to be loaded: refuses what no world of this host describes, and every import
/// that is not granted, by name.
pub(crate) fn inspect_granted(component: &[u8]) -> Result<(PluginInfo, World), SandboxError> {
    let (resolve, world) = decode(component)?;
    let kind = check_world(&resolve, world)?;
    Ok((info(component, &resolve, world), kind))
}

fn info(component: &[u8], resolve: &Resolve, world: WorldId) -> PluginInfo {
    let exports = names(resolve, world, Side::Exports);
    PluginInfo {
        digest: digest(component),
        size: component.len(),
        worlds: exports.iter().filter_map(|name| world_of(name)).collect(),
        imports: names(resolve, world, Side::Imports),
        exports,
    }
}

/// `sha256:<hex>`.
pub fn digest(component: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(component)))
}

/// The one world that the component is made for, all its imports granted.
fn check_world(resolve: &Resolve, world: WorldId) -> Result<World, SandboxError> {
    let ours = resolve.worlds[world].exports.keys().filter_map(|key| {
        let WorldKey::Interface(id) = key else { return None };
        let interface = &resolve.interfaces[*id];
        let package = &resolve.packages[interface.package?].name;
        let kind = World::ALL.into_iter().find(|kind| interface.name.as_deref() == Some(kind.name()))?;
        is_ours(package).then_some((kind, package))
    });
    let kind = match ours.collect::<Vec<_>>().as_slice() {
        [] => return Err(SandboxError::NoWorld { exports: names(resolve, world, Side::Exports) }),
        [(_, package), ..] if !is_served(package) => {
            return Err(SandboxError::OtherVersion { found: package.to_string() });
        }
        [(kind, _)] => *kind,
        [..] => return Err(SandboxError::Invalid("it exports two worlds of weir:plugin; a plugin has one".into())),
    };
    let imports = &resolve.worlds[world].imports;
    let refused: Vec<String> =
        imports.iter().filter_map(|(key, item)| refused_import(resolve, key, item, kind)).collect();
    if refused.is_empty() { Ok(kind) } else { Err(SandboxError::NotGranted { imports: refused }) }
}

fn check_magic(wasm: &[u8]) -> Result<(), SandboxError> {
    if wasm.starts_with(b"\0asm") { Ok(()) } else { Err(SandboxError::NotWasm) }
}

fn decode(component: &[u8]) -> Result<(Resolve, WorldId), SandboxError> {
    match wit_component::decode(component) {
        Ok(DecodedWasm::Component(resolve, world)) => Ok((resolve, world)),
        Ok(DecodedWasm::WitPackage(..)) => Err(SandboxError::Invalid("it is a WIT package without code".into())),
        Err(error) => Err(SandboxError::Invalid(format!("{error:#}"))),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Imports,
    Exports,
}

/// Names of what a component imports or exports; imported interfaces of types alone are left out.
fn names(resolve: &Resolve, world: WorldId, side: Side) -> Vec<String> {
    let world = &resolve.worlds[world];
    let items = if side == Side::Imports { &world.imports } else { &world.exports };
    let shown = items.iter().filter(|(_, item)| side == Side::Exports || has_functions(resolve, item));
    shown.map(|(key, _)| resolve.name_world_key(key)).collect()
}

fn has_functions(resolve: &Resolve, item: &WorldItem) -> bool {
    match item {
        WorldItem::Interface { id, .. } => !resolve.interfaces[*id].functions.is_empty(),
        WorldItem::Function(_) => true,
        WorldItem::Type { .. } => false,
    }
}

/// The import's name if this host does not grant it.
fn refused_import(resolve: &Resolve, key: &WorldKey, item: &WorldItem, world: World) -> Option<String> {
    let name = || Some(resolve.name_world_key(key));
    if !has_functions(resolve, item) {
        return None;
    }
    let WorldItem::Interface { id, .. } = item else { return name() };
    let interface = &resolve.interfaces[*id];
    let Some(package) = interface.package.map(|package| &resolve.packages[package].name) else { return name() };
    let granted = world.grants().iter().find(|(granted, _)| interface.name.as_deref() == Some(granted));
    let Some((_, functions)) = granted.filter(|_| is_ours(package) && is_served(package)) else { return name() };
    let unknown = interface.functions.keys().find(|function| !functions.contains(&function.as_str()))?;
    Some(format!("{}#{unknown}", resolve.name_world_key(key)))
}

fn is_ours(package: &PackageName) -> bool {
    (package.namespace.as_str(), package.name.as_str()) == PACKAGE
}

fn is_served(package: &PackageName) -> bool {
    package.version.as_ref().is_some_and(|version| (version.major, version.minor) == SERVED)
}

/// `transform@0.1.0` for `weir:plugin/transform@0.1.0`.
fn world_of(export: &str) -> Option<String> {
    let interface = export.strip_prefix("weir:plugin/")?;
    let is_world = World::ALL.iter().any(|world| interface.split('@').next() == Some(world.name()));
    is_world.then(|| interface.to_owned())
}
