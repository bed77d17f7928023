//! All passes over a manifest, in order, with every fault collected.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::fault::{Fault, Faults};
use crate::model::Manifest;
use crate::read::node::{self, Node};
use crate::source_text::{Text, Texts};

/// Looks up an environment variable; absent when it is not set.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// How a manifest is read.
pub struct ParseOptions<'a> {
    /// The profile to bind. Without one, profiles are checked but nothing is looked up in the environment.
    pub profile: Option<&'a str>,
    /// Where `${NAME}` and `{ secret: NAME }` are looked up.
    pub environment: &'a Environment<'a>,
    /// Laid over the manifest in their order: path and text.
    pub overlays: Vec<(PathBuf, String)>,
}

/// What came of a manifest.
#[derive(Debug)]
pub struct Checked {
    /// The sound part: what depends on a faulty part is left out. Absent when nothing can be said.
    pub manifest: Option<Manifest>,
    pub faults: Faults,
}

/// Reads a manifest and finds everything that is wrong with it.
pub fn check(path: &Path, text: &str, options: &ParseOptions<'_>) -> Checked {
    let mut files = vec![Text { path: path.to_owned(), text: text.to_owned() }];
    files.extend(options.overlays.iter().map(|(path, text)| Text { path: path.clone(), text: text.clone() }));
    let texts = Arc::new(Texts::new(files));
    let mut faults = Faults::new(Arc::clone(&texts));
    let root = match node::parse(0, text) {
        Ok(root) => root,
        Err(fault) => {
            faults.push(fault);
            return Checked { manifest: None, faults };
        }
    };
    let manifest = typed(&root, &mut faults).map(|mut manifest| {
        manifest.folder = path.parent().unwrap_or(Path::new("")).to_owned();
        manifest.texts = texts;
        manifest.profiles.retain(|name, _| Some(name) == options.profile);
        manifest
    });
    Checked { manifest, faults }
}

fn typed(root: &Node, faults: &mut Faults) -> Option<Manifest> {
    Manifest::deserialize(root)
        .map_err(|error| faults.push(Fault::new(error.place.unwrap_or_default(), "structure", error.message)))
        .ok()
}

impl Manifest {
    /// Reads a manifest that must be without fault.
    ///
    /// # Errors
    /// Every fault that was found. Warnings alone are in [`Manifest::warnings`].
    pub fn parse(path: &Path, text: &str, options: &ParseOptions<'_>) -> Result<Self, Faults> {
        match check(path, text, options) {
            Checked { manifest: Some(manifest), faults } if !faults.has_errors() => Ok(manifest),
            Checked { faults, .. } => Err(faults),
        }
    }
}
