use weir_sdk::prelude::*;

#[derive(Input)]
struct Order {
    id: i64,
}

#[derive(Output)]
struct Placed {
    id: i64,
}

fn ask(order: &Order) -> i64 {
    order.id
}

#[enrich(asks = ask)]
fn place(order: Order, found: Answers) -> Placed {
    let _ = found;
    Placed { id: order.id }
}
