//! The report as data. The names are an interface: fields may be added, none is removed or changes
//! its meaning within a `format`.

use std::time::Duration;

use serde::Serialize;

use super::figures::{self, Latency, Tally};
use crate::recording::Recording;

/// Number of this format.
const FORMAT: u32 = 1;
/// Stretches of the timeline.
const BINS: u32 = 200;

/// A recording as JSON. Times are in seconds, as numbers.
///
/// | field | what |
/// | --- | --- |
/// | `format` | 1 |
/// | `name`, `about`, `seed`, `simulated` | what was run; `simulated`: time was virtual |
/// | `lasted_s` | how long |
/// | `passed` | every criterion is met; `null` without criteria |
/// | `criteria[]` | `demand`, `seen`, `passed` |
/// | `longest_stall_s` | longest time in which requests waited and none was answered |
/// | `total` | a *tally* |
/// | `kinds` | a tally for each of `read`, `write`, `flush`, `zero` that occurred |
/// | `phases[]` | `what` (the fault or its end, or `start`), `begins_s`, `ends_s`, `longest_stall_s`, and a tally of what was answered then |
/// | `paths[]` | `name`, `states[]` (`since_s`, `state`, `reason`), `interval_s`, `carried[]` (`commands`, `bytes` per interval) |
/// | `timeline[]` | `begins_s`, and a tally of what was asked then, in stretches of equal width |
///
/// A tally has `ios` (errors included), `bytes` (of those without error), `errors`, and `latency`
/// with `p50_s`, `p99_s`, `p999_s`, `max_s`; `null` where `ios` is 0.
///
/// # Panics
/// Never: everything in it has a JSON form.
#[must_use]
pub fn json(run: &Recording) -> String {
    let report = ReportForm::of(run);
    let mut text = serde_json::to_string_pretty(&report).expect("strings and numbers only");
    text.push('\n');
    text
}

#[derive(Serialize)]
struct ReportForm<'a> {
    format: u32,
    name: &'a str,
    about: &'a str,
    seed: u64,
    simulated: bool,
    lasted_s: f64,
    passed: Option<bool>,
    criteria: Vec<CriterionForm<'a>>,
    longest_stall_s: f64,
    total: TallyForm,
    kinds: serde_json::Map<String, serde_json::Value>,
    phases: Vec<PhaseForm<'a>>,
    paths: Vec<PathForm<'a>>,
    timeline: Vec<BinForm>,
}

#[derive(Serialize)]
struct CriterionForm<'a> {
    demand: &'a str,
    seen: &'a str,
    passed: bool,
}

#[derive(Serialize)]
struct TallyForm {
    ios: u64,
    bytes: u64,
    errors: u64,
    latency: Option<LatencyForm>,
}

#[derive(Serialize)]
struct LatencyForm {
    p50_s: f64,
    p99_s: f64,
    p999_s: f64,
    max_s: f64,
}

#[derive(Serialize)]
struct PhaseForm<'a> {
    what: &'a str,
    begins_s: f64,
    ends_s: f64,
    longest_stall_s: f64,
    #[serde(flatten)]
    tally: TallyForm,
}

#[derive(Serialize)]
struct PathForm<'a> {
    name: &'a str,
    states: Vec<StateForm<'a>>,
    interval_s: f64,
    carried: Vec<CarriedForm>,
}

#[derive(Serialize)]
struct StateForm<'a> {
    since_s: f64,
    state: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct CarriedForm {
    commands: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct BinForm {
    begins_s: f64,
    #[serde(flatten)]
    tally: TallyForm,
}

impl<'a> ReportForm<'a> {
    fn of(run: &'a Recording) -> Self {
        let kinds = figures::kinds(run).into_iter().map(|(kind, tally)| {
            let form = serde_json::to_value(TallyForm::from(&tally)).unwrap_or_default();
            (figures::kind_name(kind).to_owned(), form)
        });
        let criteria = run.criteria.iter().map(|criterion| CriterionForm {
            demand: &criterion.demand,
            seen: &criterion.seen,
            passed: criterion.passed,
        });
        Self {
            format: FORMAT,
            name: &run.name,
            about: &run.about,
            seed: run.seed,
            simulated: run.simulated,
            lasted_s: seconds(run.lasted),
            passed: figures::verdict(run),
            criteria: criteria.collect(),
            longest_stall_s: seconds(figures::longest_stall(run)),
            total: TallyForm::from(&Tally::of(&run.ios)),
            kinds: kinds.collect(),
            phases: phases(run),
            paths: paths(run),
            timeline: timeline(run),
        }
    }
}

fn phases(run: &Recording) -> Vec<PhaseForm<'_>> {
    let phases = figures::phases(run).into_iter().map(|phase| PhaseForm {
        what: phase.mark.unwrap_or("start"),
        begins_s: seconds(phase.begins),
        ends_s: seconds(phase.ends),
        longest_stall_s: seconds(phase.stall),
        tally: TallyForm::from(&phase.tally),
    });
    phases.collect()
}

fn paths(run: &Recording) -> Vec<PathForm<'_>> {
    let paths = run.paths.iter().map(|path| PathForm {
        name: &path.name,
        states: path
            .states
            .iter()
            .map(|(since, state, reason)| StateForm {
                since_s: seconds(*since),
                state,
                reason,
            })
            .collect(),
        interval_s: seconds(run.interval),
        carried: path
            .carried
            .iter()
            .map(|carried| CarriedForm {
                commands: carried.commands,
                bytes: carried.bytes,
            })
            .collect(),
    });
    paths.collect()
}

fn timeline(run: &Recording) -> Vec<BinForm> {
    let (_, bins) = figures::bins(run, BINS);
    let bins = bins.iter().map(|bin| BinForm {
        begins_s: seconds(bin.begins),
        tally: TallyForm::from(&bin.tally),
    });
    bins.collect()
}

impl From<&Tally> for TallyForm {
    fn from(tally: &Tally) -> Self {
        Self {
            ios: tally.ios,
            bytes: tally.bytes,
            errors: tally.errors,
            latency: tally.latency.map(LatencyForm::from),
        }
    }
}

impl From<Latency> for LatencyForm {
    fn from(latency: Latency) -> Self {
        Self {
            p50_s: seconds(latency.p50),
            p99_s: seconds(latency.p99),
            p999_s: seconds(latency.p999),
            max_s: seconds(latency.max),
        }
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
