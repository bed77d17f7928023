//! `weir run`: one pipeline in the foreground, with signals and a progress display.

pub mod progress;
pub mod signals;

pub use progress::grouped;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use weir_runtime::admin::{self, TlsFiles, Token};
use weir_runtime::{CrashPoint, End, Outside, Pipeline, Purpose, RunError, Setup, StartError};

use crate::load::{self, ManifestArgs};
use crate::output::{self, FAILED, Failure, Format, UNAVAILABLE};

pub const EXAMPLES: &str = "Examples:
  weir run pipelines/ecommerce/pipeline.yaml --profile embedded
  KAFKA_BROKERS=localhost:9092 weir run pipelines/ecommerce/pipeline.yaml --profile kafka
  weir run pipeline.yaml --until-end -o json";

#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub manifest: ManifestArgs,
    /// Where state lives [default: .weir/<pipeline>].
    #[arg(long)]
    pub state: Option<PathBuf>,
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Threads that run tasks [default: one for each core].
    #[arg(long)]
    pub workers: Option<usize>,
    /// Stop when every source has been read to the end that it had at the start.
    #[arg(long)]
    pub until_end: bool,
    /// How long a swapped-in plugin version is watched, in seconds [default: as the manifest says].
    #[arg(long)]
    pub watch_s: Option<u64>,
    /// For tests of recovery: abort at sealed:N, durable:N or exposed:N.
    #[arg(long, hide = true, value_parser = crash_point)]
    pub crash_at: Option<CrashPoint>,
    /// For tests: state leaves memory at every barrier, wherever it can.
    #[arg(long, hide = true)]
    pub evict: bool,
    /// No progress display.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Where the admin API is served, and to whom.
#[derive(Args)]
pub struct AdminArgs {
    /// Address of the admin API. Beyond loopback it needs a certificate, its key, and a token in WEIR_ADMIN_TOKEN.
    #[arg(long = "admin", default_value = "127.0.0.1:7420")]
    pub address: SocketAddr,
    /// PEM file of the admin API's certificate and those between it and its authority.
    #[arg(long = "admin-certificate", value_name = "FILE", requires = "key", env = "WEIR_ADMIN_CERTIFICATE")]
    pub certificate: Option<PathBuf>,
    /// PEM file of the certificate's private key.
    #[arg(long = "admin-key", value_name = "FILE", requires = "certificate", env = "WEIR_ADMIN_KEY")]
    pub key: Option<PathBuf>,
}

/// The token that requests must bring; an argument would show it to all users of the machine.
const TOKEN_VARIABLE: &str = "WEIR_ADMIN_TOKEN";

impl AdminArgs {
    fn settings(&self) -> Result<admin::Settings, Failure> {
        let files = self.certificate.clone().zip(self.key.clone());
        let token = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
        let token = token.map(|token| Token::new(&token)).transpose().map_err(|error| {
            let next = format!("set {TOKEN_VARIABLE} to 16 characters or more, such as `openssl rand -hex 32` gives");
            Failure::new(FAILED, format!("{TOKEN_VARIABLE}: {error}")).next(next)
        })?;
        let tls = files.map(|(certificate, key)| TlsFiles { certificate, key });
        Ok(admin::Settings { address: self.address, tls, token })
    }
}

pub fn run(args: &RunArgs, format: Format) -> Result<(), Failure> {
    start_log("warn,weir_runtime=info");
    let engine = load::engine()?;
    let mut plan = load::plan(&args.manifest, &engine, Purpose::Run)?;
    plan.until_end |= args.until_end;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let setup = Setup {
        state_dir: args.state.clone().unwrap_or_else(|| crate::default_state_dir(&plan.pipeline)),
        workers: args.workers.unwrap_or(cores).max(1),
        watch: args.watch_s.map(Duration::from_secs),
        crash_at: args.crash_at,
        outside: Outside::default(),
        evict_always: args.evict,
    };
    let head = format!(
        "{} · profile {} · state {}",
        plan.pipeline,
        plan.manifest.profile().unwrap_or("none"),
        setup.state_dir.display()
    );
    let pipeline = Pipeline::new(plan, setup, engine);
    let control = Arc::clone(pipeline.control());
    let admin = admin::spawn(args.admin.settings()?, Arc::clone(&control))
        .map_err(|error| Failure::new(UNAVAILABLE, error.to_string()).next(error.next()))?;
    signals::handle(Arc::clone(&control)).map_err(|error| Failure::new(output::INTERNAL, error.to_string()))?;
    eprintln!("{head} · admin {admin}");
    let progress = (!args.quiet).then(|| progress::start(Arc::clone(&control)));
    let result = pipeline.run();
    if let Some(progress) = progress {
        progress.finish();
    }
    let status = control.status().status();
    match result {
        Ok(end) => {
            let owed = match &end {
                End::Stopped { owed } => owed.clone(),
                _ => Vec::new(),
            };
            match format {
                Format::Json => output::print_json(&json!({ "end": end_name(&end), "owed": owed, "status": status }))?,
                Format::Text => eprintln!("{} at epoch {}", end_name(&end), status.durable_epoch),
            }
            for (sink, epochs) in owed {
                eprintln!("  sink {sink} is still owed {epochs} epochs; they are sent at the next start");
            }
            Ok(())
        }
        Err(error) => Err(failure(&error)),
    }
}

fn crash_point(text: &str) -> Result<CrashPoint, String> {
    let (point, epoch) = text.split_once(':').ok_or("say where and when: durable:3")?;
    let epoch = epoch.parse().map_err(|_| format!("`{epoch}` is no epoch"))?;
    match point {
        "sealed" => Ok(CrashPoint::Sealed(epoch)),
        "durable" => Ok(CrashPoint::Durable(epoch)),
        "exposed" => Ok(CrashPoint::Exposed(epoch)),
        other => Err(format!("no point `{other}`; there are sealed, durable, exposed")),
    }
}

fn end_name(end: &End) -> &'static str {
    match end {
        End::Finished => "finished",
        End::Stopped { .. } => "stopped",
        End::Aborted => "aborted",
    }
}

/// A pipeline's fault, with its exit code.
pub fn failure(error: &RunError) -> Failure {
    let code = match error {
        RunError::Start(StartError::Source { .. } | StartError::Sink { .. } | StartError::Lookup { .. }) => UNAVAILABLE,
        _ => FAILED,
    };
    let failure = Failure::new(code, error.to_string());
    match error.next() {
        Some(next) => failure.next(next),
        None => failure,
    }
}

/// Logs to stderr what `WEIR_LOG` asks for, or else `usual`.
pub fn start_log(usual: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WEIR_LOG");
    // The driver tells of every try to reach a node that is away; whoever waits for it says so once.
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("{usual},scylla=off")));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}
