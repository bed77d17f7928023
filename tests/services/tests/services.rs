//! The services themselves: they come up, they go with their handle, and PostgreSQL keeps its data through a kill.

use std::net::TcpStream;

use weir_services::{Kafka, Postgres};

fn somebody_listens(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}

#[test]
fn kafka_answers_on_its_port_until_it_is_dropped() {
    let kafka = Kafka::start().unwrap();
    let brokers = kafka.brokers();
    assert!(somebody_listens(&brokers));
    drop(kafka);
    assert!(!somebody_listens(&brokers));
}

#[test]
fn postgres_keeps_committed_rows_through_a_kill() {
    let mut postgres = Postgres::start().unwrap();
    postgres.sql("CREATE TABLE kept (n int)").unwrap();
    postgres.sql("INSERT INTO kept VALUES (1), (2)").unwrap();
    postgres.kill();
    assert!(postgres.sql("SELECT 1").is_err());
    postgres.resume().unwrap();
    assert_eq!(postgres.sql("SELECT sum(n) FROM kept").unwrap(), "3");
}

#[test]
fn a_command_finds_the_services_and_its_exit_code_is_handed_on() {
    let run = |script: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weir-services"));
        command.args(["run", "--", "sh", "-c", script]).status().unwrap().code()
    };
    assert_eq!(run("test -n \"$WEIR_TEST_KAFKA\" && test -n \"$WEIR_TEST_POSTGRES\" && exit 7"), Some(7));
}
