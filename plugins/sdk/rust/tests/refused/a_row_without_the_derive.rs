use weir_sdk::prelude::*;

struct Event {
    n: i64,
}

#[transform]
fn keep(event: Event) -> bool {
    event.n > 0
}
