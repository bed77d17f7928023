//! The admin API with TLS and a token, from the command line: who is let in, who is not, and what a certificate, a key or a
//! token that is no good says at the start.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use weir_services::Weir;
use weir_services::certificates::{Authority, Good, Signed};

const BOUND: Duration = Duration::from_secs(60);

const TOKEN: &str = "0123456789abcdef-of-a-test";

const PIPELINE: &str = r"
pipeline: guarded
sources:
  events: { columns: { id: 'int64!' } }
sinks:
  out: { from: events, append: true }
profiles:
  test:
    events: { file: { path: in.jsonl }, format: json }
    out: { file: { path: out/rows.jsonl }, format: json }
    dead_letters: { file: { path: out/dead-letters.jsonl }, format: json }
";

struct Room {
    weir: Weir,
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Room {
    fn new() -> Self {
        let room = Self {
            weir: Weir::find().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            authority: Authority::new("ours").unwrap(),
        };
        std::fs::write(room.path("pipeline.yaml"), PIPELINE).unwrap();
        std::fs::write(room.path("in.jsonl"), "{\"id\":1}\n").unwrap();
        std::fs::write(room.path("ca.pem"), room.authority.pem()).unwrap();
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn signed(&self, name: &str, good: Good) -> Signed {
        let signed = self.authority.sign(&["127.0.0.1", "localhost"], good).unwrap();
        signed.write(self.folder.path(), name).unwrap();
        signed
    }

    /// What `weir run` says of an admin API that it does not start.
    fn refused(&self, admin: &str, certificate: &str, key: &str, token: Option<&str>) -> String {
        let mut command = self.weir.command();
        command.current_dir(self.folder.path()).args(["run", "pipeline.yaml", "--profile", "test", "-q"]);
        command.args(["--admin", admin, "--state", "state"]);
        if !certificate.is_empty() {
            command.args(["--admin-certificate", certificate, "--admin-key", key]);
        }
        said_of_failure(&with_token(&mut command, token).output().unwrap())
    }

    fn ask(&self, arguments: &[&str], token: Option<&str>) -> Output {
        with_token(self.weir.command().current_dir(self.folder.path()).args(arguments), token).output().unwrap()
    }
}

fn with_token<'a>(command: &'a mut Command, token: Option<&str>) -> &'a mut Command {
    match token {
        Some(token) => command.env("WEIR_ADMIN_TOKEN", token),
        None => command.env_remove("WEIR_ADMIN_TOKEN"),
    }
}

