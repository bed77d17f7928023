//! The metrics page, made from one look at the status board. Names and meanings stand in `docs/metrics.md`.

use prometheus_client::encoding::NoLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, counter::ConstCounter};
use prometheus_client::registry::Registry;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, encoding::EncodeMetric};

use crate::barrier::StepCounts;
use crate::state_budget::StateSize;
use crate::status::{BOUNDS_MS, LookupStatus, PipelineState, Status};

pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// One status as OpenMetrics text.
pub fn page(status: &Status) -> String {
    let mut registry = Registry::with_prefix("weir");
    registry.register_collector(Box::new(Page(status.clone())));
    let mut page = String::new();
    match encode(&mut page, &registry) {
        Ok(()) => page,
        // Writing to a string does not fail; the format's own error has nothing to say.
        Err(_) => String::from("# EOF\n"),
    }
}

#[derive(Debug)]
struct Page(Status);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let status = &self.0;
        let running = i64::from(status.state == PipelineState::Running);
        gauge(&mut encoder, "running", "1 while rows can flow", [(vec![], running)])?;
        let epoch = status.durable_epoch as i64;
        gauge(&mut encoder, "durable_epoch", "Last epoch in the epoch log", [(vec![], epoch)])?;
        let ago = status.durable_ago_ms.unwrap_or(0) as i64;
        gauge(&mut encoder, "durable_age_milliseconds", "Since the last epoch became durable", [(vec![], ago)])?;
        gauge(&mut encoder, "state_bytes", "Keyed state in snapshots", [(vec![], status.state_bytes as i64)])?;
        gauge(&mut encoder, "log_bytes", "Epoch log and outbox", [(vec![], status.log_bytes as i64)])?;
        counter(&mut encoder, "dead_letters", "Dead letters written", [(vec![], status.dead_letters)])?;
        counter(&mut encoder, "rollbacks", "Swaps taken back", [(vec![], status.rollbacks)])?;
        self.epochs(&mut encoder)?;
        self.steps(&mut encoder)?;
        self.partitions(&mut encoder)?;
        self.lookups(&mut encoder)?;
        self.sinks(&mut encoder)
    }
}

