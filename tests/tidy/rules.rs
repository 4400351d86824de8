//! The rules and their tables.

use super::source::{
    Named, code_only, line_of, paths_above, paths_below, without_literals, without_test_modules,
    words,
};
use super::{File, Finding};

/// Row 1 of the architecture: vocabulary that everything may name.
const BASE: &[&str] = &[
    "units",
    "ids",
    "limits",
    "deadline",
    "payload",
    "out_queue",
    "task",
    "errno",
    "sabotage",
];

/// A module of the root library, the modules that it may name besides itself and [`BASE`], and whether it
/// may name the `policies` package.
struct Layer {
    module: &'static str,
    may_name: &'static [&'static str],
    policies: bool,
}

/// `docs/ARCHITECTURE.md`, the arrows. A module that is not listed here may not exist.
const LAYERS: &[Layer] = &[
    Layer {
        module: "iscsi",
        may_name: &[],
        policies: false,
    },
    Layer {
        module: "scsi",
        may_name: &[],
        policies: false,
    },
    Layer {
        module: "nbd",
        may_name: &[],
        policies: false,
    },
    Layer {
        module: "config",
        may_name: &[],
        policies: true,
    },
    Layer {
        module: "path",
        may_name: &["iscsi", "scsi"],
        policies: true,
    },
    Layer {
        module: "volume",
        may_name: &["path::message", "scsi"],
        policies: true,
    },
    Layer {
        module: "engine",
        may_name: ROWS_2_TO_4,
        policies: true,
    },
    Layer {
        module: "control",
        may_name: ROWS_2_TO_4,
        policies: true,
    },
    Layer {
        module: "shell",
        may_name: ROWS_2_TO_5,
        policies: true,
    },
];

const ROWS_2_TO_4: &[&str] = &["iscsi", "scsi", "nbd", "config", "path", "volume"];
const ROWS_2_TO_5: &[&str] = &[
    "iscsi", "scsi", "nbd", "config", "path", "volume", "engine", "control",
];

/// Parts of netsim that move real bytes, drive a core by the clock or start the real daemon: only they may
/// be asynchronous or name the shell beyond `shell::dial`.
const NETSIM_SHELLS: &[&str] = &[
    "stream",
    "proxy",
    "nbd_client",
    "workload",
    "swarm",
    "compare",
    "clock",
    "demo",
    "live",
    "cli",
    "main",
    "bin",
];

/// What only a shell may name, and why.
const SHELL_ONLY: &[(&str, &str)] = &[
    ("async", "cores are synchronous"),
    ("await", "cores are synchronous"),
    ("tokio", "the runtime belongs to the shell"),
    ("futures", "the runtime belongs to the shell"),
    ("socket2", "sockets belong to the shell"),
    ("nix", "system calls belong to the shell"),
    ("TcpStream", "sockets belong to the shell"),
    ("TcpListener", "sockets belong to the shell"),
    ("UdpSocket", "sockets belong to the shell"),
    ("UnixStream", "sockets belong to the shell"),
    ("UnixListener", "sockets belong to the shell"),
    ("ToSocketAddrs", "name resolution belongs to the shell"),
    ("thread", "threads belong to the shell"),
    ("Instant::now", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("getrandom", "entropy is an argument"),
];

/// Modules that parse what a peer sent: they may not index.
const WIRE_MODULES: &[&str] = &["src/iscsi/pdu/mod.rs", "src/scsi/mod.rs", "src/nbd/mod.rs"];

const SOURCE_LINES_MAX: usize = 600;
const TEST_LINES_MAX: usize = 1000;
const LINE_CHARS_MAX: usize = 110;

fn is_rust(file: &File) -> bool {
    file.path.ends_with(".rs")
}

/// Whether the whole file is test code.
fn is_test(file: &File) -> bool {
    let path = &file.path;
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
}

/// The top-level module of a file of the root library; `None` for `lib.rs`, programs and other packages.
fn module_of(file: &File) -> Option<&str> {
    let inside = file.path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let module = inside.split('/').next()?;
    (module != "lib" && module != "bin" && module != "main").then_some(module)
}

/// How many levels below the crate root the module of a file stands.
fn depth_of(file: &File) -> usize {
    let inside = file.path.trim_start_matches("src/").trim_end_matches(".rs");
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    inside.split('/').count()
}

/// Arrows between the modules of the root library, and from it and netsim to other packages.
pub(crate) fn layers(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|f| is_rust(f)) {
        let code = code_only(&file.text);
        if file.path.starts_with("src/") {
            for at in words(&code, "netsim") {
                findings.push(Finding::new(
                    file,
                    line_of(&code, at),
                    "nothing under src/ names netsim",
                ));
            }
        }
        if file.path.starts_with("policies/src/") {
            for at in words(&code, "iiblockdaemon").chain(words(&code, "netsim")) {
                findings.push(Finding::new(
                    file,
                    line_of(&code, at),
                    "policies depends on nothing",
                ));
            }
        }
        if let Some(path) = file.path.strip_prefix("netsim/src/") {
            findings.extend(netsim_names(file, path, &code));
        }
        if let Some(module) = module_of(file) {
            findings.extend(module_names(file, module, &code));
        }
    }
    findings
}

