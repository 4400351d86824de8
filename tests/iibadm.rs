//! The administrator's tool as a program: what it prints and how it exits.

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

const THREE_MISTAKES: &str = r#"
[daemon]
initiator_name = "iqn.2026-11.com.example:db1"

[[volume]]
name = "db"
target = "iqn.2003-01.com.example:array1"
lun = 1
expotr = { nbd = "unix:/run/iiblockdaemon/db.sock" }
no_path = { queue = 300 }
paths = [{ portal = "10.0.1.10" }, { portal = "10.0.1.10:3260" }]
"#;

fn iibadm(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iibadm"));
    command.args(arguments).output().expect("iibadm runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("iibadm prints UTF-8")
}

fn check(content: &str) -> (Output, String) {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("multipath.toml");
    fs::write(&file, content).expect("the file is written");
    let name = file.to_str().expect("a UTF-8 path").to_owned();
    (iibadm(&["config", "check", &name]), name)
}

#[test]
fn every_mistake_is_a_line_with_file_line_key_and_advice() {
    let (output, name) = check(THREE_MISTAKES);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let lines: Vec<&str> = text(&output.stderr).lines().collect();
    let expected = [
        ":9: volume.db.expotr: unknown key; did you mean \"export\"?; known here: ",
        ":10: volume.db.no_path.queue: expected a string in quotes, found a number",
        ":11: volume.db.paths[1]: this is the same path as volume.db.paths[0]; ",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(&format!("{name}{expected}")), "{line}");
    }
}

#[test]
fn the_values_that_hold_are_shown_with_their_origins() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("multipath.toml");
    let good = THREE_MISTAKES
        .replace("expotr", "export")
        .replace("300", "\"300s\"")
        .replace(", { portal = \"10.0.1.10:3260\" }", "");
    fs::write(&file, format!("{good}[defaults]\nshared = true\n")).expect("it is written");
    let name = file.to_str().expect("a UTF-8 path");
    let output = iibadm(&["config", "show", "--effective", name]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key));
    let ends = |key: &str, end: &str| line(key).is_some_and(|line| line.ends_with(end));
    assert!(ends("no_path", &format!("# {name}:10")), "{shown}");
    assert!(
        ends("shared = true", &format!("# {name}:13 in [defaults]")),
        "{shown}"
    );
    assert!(ends("detect.network = \"700ms\"", "# built-in"), "{shown}");
    let output = iibadm(&["config", "show", name]);
    assert!(!text(&output.stdout).contains("built-in"));
}

#[test]
fn a_good_file_is_summed_up() {
    let good = THREE_MISTAKES
        .replace("expotr", "export")
        .replace("300", "\"300s\"")
        .replace(", { portal = \"10.0.1.10:3260\" }", "");
    let (output, name) = check(&good);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let expected = format!(
        "{name}: no mistakes\n  \
           db: unix:/run/iiblockdaemon/db.sock, latency-aware, failback after 30s, hedge 1%\n    \
             10.0.1.10:3260, iqn.2003-01.com.example:array1 LUN 1\n"
    );
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn without_a_daemon_status_says_where_it_looked() {
    let output = iibadm(&["status", "--socket", "/nowhere/control.sock"]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(
        message.starts_with("no daemon answers at /nowhere/control.sock: "),
        "{message}"
    );
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    assert_eq!(iibadm(&["statsu"]).status.code(), Some(2));
}
