//! Prometheus' own checker.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

/// Runs promtool, giving it `input`; what it said, if it was content.
pub fn promtool(arguments: &[&str], input: &str) -> String {
    let child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is missing: apt-get install prometheus (tests/run does)");
    child.stdin.as_ref().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "promtool {arguments:?}:\n{said}");
    said
}
