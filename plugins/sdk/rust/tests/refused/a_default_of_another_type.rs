use weir_sdk::prelude::*;

#[derive(Config)]
pub struct Rules {
    #[config(default = "many")]
    max: i64,
}
