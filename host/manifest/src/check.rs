//! All passes over a manifest, in order, with every fault collected.
//!
//! Invariant: a pass sees only what the passes before it found sound, and never speaks of what is missing because
//! an earlier pass took it out.

mod bindings;
mod columns;
mod graph;
mod tests;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::fault::{Fault, Faults, nearest};
use crate::logic;
use crate::model::Manifest;
use crate::read::node::{self, Node, Value};
use crate::read::{flow, interpolate, overlay, shape, structure};
use crate::source_text::{Text, Texts};

/// Looks up an environment variable; absent when it is not set.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// How a manifest is read.
pub struct ParseOptions<'a> {
    /// The profile to bind. Without one, profiles are checked but nothing is looked up in the environment.
    pub profile: Option<&'a str>,
    /// Where `${NAME}` and `{ secret: NAME }` are looked up.
    pub environment: &'a Environment<'a>,
    /// Laid over the manifest in their order: path and text. Maps are joined by key, the rest is replaced.
    pub overlays: Vec<(PathBuf, String)>,
}

/// What came of a manifest.
#[derive(Debug)]
pub struct Checked {
    /// The sound part: what depends on a faulty part is left out. Absent when nothing can be said.
    pub manifest: Option<Manifest>,
    pub faults: Faults,
}

/// The profile to take when none is named: the only one, or `embedded` among several.
///
/// Says nothing of a text that is no manifest; [`check`] does.
pub fn default_profile(text: &str) -> Option<String> {
    let root = node::parse(0, text).ok()?;
    let Names { profiles, .. } = Names::of(&root);
    let names: Vec<String> = profiles.into_keys().collect();
    match names.as_slice() {
        [only] => Some(only.clone()),
        names => names.iter().find(|name| *name == "embedded").cloned(),
    }
}

/// The names that a manifest gives, before faulty parts are taken out.
struct Names {
    sources: BTreeSet<String>,
    steps: BTreeSet<String>,
    sinks: BTreeSet<String>,
    /// With the names that each binds.
    profiles: BTreeMap<String, BTreeSet<String>>,
}

/// Reads a manifest and finds everything that is wrong with it.
pub fn check(path: &Path, text: &str, options: &ParseOptions<'_>) -> Checked {
    let mut files = vec![Text { path: path.to_owned(), text: text.to_owned() }];
    files.extend(options.overlays.iter().map(|(path, text)| Text { path: path.clone(), text: text.clone() }));
    let texts = Arc::new(Texts::new(files));
    let mut faults = Faults::new(Arc::clone(&texts));
    let Some(mut root) = read(&texts, &options.overlays, &mut faults) else {
        return Checked { manifest: None, faults };
    };
    flow::mend(&texts, &mut root, &mut faults);
    let names = Names::of(&root);
    choose_profile(options.profile, &names, &mut faults);
    interpolate::interpolate(&mut root, options.profile, options.environment, &mut faults);
    let sound = structure::check(&mut root, shape::manifest(), &mut faults);
    bindings::check_names(&root, &names, &mut faults);
    keep_profile(&mut root, options, &mut faults);
    let manifest = if sound { typed(&root, &mut faults) } else { None };
    let manifest = manifest.map(|mut manifest| {
        manifest.folder = path.parent().unwrap_or(Path::new("")).to_owned();
        manifest.logic = logic::of(&root);
        manifest.texts = texts;
        columns::check(&manifest, &mut faults);
        window::check(&manifest, &mut faults);
        graph::check(&mut manifest, &names, &mut faults);
        bindings::check(&manifest, &mut faults);
        tests::check(&manifest, &names, &mut faults);
        manifest.warnings = faults.warnings();
        manifest
    });
    Checked { manifest, faults }
}

fn read(texts: &Texts, overlays: &[(PathBuf, String)], faults: &mut Faults) -> Option<Node> {
    let mut parsed = |file| node::parse(file, texts.text(file)).map_err(|fault| faults.push(fault)).ok();
    let mut root = parsed(0);
    for file in 1..=overlays.len() as u32 {
        let over = parsed(file);
        if let (Some(root), Some(over)) = (root.as_mut(), over) {
            overlay::lay_over(root, over);
        }
    }
    root
}

