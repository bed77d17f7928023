//! `cargo run -p weir-sdk-bindgen`: writes the SDK's bindings anew after a change of `wit/`.

use anyhow::{Context, Result};

fn main() -> Result<()> {
    for world in &weir_sdk_bindgen::WORLDS {
        let text = weir_sdk_bindgen::generate(&weir_sdk_bindgen::wit(), world)?;
        let bindings = weir_sdk_bindgen::bindings(world);
        std::fs::write(&bindings, text).with_context(|| format!("cannot write {}", bindings.display()))?;
        println!("wrote {}", bindings.display());
    }
    Ok(())
}
