//! `netsim compare-policies`: every selector in the same trouble.

use netsim::compare;

use super::say;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// As data.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// As the tables of docs/policies.md.
    #[arg(long)]
    markdown: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runs = compare::compare()?;
    let shown = match (arguments.json, arguments.markdown) {
        (true, _) => compare::json(&runs),
        (_, true) => compare::markdown(&runs),
        _ => compare::text(&runs),
    };
    Ok(say(shown.trim_end())?)
}
