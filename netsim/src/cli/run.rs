//! `netsim run`: scenarios from files.

use std::path::PathBuf;

use anyhow::bail;
use netsim::recording::Recording;
use netsim::scenario::{self, Played, Scenario};
use netsim::world::Detail;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scenario files, or folders of them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Only say what they are about.
    #[arg(long)]
    list: bool,
    /// Another seed than the file's.
    #[arg(long)]
    seed: Option<u64>,
    /// Show what happened, line by line.
    #[arg(long)]
    timeline: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let scenarios = load(arguments)?;
    if arguments.list {
        for scenario in &scenarios {
            println!(
                "{}\n    {}\n",
                scenario.name,
                scenario.about.replace('\n', "\n    ")
            );
        }
        return Ok(());
    }
    let detail = if arguments.timeline {
        Detail::Events
    } else {
        Detail::Nothing
    };
    let mut failed = Vec::new();
    for scenario in &scenarios {
        let played = scenario.play(detail);
        show(&played);
        if !played.passed() {
            failed.push(scenario.name.as_str());
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!(
        "{} of {} scenarios failed: {}",
        failed.len(),
        scenarios.len(),
        failed.join(", ")
    )
}

/// All of them, or the mistakes of all of them.
fn load(arguments: &Arguments) -> anyhow::Result<Vec<Scenario>> {
    let (mut scenarios, mut mistakes) = (Vec::new(), Vec::new());
    for path in &arguments.files {
        for file in scenario::find(path)? {
            match scenario::load(&file) {
                Ok(scenario) => scenarios.push(scenario),
                Err(found) => mistakes.push(found.to_string()),
            }
        }
    }
    if !mistakes.is_empty() {
        bail!("no scenario was played:\n{}", mistakes.join("\n"));
    }
    if let Some(seed) = arguments.seed {
        for scenario in &mut scenarios {
            scenario.seed = seed;
        }
    }
    Ok(scenarios)
}

fn show(played: &Played) {
    for entry in &played.timeline {
        println!("{entry}");
    }
    println!("{}", table(&played.recording));
}

fn table(recording: &Recording) -> String {
    let verdict = |passed: bool| if passed { "ok  " } else { "FAIL" };
    let rows = recording.criteria.iter().map(|criterion| {
        format!(
            "  {}  {}: {}\n",
            verdict(criterion.passed),
            criterion.demand,
            criterion.seen
        )
    });
    format!(
        "{} (seed {}, {:.1} s of {} time, {} requests)\n{}",
        recording.name,
        recording.seed,
        recording.lasted.as_secs_f64(),
        if recording.simulated {
            "virtual"
        } else {
            "real"
        },
        recording.ios.len(),
        rows.collect::<String>()
    )
}
