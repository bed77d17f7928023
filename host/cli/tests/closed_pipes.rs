//! What becomes of a command whose reader has gone.

#![cfg(unix)]

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

#[test]
fn a_command_that_only_prints_ends_in_silence_when_nobody_reads() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = Command::new(env!("CARGO_BIN_EXE_weir")).arg("schema").stdout(writer).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    assert_eq!(ended.status.signal(), Some(libc::SIGPIPE), "{:?}", ended.status);
}
