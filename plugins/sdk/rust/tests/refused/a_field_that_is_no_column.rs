use weir_sdk::prelude::*;

#[derive(Input)]
struct Event {
    n: usize,
}

#[transform]
fn keep(event: Event) -> bool {
    event.n > 0
}
