use std::path::Path as FilePath;

use super::super::tests::{EVERY_KEY, LAYERED, USUAL, no_secrets};
use super::*;

const FILE: &str = "/etc/iiblockdaemon/multipath.toml";

fn effective(text: &str) -> Effective {
    match Effective::parse(text, FilePath::new(FILE), &no_secrets()) {
        Ok(effective) => effective,
        Err(errors) => panic!("{errors}"),
    }
}

/// The line of a key in what is shown.
fn line<'a>(shown: &'a str, key: &str) -> &'a str {
    let begins = |line: &&str| line.starts_with(&format!("{key} ="));
    let found = shown.lines().find(begins);
    found.unwrap_or_else(|| panic!("no {key} in\n{shown}"))
}

#[test]
fn what_is_shown_is_the_same_configuration() {
    for text in [USUAL, EVERY_KEY, LAYERED] {
        let first = effective(text);
        for all in [false, true] {
            let shown = first.text(FilePath::new(FILE), all);
            assert_eq!(effective(&shown).config, first.config, "{shown}");
        }
    }
}

#[test]
fn every_value_names_its_origin() {
    let shown = effective(LAYERED).text(FilePath::new("m.toml"), true);
    for (key, value, origin) in [
        ("name", "\"db\"", "m.toml:17"),
        ("shared", "false", "built-in"),
        ("quiesce", "\"50s\"", "m.toml:6 in [defaults]"),
        ("detect.network", "\"900ms\"", "m.toml:10 in [profile.slow]"),
        ("detect.command", "\"40s\"", "m.toml:7 in [defaults]"),
        ("detect.target", "\"6s\"", "m.toml:23"),
        ("stop_timeout", "\"20s\"", "m.toml:22"),
    ] {
        let found = line(&shown, key);
        let expected = format!("{key} = {value}");
        assert!(found.starts_with(&expected), "{found}, not {expected}");
        let comment = found.rsplit_once("# ").unwrap().1;
        assert_eq!(comment, origin, "{found}");
    }
    assert!(
        shown.contains("[[volume]]  # with [profile.slow]\n"),
        "{shown}"
    );
}

#[test]
fn only_what_is_written_is_shown_unless_all_is_asked_for() {
    let effective = effective(USUAL);
    let written = effective.text(FilePath::new("m.toml"), false);
    let all = effective.text(FilePath::new("m.toml"), true);
    assert!(!written.contains("built-in") && !written.contains("detect"));
    assert!(!written.contains("weight"), "{written}");
    assert!(line(&all, "detect.network").ends_with("# built-in"));
    assert!(all.contains("weight = 1"), "{all}");
}
