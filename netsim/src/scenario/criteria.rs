//! Whether what was seen is good enough.

use std::fmt::Display;
use std::time::Duration;

use super::measure::{self, Window};
use super::{FaultPass, FaultSpec, Registration, Scenario};
use crate::recording::{Criterion, Recording};
use crate::report::duration;
use crate::world::{Outcome, Rule};

/// What a recording does not have.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// When the volume went online.
    pub online: Duration,
    /// Blocks that broke a rule of the oracle, in words; none: `None`.
    pub mismatch: Option<String>,
    /// Another rule that was broken.
    pub broken: Option<String>,
    /// From the end of the workload until everything was well.
    pub recovery: Option<Duration>,
    /// Sessions that the target gave.
    pub logins: u64,
    /// Commands that were issued again.
    pub retries: u64,
    /// Fences that laid ghosts.
    pub fenced: u64,
    /// Sessions whose ghosts were let go by time.
    pub quiesced: u64,
    /// Commands of dead sessions that the target executed late.
    pub late_writes: u64,
    /// Reads that clients asked for.
    pub reads: u64,
    /// Reads that were sent on a second path.
    pub hedges: u64,
    /// Times that a path was put out of use for being worse than its peers.
    pub ejections: u64,
    /// ABORT TASKs that the target was asked for.
    pub aborts: u64,
    /// LOGICAL UNIT RESETs that the daemon asked for.
    pub resets: u64,
    /// Bytes that a client which connected at the end would be told of.
    pub size: u64,
    /// Whether the daemon knows that its reservation key was preempted; `None`: it has no key.
    pub preempted: Option<bool>,
    /// Registrations of its nexuses at the unit at the end.
    pub registrations: u64,
}

impl Seen {
    pub(super) fn of_world(outcome: &Outcome) -> Self {
        let summary = &outcome.summary;
        let violation = outcome.violation.as_ref();
        let content = |rule| rule == Rule::Content;
        Self {
            online: summary.online,
            mismatch: violation
                .filter(|violation| content(violation.rule))
                .map(ToString::to_string),
            broken: violation
                .filter(|violation| !content(violation.rule))
                .map(ToString::to_string),
            recovery: violation.is_none().then_some(summary.recovery),
            logins: summary.logins,
            retries: summary.retries,
            fenced: summary.fenced,
            quiesced: summary.quiesced,
            late_writes: summary.executed_late,
            reads: summary.reads,
            hedges: summary.hedges,
            ejections: summary.ejections,
            aborts: summary.aborts,
            resets: summary.resets,
            size: summary.size,
            preempted: summary.key.map(|key| key.preempted),
            registrations: summary.registrations as u64,
        }
    }
}

/// Every demand of a scenario, and how it went.
#[must_use]
pub fn judge(scenario: &Scenario, recording: &Recording, seen: &Seen) -> Vec<Criterion> {
    let mut judge = Judge {
        scenario,
        recording,
        seen,
        criteria: Vec::new(),
    };
    judge.always();
    judge.whole_run();
    for (index, fault) in scenario.faults.iter().enumerate() {
        judge.fault(index, fault);
    }
    judge.criteria
}

struct Judge<'a> {
    scenario: &'a Scenario,
    recording: &'a Recording,
    seen: &'a Seen,
    criteria: Vec<Criterion>,
}

