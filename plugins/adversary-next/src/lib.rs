//! The adversary's next version: like a bug that shows itself only after a while, it rejects every row once an instance
//! has seen as many as its configuration says. For tests of what becomes of such a version.

use std::sync::atomic::{AtomicU64, Ordering};

use weir_sdk::prelude::*;

#[derive(Input)]
struct Event<'a> {
    kind: Option<&'a str>,
}

#[derive(Output)]
struct Kept<'a> {
    kind: Option<&'a str>,
}

#[derive(Config)]
struct Patience {
    /// Rows that are kept before.
    next_rejects_after: u64,
}

static SEEN: AtomicU64 = AtomicU64::new(0);

#[transform]
fn sour<'a>(event: Event<'a>, patience: &'a Patience) -> Result<Vec<Kept<'a>>, Reject> {
    if SEEN.fetch_add(1, Ordering::Relaxed) >= patience.next_rejects_after {
        return Err(reject!("turned-sour"));
    }
    Ok(vec![Kept { kind: event.kind }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::Instance;

    #[test]
    fn it_rejects_every_row_behind_those_that_it_keeps() {
        let plugin = Instance::<sour>::open(r#"{"next_rejects_after": 2}"#, &[("kind", "utf8")]).unwrap();
        let outcome = plugin.process(&[[Some("a")], [None], [Some("b")], [Some("c")]]);
        assert_eq!(outcome.sources("main"), [0, 1]);
        assert_eq!(outcome.rejects, [(2, "turned-sour".to_owned()), (3, "turned-sour".to_owned())]);
    }
}