impl Names {
    fn of(root: &Node) -> Self {
        let keys = |node: Option<&Node>| -> BTreeSet<String> {
            let pairs = node.and_then(Node::as_map).unwrap_or_default();
            pairs.iter().filter_map(|(key, _)| key.as_text().map(str::to_owned)).collect()
        };
        let profiles = root.get("profiles").and_then(Node::as_map).unwrap_or_default();
        let bound = |(name, bindings): &(Node, Node)| Some((name.as_text()?.to_owned(), keys(Some(bindings))));
        Self {
            sources: keys(root.get("sources")),
            steps: keys(root.get("steps")),
            sinks: keys(root.get("sinks")),
            profiles: profiles.iter().rev().filter_map(bound).collect(),
        }
    }
}

fn choose_profile(profile: Option<&str>, names: &Names, faults: &mut Faults) {
    let Some(profile) = profile.filter(|profile| !names.profiles.contains_key(*profile)) else { return };
    let fault = match nearest(profile, names.profiles.keys().map(String::as_str)) {
        Some(near) => Fault::of_file("profile", format!("no profile `{profile}`; did you mean `{near}`?")),
        None => Fault::of_file("profile", format!("no profile `{profile}`")),
    };
    let there: Vec<&str> = names.profiles.keys().map(String::as_str).collect();
    faults.push(match there.as_slice() {
        [] => fault.next("add `profiles:` with the bindings of every source and sink"),
        there => fault.next(format!("choose one of {}", there.join(", "))),
    });
}

/// Takes the other profiles out and puts the values of secrets into the chosen one.
fn keep_profile(root: &mut Node, options: &ParseOptions<'_>, faults: &mut Faults) {
    let Value::Map(pairs) = &mut root.value else { return };
    let profiles = pairs.iter_mut().find(|(key, _)| key.as_text() == Some("profiles"));
    let Some((_, Node { value: Value::Map(profiles), .. })) = profiles else { return };
    profiles.retain(|(name, _)| name.as_text() == options.profile);
    profiles.iter_mut().for_each(|(_, bindings)| resolve_secrets(bindings, options.environment, faults));
    let is_bound = !profiles.is_empty();
    if is_bound {
        tables(root).for_each(|table| resolve_secrets(table, options.environment, faults));
    }
}

/// Where look-ups of steps and plugins find their tables: the only part of a step that may name a secret.
fn tables(root: &mut Node) -> impl Iterator<Item = &mut Node> {
    fn pairs(node: &mut Node) -> &mut [(Node, Node)] {
        if let Value::Map(pairs) = &mut node.value { pairs } else { &mut [] }
    }
    fn at<'a>(node: &'a mut Node, name: &str) -> Option<&'a mut Node> {
        pairs(node).iter_mut().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
    }
    let steps = at(root, "steps").map(pairs).unwrap_or_default();
    steps.iter_mut().flat_map(|(_, step)| {
        pairs(step).iter_mut().flat_map(|(key, value)| match key.as_text() {
            Some("lookup") => at(value, "in").into_iter().collect(),
            Some("plugin") => {
                let tables = at(value, "tables").map(pairs).unwrap_or_default();
                tables.iter_mut().filter_map(|(_, table)| at(table, "in")).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        })
    })
}

fn resolve_secrets(node: &mut Node, environment: &Environment<'_>, faults: &mut Faults) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| resolve_secrets(item, environment, faults)),
        Value::Map(pairs) => match pairs.as_slice() {
            [(key, name)] if key.as_text() == Some("secret") => {
                let variable = name.as_text().unwrap_or_default();
                let value = environment(variable).filter(|value| !value.is_empty());
                if value.is_none() {
                    let message = format!("environment variable `{variable}` is not set");
                    faults.push(Fault::new(name.span, "secret-missing", message).next("set it to the secret's value"));
                }
                let value = Node::text(&value.unwrap_or_default());
                pairs.push((Node::text(crate::secret::VALUE_KEY), value));
            }
            _ => pairs.iter_mut().for_each(|(_, value)| resolve_secrets(value, environment, faults)),
        },
        _ => {}
    }
}

/// The structural check has passed: what fails here is a difference between check and structs.
fn typed(root: &Node, faults: &mut Faults) -> Option<Manifest> {
    let manifest = Manifest::deserialize(root);
    manifest.map_err(|error| faults.push(Fault::new(error.place.unwrap_or_default(), "structure", error.message))).ok()
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
