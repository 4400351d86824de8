//! `netsim swarm` and `netsim replay`.

use std::time::Duration;

use anyhow::bail;
use netsim::quantity::parse_duration;
use netsim::swarm::Swarm;
use netsim::world::{self, Detail, Knobs};

use super::say;

#[derive(Debug, clap::Args)]
pub(crate) struct SwarmArguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Stop after so long, e.g. 60s.
    #[arg(long, value_parser = parse_duration)]
    time: Option<Duration>,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Go on after a seed that broke a rule, up to so many.
    #[arg(long, default_value_t = 10)]
    failures: usize,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArguments {
    /// The seed.
    seed: u64,
    /// Everything that the daemon logs, not only what matters to an administrator.
    #[arg(long)]
    everything: bool,
    /// Every PDU, one line each, as it is queued at its sender.
    #[arg(long)]
    pdus: bool,
    /// Only the knobs.
    #[arg(long)]
    knobs: bool,
}

pub(crate) fn swarm(arguments: &SwarmArguments) -> anyhow::Result<()> {
    announce_panics();
    let swarm = Swarm {
        from: arguments.from,
        seeds: arguments.seeds,
        time: arguments.time,
        jobs: arguments.jobs,
    };
    let mut failures = 0;
    let report = swarm.play(|seed, outcome| {
        if let Some(violation) = &outcome.violation {
            failures += 1;
            return say(format_args!("seed {seed}: {violation}")).is_ok()
                && failures < arguments.failures;
        }
        true
    });
    say(format_args!(
        "{} scenarios in {:.1} s: {:.0} per minute; {:.0} s of virtual time, {} requests, {} late executions; \
         slowest recovery {:.1} s (seed {})",
        report.played,
        report.took.as_secs_f64(),
        report.per_minute(),
        report.virtual_time.as_secs_f64(),
        report.ios,
        report.executed_late,
        report.slowest_recovery.0.as_secs_f64(),
        report.slowest_recovery.1,
    ))?;
    if report.failed.is_empty() {
        return Ok(());
    }
    bail!(
        "{} seeds broke a rule; see one again with `netsim replay SEED`",
        report.failed.len()
    )
}

pub(crate) fn replay(arguments: &ReplayArguments) -> anyhow::Result<()> {
    announce_panics();
    let knobs = Knobs::draw(arguments.seed);
    say(knobs.to_string().trim_end())?;
    if arguments.knobs {
        return Ok(());
    }
    let detail = if arguments.everything {
        Detail::Everything
    } else if arguments.pdus {
        Detail::Pdus
    } else {
        Detail::Events
    };
    let outcome = world::run(&knobs, detail);
    for entry in &outcome.timeline {
        say(entry)?;
    }
    say(format_args!("{:?}", outcome.summary))?;
    match outcome.violation {
        None => Ok(()),
        Some(violation) => bail!("seed {}: {violation}", arguments.seed),
    }
}

/// A panic ends the program: it must name its seed first.
fn announce_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // The panic itself is told all the same.
        let _unheard = say(world::last_words());
        before(panic);
    }));
}
