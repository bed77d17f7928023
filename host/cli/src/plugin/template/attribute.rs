//! An attribution: which pairs of a join go on, and what is written beside them. It sees all pairs of a left row together,
//! such as a purchase with the clicks before it.

use weir_sdk::prelude::*;

/// The columns of a pair that it reads, of either side.
#[derive(Input)]
struct Touch<'a> {
    channel: &'a str,
}

/// The columns that it writes beside a pair that goes on.
#[derive(Output)]
struct Credit {
    credit: f64,
}

/// The plugin's `config` in the manifest.
#[derive(Config)]
struct Rules {
    /// A channel that gets no credit.
    #[config(default = String::from("direct"))]
    without: String,
}

/// The last click that counts gets all. Pairs are in the order of the right rows' event times; `pair.left_at` and
/// `pair.right_at` say when. An entry for each pair: `None` does not go on. `Err(reject!(...))` makes the left row a dead
/// letter.
#[attribute]
fn {function}(pairs: Vec<Pair<Touch>>, rules: &Rules) -> Result<Vec<Option<Credit>>, Reject> {
    let last = pairs.iter().rposition(|pair| pair.row.channel != rules.without);
    Ok((0..pairs.len()).map(|place| (Some(place) == last).then_some(Credit { credit: 1.0 })).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::Instance;

    #[test]
    fn the_last_click_that_counts_gets_all() {
        let plugin = Instance::<{function}>::open("{}", &[("channel", "utf8!")]).unwrap();
        let outcome = plugin.attribute(&[
            (0, 900, 100, [Some("mail")]),
            (0, 900, 200, [Some("search")]),
            (0, 900, 300, [Some("direct")]),
            (1, 950, 300, [Some("direct")]),
        ]);
        assert_eq!((outcome.sources("main"), outcome.rows("main")), (&[1][..], &[vec![Some("1".to_owned())]][..]));
    }
}