impl Judge<'_> {
    fn add(&mut self, demand: impl Into<String>, seen: impl Display, passed: bool) {
        self.criteria.push(Criterion {
            demand: demand.into(),
            seen: seen.to_string(),
            passed,
        });
    }

    fn at_most(&mut self, what: &str, seen: Duration, limit: Option<Duration>) {
        if let Some(limit) = limit {
            let demand = format!("{what} <= {}", duration(limit));
            self.add(demand, duration(seen), seen <= limit);
        }
    }

    fn count_at_most(&mut self, what: &str, seen: u64, limit: Option<u64>) {
        if let Some(limit) = limit {
            self.add(format!("{what} <= {limit}"), seen, seen <= limit);
        }
    }

    fn count_at_least(&mut self, what: &str, seen: u64, limit: Option<u64>) {
        if let Some(limit) = limit {
            self.add(format!("{what} >= {limit}"), seen, seen >= limit);
        }
    }

    /// What every scenario demands.
    fn always(&mut self) {
        let mismatch = self.seen.mismatch.clone();
        let passed = mismatch.is_none();
        self.add(
            "every read returns what some legal order of the writes allows",
            mismatch.unwrap_or_else(|| "all did".to_owned()),
            passed,
        );
        let broken = self.seen.broken.clone();
        let passed = broken.is_none();
        self.add(
            "answered once, nothing left over, no protocol rule broken, well at the end",
            broken.unwrap_or_else(|| "all of that".to_owned()),
            passed,
        );
        let errors = self.recording.ios.iter().filter(|io| io.failed).count() as u64;
        let pass = &self.scenario.pass;
        let (max, min) = (pass.errors_max, pass.errors_min);
        self.count_at_most("failed requests", errors, Some(max));
        self.count_at_least("failed requests", errors, min);
        let paths = &self.recording.paths;
        let ready = paths
            .iter()
            .filter(|path| measure::ready_at_end(path))
            .count();
        let wanted = pass.paths_ready.unwrap_or(paths.len());
        let demand = format!("paths ready at the end = {wanted}");
        self.add(demand, ready, ready == wanted);
    }

    fn whole_run(&mut self) {
        let pass = self.scenario.pass.clone();
        let (recording, seen) = (self.recording, self.seen);
        let whole = Window {
            from: Duration::ZERO,
            to: Duration::MAX,
        };
        let stall = measure::stall(&recording.ios, whole);
        self.at_most("longest stall", stall, pass.stall_max);
        let slowest = measure::slowest(&recording.ios, whole);
        self.at_most("longest request", slowest, pass.slowest_max);
        if let Some(limit) = pass.ready_within {
            let demand = format!("well after the end within {}", duration(limit));
            match seen.recovery {
                Some(took) => self.add(demand, duration(took), took <= limit),
                None => self.add(demand, "never", false),
            }
        }
        let losses = |path: usize| {
            let path = recording.paths.get(path);
            path.map_or(0, |path| measure::losses(path).len() as u64)
        };
        let failovers = (0..recording.paths.len()).map(losses).sum();
        self.count_at_most("paths lost", failovers, pass.failovers_max);
        self.count_at_least("paths lost", failovers, pass.failovers_min);
        self.count_at_most("logins", seen.logins, pass.logins_max);
        self.count_at_most("commands issued again", seen.retries, pass.retries_max);
        self.count_at_least("fences", seen.fenced, pass.fenced_min);
        self.count_at_most("ghosts let go by time", seen.quiesced, pass.quiesced_max);
        self.count_at_least("late executions", seen.late_writes, pass.late_writes_min);
        self.count_at_most("ejections", seen.ejections, pass.ejections_max);
        self.count_at_least("ejections", seen.ejections, pass.ejections_min);
        self.count_at_least("hedged reads", seen.hedges, pass.hedges_min);
        self.count_at_most("ABORT TASKs", seen.aborts, pass.aborts_max);
        self.count_at_least("ABORT TASKs", seen.aborts, pass.aborts_min);
        self.count_at_most("LOGICAL UNIT RESETs", seen.resets, pass.resets_max);
        self.count_at_least("LOGICAL UNIT RESETs", seen.resets, pass.resets_min);
        if let Some(permille) = pass.hedges_max {
            let limit = seen.reads * permille / 1000;
            let demand = format!("hedged reads <= {permille} of 1000");
            let text = format!("{} of {}", seen.hedges, seen.reads);
            self.add(demand, text, seen.hedges <= limit);
        }
        if let Some(least) = pass.rate_min {
            let window = Window {
                from: seen.online,
                to: seen.online + self.scenario.workload.lasts,
            };
            let rate = measure::throughput(&recording.ios, window);
            let demand = format!("bytes per second >= {least}");
            self.add(demand, rate, rate >= least);
        }
        if let Some(size) = pass.size {
            let demand = format!("exported size at the end = {size} bytes");
            self.add(demand, seen.size, seen.size == size);
        }
        if let Some(wanted) = pass.registration {
            self.registration(wanted);
        }
        for path in pass.kept {
            let name = &self.scenario.paths[path].name;
            let lost = losses(path);
            self.add(
                format!("path {name} is never lost"),
                format!("{lost} times"),
                lost == 0,
            );
        }
    }

    fn registration(&mut self, wanted: Registration) {
        let (seen, paths) = (self.seen, self.scenario.paths.len() as u64);
        let (demand, passed) = match wanted {
            Registration::Registered => (
                "every path is registered at the end",
                seen.preempted == Some(false) && seen.registrations >= paths,
            ),
            Registration::Preempted => (
                "our registration is preempted, and not made again",
                seen.preempted == Some(true) && seen.registrations == 0,
            ),
        };
        let text = match seen.preempted {
            None => "no key".to_owned(),
            Some(true) => format!("preempted, {} registrations", seen.registrations),
            Some(false) => format!("{} registrations", seen.registrations),
        };
        self.add(demand, text, passed);
    }

    fn fault(&mut self, index: usize, fault: &FaultSpec) {
        let pass = &fault.pass;
        let label = fault.label(self.scenario);
        let online = self.seen.online;
        let over = online + self.scenario.workload.lasts;
        let from = online + fault.at;
        // What begins at the same instant belongs to it.
        let mut later = self.scenario.faults.iter().skip(index + 1);
        let next = later.find(|next| next.at > fault.at);
        let window = Window {
            from,
            to: next.map_or(over, |next| online + next.at),
        };
        let stall = measure::stall(&self.recording.ios, window);
        self.at_most(&format!("{label}: stall"), stall, pass.stall_max);
        let slowest = measure::slowest(&self.recording.ios, window);
        self.at_most(
            &format!("{label}: longest request"),
            slowest,
            pass.slowest_max,
        );
        let end = fault.end().map_or(over, |end| online + end);
        for path in &fault.paths {
            self.path(*path, pass, &label, (from, end));
        }
        self.told(fault, &label, from);
        if let Some((after, by)) = pass.first_error {
            let demand = format!(
                "{label}: first error between {} and {}",
                duration(after),
                duration(by)
            );
            match measure::first_error(&self.recording.ios, window) {
                None => self.add(demand, "no error", false),
                Some(at) => {
                    let at = at - from;
                    self.add(demand, duration(at), (after..=by).contains(&at));
                }
            }
        }
        if let Some(percent) = pass.peak_max {
            let after = Window {
                from: end,
                to: window.to,
            };
            let (_, usual) = measure::commands(self.recording, self.before());
            let (peak, _) = measure::commands(self.recording, after);
            let share = peak * 100 / usual.max(1);
            let demand = format!("{label}: peak after its end <= {percent} % of before");
            self.add(demand, format!("{share} %"), share <= percent);
        }
        let settled = Window {
            from: from + pass.settle,
            to: end.min(window.to),
        };
        if !settled.is_empty() {
            self.figures(fault, &label, settled);
        }
    }

    fn path(
        &mut self,
        index: usize,
        pass: &FaultPass,
        label: &str,
        (from, end): (Duration, Duration),
    ) {
        let Some(path) = self.recording.paths.get(index) else {
            return;
        };
        let name = &path.name;
        let because = |why: &str| {
            let wanted = pass.why.as_deref();
            wanted.is_none_or(|wanted| why.contains(wanted))
        };
        let reason = pass
            .why
            .as_ref()
            .map_or(String::new(), |why| format!(", because \"{why}\""));
        let mut check =
            |demand: String, found: Option<(Duration, &str)>, since, limit, why| match found {
                None => self.add(demand, "never", false),
                Some((at, because_of)) => {
                    let took: Duration = at - since;
                    let text = if why {
                        format!("{}: {because_of}", duration(took))
                    } else {
                        duration(took)
                    };
                    self.add(demand, text, took <= limit && (!why || because(because_of)));
                }
            };
        if let Some(limit) = pass.lost_within {
            let losses = measure::losses(path);
            let loss = losses.into_iter().find(|(at, _)| *at >= from);
            let demand = format!("{label}: {name} lost within {}{reason}", duration(limit));
            check(demand, loss, from, limit, true);
        }
        if let Some((state, limit)) = &pass.reaches {
            let demand = format!(
                "{label}: {name} {state} within {}{reason}",
                duration(*limit)
            );
            check(
                demand,
                measure::reaches(path, state, from),
                from,
                *limit,
                true,
            );
        }
        if let Some(limit) = pass.back_within {
            let demand = format!("{label}: {name} back within {} of its end", duration(limit));
            check(
                demand,
                measure::reaches(path, "ready", end),
                end,
                limit,
                false,
            );
        }
    }

    /// What the journal says of it.
    fn told(&mut self, fault: &FaultSpec, label: &str, from: Duration) {
        let texts = &fault.pass.told;
        if texts.is_empty() {
            return;
        }
        let of_volume = fault.paths.is_empty().then_some(None);
        let of_paths = fault.paths.iter().map(|path| Some(*path));
        for path in of_volume.into_iter().chain(of_paths) {
            let whose = match path {
                None => "the volume".to_owned(),
                Some(path) => format!("path {}", self.scenario.paths[path].name),
            };
            let demand = format!("{label}: the journal of {whose} tells of it");
            let untold = measure::untold(self.recording, path, from, texts);
            let seen = untold.map(|text| format!("not of \"{text}\""));
            let passed = seen.is_none();
            self.add(demand, seen.as_deref().unwrap_or("it does"), passed);
        }
    }

    /// The time before the first fault.
    fn before(&self) -> Window {
        let first = self.scenario.faults.first();
        let first = first.map_or(Duration::ZERO, |fault| fault.at);
        Window {
            from: self.seen.online,
            to: self.seen.online + first,
        }
    }

    /// Compared with the time before the first fault.
    fn figures(&mut self, fault: &FaultSpec, label: &str, settled: Window) {
        let (pass, ios) = (&fault.pass, &self.recording.ios);
        let before = self.before();
        let factors = [
            (990, "p99", pass.p99_factor),
            (999, "p99.9", pass.p999_factor),
        ];
        for (permille, name, factor) in factors {
            let Some(factor) = factor else { continue };
            let usual = measure::quantile(ios, before, permille);
            let now = measure::quantile(ios, settled, permille);
            let limit = usual.mul_f64(factor);
            let demand = format!("{label}: {name} <= {factor} x {}", duration(usual));
            self.add(demand, duration(now), now <= limit);
        }
        if let Some(percent) = pass.throughput_min {
            let usual = measure::throughput(ios, before);
            let share = measure::throughput(ios, settled) * 100 / usual.max(1);
            let demand = format!("{label}: throughput >= {percent} % of before");
            self.add(demand, format!("{share} %"), share >= percent);
        }
        if let Some(percent) = pass.share_max {
            let demand = format!("{label}: share of its paths <= {percent} %");
            match measure::share(self.recording, &fault.paths, settled) {
                None => self.add(demand, "no commands at all", false),
                Some(share) => self.add(demand, format!("{share} %"), share <= percent),
            }
        }
    }
}