fn netsim_names(file: &File, path: &str, code: &str) -> Vec<Finding> {
    let part = path.split(['/', '.']).next().unwrap_or(path);
    if NETSIM_SHELLS.contains(&part) {
        return Vec::new();
    }
    paths_below(code, "iiblockdaemon")
        .into_iter()
        .filter(|named| {
            named.segments.first().is_some_and(|s| s == "shell")
                && named.segments.get(1).is_none_or(|s| s != "dial")
        })
        .map(|named| {
            Finding::new(
                file,
                named.line,
                "of the shell, netsim names shell::dial only",
            )
        })
        .collect()
}

fn module_names(file: &File, module: &str, code: &str) -> Vec<Finding> {
    let is_base = BASE.contains(&module);
    let layer = LAYERS.iter().find(|layer| layer.module == module);
    let (may_name, policies) = match layer {
        Some(layer) => (layer.may_name, layer.policies),
        None if is_base => (&[][..], true),
        None => {
            let what =
                format!("module `{module}` is not in the layer table of tests/tidy/rules.rs");
            return vec![Finding::new(file, 1, what)];
        }
    };
    let mut findings = Vec::new();
    let mut named = paths_below(code, "crate");
    named.extend(paths_above(code, depth_of(file)));
    for path in named {
        if !may(module, may_name, &path) {
            let to = path.segments.join("::");
            let what = format!("`{module}` may not name `{to}` (docs/ARCHITECTURE.md, arrows)");
            findings.push(Finding::new(file, path.line, what));
        }
    }
    for at in words(code, "policies").filter(|_| !policies) {
        let what = format!("`{module}` may not name `policies` (docs/ARCHITECTURE.md, arrows)");
        findings.push(Finding::new(file, line_of(code, at), what));
    }
    findings
}

fn may(module: &str, may_name: &[&str], path: &Named) -> bool {
    let Some(first) = path.segments.first() else {
        return true;
    };
    let known = BASE.contains(&first.as_str()) || LAYERS.iter().any(|l| l.module == first);
    let to = path.segments.join("::");
    !known
        || first == module
        || BASE.contains(&first.as_str())
        || may_name
            .iter()
            .any(|allowed| to == *allowed || to.starts_with(&format!("{allowed}::")))
}

/// Dependencies between the packages.
pub(crate) fn manifests(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|f| f.path.ends_with("Cargo.toml")) {
        let manifest: toml::Table = match file.text.parse() {
            Ok(manifest) => manifest,
            Err(error) => {
                findings.push(Finding::new(file, 1, error.to_string()));
                continue;
            }
        };
        let has = |table: &str, key: &str| {
            manifest
                .get(table)
                .and_then(|t| t.as_table())
                .is_some_and(|t| t.contains_key(key))
        };
        let lints = manifest
            .get("lints")
            .and_then(|l| l.get("workspace"))
            .and_then(toml::Value::as_bool);
        if manifest.contains_key("package") && lints != Some(true) {
            findings.push(Finding::new(file, 1, "[lints] workspace = true is missing"));
        }
        if file.path == "Cargo.toml" && has("dependencies", "netsim") {
            findings.push(Finding::new(
                file,
                1,
                "the root names netsim as a dev-dependency only",
            ));
        }
        let own = manifest
            .get("dependencies")
            .and_then(|d| d.as_table())
            .is_some_and(|d| !d.is_empty());
        if file.path == "policies/Cargo.toml" && own {
            findings.push(Finding::new(file, 1, "policies depends on nothing"));
        }
    }
    findings
}

/// Sockets, tasks, clocks and entropy outside the shells; test modules are free.
pub(crate) fn cores(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|f| is_rust(f) && !is_test(f)) {
        let core = match (module_of(file), file.path.strip_prefix("netsim/src/")) {
            (Some(module), _) => module != "shell",
            (None, Some(inside)) => {
                let part = inside.split(['/', '.']).next().unwrap_or(inside);
                !NETSIM_SHELLS.contains(&part) && inside != "target/server.rs"
            }
            (None, None) => file.path.starts_with("policies/src/"),
        };
        if !core {
            continue;
        }
        let code = without_test_modules(&code_only(&file.text));
        for (word, why) in SHELL_ONLY {
            for at in words(&code, word) {
                findings.push(Finding::new(
                    file,
                    line_of(&code, at),
                    format!("`{word}`: {why}"),
                ));
            }
        }
    }
    findings
}

