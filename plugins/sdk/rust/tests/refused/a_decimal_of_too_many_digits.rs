use weir_sdk::prelude::*;

#[derive(Output)]
struct Row {
    #[decimal(39, 2)]
    n: Decimal,
}
