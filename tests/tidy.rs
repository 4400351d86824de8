//! The rules of `docs/ARCHITECTURE.md` and of the house style that neither rustc nor clippy checks, as data.
//!
//! Every rule is a function from files to findings, so that the tests below can show each one a bad sample
//! and see it fail.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/samples.rs"]
mod samples;
#[path = "tidy/source.rs"]
mod source;

/// A file of the repository: its path from the root, with forward slashes, and its text.
struct File {
    path: String,
    text: String,
}

/// A broken rule: where, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Finding {
    fn new(file: &File, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: file.path.clone(),
            line,
            what: what.into(),
        }
    }
}

/// Every text file of the repository, in a fixed order, without what a build or git leaves there.
fn repository() -> Vec<File> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(&root, &root, &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let entry = entry.expect("an entry of the folder");
        let (path, name) = (entry.path(), entry.file_name());
        if name == "target" || name == ".git" || name == "corpus" || name == "__pycache__" {
            continue;
        }
        let kind = entry.file_type().expect("its type");
        if kind.is_dir() {
            walk(root, &path, files);
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(&path)
        {
            let path = path
                .strip_prefix(root)
                .expect("below the root")
                .to_string_lossy()
                .into_owned();
            files.push(File { path, text });
        }
    }
}

fn assert_none(findings: &[Finding]) {
    let list: Vec<String> = findings
        .iter()
        .map(|f| format!("{}:{}: {}", f.path, f.line, f.what))
        .collect();
    assert!(
        list.is_empty(),
        "{} findings:\n{}",
        list.len(),
        list.join("\n")
    );
}

#[test]
fn a_lower_layer_never_names_a_higher_one_and_siblings_never_each_other() {
    let files = repository();
    assert!(
        files.iter().any(|f| f.path == "src/lib.rs"),
        "the walk found the sources"
    );
    assert_none(&rules::layers(&files));
}

#[test]
fn packages_depend_only_downwards() {
    assert_none(&rules::manifests(&repository()));
}

#[test]
fn cores_know_no_socket_task_clock_or_entropy() {
    assert_none(&rules::cores(&repository()));
}

#[test]
fn modules_that_read_the_wire_deny_indexing() {
    assert_none(&rules::wire_modules(&repository()));
}

#[test]
fn every_select_is_biased() {
    assert_none(&rules::selects(&repository()));
}

#[test]
fn no_test_but_interop_waits_on_the_wall_clock() {
    assert_none(&rules::sleeps(&repository()));
}

#[test]
fn files_and_lines_stay_short() {
    assert_none(&rules::lengths(&repository()));
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    assert_none(&rules::leftovers(&repository()));
}

#[test]
fn no_file_names_a_folder_of_the_machine_it_was_written_on() {
    assert_none(&rules::machine_paths(&repository()));
}
