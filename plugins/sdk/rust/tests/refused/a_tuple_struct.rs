use weir_sdk::prelude::*;

#[derive(Input)]
struct Event(i64);
