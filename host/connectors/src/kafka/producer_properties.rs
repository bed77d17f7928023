//! Properties of the sink's producer: what a manifest may tune, and what it may not. Kept apart from the sink, which only
//! hands them on.

use super::sink::{BATCH_OVERHEAD_BYTES, KafkaSinkConfig};

/// What a manifest may tune.
pub(super) fn producer_properties() -> Vec<(&'static str, String)> {
    vec![
        ("compression.codec", "lz4".into()),
        ("linger.ms", "20".into()),
        ("batch.size", "1000000".into()),
        ("batch.num.messages", "10000".into()),
        ("queue.buffering.max.messages", "100000".into()),
        ("socket.keepalive.enable", "true".into()),
        ("reconnect.backoff.max.ms", "2000".into()),
        // A transaction that begins while the broker still ends the one before is asked to try again: with librdkafka's
        // 100 ms that wait would be most of an epoch's delay. It doubles with every try.
        ("retry.backoff.ms", "10".into()),
    ]
}

/// What exactly-once rests on.
pub(super) fn transactional_properties(
    config: &KafkaSinkConfig,
    max_batch_bytes: usize,
) -> Vec<(&'static str, String)> {
    let timeout_ms = config.transaction_timeout_ms.to_string();
    vec![
        ("transactional.id", config.transactional_id()),
        ("transaction.timeout.ms", timeout_ms.clone()),
        ("message.timeout.ms", timeout_ms),
        // Counts what the batch's header takes as well.
        ("message.max.bytes", max_batch_bytes.saturating_sub(BATCH_OVERHEAD_BYTES / 4).to_string()),
        ("enable.idempotence", "true".into()),
        ("acks", "all".into()),
        ("delivery.report.only.error", "true".into()),
    ]
}
