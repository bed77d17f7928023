//! Credit for a conversion to the touches before it: ads seen, mails opened, links clicked. Which model shares it the
//! configuration says; the shares of a conversion are one together.
//!
//! A direct visit is no touch: where a conversion has others too it gets nothing.

use weir_sdk::prelude::*;

/// Of a conversion beside one of the touches before it.
#[derive(Input)]
struct Touch<'a> {
    channel: &'a str,
}

#[derive(Output)]
struct Credit {
    /// From 0 to 1.
    credit: f64,
}

#[derive(Config)]
struct Model {
    /// `last`, `first`, `linear`, `decay` or `position`.
    #[config(default = String::from("last"))]
    model: String,
    /// With `decay`: how much earlier a touch has half the share.
    #[config(default = 604_800)]
    half_life_s: i64,
    /// With `position`: the share of the first and of the last touch, in per cent; those between have the rest.
    #[config(default = 40)]
    ends_percent: i64,
}

const DIRECT: &str = "direct";

#[attribute]
fn touch_credit(pairs: Vec<Pair<Touch>>, model: &Model) -> Result<Vec<Option<Credit>>, Reject> {
    let counts: Vec<bool> = pairs.iter().map(|pair| pair.row.channel != DIRECT).collect();
    // Of direct visits alone the conversion is theirs.
    let all = counts.iter().all(|counts| !counts);
    let touches: Vec<usize> = (0..pairs.len()).filter(|place| all || counts[*place]).collect();
    let age_s =
        |place: usize| pairs[place].left_at.micros().saturating_sub(pairs[place].right_at.micros()) as f64 / 1e6;
    let shares = shares(touches.len(), |touch| age_s(touches[touch]), model)?;
    let mut credits: Vec<Option<Credit>> = pairs.iter().map(|_| None).collect();
    for (place, credit) in touches.into_iter().zip(shares).filter(|(_, share)| *share > 0.0) {
        credits[place] = Some(Credit { credit });
    }
    Ok(credits)
}

/// What each of so many touches is worth, by their order and age.
fn shares(touches: usize, age_s: impl Fn(usize) -> f64, model: &Model) -> Result<Vec<f64>, Reject> {
    let weights: Vec<f64> = match model.model.as_str() {
        "last" => (1..=touches).map(|touch| f64::from(touch == touches)).collect(),
        "first" => (0..touches).map(|touch| f64::from(touch == 0)).collect(),
        "linear" => vec![1.0; touches],
        "decay" => {
            let half_life_s = model.half_life_s.max(1) as f64;
            // Ages count from the youngest touch, so that the weights of an old conversion's touches do not all vanish.
            let youngest_s = (0..touches).map(&age_s).fold(f64::INFINITY, f64::min);
            (0..touches).map(|touch| (-(age_s(touch) - youngest_s) / half_life_s).exp2()).collect()
        }
        "position" => by_position(touches, model.ends_percent),
        other => return Err(reject!("model-unknown", "{other}; there are last, first, linear, decay and position")),
    };
    let sum: f64 = weights.iter().sum();
    Ok(weights.into_iter().map(|weight| weight / sum).collect())
}

/// Weights: the ends have theirs each, those between share the rest; where there are none the ends share all.
fn by_position(touches: usize, ends_percent: i64) -> Vec<f64> {
    let end = ends_percent.clamp(0, 50) as f64;
    match touches {
        0..=2 => vec![1.0; touches],
        _ => {
            let between = (100.0 - 2.0 * end) / (touches - 2) as f64;
            (0..touches).map(|touch| if touch == 0 || touch == touches - 1 { end } else { between }).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::Instance;

    const DAY_US: i64 = 86_400_000_000;

    /// Sources and credits of one conversion's touches, a day apart, the last one at its very time.
    fn credits(config: &str, channels: &[&str]) -> Vec<(u32, String)> {
        let plugin = Instance::<touch_credit>::open(config, &[("channel", "utf8!")]).unwrap();
        let count = channels.len() as i64;
        let touches =
            channels.iter().zip(1..).map(|(channel, day)| (0, count * DAY_US, day * DAY_US, [Some(*channel)]));
        let outcome = plugin.attribute(&touches.collect::<Vec<_>>());
        let credit = |row: &Vec<Option<String>>| row[0].clone().unwrap_or_default();
        outcome.sources("main").iter().copied().zip(outcome.rows("main").iter().map(credit)).collect()
    }

    fn shown(credits: &[(u32, &str)]) -> Vec<(u32, String)> {
        credits.iter().map(|(row, credit)| (*row, (*credit).to_owned())).collect()
    }

    #[test]
    fn last_and_first_give_all_to_one_touch_that_is_no_direct_visit() {
        let channels = ["direct", "mail", "search", "direct"];
        assert_eq!(credits("{}", &channels), shown(&[(2, "1")]));
        assert_eq!(credits(r#"{"model": "first"}"#, &channels), shown(&[(1, "1")]));
        assert_eq!(credits("{}", &["direct", "direct"]), shown(&[(1, "1")]));
    }

    #[test]
    fn linear_shares_alike() {
        let channels = ["mail", "direct", "search", "social", "mail"];
        let quarter = [(0, "0.25"), (2, "0.25"), (3, "0.25"), (4, "0.25")];
        assert_eq!(credits(r#"{"model": "linear"}"#, &channels), shown(&quarter));
    }

    #[test]
    fn decay_halves_with_each_half_life() {
        let config = r#"{"model": "decay", "half_life_s": 86400}"#;
        assert_eq!(
            credits(config, &["mail", "search"]),
            shown(&[(0, "0.3333333333333333"), (1, "0.6666666666666666")])
        );
    }

    #[test]
    fn position_favours_the_ends() {
        let config = r#"{"model": "position"}"#;
        assert_eq!(credits(config, &["mail"]), shown(&[(0, "1")]));
        assert_eq!(credits(config, &["mail", "search"]), shown(&[(0, "0.5"), (1, "0.5")]));
        let four = credits(config, &["mail", "search", "social", "mail"]);
        assert_eq!(four, shown(&[(0, "0.4"), (1, "0.1"), (2, "0.1"), (3, "0.4")]));
    }

    #[test]
    fn an_unknown_model_refuses_the_conversion() {
        let plugin = Instance::<touch_credit>::open(r#"{"model": "best"}"#, &[("channel", "utf8!")]).unwrap();
        let outcome = plugin.attribute(&[(0, 2, 1, [Some("mail")])]);
        let reason = "model-unknown: best; there are last, first, linear, decay and position";
        assert_eq!(outcome.rejects, [(0, reason.to_owned())]);
    }
}
