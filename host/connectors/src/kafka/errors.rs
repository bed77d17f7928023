//! What a librdkafka error means for a source or a sink: wait and try again, or stop and say what to do.
//!
//! Codes that are not named here are worth another try: librdkafka itself gives up on nothing that can heal.

use rdkafka_sys::rd_kafka_resp_err_t as Code;
use weir_stream::{SinkError, SourceError};

use super::native::NativeError;

/// The operator's next act for a code that waiting does not cure.
pub(super) fn next_act(code: Code) -> Option<&'static str> {
    use Code::*;
    Some(match code {
        RD_KAFKA_RESP_ERR__AUTHENTICATION
        | RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED
        | RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM
        | RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE => "check `sasl.mechanism`, `sasl.username` and the password's secret",
        RD_KAFKA_RESP_ERR__SSL => "check `security.protocol`, `ssl.ca.location` and the broker's certificate",
        RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED => "grant this user access to the topic",
        RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED => {
            "grant this user READ on the consumer group `weir.<pipeline>.<sink>`"
        }
        RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED => {
            "grant this user WRITE and DESCRIBE on the transactional id"
        }
        RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED => "grant this user IDEMPOTENT_WRITE on the cluster",
        RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
        | RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
        | RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
        | RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION => "create the topic or correct its name in the manifest",
        RD_KAFKA_RESP_ERR__INVALID_ARG | RD_KAFKA_RESP_ERR_INVALID_CONFIG | RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED => {
            "correct the `properties` of this connection in the manifest"
        }
        RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE | RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE => {
            "raise `max.message.bytes` of the topic"
        }
        RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP => {
            "raise `message.timestamp.after.max.ms` of the topic, lower `max_future` of the source, or set the sink's \
             record timestamps to the time of writing"
        }
        RD_KAFKA_RESP_ERR_INVALID_RECORD => "the broker refuses the record: check the topic's cleanup policy and keys",
        RD_KAFKA_RESP_ERR_POLICY_VIOLATION => "a policy of the cluster refuses this: ask its operator",
        RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT => {
            "lower `transaction_timeout_ms` to the broker's `transaction.max.timeout.ms` or less"
        }
        RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION | RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE => {
            "use Kafka 2.5 or later: transactions with stable offsets need it"
        }
        _ => return None,
    })
}

/// For source calls made at start, when a wrong setting must not look like a broker that is down.
pub(super) fn source_error(what: &str, error: &NativeError) -> SourceError {
    let message = format!("{what}: {}", error.message);
    match next_act(error.code) {
        Some(next) => SourceError::Fatal { message, next: next.into() },
        None => SourceError::Retry(message),
    }
}

/// For sink calls. Fencing is judged by the caller, which knows how long its transaction was open.
pub(super) fn sink_error(what: &str, error: &NativeError) -> SinkError {
    let message = format!("{what}: {}", error.message);
    match next_act(error.code) {
        Some(next) => SinkError::Fatal { message, next: next.into() },
        None => SinkError::Retry(message),
    }
}

/// Whether another producer with the same transactional id, or the coordinator, took the id away.
pub(super) fn is_fenced(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        RD_KAFKA_RESP_ERR__FENCED | RD_KAFKA_RESP_ERR_PRODUCER_FENCED | RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH
    )
}
