//! A Kafka broker of one node (KRaft), from the jars that the project publishes.
//!
//! Ready means: our own process lives and answers a request of Kafka's protocol on its port.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::install::{JAVA, find_or_install};
use crate::jars::Jars;
use crate::process::Process;
use crate::proxy::Proxy;

const START_BOUND: Duration = Duration::from_secs(60);
const ANSWER_BOUND: Duration = Duration::from_secs(1);
const HEAP: &str = "-Xmx512m";

const JARS: Jars = Jars { name: "Kafka", version: "4.3.1", size: "54 MB", pom: include_str!("../jars/kafka.xml") };

/// Where a broker listens.
#[derive(Clone, Copy)]
struct Ports {
    broker: u16,
    /// Where it tells clients to connect.
    advertised: u16,
    controller: u16,
}

/// A running broker.
#[derive(Debug)]
pub struct Kafka {
    process: Process,
    /// Where clients are told to connect.
    port: u16,
    // Dropped after the process: fields drop in order.
    _folder: tempfile::TempDir,
}

impl Kafka {
    /// Starts a broker with nothing in it. The first start on a machine downloads 54 MB.
    ///
    /// # Errors
    /// When a program or a jar is missing, or the broker does not come up.
    pub fn start() -> Result<Self> {
        let [port, controller] = crate::free_ports()?;
        Self::launch(Ports { broker: port, advertised: port, controller })
    }

    /// Starts a broker that clients reach through a proxy alone.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn start_behind_proxy() -> Result<(Self, Proxy)> {
        let [broker, controller] = crate::free_ports()?;
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], broker)))?;
        let ports = Ports { broker, advertised: proxy.port(), controller };
        Ok((Self::launch(ports)?, proxy))
    }

    fn launch(ports: Ports) -> Result<Self> {
        let java = find_or_install(JAVA)?;
        let class_path = JARS.class_path()?;
        let folder = tempfile::Builder::new().prefix("weir-kafka-").tempdir()?;
        let properties = folder.path().join("server.properties");
        std::fs::write(&properties, server_properties(folder.path(), ports))?;
        format_storage(&java, &class_path, &properties)?;
        let mut command = Command::new(&java);
        command.args([HEAP, "-XX:+UseSerialGC", "-cp"]).arg(&class_path).arg("kafka.Kafka").arg(&properties);
        let mut process = Process::spawn("Kafka", command, &folder.path().join("kafka.log"))?;
        process.wait_ready(START_BOUND, || answers(ports.broker))?;
        Ok(Self { process, port: ports.advertised, _folder: folder })
    }

    /// `host:port`.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

fn server_properties(folder: &Path, ports: Ports) -> String {
    let Ports { broker, advertised, controller } = ports;
    let data = folder.join("data");
    let lines = [
        "process.roles=broker,controller".to_owned(),
        "node.id=1".to_owned(),
        format!("listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}"),
        format!("advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}"),
        "controller.listener.names=CONTROLLER".to_owned(),
        format!("controller.quorum.bootstrap.servers=127.0.0.1:{controller}"),
        format!("log.dirs={}", data.display()),
        "offsets.topic.replication.factor=1".to_owned(),
        "transaction.state.log.replication.factor=1".to_owned(),
        "transaction.state.log.min.isr=1".to_owned(),
        "share.coordinator.state.topic.replication.factor=1".to_owned(),
        "share.coordinator.state.topic.min.isr=1".to_owned(),
        "group.initial.rebalance.delay.ms=0".to_owned(),
        // Fifty partitions each are for clusters; here they are only files to open.
        "offsets.topic.num.partitions=4".to_owned(),
        "transaction.state.log.num.partitions=4".to_owned(),
        // Events of tests happened long ago: a broker that tidies by age deletes them half a minute after its start, and
        // every five minutes, under whoever reads them.
        "log.retention.ms=-1".to_owned(),
        // A topic that is missing must be an error, not an empty topic.
        "auto.create.topics.enable=false".to_owned(),
    ];
    lines.join("\n") + "\n"
}

fn format_storage(java: &Path, class_path: &Path, properties: &Path) -> Result<()> {
    let tool = |arguments: &[&str]| {
        let mut command = Command::new(java);
        command.arg("-cp").arg(class_path).arg("kafka.tools.StorageTool").args(arguments);
        let output = command.output().context("java does not start")?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() {
            bail!("StorageTool {}: {text}\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(text)
    };
    let cluster = tool(&["random-uuid"])?;
    let properties = properties.to_str().context("the temporary folder's name is not UTF-8")?;
    tool(&["format", "--standalone", "-t", &cluster, "-c", properties]).map(drop)
}

/// Whether somebody on the port speaks Kafka: ApiVersions, version 0, as any client's first request.
fn answers(port: u16) -> bool {
    const CORRELATION: [u8; 4] = [0, 0, 0, 7];
    let ask = || -> std::io::Result<bool> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_BOUND)?;
        stream.set_read_timeout(Some(ANSWER_BOUND))?;
        let mut request = vec![0, 0, 0, 10, 0, 18, 0, 0];
        request.extend(CORRELATION);
        request.extend([0xff, 0xff]);
        stream.write_all(&request)?;
        let mut answer = [0; 10];
        stream.read_exact(&mut answer)?;
        Ok(answer[4..8] == CORRELATION && answer[8..] == [0, 0])
    };
    ask().unwrap_or(false)
}
