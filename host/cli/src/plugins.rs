//! `weir plugin`: new, build, check, inspect.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;
use weir_runtime::function::{self, Contract, Function};
use weir_runtime::gate::{self, GateError};
use weir_runtime::plan::component_path;
use weir_stream::{AggregateContract, Keeps};

use crate::load::{self, ManifestArgs};
use crate::output::{self, CONFIG, FAILED, Failure, Format};
use crate::plugin::{self, BuildOptions, Language, Template};

#[derive(Subcommand)]
pub enum PluginCommand {
    /// Write a plugin project that builds and passes its test.
    #[command(
        after_help = "Examples:\n  weir plugin new clean --lang rust\n  weir plugin new rates --world enrich\n  weir plugin new sessions --world process"
    )]
    New {
        name: String,
        /// The language of the project.
        #[arg(long, default_value = "rust", value_parser = ["rust"])]
        lang: String,
        /// What the plugin is for.
        #[arg(long, value_enum, default_value = "transform")]
        world: Template,
        /// Where to write it [default: a folder of the plugin's name].
        #[arg(long)]
        path: Option<PathBuf>,
    },
    /// Compile a plugin to a component.
    #[command(after_help = "Examples:\n  weir plugin build plugins/clean-events")]
    Build {
        /// The plugin's folder.
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// Use no network.
        #[arg(long)]
        offline: bool,
    },
    /// Say whether a plugin fits a step, and if not why.
    #[command(
        after_help = "Examples:\n  weir plugin check clean.wasm --pipeline pipelines/ecommerce/pipeline.yaml --step clean"
    )]
    Check(CheckArgs),
    /// Show what a component is: worlds, columns, capabilities, digest, size.
    #[command(
        after_help = "Examples:\n  weir plugin inspect clean.wasm\n  weir plugin inspect clean.wasm --pipeline pipeline.yaml --step clean"
    )]
    Inspect {
        /// A component file or a plugin's folder.
        plugin: PathBuf,
        /// A manifest whose step gives configuration and input, to show the columns too.
        #[arg(long, requires = "step")]
        pipeline: Option<PathBuf>,
        #[arg(long)]
        step: Option<String>,
        #[arg(short, long)]
        profile: Option<String>,
    },
}

impl PluginCommand {
    /// Whether it looks and prints, and nothing else.
    pub fn only_prints(&self) -> bool {
        matches!(self, Self::Inspect { .. })
    }
}

#[derive(Args)]
pub struct CheckArgs {
    /// A component file or a plugin's folder.
    pub plugin: PathBuf,
    /// The manifest of the pipeline.
    #[arg(long)]
    pub pipeline: PathBuf,
    /// The step.
    #[arg(long)]
    pub step: String,
    #[arg(short, long)]
    pub profile: Option<String>,
}

pub fn run(command: &PluginCommand, format: Format) -> Result<(), Failure> {
    match command {
        PluginCommand::New { name, world, path, .. } => new(name, *world, path.as_deref(), format),
        PluginCommand::Build { folder, offline } => build(folder, *offline, format),
        PluginCommand::Check(args) => check(args, format),
        PluginCommand::Inspect { plugin, pipeline, step, profile } => {
            let site = pipeline.as_ref().zip(step.as_ref());
            inspect(plugin, site, profile.as_ref(), format)
        }
    }
}

fn new(name: &str, world: Template, path: Option<&Path>, format: Format) -> Result<(), Failure> {
    let created =
        plugin::scaffold(name, Language::Rust, world, path).map_err(|error| Failure::new(FAILED, error.to_string()))?;
    let folder = created.folder.display().to_string();
    if format == Format::Json {
        return output::print_json(&json!({ "folder": folder, "source": created.source.display().to_string() }));
    }
    println!("wrote {folder}");
    println!("  edit   {}", created.source.display());
    println!("  test   cargo test          (in the folder; no Wasm needed)");
    println!("  build  weir plugin build {folder}");
    println!("  run    weir dev {folder}   (swaps it into a running pipeline on every save)");
    Ok(())
}

fn build(folder: &Path, offline: bool, format: Format) -> Result<(), Failure> {
    let options = BuildOptions { offline, ..BuildOptions::default() };
    let built = plugin::build(folder, &options, &mut |line| eprintln!("{line}"));
    let built = built.map_err(|error| Failure::new(FAILED, error.to_string()))?;
    if format == Format::Json {
        return output::print_json(&json!({
            "name": built.name, "version": built.version, "path": built.path.display().to_string(),
            "digest": built.digest, "bytes": built.size_bytes,
        }));
    }
    println!("{built}");
    println!("  {}", built.path.display());
    Ok(())
}

/// What the gate says of a plugin for a step of a manifest.
fn fit(plugin: &Path, pipeline: &Path, step: &str, profile: Option<&String>) -> Result<Function, Failure> {
    let engine = load::engine()?;
    let manifest = ManifestArgs { manifest: pipeline.to_owned(), profile: profile.cloned(), overlays: Vec::new() };
    let plan = load::plan(&manifest, &engine, weir_runtime::Purpose::Run)?;
    let sites = plan.steps.iter().filter_map(|planned| Some((&*planned.id, Arc::clone(&planned.plugin()?.gate))));
    let sites: Vec<_> = sites.collect();
    let Some((_, site)) = sites.iter().find(|(id, _)| *id == step) else {
        let has = sites.iter().map(|(id, _)| format!("`{id}`")).collect::<Vec<_>>().join(", ");
        return Err(Failure::new(CONFIG, format!("no step `{step}` with a plugin; the pipeline has {has}")));
    };
    let path = component_path(plugin).map_err(|message| Failure::new(FAILED, message))?;
    let component =
        gate::load(&engine, &path, &site.limits).map_err(|error| Failure::new(FAILED, error.to_string()))?;
    site.fitting(&component).map_err(|error| refused(&error))
}

