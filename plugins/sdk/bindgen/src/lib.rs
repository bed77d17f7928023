//! Makes the bindings of `wit/` that the Rust SDK carries, so that a plugin's build never runs the generator.
//!
//! Invariant: `sdk/rust/src/bindings.rs` is what [`generate`] gives for `wit/`; a test holds it.
//! Deliberately not part of any plugin's dependencies: the generator takes longer to build than a plugin may.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator as _};

/// The text of the bindings for the worlds in `wit`.
///
/// # Errors
/// When the folder cannot be read, is not WIT, or has no world `transform-plugin`.
pub fn generate(wit: &Path) -> Result<String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).with_context(|| format!("cannot read {}", wit.display()))?;
    let world = resolve.select_world(&[package], Some("transform-plugin"))?;
    let options = wit_bindgen_rust::Opts {
        format: true,
        generate_all: true,
        pub_export_macro: true,
        export_macro_name: Some("export_transform".into()),
        default_bindings_module: Some("$crate::bindings".into()),
        runtime_path: Some("::wit_bindgen::rt".into()),
        additional_derive_attributes: vec!["PartialEq".into()],
        ..Default::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    let (_, text) = files.iter().next().context("the generator wrote nothing")?;
    Ok(String::from_utf8(text.to_vec())?)
}

/// Where the sources are, seen from this crate: (`wit/`, the checked-in bindings).
pub fn places() -> (PathBuf, PathBuf) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    (here.join("../../../wit"), here.join("../rust/src/bindings.rs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_bindings_are_those_of_wit() {
        let (wit, bindings) = places();
        let (generated, kept) = (generate(&wit).unwrap(), std::fs::read_to_string(bindings).unwrap());
        assert!(generated == kept, "wit/ changed: run `cargo run -p weir-sdk-bindgen` in plugins/");
    }
}
