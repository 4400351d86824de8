//! The places that the documentation names are there.

use std::collections::BTreeSet;
use std::fs;

/// The modules of `src/NAME`.
fn modules(name: &str) -> BTreeSet<String> {
    let files = fs::read_dir(super::page("src").join(name)).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let names = names.map(|name| name.trim_end_matches(".rs").to_owned());
    names
        .filter(|name| name != "mod" && name != "tests")
        .collect()
}

/// The words that docs/ARCHITECTURE.md has for `src/NAME`, without remarks in parentheses.
fn named(name: &str) -> BTreeSet<String> {
    let page = super::text("docs/ARCHITECTURE.md");
    let (_, rest) = page.split_once(&format!("\n  {name}/ ")).unwrap();
    let lines = rest.lines().enumerate();
    let own = lines.take_while(|(index, line)| *index == 0 || line.starts_with("      "));
    let text: String = own.map(|(_, line)| format!("{line} ")).collect();
    let outside = text.split('(').map(|part| part.rsplit(')').next().unwrap());
    outside
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_architecture_names_every_module_of_the_failover_and_no_other() {
    for name in ["path", "volume", "engine"] {
        let (there, named) = (modules(name), named(name));
        let missing: Vec<_> = there.difference(&named).collect();
        let stale: Vec<_> = named.difference(&there).collect();
        assert!(
            missing.is_empty() && stale.is_empty(),
            "docs/ARCHITECTURE.md, {name}/: not named: {missing:?}; not there: {stale:?}"
        );
    }
}

/// `src/a/b.rs`, `netsim/tests/{a,b}.rs`, `tests/support` and the like, in backticks.
#[test]
fn files_that_are_named_are_there() {
    let pages = fs::read_dir(super::page("docs")).unwrap();
    let pages = pages.map(|page| format!("docs/{}", page.unwrap().file_name().display()));
    let pages = pages.filter(|page| page.ends_with(".md"));
    for page in pages.chain(["README.md".to_owned()]) {
        let text = super::text(&page);
        let roots = [
            "src/",
            "netsim/",
            "tests/",
            "docs/",
            "policies/",
            "benches/",
        ];
        let quoted = text.split('`').skip(1).step_by(2);
        let places = quoted.filter(|quoted| roots.iter().any(|root| quoted.starts_with(root)));
        for place in places.flat_map(expand) {
            let place = place.split([' ', '*']).next().unwrap();
            let file = super::page(place);
            let is_there = file.exists() || file.with_extension("rs").exists();
            assert!(is_there, "{page} names {place}, which is not there");
        }
    }
}

/// `a{b,c}` is `ab` and `ac`.
fn expand(place: &str) -> Vec<String> {
    let Some((before, rest)) = place.split_once('{') else {
        return vec![place.to_owned()];
    };
    let (choices, after) = rest.split_once('}').unwrap();
    let choices = choices.split(',');
    choices
        .map(|choice| format!("{before}{choice}{after}"))
        .collect()
}
