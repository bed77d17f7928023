//! Cells against naive recomputation: random rows, cut and merged at random, through their stored form and back.

use super::*;
use crate::aggregate::cell::hyperloglog::HyperLogLog;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

fn through_store<C: Cell>(cell: &C, settings: &C::Settings) -> C {
    let mut bytes = Vec::new();
    cell.write(&mut bytes);
    let mut rest = bytes.as_slice();
    let read = C::read(settings, &mut rest).unwrap();
    assert!(rest.is_empty());
    for cut in 0..bytes.len().min(40) {
        assert!(C::read(settings, &mut &bytes[..cut]).is_err(), "{cut} bytes of {}", bytes.len());
    }
    read
}

/// The value of nearest rank.
fn exact(values: &mut [f64], millionths: u32) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as u128 * u128::from(millionths)).div_ceil(1_000_000).max(1);
    values[rank as usize - 1]
}

#[test]
fn a_quantile_is_within_one_percent_however_its_sketches_were_merged() {
    for seed in 1..=40 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (seed << 20));
        let count = 1 + random.next(3000);
        let spread = [3, 1000, 1_000_000_000][random.next(3) as usize];
        let signs = random.next(3);
        let mut values: Vec<f64> = (0..count)
            .map(|_| {
                let value = random.next(spread) as f64 / 7.0;
                if signs == 0 || (signs == 1 && random.next(2) == 0) { -value } else { value }
            })
            .collect();
        let mut whole = Quantile::default();
        let mut parts = vec![Quantile::default(); 3];
        for value in &values {
            whole.add_value(*value);
            parts[random.next(3) as usize].add_value(*value);
        }
        let settings = QuantileSettings { millionths: 0 };
        let mut merged = through_store(&parts[2], &settings);
        merged.merge(&settings, &parts[0]);
        merged.merge(&settings, &parts[1]);
        assert_eq!(format!("{merged:?}"), format!("{whole:?}"), "seed {seed}");
        for millionths in [0, 1, 10_000, 500_000, 950_000, 999_999, 1_000_000] {
            let (expected, told) = (exact(&mut values, millionths), merged.at(millionths).unwrap());
            let error = (told - expected).abs();
            assert!(error <= expected.abs() * 0.010_000_1, "seed {seed}: {millionths} gives {told} for {expected}");
        }
    }
}

#[test]
fn a_quantile_of_values_too_far_apart_loses_precision_the_same_way_in_any_order() {
    let values: Vec<f64> = (0..6000).map(|n| (f64::from(n) - 3000.0) / 9.0).map(|e| 10f64.powf(e / 2.0)).collect();
    let settings = QuantileSettings { millionths: 500_000 };
    let (mut forth, mut back, mut merged) = (Quantile::default(), Quantile::default(), Quantile::default());
    values.iter().for_each(|value| forth.add_value(*value));
    values.iter().rev().for_each(|value| back.add_value(*value));
    for chunk in values.chunks(700).rev() {
        let mut part = Quantile::default();
        chunk.iter().for_each(|value| part.add_value(*value));
        merged.merge(&settings, &part);
    }
    assert_eq!(format!("{forth:?}"), format!("{back:?}"));
    assert_eq!(format!("{forth:?}"), format!("{merged:?}"));
    assert!(forth.heap_bytes() <= 4096 * 16);
    let told = forth.at(500_000).unwrap();
    assert!((0.6..1.6).contains(&told), "five pairings cost at most a third: {told}");
    through_store(&forth, &settings);
}

#[test]
fn zero_infinities_and_nan_have_exact_places_among_the_quantiles() {
    let mut sketch = Quantile::default();
    for value in [f64::NAN, f64::INFINITY, 5.0, 0.0, -0.0, -5.0, f64::NEG_INFINITY, f64::MAX, f64::MIN, 5e-324] {
        sketch.add_value(value);
    }
    let told: Vec<f64> = (1..=10).map(|rank| sketch.at(rank * 100_000).unwrap()).collect();
    assert_eq!(told[0], f64::NEG_INFINITY);
    assert!(told[1] < -1e307 && (-5.1..-4.9).contains(&told[2]), "{told:?}");
    assert_eq!((told[3].to_bits(), told[4].to_bits()), (0, 0));
    assert!(told[5] > 0.0 && told[5] < 1e-320 && (4.9..5.1).contains(&told[6]) && told[7] > 1e307, "{told:?}");
    assert!(told[8] == f64::INFINITY && told[9].is_nan());
    assert_eq!(Quantile::default().at(500_000), None);
    let mut one = Quantile::default();
    one.add_value(123.456);
    assert_eq!(one.at(500_000), Some(123.456), "the answer is never outside of the values");
}

#[test]
fn distinct_values_are_estimated_within_four_standard_errors_and_small_sets_nearly_exactly() {
    let hash = |value: u64| weir_stream::key::hash(&value.to_le_bytes());
    for (count, most) in
        [(0u64, 0.0), (1, 0.0), (10, 0.5), (100, 3.0), (1000, 25.0), (20_000, 1280.0), (500_000, 32_000.0)]
    {
        let (mut whole, mut left, mut right) = (HyperLogLog::default(), HyperLogLog::default(), HyperLogLog::default());
        for value in 0..count {
            whole.add_hash(hash(value));
            whole.add_hash(hash(value));
            if value % 3 == 0 { left.add_hash(hash(value)) } else { right.add_hash(hash(value)) }
        }
        let mut merged = through_store(&left, &());
        merged.merge(&(), &right);
        assert_eq!(merged.value(&()), whole.value(&()));
        let error = (whole.estimate().round() - count as f64).abs();
        assert!(error <= most, "{count} values were told as {}", whole.estimate());
        assert!(whole.heap_bytes() <= 8192);
    }
}

#[test]
fn bytes_that_no_cell_wrote_are_refused() {
    let quantile = |bytes: &[u8]| Quantile::read(&QuantileSettings { millionths: 0 }, &mut &bytes[..]).unwrap_err();
    let mut wild = vec![0u8];
    wild.extend_from_slice(&1f64.to_le_bytes());
    wild.extend_from_slice(&1f64.to_le_bytes());
    wild.extend_from_slice(&2u32.to_le_bytes());
    for number in [5i32, 4] {
        wild.extend_from_slice(&number.to_le_bytes());
        wild.extend_from_slice(&1u64.to_le_bytes());
    }
    assert_eq!(quantile(&wild), "it is no sketch of quantiles");
    assert_eq!(HyperLogLog::read(&(), &mut &[0, 1, 0, 0, 16, 3][..]).unwrap_err(), "register 4096 cannot have rank 3");
    assert_eq!(HyperLogLog::read(&(), &mut &[2][..]).unwrap_err(), "2 stands where 0 or 1 must");
    let twice = [2, 0, 0, 0, 1, 0, 0, 0, 7, 1, 0, 0, 0, 7];
    assert_eq!(Distinct::read(&(), &mut &twice[..]).unwrap_err(), "a distinct value is there twice");
}