/// Wire input never panics: see [`WIRE_MODULES`].
pub(crate) fn wire_modules(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files
        .iter()
        .filter(|f| WIRE_MODULES.contains(&f.path.as_str()))
    {
        let code = code_only(&file.text);
        let denies = code.contains("#![deny(") && code.contains("clippy::indexing_slicing");
        if words(&code, "mod").next().is_some() && !denies {
            findings.push(Finding::new(
                file,
                1,
                "#![deny(clippy::indexing_slicing)] is missing",
            ));
        }
    }
    findings
}

/// `select!` is always biased: its order is a decision.
pub(crate) fn selects(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|f| is_rust(f)) {
        let code = code_only(&file.text);
        for at in words(&code, "select") {
            let Some(body) = code[at + "select".len()..].strip_prefix('!') else {
                continue;
            };
            let body = body
                .trim_start()
                .trim_start_matches(['{', '('])
                .trim_start();
            if !body.starts_with("biased;") {
                findings.push(Finding::new(
                    file,
                    line_of(&code, at),
                    "select! begins with `biased;`",
                ));
            }
        }
    }
    findings
}

/// Only interop may wait on the wall clock.
pub(crate) fn sleeps(files: &[File]) -> Vec<Finding> {
    let free = |file: &File| {
        file.path.starts_with("tests/interop") || file.path.starts_with("tests/support/")
    };
    let mut findings = Vec::new();
    for file in files
        .iter()
        .filter(|f| is_rust(f) && is_test(f) && !free(f))
    {
        let code = code_only(&file.text);
        for at in words(&code, "thread::sleep") {
            findings.push(Finding::new(
                file,
                line_of(&code, at),
                "no test waits on the wall clock",
            ));
        }
    }
    findings
}

/// Lengths of files and lines. Tables, addresses and the contents of string literals may be longer.
pub(crate) fn lengths(files: &[File]) -> Vec<Finding> {
    let ends = [".rs", ".py", ".sh", "/run", "tests/licences"];
    let mut findings = Vec::new();
    for file in files
        .iter()
        .filter(|f| ends.iter().any(|end| f.path.ends_with(end)))
    {
        let lines = file.text.lines().count();
        let most = if is_test(file) {
            TEST_LINES_MAX
        } else {
            SOURCE_LINES_MAX
        };
        if lines > most {
            let what = format!("{lines} lines, at most {most}: is it still one thing?");
            findings.push(Finding::new(file, lines, what));
        }
        let text = if is_rust(file) {
            &without_literals(&file.text)
        } else {
            &file.text
        };
        for (line, text) in (1..).zip(text.lines()) {
            let chars = text.chars().count();
            if chars > LINE_CHARS_MAX && !is_table(text) && !text.contains("://") {
                let what = format!("{chars} characters, at most {LINE_CHARS_MAX}");
                findings.push(Finding::new(file, line, what));
            }
        }
    }
    findings
}

/// A row of a table in a comment, or of one in code, its columns aligned by hand.
fn is_table(line: &str) -> bool {
    let inside = line.trim_start_matches(['/', '!', '#', ' ']);
    inside.starts_with('|') || (!line.trim_start().starts_with('/') && inside.contains("  "))
}

/// Unfinished work and disabled tests.
pub(crate) fn leftovers(files: &[File]) -> Vec<Finding> {
    // Put together here, so that this file does not find itself.
    let marks = [
        concat!("to", "do!("),
        concat!("unim", "plemented!("),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("HA", "CK"),
        concat!("#[ig", "nore"),
    ];
    let mut findings = Vec::new();
    for file in files
        .iter()
        .filter(|f| f.path != "Cargo.lock" && !f.path.ends_with(".pdus"))
    {
        for (line, text) in (1..).zip(file.text.lines()) {
            for mark in marks.iter().filter(|mark| text.contains(**mark)) {
                findings.push(Finding::new(
                    file,
                    line,
                    format!("`{mark}`: do it or leave it out"),
                ));
            }
        }
    }
    findings
}

/// Folders of a build machine.
pub(crate) fn machine_paths(files: &[File]) -> Vec<Finding> {
    let marks = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/fa", "rm/"),
    ];
    let mut findings = Vec::new();
    for file in files {
        for (line, text) in (1..).zip(file.text.lines()) {
            for mark in marks {
                let absolute = text.match_indices(mark).any(|(at, _)| {
                    !text[..at].ends_with(|c: char| c.is_alphanumeric() || ".}_-".contains(c))
                });
                if absolute {
                    findings.push(Finding::new(
                        file,
                        line,
                        format!("`{mark}`: a path of one machine"),
                    ));
                }
            }
        }
    }
    findings
}