fn said_of_failure(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn an_api_beyond_loopback_without_tls_and_token_does_not_start() {
    let room = Room::new();
    room.signed("good", Good::Now);
    let wanted = "Error: admin API on 0.0.0.0:0: beyond loopback it is served with TLS and a token only\n  next: give \
                  --admin-certificate, --admin-key and, in WEIR_ADMIN_TOKEN, a token; or use 127.0.0.1\n";
    for (certificate, token) in [("", None), ("", Some(TOKEN)), ("good.pem", None), ("good.pem", Some(""))] {
        assert_eq!(room.refused("0.0.0.0:0", certificate, "good.key", token), wanted);
    }
    let short = room.refused("127.0.0.1:0", "", "", Some("0123456789abcde"));
    assert!(
        short.starts_with("Error: WEIR_ADMIN_TOKEN: the admin token has 15 bytes, fewer than 16\n  next: "),
        "{short}"
    );
    let spaced = room.refused("127.0.0.1:0", "", "", Some("0123456789 abcdef"));
    assert!(spaced.contains("holds a space"), "{spaced}");
    assert!(!short.contains("0123456789") && !spaced.contains("0123456789"), "the token shows");
    assert!(!room.path("state").exists(), "nothing was begun");
}

#[test]
fn a_certificate_or_key_that_is_no_good_is_refused_with_its_name_and_why() {
    let room = Room::new();
    for (name, good) in [("good", Good::Now), ("other", Good::Now), ("old", Good::Before), ("new", Good::Later)] {
        room.signed(name, good);
    }
    let garbled = std::fs::read_to_string(room.path("good.pem")).unwrap();
    let middle = garbled.len() / 2;
    std::fs::write(room.path("cut.pem"), &garbled[..middle]).unwrap();
    std::fs::write(room.path("garbled.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    std::fs::write(room.path("empty.pem"), "").unwrap();
    std::fs::write(room.path("large.pem"), vec![b'\n'; (1 << 20) + 1]).unwrap();
    std::fs::write(room.path("garbled.key"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    let said = |certificate: &str, key: &str| room.refused("127.0.0.1:0", certificate, key, Some(TOKEN));
    for (certificate, key, why) in [
        ("none.pem", "good.key", "none.pem: No such file"),
        ("empty.pem", "good.key", "empty.pem: holds no certificate\n  next: give a PEM file"),
        ("large.pem", "good.key", "large.pem: more than 1048576 bytes"),
        ("cut.pem", "good.key", "cut.pem: no PEM: "),
        ("garbled.pem", "good.key", "garbled.pem: the certificate cannot be read: "),
        ("old.pem", "old.key", "old.pem: the certificate was good until 2020-01-01T00:00:00Z\n  next: renew"),
        ("new.pem", "new.key", "new.pem: the certificate is good from 2100-01-01T00:00:00Z on\n  next: renew"),
        ("good.pem", "none.key", "none.key: No such file"),
        ("good.pem", "good.pem", "good.pem: holds no private key\n  next: give a PEM file with the private key"),
        ("good.pem", "garbled.key", "garbled.key: the key cannot be used: "),
        (
            "good.pem",
            "other.key",
            "other.key: the key is not the one of the certificate in good.pem\n  next: give the two",
        ),
    ] {
        let said = said(certificate, key);
        assert!(said.starts_with(&format!("Error: admin API: {why}")), "{certificate} {key}: {said}");
        assert!(said.contains("\n  next: "), "{said}");
    }
}

#[test]
fn who_brings_the_token_over_tls_is_let_in_and_nobody_else() {
    let room = Room::new();
    room.signed("good", Good::Now);
    std::fs::write(room.path("strange.pem"), Authority::new("theirs").unwrap().pem()).unwrap();
    let run = room.weir.run("guarded", room.folder.path(), |command| {
        command.current_dir(room.folder.path()).args(["pipeline.yaml", "--profile", "test", "--state", "state"]);
        command.args(["--admin-certificate", "good.pem", "--admin-key", "good.key"]).env("WEIR_ADMIN_TOKEN", TOKEN);
    });
    let mut run = run.unwrap();
    let address = run.admin.strip_prefix("https://").unwrap().to_owned();
    let known = ["--admin", &address, "--ca", "ca.pem"];
    let status = room.ask(&[&["status"], &known[..]].concat(), Some(TOKEN));
    assert!(String::from_utf8_lossy(&status.stdout).starts_with("guarded · profile test"), "{status:?}");
    let by_argument = room.ask(&[&["status", "--token", TOKEN], &known[..]].concat(), None);
    assert!(by_argument.status.success(), "{by_argument:?}");

    let failed = |arguments: &[&str], token| said_of_failure(&room.ask(arguments, token));
    for command in ["status", "stop"] {
        let next = "  next: give the pipeline's token with --token or in WEIR_ADMIN_TOKEN\n";
        let without = failed(&[&[command], &known[..]].concat(), None);
        assert_eq!(without, format!("Error: {address} asks for a token\n{next}"));
        let wrong = failed(&[&[command], &known[..]].concat(), Some("another-token-of-a-test"));
        assert_eq!(wrong, format!("Error: {address} does not take this token\n{next}"));
    }
    let next = "  next: say with --admin how it is reached, and with --ca whose certificates are trusted\n";
    let why = "the server's certificate is of an authority that is not trusted";
    let strange = failed(&["status", "--admin", &address, "--ca", "strange.pem"], Some(TOKEN));
    assert_eq!(strange, format!("Error: {address}: {why}\n{next}"));
    let of_system = failed(&["status", "--admin", &run.admin], Some(TOKEN));
    assert_eq!(of_system, format!("Error: {}: {why}\n{next}", run.admin));
    let plain = failed(&["status", "--admin", &address], Some(TOKEN));
    assert_eq!(
        plain,
        "Error: this port speaks TLS only\n  next: say --admin https://HOST:PORT, and with --ca whose certificates are \
         trusted\n"
    );
    let missing = failed(&["status", "--admin", &address, "--ca", "none.pem"], Some(TOKEN));
    assert!(missing.starts_with("Error: none.pem: No such file"), "{missing}");
    assert!(!run.process.has_ended(), "{}", run.process.log());
    raw_requests(&address, &room.path("ca.pem"));

    let stopped = room.ask(&[&["stop"], &known[..]].concat(), Some(TOKEN));
    assert!(stopped.status.success(), "{stopped:?}");
    run.process.wait_end(BOUND).unwrap();
    assert!(!run.process.log().contains(TOKEN), "the token shows");
}

/// What probes see, and what an answer to one without the token holds.
fn raw_requests(address: &str, authority: &Path) {
    let trust = weir_connectors::tls::trust(Some(authority)).unwrap();
    let config = ureq::Agent::config_builder().tls_config(trust).http_status_as_error(false);
    let agent: ureq::Agent = config.build().into();
    let ask = |path: &str, authorization: &str, host: &str| {
        let request = agent.get(format!("https://{address}{path}")).header("authorization", authorization);
        let mut answer = request.header("host", host).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    };
    assert_eq!(ask("/health", "", "weir.example"), (200, "ok\n".to_owned()));
    let until = Instant::now() + BOUND;
    while ask("/ready", "", "weir.example") != (200, "ready\n".to_owned()) {
        assert_eq!(ask("/ready", "", "weir.example").1, "not ready\n", "why is not for everybody");
        assert!(Instant::now() < until, "not ready in time");
    }
    for path in ["/metrics", "/pipeline", "/nothing"] {
        for authorization in ["", "Bearer", "Bearer ", "Bearer another-token-of-a-test", TOKEN] {
            assert_eq!(ask(path, authorization, "weir.example"), (401, String::new()), "{path} {authorization}");
        }
    }
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(ask("/metrics", &bearer, "weir.example").0, 200);
    assert_eq!(ask("/nothing", &bearer, "weir.example").0, 404);
}

#[test]
fn a_command_that_speaks_tls_to_an_api_without_it_says_so() {
    let room = Room::new();
    let run = room.weir.run("open", room.folder.path(), |command| {
        command.current_dir(room.folder.path()).args(["pipeline.yaml", "--profile", "test", "--state", "state"]);
        command.env_remove("WEIR_ADMIN_TOKEN");
    });
    let run = run.unwrap();
    let said = said_of_failure(&room.ask(&["status", "--admin", &run.admin, "--ca", "ca.pem"], None));
    assert!(
        said.starts_with(&format!("Error: {}: the server speaks no TLS\n  next: say with --admin", run.admin)),
        "{said}"
    );
    let status = room.ask(&["status", "--admin", &run.admin], Some(TOKEN));
    assert!(status.status.success(), "a token that nobody asks for does no harm: {status:?}");
}