impl Page {
    fn epochs(&self, encoder: &mut DescriptorEncoder) -> std::fmt::Result {
        let help = "How long an epoch takes to seal, to become durable, and a sink to expose it";
        let mut metric = encoder.encode_descriptor("epoch_milliseconds", help, None, MetricType::Histogram)?;
        for (phase, times) in &self.0.epoch_phases {
            let bounds = BOUNDS_MS.iter().map(|bound| *bound as f64).chain([f64::MAX]);
            let buckets: Vec<(f64, u64)> = bounds.zip(times.counts.iter().copied()).collect();
            let (sum, count) = (times.sum_us as f64 / 1000.0, times.counts.iter().sum());
            let labels = [("phase", phase.as_str())];
            let mut family = metric.encode_family(&labels)?;
            family.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    fn steps(&self, encoder: &mut DescriptorEncoder) -> std::fmt::Result {
        type Of = fn(&StepCounts) -> u64;
        let families: [(&str, &str, Of); 4] = [
            ("rows_in", "Rows that reached a source or step", |counts| counts.rows_in),
            ("rows_out", "Rows that left it", |counts| counts.rows_out),
            ("rows_rejected", "Rows that it refused", |counts| counts.rejected),
            ("rows_late", "Rows that came too late for their window", |counts| counts.late),
        ];
        for (name, help, of) in families {
            let steps = self.0.steps.iter().map(|(step, counts)| (vec![("step", step.clone())], of(counts)));
            counter(encoder, name, help, steps)?;
        }
        type Held = fn(&StateSize) -> u64;
        let held: [(&str, &str, Held); 3] = [
            ("step_state_keys", "Keys held, once per window", |state| state.keys),
            ("step_state_bytes", "Keyed state in memory", |state| state.bytes),
            ("step_cold_bytes", "Keyed state written away for lack of memory", |state| state.cold_bytes),
        ];
        for (name, help, of) in held {
            let steps = self.0.state_by_step.iter();
            gauge(encoder, name, help, steps.map(|(step, state)| (vec![("step", step.clone())], of(state) as i64)))?;
        }
        let plugins = self.0.plugins.iter().map(|(step, plugin)| {
            let (name, version) = (plugin.name.clone(), plugin.version.clone());
            let digest = plugin.running.clone();
            (vec![("step", step.clone()), ("plugin", name), ("version", version), ("digest", digest)], 1)
        });
        gauge(encoder, "plugin_info", "The running version of a plugin step", plugins)
    }

    fn partitions(&self, encoder: &mut DescriptorEncoder) -> std::fmt::Result {
        let partitions: Vec<_> =
            self.0.sources.iter().flat_map(|(source, all)| all.iter().map(move |one| (source, one))).collect();
        let labels = |source: &str, partition: u32| -> Labels {
            vec![("source", source.to_owned()), ("partition", partition.to_string())]
        };
        let lags = partitions.iter().filter_map(|(source, one)| Some((labels(source, one.partition), one.lag? as i64)));
        gauge(encoder, "source_lag_records", "Records between position and end", lags)?;
        let watermarks = partitions
            .iter()
            .filter_map(|(source, one)| Some((labels(source, one.partition), one.watermark_us?.div_euclid(1000))));
        gauge(encoder, "source_watermark_milliseconds", "Watermark, since the Unix epoch", watermarks)?;
        let idle = partitions.iter().map(|(source, one)| (labels(source, one.partition), i64::from(one.idle)));
        gauge(encoder, "source_idle", "1 while the partition does not hold time back", idle)
    }

    fn lookups(&self, encoder: &mut DescriptorEncoder) -> std::fmt::Result {
        let of = |value: fn(&LookupStatus) -> u64| {
            self.0.lookups.iter().map(move |(step, table)| (vec![("step", step.clone())], value(table)))
        };
        type Held = (&'static str, &'static str, fn(&LookupStatus) -> u64);
        let held: [Held; 4] = [
            ("lookup_rows", "Rows of the table that the step looks up", |table| table.size.rows),
            ("lookup_bytes", "The table in memory", |table| table.size.bytes),
            ("lookup_age_milliseconds", "Since the table was read", |table| table.loaded_ago_ms),
            ("lookup_troubled", "1 while the table cannot be brought up to date", |table| {
                u64::from(table.trouble.is_some())
            }),
        ];
        for (name, help, value) in held {
            gauge(encoder, name, help, of(value).map(|(labels, value)| (labels, value as i64)))?;
        }
        counter(encoder, "lookup_loads", "Tables that were read", of(|table| table.loads))
    }

    fn sinks(&self, encoder: &mut DescriptorEncoder) -> std::fmt::Result {
        let epochs = self.0.sinks.iter().map(|(name, sink)| (vec![("sink", name.clone())], sink.exposed_epoch as i64));
        gauge(encoder, "sink_exposed_epoch", "Last epoch visible in the target", epochs)?;
        let waiting =
            self.0.sinks.iter().map(|(name, sink)| (vec![("sink", name.clone())], i64::from(sink.trouble.is_some())));
        gauge(encoder, "sink_waiting", "1 while the target is away", waiting)
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels, i64)>,
) -> std::fmt::Result {
    let family = Family::<Labels, Gauge>::default();
    for (labels, value) in values {
        family.get_or_create(&labels).set(value);
    }
    family.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn counter(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels, u64)>,
) -> std::fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::status::{PartitionStatus, PhaseTimes, PluginStatus, SinkStatus, StatusBoard};

    const DOCUMENTED: &str = include_str!("../../../docs/metrics.md");

    /// One of everything that a page can show.
    fn status() -> Status {
        let mut status = StatusBoard::new("shop".into(), "embedded".into()).status();
        status.steps.insert("clean".into(), StepCounts::default());
        status.state_by_step.insert("sales".into(), StateSize { keys: 1, bytes: 1, cold_bytes: 1 });
        let times = PhaseTimes { sum_us: 1500, counts: vec![0, 1] };
        status.epoch_phases.insert("seal".into(), times);
        let plugin = ["clean-events", "1.0.0", "sha256:1", "sha256:1"].map(str::to_owned);
        let [name, version, running, manifest] = plugin;
        status.plugins.insert("clean".into(), PluginStatus { name, version, running, manifest, watched: false });
        status.lookups.insert("priced".into(), LookupStatus::default());
        status.sinks.insert("sales".into(), SinkStatus::default());
        let (next_offset, watermark_us, lag) = (Some(1), Some(1), Some(1));
        let partition = PartitionStatus {
            partition: 0,
            next_offset,
            watermark_us,
            idle: false,
            ended: false,
            lag,
            quiet_ms: 0,
            idle_after_ms: None,
            waits: false,
        };
        status.sources.insert("events".into(), vec![partition]);
        status
    }

    /// The name of the histogram that a sample is a part of.
    fn parts_of_histogram(sample: &str) -> Option<&str> {
        ["_bucket", "_sum", "_count"].iter().find_map(|part| sample.strip_suffix(part))
    }

    #[test]
    fn every_metric_that_is_served_is_documented_and_no_other() {
        let page = page(&status());
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        let names = samples.filter_map(|line| line.split(['{', ' ']).next());
        let served: BTreeSet<&str> = names.map(|name| parts_of_histogram(name).unwrap_or(name)).collect();
        let rows = DOCUMENTED.lines().filter_map(|line| line.strip_prefix("| `"));
        let documented: BTreeSet<&str> = rows.filter_map(|row| row.split('`').next()).collect();
        assert_eq!(served, documented);
        assert!(page.ends_with("# EOF\n"), "{page}");
    }

    #[test]
    fn a_row_of_the_document_names_the_labels_and_the_type() {
        let page = page(&status());
        for row in DOCUMENTED.lines().filter(|line| line.starts_with("| `weir_")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let (name, kind) = (cells[1].trim_matches('`'), cells[2]);
            let family = name.trim_end_matches("_total");
            assert!(page.contains(&format!("# TYPE {family} {kind}\n")), "{family} is no {kind}:\n{page}");
            let served = |line: &&str| {
                let sample = line.split(['{', ' ']).next().unwrap_or_default();
                parts_of_histogram(sample).unwrap_or(sample) == name
            };
            let sample = page.lines().find(served).unwrap();
            for label in
                cells[3].split(',').map(|label| label.trim().trim_matches('`')).filter(|label| !label.is_empty())
            {
                assert!(sample.contains(&format!("{label}=\"")), "{sample} has no label {label}");
            }
        }
    }
}
