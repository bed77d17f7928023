//! Readings of sensors and visits to them, written to two topics until told to stop.
//!
//! A hundred readings are a second of event time. They are out of order within the sources' disorder but for a few that
//! are a minute and more behind; some come again within seconds, some after the dedup's memory of them, and some are no
//! JSON. All records of a sensor are in one partition. A sensor speaks for a minute and never again, so when it falls
//! silent does not depend on how partitions are read; what comes too late for it is not `live`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use weir_connectors::generate::ecommerce::DEFAULT_START_US;
use weir_connectors::kafka::{KafkaConnection, KafkaWriter};
use weir_stream::PayloadBlock;

use crate::room::Room;
use crate::seed::Draws;

const TICK: Duration = Duration::from_millis(20);
const MS_US: i64 = 1000;

/// Event time from one reading to the next.
const SPACING_US: i64 = 10 * MS_US;
/// Below the sources' disorder.
const JITTER_MS: u64 = 4_000;
const SENSORS: u64 = 16;
/// Readings of all sensors in the life of one.
const LIFE: u64 = 6_000;
const READINGS_PER_VISIT: u64 = 50;
/// Readings until one is said again: within the dedup's memory, and behind it.
const SOON: std::ops::Range<u64> = 1..400;
const LONG_AFTER: u64 = 9_000;

/// Two records: what goes to the topic of readings, and what to that of visits.
#[derive(Debug, Default)]
struct Records {
    readings: Vec<Written>,
    visits: Vec<Written>,
}

#[derive(Debug, Clone)]
struct Written {
    sensor: String,
    value: String,
    timestamp_us: i64,
}

/// What is made of one seed, whatever the clock says.
struct Script {
    draws: Draws,
    next: u64,
    /// Nothing in it is refused or late.
    clean: bool,
    /// By the number at which they are due.
    again: BTreeMap<u64, Vec<Reading>>,
}

#[derive(Debug, Clone)]
struct Reading {
    number: u64,
    sensor: String,
    time_us: i64,
    quarters: i64,
    live: bool,
}

impl Reading {
    fn written(&self, now_us: i64) -> Written {
        let (id, celsius) = (self.number, self.quarters as f64 / 4.0);
        let (sensor, at, live, milli) = (&self.sensor, stamp(self.time_us), self.live, self.quarters * 250);
        let value = format!(
            r#"{{"id":"r{id}","sensor":"{sensor}","at":"{at}","sequence":{id},"celsius":{celsius:?},"milli":{milli},"live":{live}}}"#
        );
        Written { sensor: sensor.clone(), value, timestamp_us: now_us }
    }
}

fn stamp(time_us: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(time_us).expect("a time of this century")
}

impl Script {
    fn new(seed: u64, clean: bool) -> Self {
        Self { draws: Draws::new(seed), next: 0, clean, again: BTreeMap::new() }
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.draws.within(0..chances) == 0
    }

    fn sensor(&mut self, number: u64) -> String {
        let slot = self.draws.within(0..SENSORS);
        format!("s{slot}-{}", (number + slot * LIFE / SENSORS) / LIFE)
    }

    /// A time a little behind `now_us`, or far behind it.
    fn time(&mut self, now_us: i64, far: bool) -> i64 {
        let behind = if far { 60_000..100_000 } else { 0..JITTER_MS };
        now_us - self.draws.within(behind) as i64 * MS_US
    }

    fn step(&mut self, records: &mut Records) {
        let number = self.next;
        self.next += 1;
        let now_us = DEFAULT_START_US + number as i64 * SPACING_US;
        if self.one_in(300) && !self.clean {
            let sensor = self.sensor(number);
            records.readings.push(Written { sensor, value: r#"{"id":"#.into(), timestamp_us: now_us });
        }
        let far = self.one_in(200) && !self.clean;
        let spike = if self.one_in(50) { 160 } else { 0 };
        let reading = Reading {
            number,
            sensor: self.sensor(number),
            time_us: self.time(now_us, far),
            quarters: 60 + self.draws.within(0..32) as i64 + spike,
            live: !far,
        };
        records.readings.push(reading.written(now_us));
        if self.one_in(50) {
            let due = number + self.draws.within(SOON);
            // What is said again says something else: only the first may count.
            self.again.entry(due).or_default().push(Reading { quarters: reading.quarters + 2, ..reading });
        } else if self.one_in(300) {
            let time_us = now_us + LONG_AFTER as i64 * SPACING_US;
            self.again.entry(number + LONG_AFTER).or_default().push(Reading { time_us, live: false, ..reading });
        }
        for reading in self.again.remove(&number).unwrap_or_default() {
            records.readings.push(reading.written(now_us));
        }
        if number.is_multiple_of(READINGS_PER_VISIT) {
            let far = self.one_in(20);
            let (sensor, at) = (self.sensor(number), stamp(self.time(now_us, far)));
            let value = format!(r#"{{"sensor":"{sensor}","at":"{at}","by":"v{number}"}}"#);
            records.visits.push(Written { sensor, value, timestamp_us: now_us });
        }
    }
}

/// Writes in a thread of its own.
pub struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Writer {
    pub fn start(room: &Room, seed: u64, per_second: u64) -> Self {
        Self::write(room, Script::new(seed, false), per_second)
    }

    /// As [`Writer::start`], of records that none refuses and that are not late.
    pub fn start_clean(room: &Room, seed: u64, per_second: u64) -> Self {
        Self::write(room, Script::new(seed, true), per_second)
    }

    fn write(room: &Room, mut script: Script, per_second: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (brokers, readings, visits) = (room.brokers.clone(), room.topic("readings"), room.topic("visits"));
        let thread = std::thread::spawn(move || {
            let connection = KafkaConnection::new(brokers);
            let mut readings = KafkaWriter::new(&connection, &readings)?;
            let mut visits = KafkaWriter::new(&connection, &visits)?;
            let mut written = 0;
            let began = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                let due = (began.elapsed().as_secs_f64() * per_second as f64) as u64;
                let mut records = Records::default();
                while script.next < due {
                    script.step(&mut records);
                }
                written += (records.readings.len() + records.visits.len()) as u64;
                readings.write(block(&records.readings))?;
                visits.write(block(&records.visits))?;
                std::thread::sleep(TICK);
            }
            readings.flush()?;
            visits.flush()?;
            Ok(written)
        });
        Self { stop, thread }
    }

    pub fn is_writing(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Ends it and answers how many records are delivered.
    ///
    /// # Errors
    /// When one of them is not.
    pub fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the writer panicked"))?
    }
}

fn block(records: &[Written]) -> PayloadBlock {
    PayloadBlock {
        values: records.iter().map(|record| record.value.as_bytes()).collect(),
        keys: Some(records.iter().map(|record| record.sensor.as_bytes()).collect()),
        timestamps_us: records.iter().map(|record| record.timestamp_us).collect(),
    }
}
