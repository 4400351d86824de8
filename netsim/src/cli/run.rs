//! `netsim run`: scenarios from files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use netsim::live;
use netsim::recording::Recording;
use netsim::report;
use netsim::scenario::{self, Played, Scenario};
use netsim::world::Detail;

use super::folder::Folder;
use super::{asked_to_end, say};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scenario files, or folders of them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Only say what they are about.
    #[arg(long)]
    list: bool,
    /// Over real sockets and in real time, with the real daemon.
    #[arg(long, conflicts_with = "timeline")]
    real: bool,
    /// Another seed than the file's.
    #[arg(long)]
    seed: Option<u64>,
    /// Show what happened, line by line.
    #[arg(long)]
    timeline: bool,
    /// Write the figures to this file; with several scenarios, to a file for each in this folder.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report with pictures, one web page, to this file; with several scenarios, to a file for each
    /// in this folder.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let scenarios = load(arguments)?;
    if arguments.list {
        for scenario in &scenarios {
            let about = scenario.about.replace('\n', "\n    ");
            say(format_args!("{}\n    {about}\n", scenario.name))?;
        }
        return Ok(());
    }
    let mut failed = Vec::new();
    for scenario in &scenarios {
        let played = play(scenario, arguments).await?;
        for entry in &played.timeline {
            say(entry)?;
        }
        match scenarios.len() {
            1 => say(report::text(&played.recording))?,
            _ => say(summary(&played).trim_end())?,
        }
        write_reports(&played.recording, arguments, scenarios.len() > 1)?;
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

async fn play(scenario: &Scenario, arguments: &Arguments) -> anyhow::Result<Played> {
    if arguments.real {
        let folder = Folder::create("run")?;
        return tokio::select! { biased;
            asked = asked_to_end() => {
                asked?;
                bail!("the scenario was ended early");
            }
            played = live::play(scenario, folder.path()) => played,
        };
    }
    Ok(scenario.play(if arguments.timeline {
        Detail::Events
    } else {
        Detail::Nothing
    }))
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
    let many = scenarios.len() > 1;
    for scenario in &mut scenarios {
        let impossible = live::impossible(scenario);
        if arguments.real && !many && !impossible.is_empty() {
            let name = &scenario.name;
            bail!(
                "{name} cannot be played over real sockets: {}",
                impossible.join("; ")
            );
        }
        scenario.seed = arguments.seed.unwrap_or(scenario.seed);
    }
    if arguments.real && many {
        let possible = |scenario: &Scenario| live::impossible(scenario).is_empty();
        for scenario in scenarios.iter().filter(|scenario| !possible(scenario)) {
            let impossible = live::impossible(scenario).join("; ");
            say(format_args!("left out: {}: {impossible}", scenario.name))?;
        }
        scenarios.retain(possible);
    }
    Ok(scenarios)
}

/// One line, and one for each demand that was not met.
fn summary(played: &Played) -> String {
    let recording = &played.recording;
    let verdict = if played.passed() { "passed" } else { "FAILED" };
    let mut text = format!("{verdict}  {}\n", recording.name);
    let missed = recording
        .criteria
        .iter()
        .filter(|criterion| !criterion.passed);
    for criterion in missed {
        text += &format!("        {}: {}\n", criterion.demand, criterion.seen);
    }
    text
}

fn write_reports(recording: &Recording, arguments: &Arguments, many: bool) -> anyhow::Result<()> {
    type Form = fn(&Recording) -> String;
    let forms: [(&Option<PathBuf>, Form, &str); 2] = [
        (&arguments.html, report::html, "html"),
        (&arguments.json, report::json, "json"),
    ];
    for (place, form, extension) in forms {
        let Some(place) = place else {
            continue;
        };
        let file = file_of(place, recording, extension, many)?;
        fs::write(&file, form(recording))
            .with_context(|| format!("cannot write {}", file.display()))?;
        say(format_args!("report: {}", file.display()))?;
    }
    Ok(())
}

fn file_of(
    place: &Path,
    recording: &Recording,
    extension: &str,
    many: bool,
) -> anyhow::Result<PathBuf> {
    if !many {
        return Ok(place.to_owned());
    }
    fs::create_dir_all(place).with_context(|| format!("cannot make {}", place.display()))?;
    Ok(place.join(format!("{}.{extension}", recording.name)))
}
