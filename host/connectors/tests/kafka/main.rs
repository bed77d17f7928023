//! The Kafka connectors against a real broker. `WEIR_TEST_KAFKA` names it (`host:port`); `make test` sets it.
//!
//! Every test makes topics of its own, so tests run beside each other on one broker; those that break connections start
//! a broker behind a proxy of their own.

mod broker;
mod connections;
mod sink;
mod source;
