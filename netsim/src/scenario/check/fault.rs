//! `[[fault]]`.

use std::time::Duration;

use toml::Spanned;

use super::super::mistake::Problem;
use super::super::order::Order;
use super::super::{
    FaultPass, FaultSpec, NewSettings, PathSpec, WorkloadSpec, build, measure, raw,
};
use super::values::{Checker, SECOND};
use crate::link::Held;
use crate::report::duration;
use crate::world::Knobs;

/// How often a fault may be repeated.
const TIMES_MAX: u64 = 10_000;

impl Checker<'_> {
    pub(super) fn faults(
        &mut self,
        raw: &[Spanned<raw::Fault>],
        paths: &[PathSpec],
        workload: &WorkloadSpec,
    ) -> Vec<FaultSpec> {
        let faults = raw.iter().enumerate();
        let mut faults: Vec<FaultSpec> = faults
            .filter_map(|(index, raw)| self.fault(index, raw, paths, workload))
            .collect();
        faults.sort_by_key(|fault| fault.at);
        faults
    }

    fn fault(
        &mut self,
        index: usize,
        spanned: &Spanned<raw::Fault>,
        paths: &[PathSpec],
        workload: &WorkloadSpec,
    ) -> Option<FaultSpec> {
        let raw = spanned.get_ref();
        let here = Some(spanned.span().start);
        let key = |key: &str| format!("fault[{index}].{key}");
        if raw.at.is_none() {
            self.add(here, &key("at"), Problem::Missing("at = \"2s\""));
        }
        let at = self.duration(&key("at"), &raw.at, Duration::ZERO);
        let Some(what) = &raw.what else {
            self.add(here, &key("what"), Problem::Missing("what = \"cut\""));
            return None;
        };
        let order: Order = match what.get_ref().parse() {
            Ok(order) => order,
            Err(error) => {
                let problem = Problem::Order(error);
                self.add(Some(what.span().start), &key("what"), problem);
                return None;
            }
        };
        let on = self.fault_paths(&key("path"), what, raw, &order, paths);
        if let Order::Redirect(name) = &order {
            let name = std::slice::from_ref(name);
            self.paths_named(what.span().start, &key("what"), name, paths);
        }
        let lasts = self.maybe(&key("for"), &raw.lasts);
        if let Some(given) = &raw.lasts
            && order.is_momentary()
        {
            let problem = Problem::Momentary(order.to_string());
            self.add(Some(given.span().start), &key("for"), problem);
        }
        let times = self.small(&key("times"), &raw.times, 1, (1, TIMES_MAX));
        let every = self.duration(&key("every"), &raw.every, Duration::ZERO);
        self.repeats(index, raw, (lasts, times, every));
        let end = at + every * (times - 1) + lasts.unwrap_or_default();
        if end > workload.lasts {
            let problem = Problem::AfterTheEnd(duration(workload.lasts));
            self.add(here, &format!("fault[{index}]"), problem);
        }
        let held = [("release", Held::Release), ("drop", Held::Drop)];
        Some(FaultSpec {
            at,
            paths: on,
            lasts: if order.is_momentary() {
                Some(Duration::ZERO)
            } else {
                lasts
            },
            order,
            times,
            every,
            held: self.choice(&key("held"), &raw.held, &held),
            reload: self.new_settings(index, spanned),
            pass: self.fault_pass(index, &raw.pass),
        })
    }

    /// What a reload has; it is completed by [`Checker::reloads`].
    fn new_settings(
        &mut self,
        index: usize,
        spanned: &Spanned<raw::Fault>,
    ) -> Option<Box<NewSettings>> {
        let raw = spanned.get_ref();
        let what = raw.what.as_ref().map(|what| what.get_ref().as_str());
        let (reloads, given) = (what == Some("reload"), !raw.daemon.is_empty());
        let here = Some(spanned.span().start);
        if reloads != given {
            let problem = if reloads {
                Problem::Missing("daemon = { policy = \"round-robin\" }")
            } else {
                Problem::OnlyForReload
            };
            self.add(here, &format!("fault[{index}].daemon"), problem);
        }
        (reloads && given).then(|| {
            Box::new(NewSettings {
                settings: Knobs::calm(0).settings(),
                keys: raw.daemon.clone(),
            })
        })
    }

    /// Each reload changes what the one before it left.
    pub(super) fn reloads(
        &mut self,
        first: &toml::Table,
        faults: &mut [FaultSpec],
        paths: &[PathSpec],
    ) {
        let mut keys = first.clone();
        for reload in faults.iter_mut().filter_map(|fault| fault.reload.as_mut()) {
            for (key, value) in &reload.keys {
                match (keys.get_mut(key), value) {
                    (Some(toml::Value::Table(old)), toml::Value::Table(new)) => {
                        old.extend(new.clone());
                    }
                    _ => {
                        keys.insert(key.clone(), value.clone());
                    }
                }
            }
            reload.keys.clone_from(&keys);
            let config = self.daemon(&keys, paths);
            if let Some(settings) = config.as_ref().and_then(build::settings) {
                reload.settings = settings;
            }
        }
    }

    fn fault_paths(
        &mut self,
        key: &str,
        what: &Spanned<String>,
        raw: &raw::Fault,
        order: &Order,
        paths: &[PathSpec],
    ) -> Vec<usize> {
        match (&raw.path, order.takes_path()) {
            (Some(given), true) => {
                let names = match given.get_ref().clone() {
                    raw::Paths::One(name) => vec![name],
                    raw::Paths::Several(names) => names,
                };
                self.paths_named(given.span().start, key, &names, paths)
            }
            (None, true) => {
                let problem = Problem::NeedsPath(order.to_string());
                self.add(Some(what.span().start), key, problem);
                Vec::new()
            }
            (Some(given), false) => {
                let problem = Problem::TakesNoPath(order.to_string());
                self.add(Some(given.span().start), key, problem);
                Vec::new()
            }
            (None, false) => Vec::new(),
        }
    }

    fn repeats(
        &mut self,
        index: usize,
        raw: &raw::Fault,
        (lasts, times, every): (Option<Duration>, u32, Duration),
    ) {
        let key = format!("fault[{index}].every");
        let at = raw.times.as_ref().map(|times| times.span().start);
        if times > 1 && raw.every.is_none() {
            self.add(at, &key, Problem::Needs("times"));
        } else if times > 1 && lasts.unwrap_or_default() >= every {
            let problem = Problem::Overlap {
                times: u64::from(times),
                lasts: duration(lasts.unwrap_or_default()),
                every: duration(every),
            };
            self.add(at, &key, problem);
        }
    }

    fn fault_pass(&mut self, index: usize, raw: &raw::FaultPass) -> FaultPass {
        let key = |key: &str| format!("fault[{index}].pass.{key}");
        let number = |number: &raw::Number| number.as_ref().map(|number| *number.get_ref());
        let reaches = raw.reaches.as_ref().map(|reaches| {
            let states = measure::STATES.map(|state| (state, state));
            let state = self.choice(&key("reaches.state"), &reaches.state, &states);
            let within = self.duration(&key("reaches.within"), &reaches.within, SECOND);
            (state.to_owned(), within)
        });
        let first_error = raw.first_error.as_ref().map(|error| {
            let after = self.duration(&key("first_error.after"), &error.after, Duration::ZERO);
            let by = self.duration(&key("first_error.by"), &error.by, Duration::MAX);
            (after, by)
        });
        FaultPass {
            stall_max: self.maybe(&key("stall_max"), &raw.stall_max),
            slowest_max: self.maybe(&key("slowest_max"), &raw.slowest_max),
            lost_within: self.maybe(&key("lost_within"), &raw.lost_within),
            why: raw.why.as_ref().map(|why| why.get_ref().clone()),
            back_within: self.maybe(&key("back_within"), &raw.back_within),
            reaches,
            settle: self.duration(&key("settle"), &raw.settle, Duration::ZERO),
            p99_factor: raw.p99_factor.as_ref().map(|factor| *factor.get_ref()),
            p999_factor: raw.p999_factor.as_ref().map(|factor| *factor.get_ref()),
            throughput_min: number(&raw.throughput_min),
            peak_max: number(&raw.peak_max),
            share_max: number(&raw.share_max),
            told: raw.told.clone(),
            first_error,
        }
    }
}
