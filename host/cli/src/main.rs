//! The `weir` command. Data goes to stdout, everything else to stderr; `-o json` is for machines.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage (from clap), 69 a service or the pipeline is not there, 70 a fault of
//! Weir, 78 the manifest is at fault, 130 interrupted twice.

mod allocator;
mod client;
mod completions;
mod dead_letters;
mod demo;
mod explain;
mod generate;
mod load;
mod output;
mod plugin;
mod plugins;
mod run;
mod savepoint;
mod status;
mod swap;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Stream processing whose logic is swapped while the water runs.
#[derive(Parser)]
#[command(name = "weir", version, arg_required_else_help = true, infer_subcommands = false)]
struct Cli {
    /// How results are written: for people, or for machines.
    #[arg(short = 'o', long = "output", global = true, value_enum, default_value_t)]
    output: output::Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a pipeline in the foreground.
    #[command(after_help = run::EXAMPLES)]
    Run(run::RunArgs),
    /// Find everything that is wrong with a manifest; starts and connects to nothing.
    #[command(after_help = "Examples:\n  weir validate pipelines/ecommerce/pipeline.yaml --profile embedded")]
    Validate(load::ManifestArgs),
    /// Run a pipeline's own tests, those under `tests:` in its manifest.
    #[command(after_help = trial::EXAMPLES)]
    Test(trial::TestArgs),
    /// Print the JSON Schema of manifests, for editors.
    #[command(after_help = "Examples:\n  weir schema > pipeline.schema.json")]
    Schema,
    /// Say what a running pipeline does: rows, versions, epochs, what waits.
    #[command(after_help = status::EXAMPLES)]
    Status(client::Server),
    /// Say why a window has not fired: who holds event time, and what would release it.
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::ExplainArgs),
    /// End a running pipeline as SIGTERM does: seal, make durable, expose.
    #[command(after_help = "Examples:\n  weir stop")]
    Stop(client::Server),
    /// Put another version of a plugin into the running pipeline.
    #[command(after_help = swap::SWAP_EXAMPLES)]
    Swap(swap::SwapArgs),
    /// Watch a plugin's folder: build, check and swap on every save.
    #[command(after_help = swap::DEV_EXAMPLES)]
    Dev(swap::DevArgs),
    /// Make, build, check and look into plugins.
    #[command(subcommand)]
    Plugin(plugins::PluginCommand),
    /// Write made-up events to a file, to standard output or to Kafka.
    #[command(after_help = generate::EXAMPLES)]
    Generate(generate::GenerateArgs),
    /// Show a pipeline: a bounded run, a swap halfway, and sums that must agree.
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::DemoArgs),
    /// Copy a pipeline's state, look into the copy, begin from it.
    #[command(subcommand)]
    Savepoint(savepoint::SavepointCommand),
    /// Look at what a pipeline refused.
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLetterCommand),
    /// Print what a shell needs to complete commands and options.
    #[command(after_help = completions::EXAMPLES)]
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// Whether it asks and prints, and nothing else.
    fn only_prints(&self) -> bool {
        match self {
            Self::Validate(_) | Self::Schema | Self::Status(_) | Self::Explain(_) | Self::Completions(_) => true,
            Self::DeadLetters(_) => true,
            Self::Plugin(command) => command.only_prints(),
            Self::Savepoint(command) => command.only_prints(),
            _ => false,
        }
    }
}

/// `weir dead-letters list | head` ends when `head` has enough, as other commands do. Not for those that do something: they
/// must not end in the middle of it, nor by a connection that closes.
#[cfg(unix)]
fn end_with_the_pipe() {
    // SAFETY: before any other thread is there, and to the system's own handling.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

fn main() -> ExitCode {
    allocator::set_up();
    let cli = Cli::parse();
    #[cfg(unix)]
    if cli.command.only_prints() {
        end_with_the_pipe();
    }
    let result = match cli.command {
        Command::Run(args) => run::run(&args, cli.output),
        Command::Validate(args) => load::validate(&args, cli.output),
        Command::Test(args) => trial::test(&args, cli.output),
        Command::Schema => output::print_json(&weir_manifest::schema_json()),
        Command::Status(server) => status::status(&server, cli.output),
        Command::Explain(args) => explain::explain(&args, cli.output),
        Command::Stop(server) => status::stop(&server, cli.output),
        Command::Swap(args) => swap::swap(&args, cli.output),
        Command::Dev(args) => swap::dev(&args),
        Command::Plugin(command) => plugins::run(&command, cli.output),
        Command::Generate(args) => generate::generate(&args, cli.output),
        Command::Demo(args) => demo::demo(&args, cli.output),
        Command::Savepoint(command) => savepoint::run(&command, cli.output),
        Command::DeadLetters(command) => dead_letters::run(&command, cli.output),
        Command::Completions(args) => completions::completions(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(cli.output),
    }
}

/// The state folder of a pipeline when none is named.
fn default_state_dir(pipeline: &str) -> PathBuf {
    PathBuf::from(".weir").join(pipeline)
}
