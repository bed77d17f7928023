use weir_sdk::prelude::*;

#[transform]
fn keep() -> bool {
    true
}
