//! The checker checked: each rule is shown a sample that breaks it and one that does not.

use super::source::{code_only, paths_above, paths_below, without_test_modules};
use super::{File, Finding, rules};

fn file(path: &str, text: &str) -> File {
    File {
        path: path.into(),
        text: text.into(),
    }
}

fn lines(findings: &[Finding]) -> Vec<usize> {
    findings.iter().map(|finding| finding.line).collect()
}

#[track_caller]
fn breaks(rule: fn(&[File]) -> Vec<Finding>, path: &str, text: &str, at: &[usize]) {
    assert_eq!(lines(&rule(&[file(path, text)])), at, "{path}: {text}");
}

#[test]
fn the_arrows_of_the_table_are_enforced() {
    let upwards: &[(&str, &str)] = &[
        ("src/units.rs", "use crate::iscsi::Itt;"),
        ("src/iscsi/name.rs", "use crate::scsi::Sense;"),
        ("src/scsi/cdb.rs", "fn f() { crate::volume::g() }"),
        ("src/nbd/wire.rs", "use crate::{units::Lba, config::{Tls}};"),
        ("src/nbd/wire.rs", "use policies::Access;"),
        ("src/config/mod.rs", "use crate::iscsi::name::IscsiName;"),
        ("src/path/mod.rs", "use crate::volume::Volume;"),
        ("src/path/mod.rs", "use crate::nbd::Request;"),
        ("src/volume/mod.rs", "use crate::path::Path;"),
        ("src/volume/split.rs", "use crate::path::{messages::Odd};"),
        ("src/volume/split.rs", "use super::super::nbd::Request;"),
        ("src/volume/split.rs", "use crate::iscsi;"),
        ("src/engine/mod.rs", "use crate::control::Answer;"),
        ("src/control/mod.rs", "use crate::shell::clock;"),
        ("src/path/mod.rs", "use super::shell;"),
        ("src/shell/dial.rs", "use netsim::link;"),
        ("src/bin/iibadm.rs", "fn main() { netsim::demo() }"),
        ("src/extra/mod.rs", ""),
        ("policies/src/view.rs", "use iiblockdaemon::ids::PathId;"),
        (
            "netsim/src/world.rs",
            "use iiblockdaemon::shell::volume_task;",
        ),
        (
            "netsim/src/target/mod.rs",
            "use iiblockdaemon::{ids, shell};",
        ),
    ];
    for (path, text) in upwards {
        breaks(rules::layers, path, text, &[1]);
    }
    let downwards: &[(&str, &str)] = &[
        (
            "src/iscsi/mod.rs",
            "//! See crate::scsi.\nuse crate::units::Lba; use crate::iscsi::pdu;",
        ),
        (
            "src/iscsi/mod.rs",
            "const HELP: &str = \"use crate::scsi::Sense\";",
        ),
        (
            "src/path/mod.rs",
            "use crate::{iscsi::{Session, Event}, scsi, ids::*}; use policies::Access;",
        ),
        (
            "src/volume/mod.rs",
            "use crate::path::message::Command; use crate::path::message;",
        ),
        (
            "src/volume/split.rs",
            "use super::super::units::Lba; use super::table;",
        ),
        (
            "src/engine/mod.rs",
            "use crate::{nbd, path, volume, config};",
        ),
        ("src/shell/mod.rs", "use crate::{engine, control};"),
        ("src/bin/iibadm.rs", "use iiblockdaemon::shell;"),
        (
            "netsim/src/world.rs",
            "use iiblockdaemon::{engine, shell::dial::Dial};",
        ),
        ("netsim/src/demo.rs", "use iiblockdaemon::shell::daemon;"),
        ("tests/golden.rs", "use crate::anything;"),
    ];
    for (path, text) in downwards {
        breaks(rules::layers, path, text, &[]);
    }
}

#[test]
fn a_package_that_depends_upwards_or_escapes_the_lints_is_found() {
    let lints = "[package]\n[lints]\nworkspace = true\n";
    breaks(rules::manifests, "policies/Cargo.toml", lints, &[]);
    breaks(rules::manifests, "policies/Cargo.toml", "[package]\n", &[1]);
    breaks(
        rules::manifests,
        "policies/Cargo.toml",
        &format!("{lints}[dependencies]\na = \"1\""),
        &[1],
    );
    breaks(
        rules::manifests,
        "Cargo.toml",
        &format!("{lints}[dependencies]\nnetsim = \"1\""),
        &[1],
    );
    breaks(
        rules::manifests,
        "Cargo.toml",
        &format!("{lints}[dev-dependencies]\nnetsim = \"1\""),
        &[],
    );
}

#[test]
fn a_core_that_touches_the_world_is_found() {
    for text in [
        "async fn f() {}",
        "use tokio::time;",
        "use std::net::{IpAddr, TcpStream};",
        "fn f() { std::thread::spawn(g); }",
        "fn f() -> Instant { Instant::now() }",
        "fn f() { getrandom::fill(b) }",
    ] {
        breaks(rules::cores, "src/path/mod.rs", text, &[1]);
        breaks(rules::cores, "netsim/src/world.rs", text, &[1]);
        breaks(rules::cores, "policies/src/lib.rs", text, &[1]);
        breaks(rules::cores, "src/shell/clock.rs", text, &[]);
        breaks(rules::cores, "netsim/src/proxy.rs", text, &[]);
        breaks(rules::cores, "src/path/tests.rs", text, &[]);
        let in_test =
            format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{\n mod inner {{}}\n{text}\n}}\n");
        breaks(rules::cores, "src/path/mod.rs", &in_test, &[]);
        let after = format!("{in_test}{text}");
        breaks(rules::cores, "src/path/mod.rs", &after, &[7]);
    }
    breaks(
        rules::cores,
        "src/path/mod.rs",
        "let us = nix::unistd::geteuid();",
        &[1],
    );
    breaks(
        rules::cores,
        "src/path/mod.rs",
        "// tokio\nuse std::net::IpAddr; fn asynchronous() {}",
        &[],
    );
}

