//! `cargo run -p weir-sdk-bindgen`: writes the SDK's bindings anew after a change of `wit/`.

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let (wit, bindings) = weir_sdk_bindgen::places();
    let text = weir_sdk_bindgen::generate(&wit)?;
    std::fs::write(&bindings, text).with_context(|| format!("cannot write {}", bindings.display()))?;
    println!("wrote {}", bindings.display());
    Ok(())
}
