//! A Cassandra node of its own, from the jars that the project publishes. It can be killed and started again on its data.
//!
//! Ready means: our own process lives and answers a request of Cassandra's protocol on its port. What was acknowledged is
//! on disk: the commit log is synced before.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use scylla::client::session_builder::SessionBuilder;

use crate::install::{JAVA, find_or_install};
use crate::jars::Jars;
use crate::process::Process;

const START_BOUND: Duration = Duration::from_secs(120);
const ANSWER_BOUND: Duration = Duration::from_secs(1);

const JARS: Jars =
    Jars { name: "Cassandra", version: "5.0.5", size: "66 MB", pom: include_str!("../jars/cassandra.xml") };

/// What Cassandra reaches into, which Java 17 keeps closed.
const EXPORTS: [&str; 9] = [
    "java.base/jdk.internal.misc",
    "java.base/java.lang.ref",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.attach/sun.tools.attach",
];
const OPENS: [&str; 14] = [
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.util",
    "java.base/java.io",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
    "jdk.compiler/com.sun.tools.javac",
];

const LOGBACK: &str = r#"<configuration>
  <appender name="S" class="ch.qos.logback.core.ConsoleAppender"><target>System.err</target>
    <encoder><pattern>%-5level %date{HH:mm:ss,SSS} %msg%n</pattern></encoder></appender>
  <root level="INFO"><appender-ref ref="S"/></root>
</configuration>
"#;

/// A running node.
#[derive(Debug)]
pub struct Cassandra {
    process: Process,
    port: u16,
    /// Its management port: another one each start would do, but it must be one that is free.
    jmx_port: u16,
    // Dropped after the process: fields drop in order.
    folder: tempfile::TempDir,
}

impl Cassandra {
    /// Starts a node with nothing in it. The first start on a machine downloads 66 MB.
    ///
    /// # Errors
    /// When a program or a jar is missing, or the node does not come up.
    pub fn start() -> Result<Self> {
        let [port, storage_port, jmx_port] = crate::free_ports()?;
        let folder = tempfile::Builder::new().prefix("weir-cassandra-").tempdir()?;
        std::fs::write(folder.path().join("cassandra.yaml"), settings(folder.path(), storage_port, port))?;
        std::fs::write(folder.path().join("logback.xml"), LOGBACK)?;
        let process = launch(folder.path(), port, jmx_port)?;
        Ok(Self { process, port, jmx_port, folder })
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs statements, each on its own.
    ///
    /// # Errors
    /// The first one's that the node refuses.
    pub fn cql(&self, statements: &[&str]) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(async {
            let session = SessionBuilder::new().known_node(self.address()).build().await?;
            for statement in statements {
                session.query_unpaged(*statement, ()).await.with_context(|| (*statement).to_owned())?;
            }
            Ok(())
        })
    }

    /// Makes a keyspace of this one node.
    ///
    /// # Errors
    /// As [`Cassandra::cql`].
    pub fn keyspace(&self, name: &str) -> Result<()> {
        let replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
        self.cql(&[&format!("CREATE KEYSPACE {name} WITH replication = {replication}")])
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on its data.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn resume(&mut self) -> Result<()> {
        self.process = launch(self.folder.path(), self.port, self.jmx_port)?;
        Ok(())
    }
}

fn launch(folder: &Path, port: u16, jmx_port: u16) -> Result<Process> {
    let mut command = Command::new(find_or_install(JAVA)?);
    command.args(["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command.args(["-Djdk.attach.allowAttachSelf=true", "-Dio.netty.tryReflectionSetAccessible=true"]);
    EXPORTS.iter().for_each(|module| _ = command.arg("--add-exports").arg(format!("{module}=ALL-UNNAMED")));
    OPENS.iter().for_each(|module| _ = command.arg("--add-opens").arg(format!("{module}=ALL-UNNAMED")));
    command
        .arg(format!("-Dcassandra.config=file://{}/cassandra.yaml", folder.display()))
        .arg(format!("-Dlogback.configurationFile={}/logback.xml", folder.display()))
        .arg(format!("-Dcassandra.storagedir={}", folder.display()))
        .arg(format!("-Dcassandra.jmx.local.port={jmx_port}"))
        .args(["-Dcassandra-foreground=yes", "-Dcassandra.ring_delay_ms=500"])
        .arg("-Dcassandra.skip_wait_for_gossip_to_settle=0")
        .arg("-cp")
        .arg(JARS.class_path()?)
        .arg("org.apache.cassandra.service.CassandraDaemon")
        .current_dir(folder);
    let mut process = Process::spawn("Cassandra", command, &folder.join("cassandra.log"))?;
    process.wait_ready(START_BOUND, || answers(port))?;
    Ok(process)
}

fn settings(folder: &Path, storage_port: u16, port: u16) -> String {
    let folder = folder.display();
    format!(
        "cluster_name: 'weir'
num_tokens: 1
hinted_handoff_enabled: false
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
data_file_directories: [ {folder}/data ]
commitlog_directory: {folder}/commitlog
commitlog_sync: batch
saved_caches_directory: {folder}/saved
hints_directory: {folder}/hints
cdc_raw_directory: {folder}/cdc
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: '127.0.0.1:{storage_port}'
storage_port: {storage_port}
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
native_transport_port: {port}
start_native_transport: true
endpoint_snitch: SimpleSnitch
disk_access_mode: mmap_index_only
"
    )
}

/// Whether somebody on the port speaks Cassandra's protocol, version 4: OPTIONS, answered with SUPPORTED.
fn answers(port: u16) -> bool {
    const OPTIONS: u8 = 5;
    const SUPPORTED: u8 = 6;
    let ask = || -> std::io::Result<bool> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_BOUND)?;
        stream.set_read_timeout(Some(ANSWER_BOUND))?;
        stream.write_all(&[4, 0, 0, 0, OPTIONS, 0, 0, 0, 0])?;
        let mut answer = [0; 9];
        stream.read_exact(&mut answer)?;
        Ok(answer[0] == 0x84 && answer[4] == SUPPORTED)
    };
    ask().unwrap_or(false)
}
