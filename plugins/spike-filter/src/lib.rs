//! Judges a sensor's readings against the sensor's own running median, drops what it says twice, and reports a sensor
//! that fell silent.
//!
//! Each reading goes on with `median` and `spike`: whether it is further from the median of the readings before it than
//! `threshold` allows. A spike does not enter the median. Readings with a sequence number that the sensor sent before
//! are dropped. A sensor without readings for `silent_after_s` becomes a row of the output `silence`.

use weir_sdk::prelude::*;

#[derive(Input)]
struct Reading {
    sequence: i64,
    celsius: f64,
}

#[derive(Output)]
enum Told {
    Main(Judged),
    Silence(Silence),
}

#[derive(Output)]
struct Judged {
    median: Option<f64>,
    spike: bool,
}

#[derive(Output)]
#[output(keyed)]
struct Silence {
    silent_since: Timestamp,
    readings: i64,
}

/// What is remembered of a sensor.
#[derive(State)]
struct Sensor {
    /// The newest readings that were no spikes, oldest first.
    recent: List<f64>,
    /// Sequence numbers by the moment they were first seen, for as long as one may come again.
    #[state(ttl = "1h")]
    seen: Map<i64, Timestamp>,
    readings: Value<i64>,
}

#[derive(Timer)]
enum Alarm {
    Silent,
}

#[derive(Config)]
struct SpikeFilter {
    /// Readings that the median is of.
    #[config(default = 5)]
    window: u32,
    /// The largest distance from the median, in degrees.
    #[config(default = 10.0)]
    threshold: f64,
    /// Sequence numbers that are remembered.
    #[config(default = 64)]
    remember: u32,
    #[config(default = 600)]
    silent_after_s: i64,
}

#[process]
impl Process for SpikeFilter {
    type Row = Reading;
    type State = Sensor;
    type Timer = Alarm;
    type Output = Told;

    fn on_row(
        &self,
        reading: Reading,
        sensor: &mut Sensor,
        timers: &mut Timers<Alarm>,
    ) -> Result<Option<Told>, Reject> {
        if !reading.celsius.is_finite() {
            return Err(reject!("celsius-not-finite", "{}", reading.celsius));
        }
        if sensor.seen.contains_key(&reading.sequence) {
            return Ok(None);
        }
        sensor.seen.insert(reading.sequence, timers.time());
        if sensor.seen.len() > self.remember as usize {
            sensor.seen.pop_first();
        }
        *sensor.readings = Some(sensor.readings.unwrap_or(0) + 1);
        let silent_at = timers.time().micros().saturating_add(self.silent_after_s.saturating_mul(1_000_000));
        timers.reset(Alarm::Silent, Timestamp::from_micros(silent_at));

        let median = median(sensor.recent.iter().copied());
        let spike = median.is_some_and(|median| (reading.celsius - median).abs() > self.threshold);
        if !spike {
            sensor.recent.push_back(reading.celsius);
            if sensor.recent.len() > self.window as usize {
                sensor.recent.pop_front();
            }
        }
        Ok(Some(Told::Main(Judged { median, spike })))
    }

    fn on_timer(&self, _: Alarm, sensor: &mut Sensor, timers: &mut Timers<Alarm>) -> Option<Told> {
        let silent_since = Timestamp::from_micros(timers.time().micros() - self.silent_after_s * 1_000_000);
        sensor.recent.clear();
        sensor.readings.take().map(|readings| Told::Silence(Silence { silent_since, readings }))
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::keyed::Instance;

    const S: i64 = 1_000_000;

    fn sensors() -> Instance<SpikeFilter> {
        let config = r#"{"window": 3, "silent_after_s": 60}"#;
        Instance::open(config, &[("sequence", "int64!"), ("celsius", "float64!")]).unwrap()
    }

    #[test]
    fn a_reading_far_from_the_sensors_own_median_is_a_spike() {
        let mut sensors = sensors();
        let mut judged = |sensor: &str, at: i64, sequence: &str, celsius: &str| {
            let outcome = sensors.row(sensor, at * S, &[Some(sequence), Some(celsius)]);
            outcome.rows("main").first().map(|row| row[1].clone().unwrap())
        };
        for (at, celsius) in ["20.0", "20.5", "19.5"].into_iter().enumerate() {
            assert_eq!(judged("attic", at as i64, &at.to_string(), celsius).unwrap(), "false");
        }
        assert_eq!(judged("attic", 3, "3", "35").unwrap(), "true");
        assert_eq!(judged("attic", 4, "4", "21").unwrap(), "false", "a spike does not enter the median");
        assert_eq!(judged("oven", 3, "0", "180").unwrap(), "false", "another sensor has a median of its own");
    }

    #[test]
    fn what_a_sensor_says_twice_is_dropped() {
        let mut sensors = sensors();
        assert_eq!(sensors.row("attic", 0, &[Some("7"), Some("20")]).rows("main").len(), 1);
        assert_eq!(sensors.row("attic", S, &[Some("7"), Some("20")]).rows("main").len(), 0);
        assert_eq!(sensors.row("cellar", S, &[Some("7"), Some("20")]).rows("main").len(), 1);
    }

    #[test]
    fn a_sensor_that_falls_silent_is_told_once() {
        let mut sensors = sensors();
        sensors.row("attic", 0, &[Some("1"), Some("20")]);
        sensors.row("attic", 30 * S, &[Some("2"), Some("20")]);
        assert_eq!(sensors.timers("attic"), [("silent".to_owned(), 90 * S)]);
        assert_eq!(sensors.advance(89 * S).len(), 0);
        let fired = sensors.advance(90 * S);
        assert_eq!(fired.len(), 1);
        assert_eq!(fired[0].rows("silence"), [[Some((30 * S).to_string()), Some("2".to_owned())]]);
        assert_eq!(sensors.advance(900 * S).len(), 0);
    }

    #[test]
    fn a_number_that_is_none_is_rejected() {
        let outcome = sensors().row("attic", 0, &[Some("1"), Some("inf")]);
        assert_eq!(outcome.rejects, [(0, "celsius-not-finite: inf".to_owned())]);
    }
}
