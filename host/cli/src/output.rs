//! What the user sees at the end of a command: results on stdout, failures on stderr with their next act, and the exit
//! code.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;
use weir_manifest::Faults;

#[derive(Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON document.
    Json,
}

/// Why a command failed.
pub enum Failure {
    /// The manifest is at fault.
    Manifest(Faults),
    /// The answer on stdout tells it.
    Said { code: u8 },
    Other {
        code: u8,
        message: String,
        /// More lines, one fact each.
        details: Vec<String>,
        next: Option<String>,
    },
}

pub const FAILED: u8 = 1;
pub const UNAVAILABLE: u8 = 69;
pub const INTERNAL: u8 = 70;
pub const CONFIG: u8 = 78;

impl Failure {
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self::Other { code, message: message.into(), details: Vec::new(), next: None }
    }

    /// What there is to say has been said.
    pub fn silent(code: u8) -> Self {
        Self::Said { code }
    }

    pub fn next(self, act: impl Into<String>) -> Self {
        match self {
            Self::Other { code, message, details, .. } => {
                Self::Other { code, message, details, next: Some(act.into()) }
            }
            other => other,
        }
    }

    pub fn details(self, lines: Vec<String>) -> Self {
        match self {
            Self::Other { code, message, next, .. } => Self::Other { code, message, details: lines, next },
            other => other,
        }
    }

    /// Writes the failure where people or machines look for it.
    pub fn report(self, format: Format) -> ExitCode {
        match (self, format) {
            (Self::Said { code }, _) => ExitCode::from(code),
            (Self::Manifest(faults), Format::Text) => {
                eprint!("{}", faults.render(colour()));
                ExitCode::from(CONFIG)
            }
            (Self::Manifest(faults), Format::Json) => {
                println!("{}", json!({ "faults": faults.to_json() }));
                ExitCode::from(CONFIG)
            }
            (Self::Other { code, message, details, next }, Format::Text) => {
                eprintln!("Error: {message}");
                details.iter().for_each(|line| eprintln!("  x {line}"));
                if let Some(next) = next {
                    eprintln!("  next: {next}");
                }
                ExitCode::from(code)
            }
            (Self::Other { code, message, details, next }, Format::Json) => {
                println!("{}", json!({ "error": message, "details": details, "next": next }));
                ExitCode::from(code)
            }
        }
    }
}

/// Whether stderr shows colours.
pub fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(INTERNAL, error.to_string()))?;
    println!("{text}");
    Ok(())
}
