//! `weir-services run -- COMMAND...`: starts Kafka and PostgreSQL, runs a command that finds them in its environment,
//! stops them again and ends with the command's exit code.
//!
//! The command gets WEIR_TEST_KAFKA (`host:port`) and WEIR_TEST_POSTGRES (a `postgres://` address).

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::time::Instant;

use weir_services::{Kafka, Postgres};

const USAGE: &str = "weir-services run -- COMMAND...   run a command with a real Kafka and a real PostgreSQL";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [verb, dashes, program, rest @ ..] = &arguments[..] else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if (verb.as_str(), dashes.as_str()) != ("run", "--") {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    match run(program, rest) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: &str, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let kafka = Kafka::start()?;
    let postgres = Postgres::start()?;
    let (brokers, url) = (kafka.brokers(), postgres.url());
    eprintln!("Kafka at {brokers}, PostgreSQL at {url}, in {:.1} s", started.elapsed().as_secs_f32());
    let mut command = Command::new(program);
    command.args(arguments).env("WEIR_TEST_KAFKA", &brokers).env("WEIR_TEST_POSTGRES", &url);
    let status = command.status().map_err(|error| anyhow::anyhow!("{program}: {error}"))?;
    // As a shell says it: 128 and the signal's number.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
