use weir_sdk::prelude::*;

#[derive(Output)]
struct Row {
    #[decimal(12, 2)]
    n: String,
}