fn refused(error: &GateError) -> Failure {
    Failure::new(FAILED, error.to_string()).details(error.faults().to_vec()).next("change the plugin or the manifest")
}

fn check(args: &CheckArgs, format: Format) -> Result<(), Failure> {
    let function = fit(&args.plugin, &args.pipeline, &args.step, args.profile.as_ref())?;
    let contract = function.contract();
    match format {
        Format::Json => output::print_json(&json!({ "fits": true, "step": args.step, "digest": &**function.digest() })),
        Format::Text => {
            println!("{} {} fits step `{}`", contract.name(), contract.version(), args.step);
            Ok(())
        }
    }
}

fn inspect(
    plugin: &Path,
    site: Option<(&PathBuf, &String)>,
    profile: Option<&String>,
    format: Format,
) -> Result<(), Failure> {
    let path = component_path(plugin).map_err(|message| Failure::new(FAILED, message))?;
    let bytes = std::fs::read(&path).map_err(|error| Failure::new(FAILED, format!("{}: {error}", path.display())))?;
    let info = weir_sandbox::inspect(&bytes).map_err(|error| Failure::new(FAILED, error.to_string()))?;
    let fitted = site.map(|(pipeline, step)| fit(plugin, pipeline, step, profile)).transpose()?;
    let contract = fitted.as_ref().map(Function::contract);
    let columns = contract.as_ref().map(contract_json);
    if format == Format::Json {
        return output::print_json(&json!({
            "path": path.display().to_string(), "digest": info.digest, "bytes": info.size, "worlds": info.worlds,
            "capabilities": info.imports, "exports": info.exports, "contract": columns,
        }));
    }
    println!("{}", path.display());
    println!("  digest        {}", info.digest);
    println!("  size          {} KiB", info.size.div_ceil(1024));
    println!("  worlds        {}", info.worlds.join(", "));
    println!("  capabilities  {}", if info.imports.is_empty() { "none".to_owned() } else { info.imports.join(", ") });
    match &contract {
        Some(contract) => show_contract(contract),
        None => println!("  columns       depend on the step: say --pipeline and --step"),
    }
    Ok(())
}

fn written(output: &weir_stream::OutputContract) -> Vec<String> {
    output.writes.iter().map(|field| format!("{} {}", field.name(), gate::type_name(field.data_type()))).collect()
}

/// Name and shape of each state and timer of a keyed plugin.
fn kept(contract: &Contract) -> Option<[Vec<(String, String)>; 2]> {
    let Contract::Keyed(keyed) = contract else { return None };
    let ttl = |name: &str| keyed.states.iter().find(|state| state.name == name).and_then(|state| state.ttl_us);
    let shown = |(name, shape): (String, String)| match ttl(&name) {
        Some(ttl_us) => (name, format!("{shape}, kept {} s after the key's newest row", ttl_us as f64 / 1e6)),
        None => (name, shape),
    };
    Some([function::states(keyed).into_iter().map(shown).collect(), function::timers(keyed)])
}

fn contract_json(contract: &Contract) -> serde_json::Value {
    let outputs = contract.outputs().into_iter();
    let outputs: Vec<_> = outputs
        .map(|output| json!({ "name": output.name, "writes": written(output), "drops": output.drops }))
        .collect();
    let mut shown = json!({
        "name": contract.name(), "version": contract.version(), "reads": contract.reads(), "outputs": outputs,
        "deterministic": contract.is_deterministic(),
    });
    if let Some([states, timers]) = kept(contract) {
        shown["states"] = states.into_iter().collect();
        shown["timers"] = timers.into_iter().collect();
    }
    if let Contract::Aggregate(contract) = contract {
        shown["gives"] = given(contract).into();
        shown["accumulator"] = function::accumulator(contract).into();
        shown["can"] = abilities(contract).into();
    }
    shown
}

/// The type of an aggregate's result.
fn given(contract: &AggregateContract) -> String {
    let required = if contract.gives.is_nullable() { "" } else { "!" };
    format!("{}{required}", weir_manifest::type_text(contract.gives.data_type()))
}

fn abilities(contract: &AggregateContract) -> Vec<&'static str> {
    let able = [("accumulate", true), ("merge", contract.merges), ("retract", contract.retracts)];
    able.into_iter().filter(|(_, able)| *able).map(|(what, _)| what).collect()
}

fn show_contract(contract: &Contract) {
    println!("  plugin        {} {}", contract.name(), contract.version());
    println!("  reads         {}", contract.reads().join(", "));
    let keyed = |name: &str| match contract {
        Contract::Rows(_) | Contract::Aggregate(_) => false,
        Contract::Keyed(contract) => {
            contract.outputs.iter().any(|output| output.output.name == name && output.keeps == Keeps::Key)
        }
    };
    for output in contract.outputs() {
        let of_key = if keyed(&output.name) { "the key and " } else { "" };
        println!("  writes        {of_key}{} ({})", written(output).join(", "), output.name);
        if !output.drops.is_empty() {
            println!("  drops         {} ({})", output.drops.join(", "), output.name);
        }
    }
    if let Contract::Aggregate(contract) = contract {
        println!("  gives         {}", given(contract));
        println!("  accumulator   {}", function::accumulator(contract));
        println!("  can           {}", abilities(contract).join(", "));
    }
    for (what, of) in ["state", "timer"].into_iter().zip(kept(contract).into_iter().flatten()) {
        for (name, shape) in of {
            println!("  {what:<13} {name}: {shape}");
        }
    }
}