#[test]
fn a_wire_module_that_may_index_is_found() {
    let modules = "pub mod cdb;";
    breaks(rules::wire_modules, "src/scsi/mod.rs", modules, &[1]);
    let denied = format!("#![deny(clippy::indexing_slicing)]\n{modules}");
    breaks(rules::wire_modules, "src/scsi/mod.rs", &denied, &[]);
    breaks(rules::wire_modules, "src/path/mod.rs", modules, &[]);
}

#[test]
fn an_unbiased_select_is_found() {
    breaks(
        rules::selects,
        "src/shell/a.rs",
        "tokio::select! {\n biased;\n x = y => {} }",
        &[],
    );
    breaks(
        rules::selects,
        "src/shell/a.rs",
        "\ntokio::select! { x = y => {} }",
        &[2],
    );
}

#[test]
fn a_sleeping_test_is_found() {
    let sleep = concat!("std::thread::", "sleep(d);");
    breaks(rules::sleeps, "src/path/tests.rs", sleep, &[1]);
    breaks(rules::sleeps, "tests/session.rs", sleep, &[1]);
    breaks(rules::sleeps, "tests/interop.rs", sleep, &[]);
}

#[test]
fn long_files_and_lines_are_found() {
    let long = "x".repeat(111);
    breaks(rules::lengths, "src/a.rs", &long, &[1]);
    breaks(rules::lengths, "src/a.rs", &"x".repeat(110), &[]);
    breaks(rules::lengths, "src/a.rs", &format!("/// | {long} |"), &[]);
    breaks(
        rules::lengths,
        "src/a.rs",
        &format!("// https://example.org/{long}"),
        &[],
    );
    breaks(rules::lengths, "docs/a.md", &long, &[]);
    breaks(rules::lengths, "src/a.rs", &format!("f(\"{long}\")"), &[]);
    breaks(rules::lengths, "tests/run", &format!("f \"{long}\""), &[1]);
    breaks(
        rules::lengths,
        "src/a.rs",
        &format!("row(a,   {long}),"),
        &[],
    );
    breaks(rules::lengths, "src/a.rs", &format!("// a  {long}"), &[1]);
    breaks(rules::lengths, "src/a.rs", &"x\n".repeat(600), &[]);
    breaks(rules::lengths, "src/a.rs", &"x\n".repeat(601), &[601]);
    breaks(rules::lengths, "src/a/tests.rs", &"x\n".repeat(601), &[]);
}

#[test]
fn leftovers_are_found_in_every_kind_of_file() {
    for mark in [
        concat!("to", "do!()"),
        concat!("// FIX", "ME: later"),
        concat!("#[ig", "nore = \"slow\"]"),
    ] {
        breaks(rules::leftovers, "src/a.rs", &format!("\n{mark}"), &[2]);
        breaks(rules::leftovers, "docs/a.md", mark, &[1]);
    }
    breaks(
        rules::leftovers,
        "src/a.rs",
        "fn todo_list() {} // hackneyed",
        &[],
    );
}

#[test]
fn folders_of_a_machine_are_found() {
    let home = concat!("/ho", "me/ann/x");
    breaks(
        rules::machine_paths,
        "tests/run",
        &format!("cd {home}"),
        &[1],
    );
    breaks(
        rules::machine_paths,
        "README.md",
        &format!("see `{home}`"),
        &[1],
    );
    breaks(
        rules::machine_paths,
        "README.md",
        &format!("https://example.org{home}"),
        &[],
    );
}

#[test]
fn comments_and_literals_are_no_code() {
    let text =
        "a // b\nc /* d /* e */ f */ g \"h\\\" i\" j 'k' l<'m> r#\"n\"o\"# p b\"q\" s '\\'' t";
    let code: Vec<String> = code_only(text)
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(code, ["a", "c", "g", "j", "l<'m>", "p", "s", "t"]);
    assert_eq!(code_only(text).matches('\n').count(), 1);
    assert_eq!(code_only("for x in bar\"y\""), "for x in bar   ");
}

#[test]
fn use_groups_expand_to_every_path() {
    let named = |code: &str| -> Vec<String> {
        paths_below(code, "crate")
            .iter()
            .map(|named| named.segments.join("::"))
            .collect()
    };
    assert_eq!(
        named("use crate::{a, b::{c, d::e as f}, g::*};"),
        ["a", "b::c", "b::d::e", "g"]
    );
    assert_eq!(
        named("let x = crate::a::B { c: crate::d::e() };"),
        ["a::B", "d::e"]
    );
    assert_eq!(named("mycrate::a; crate_b::c"), Vec::<String>::new());
    let above: Vec<_> = paths_above("use super::super::{x::Y}; use super::z;", 2);
    assert_eq!(above.len(), 1);
    assert_eq!(above[0].segments, ["x", "Y"]);
}

#[test]
fn only_test_modules_are_blanked() {
    let code = "a\n#[cfg(test)]\nmod tests { b { c } }\nd\n#[cfg(test)]\nmod t;\ne";
    assert_eq!(
        without_test_modules(code)
            .split_whitespace()
            .collect::<Vec<_>>(),
        ["a", "d", "e"]
    );
}
