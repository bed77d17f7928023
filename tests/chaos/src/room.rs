//! One pipeline of a test: its folder, topics, tables and manifest, and the runs on them.
//!
//! Names are new in every room, so that rooms share a broker and a database server without meeting.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use weir_services::process::Process;
use weir_services::{Run, Weir, repository};

use crate::{services::Services, topic};

/// Partitions of every topic.
pub const PARTITIONS: u32 = 2;

/// What a room holds: a manifest in which NAME is the room's and PLUGINS the repository's plugins.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    pub manifest: &'a str,
    /// Built before.
    pub plugins: &'a [&'a str],
    /// Their names behind the room's.
    pub topics: &'a [&'a str],
}

/// The shop's pipeline, with CLEAN for the plugin at step `clean`.
pub const SHOP: Scene = Scene {
    manifest: include_str!("pipeline.yaml"),
    plugins: &["clean-events", "clean-events-next", "adversary"],
    topics: &["events", "out", "letters"],
};

/// Events that a room's producer writes.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub seed: u64,
    pub events: u64,
    /// By the clock.
    pub per_second: u64,
}

/// Events a second of event time: six minutes in 36,000 events.
const EVENT_RATE: &str = "100";

pub struct Room {
    pub weir: Weir,
    pub brokers: String,
    pub postgres: String,
    /// Unique, and a valid name everywhere.
    pub name: String,
    folder: tempfile::TempDir,
}

impl Room {
    /// A room of the shop.
    ///
    /// # Errors
    /// As [`Room::of`].
    pub fn new(services: &Services) -> Result<Self> {
        Self::with_postgres(services, &services.postgres)
    }

    /// As [`Room::new`], with a PostgreSQL of its own.
    ///
    /// # Errors
    /// As [`Room::of`].
    pub fn with_postgres(services: &Services, postgres: &str) -> Result<Self> {
        let room = Self::bare(services, postgres, &SHOP)?;
        room.write_manifest("clean-events")?;
        Ok(room)
    }

    /// Makes topics and manifest; nothing runs yet.
    ///
    /// # Errors
    /// When the services do not take part, or a plugin does not build.
    pub fn of(services: &Services, scene: &Scene) -> Result<Self> {
        let room = Self::bare(services, &services.postgres, scene)?;
        room.write(scene.manifest)?;
        Ok(room)
    }

    fn bare(services: &Services, postgres: &str, scene: &Scene) -> Result<Self> {
        let weir = Weir::find()?;
        for plugin in scene.plugins {
            weir.build_plugin(plugin)?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let folder = tempfile::Builder::new().prefix("weir-chaos-").tempdir()?;
        let room = Self {
            weir,
            brokers: services.brokers.clone(),
            postgres: postgres.to_owned(),
            name: format!("chaos_{}_{}", std::process::id(), now.as_nanos()),
            folder,
        };
        for topic in scene.topics {
            topic::create(&room.brokers, &room.topic(topic), PARTITIONS)?;
        }
        std::fs::create_dir(room.path("logs"))?;
        Ok(room)
    }

    /// Writes the shop's manifest, with this plugin at step `clean`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_manifest(&self, clean: &str) -> Result<()> {
        self.write(&SHOP.manifest.replace("CLEAN", clean))
    }

    fn write(&self, manifest: &str) -> Result<()> {
        let plugins = repository().join("plugins").canonicalize()?;
        let text = manifest.replace("NAME", &self.name).replace("PLUGINS", &plugins.display().to_string());
        std::fs::write(self.manifest(), text)?;
        Ok(())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn manifest(&self) -> PathBuf {
        self.path("pipeline.yaml")
    }

    /// One of its topics.
    pub fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    pub fn events(&self) -> String {
        self.topic("events")
    }

    pub fn out(&self) -> String {
        self.topic("out")
    }

    pub fn letters(&self) -> String {
        self.topic("letters")
    }

    fn configure(&self, command: &mut Command, state: &str, more: &[&str]) {
        command.arg(self.manifest()).arg("--state").arg(self.path(state)).args(more);
        command.env("TEST_KAFKA", &self.brokers).env("TEST_POSTGRES", &self.postgres);
    }

    /// Starts the pipeline and waits for its admin address.
    ///
    /// # Errors
    /// When it ends before.
    pub fn start(&self, log: &str, more: &[&str]) -> Result<Run> {
        self.start_on("state", log, more)
    }

    /// As [`Room::start`], with another state folder of the room.
    ///
    /// # Errors
    /// As [`Room::start`].
    pub fn start_on(&self, state: &str, log: &str, more: &[&str]) -> Result<Run> {
        self.weir.run(log, &self.path("logs"), |command| self.configure(command, state, more))
    }

    /// Starts the pipeline and waits for nothing.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn spawn(&self, log: &str, more: &[&str]) -> Result<Run> {
        self.spawn_on("state", log, more)
    }

    /// As [`Room::spawn`], with another state folder of the room.
    ///
    /// # Errors
    /// As [`Room::spawn`].
    pub fn spawn_on(&self, state: &str, log: &str, more: &[&str]) -> Result<Run> {
        self.weir.spawn(log, &self.path("logs"), |command| self.configure(command, state, more))
    }

    /// Starts a producer of shop events, among them duplicates and records that nobody can read.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn produce(&self, load: Load) -> Result<Process> {
        let mut command = self.weir.command();
        command.args([
            "generate",
            "ecommerce",
            "--event-rate",
            EVENT_RATE,
            "--duplicates",
            "0.01",
            "--malformed",
            "0.01",
        ]);
        let numbers = [("--seed", load.seed), ("--events", load.events), ("--rate", load.per_second)];
        for (name, number) in numbers {
            command.args([name, &number.to_string()]);
        }
        command.args(["--topic", &self.events(), "--brokers", &self.brokers]);
        Process::spawn("weir generate", command, &self.path("logs/generate.log"))
    }

    /// `weir swap`, as JSON; an error holds what the command said.
    ///
    /// # Errors
    /// When the swap is refused.
    pub fn swap(&self, run: &Run, step: &str, plugin: &Path) -> Result<serde_json::Value> {
        let plugin = plugin.display().to_string();
        let mut command = self.weir.command();
        command.args(["swap", step, &plugin, "--admin", &run.admin, "-o", "json"]);
        let output = command.output()?;
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        anyhow::ensure!(output.status.success(), "{answer}");
        Ok(answer)
    }

    /// A component of the repository.
    pub fn component(&self, plugin: &str) -> PathBuf {
        repository().join(format!("plugins/target/weir/{plugin}.wasm"))
    }

    /// The same component with another digest: a custom section more, which means nothing to anyone.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn salted(&self, plugin: &str, salt: u8) -> Result<PathBuf> {
        let mut bytes = std::fs::read(self.component(plugin))?;
        bytes.extend([0, 6, 4, b's', b'a', b'l', b't', salt]);
        let path = self.path(&format!("{plugin}-{salt}.wasm"));
        std::fs::write(&path, bytes)?;
        Ok(path)
    }
}
