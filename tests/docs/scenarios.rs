//! The worked example of docs/scenarios.md, with what comes of it.

use std::fs;
use std::path::Path;

use netsim::report;
use netsim::scenario::Scenario;
use netsim::world::Detail;

use super::verdicts::replaced;

const PAGE: &str = "docs/scenarios.md";

/// The demands that `netsim run` prints.
#[test]
fn the_worked_example_meets_its_demands_as_the_page_shows() {
    let page = super::text(PAGE);
    let (_, file) = page.split_once("```toml\n").unwrap();
    let (file, _) = file.split_once("```\n").unwrap();
    let scenario = Scenario::parse(file, Path::new("example.toml"));
    let played = scenario.unwrap().play(Detail::Nothing);
    assert!(played.passed());
    let text = report::text(&played.recording);
    let demands = text.lines().filter(|line| line.starts_with("pass  "));
    let demands: Vec<&str> = demands.collect();
    let shown = format!("```text\n{}\n```\n", demands.join("\n"));
    let fresh = replaced(&page, "example", &shown);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(super::page(PAGE), &fresh).unwrap();
    } else {
        assert!(
            page == fresh,
            "{PAGE} is stale; run: UPDATE_DOCS=1 cargo test --test docs"
        );
    }
}
