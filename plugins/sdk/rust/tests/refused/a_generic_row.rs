use weir_sdk::prelude::*;

#[derive(Output)]
struct Row<T> {
    n: T,
}
