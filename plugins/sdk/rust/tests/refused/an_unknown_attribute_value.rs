use weir_sdk::prelude::*;

#[derive(Config)]
pub struct Rules {
    #[config(min = 3)]
    max: i64,
}

#[derive(Output)]
#[output(remove("a"))]
pub struct Row {
    at: i64,
}

#[derive(Output)]
pub struct Timed {
    #[timestamp(minutes)]
    at: Timestamp,
}
