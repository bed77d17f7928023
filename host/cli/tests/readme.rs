//! The walkthrough of the README, run as it stands there: in an empty folder, block by block.
//!
//! A yaml block is saved as `shop.yaml`. Of the commands, `weir run` goes on beside the others, `weir dev` does one round,
//! and before it a reader's edit is made; the admin API gets a port of its own.

use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

const README: &str = include_str!("../../../README.md");
const PATIENCE: Duration = Duration::from_secs(60);

/// Kind and text of each block of one section.
fn blocks(section: &str) -> Vec<(&'static str, String)> {
    let text = README.split_once(&format!("\n## {section}\n")).expect("the section is there").1;
    let text = text.split("\n## ").next().unwrap();
    let parts: Vec<&str> = text.split("```").collect();
    let fenced = parts.chunks(2).filter_map(|pair| pair.get(1)).map(|block| block.split_once('\n').unwrap());
    fenced.map(|(kind, text)| (kind, text.to_owned())).collect()
}

/// The walkthrough's world: a folder, a port, and the pipeline that runs in it.
struct Walk {
    folder: tempfile::TempDir,
    admin: String,
    pipeline: Option<Child>,
}

impl Walk {
    fn new() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { folder: tempfile::tempdir().unwrap(), admin: free.to_string(), pipeline: None }
    }

    fn shell(&self, line: &str) -> Command {
        let weir = Path::new(env!("CARGO_BIN_EXE_weir")).parent().unwrap();
        let path = format!("{}:{}", weir.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.arg("-c").arg(line).current_dir(self.folder.path());
        command.env("PATH", path).env("WEIR_ADMIN", &self.admin).env_remove("CARGO_TARGET_DIR");
        command
    }

    fn output(&self, line: &str) -> Output {
        self.shell(line).output().unwrap()
    }

    fn line(&mut self, line: &str) {
        if line.starts_with("weir run ") {
            let run = format!("exec {line} --quiet --admin {}", self.admin);
            self.pipeline = Some(self.shell(&run).spawn().unwrap());
            self.until("weir status", |status| status.contains(" running for"));
            return;
        }
        let line = if line.starts_with("weir dev ") { format!("{line} --once") } else { line.to_owned() };
        let output = self.output(&line);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}\n{said}");
    }

    fn until(&self, line: &str, is_so: impl Fn(&str) -> bool) {
        let asked = Instant::now();
        loop {
            let output = self.output(line);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.success() && is_so(&said) {
                return;
            }
            assert!(asked.elapsed() < PATIENCE, "{line}: not within {PATIENCE:?}\n{said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(path)).unwrap_or_default()
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        if let Some(pipeline) = &mut self.pipeline {
            let _ = pipeline.kill();
            let _ = pipeline.wait();
        }
    }
}

#[test]
fn the_walkthrough_leads_to_a_plugin_that_is_swapped_while_its_pipeline_runs() {
    let mut walk = Walk::new();
    for (kind, text) in blocks("Your own plugin in ten minutes") {
        if kind == "yaml" {
            std::fs::write(walk.folder.path().join("shop.yaml"), text).unwrap();
            continue;
        }
        for line in text.lines() {
            if line.starts_with("weir dev ") {
                let large = |count: usize| move |read: &str| read.matches("\"event_id\"").count() >= count;
                walk.until("cat out/large.jsonl", large(1));
                let source = walk.folder.path().join("tag-orders/src/lib.rs");
                let edited = std::fs::read_to_string(&source).unwrap().replace(".to_lowercase()", ".to_uppercase()");
                std::fs::write(source, edited.replace("kind == \"heartbeat\"", "kind == \"HEARTBEAT\"")).unwrap();
            }
            walk.line(line);
            if line.starts_with("weir dev ") {
                walk.until("weir status", |status| status.contains("last swap          tag to"));
            }
        }
    }
    let ended = walk.pipeline.take().unwrap().wait().unwrap();
    assert!(ended.success(), "{ended}");
    // `where` keeps orders in lower case, so the edit empties the output from its epoch on: the dead letters go on.
    assert!(walk.read("out/large.jsonl").contains("\"kind\":\"order\""));
    let letters = walk.read("out/dead-letters.jsonl");
    assert!(letters.contains("\"stage\":\"decode\""), "{letters}");
}
