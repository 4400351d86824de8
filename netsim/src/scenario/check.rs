//! From the file's mirror to the checked types. A part with a mistake takes its default and the check goes
//! on, so that everything else is looked at too.

mod fault;
mod values;

use std::path::Path;

use iiblockdaemon::config;
use toml::Spanned;
use toml::de::DeTable;

use super::mistake::{Mistakes, Problem};
use super::{
    Identity, Pass, PathSpec, Registration, Scenario, Target, Unit, WorkloadSpec, daemon, order,
    raw,
};
use crate::target::lun::WriteCache;
use crate::target::{Aborts, Nexuses, Orphans, Reinstatement, Resets};
use crate::world::Line;
use values::{Checker, MILLI, SECOND};

/// Paths of a volume.
const PATHS_MAX: usize = 32;

pub(super) fn check(text: &str, file: &Path) -> Result<Scenario, Mistakes> {
    let mut checker = Checker::new(text);
    let raw: raw::File = match toml::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            checker.form(&error);
            return Err(Mistakes::new(file, checker.mistakes));
        }
    };
    match checker.scenario(&raw, file) {
        Some(scenario) if checker.mistakes.is_empty() => Ok(scenario),
        _ => Err(Mistakes::new(file, checker.mistakes)),
    }
}

impl Checker<'_> {
    fn scenario(&mut self, raw: &raw::File, file: &Path) -> Option<Scenario> {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let name = match &raw.name {
            Some(name) => self.name("name", name),
            None => stem.into_owned(),
        };
        if raw.about.is_none() {
            self.add(
                None,
                "about",
                Problem::Missing("about = \"What it shows.\""),
            );
        }
        let line = self.line(&raw.line);
        let paths = self.paths(&raw.path, &line);
        let unit = self.unit(&raw.unit);
        let target = self.target(&raw.target);
        let workload = self.workload(&raw.workload, &unit);
        let mut faults = self.faults(&raw.fault, &paths, &workload);
        self.reloads(&raw.daemon, &mut faults, &paths);
        let pass = self.pass(&raw.pass, &paths);
        let daemon = self.daemon(&raw.daemon, &paths);
        Some(Scenario {
            name,
            about: raw.about.as_ref()?.get_ref().trim().to_owned(),
            seed: raw.seed.unwrap_or(1),
            mend: raw.mend.unwrap_or(true),
            unit,
            target,
            daemon: daemon?,
            daemon_keys: raw.daemon.clone(),
            paths,
            workload,
            faults,
            pass,
        })
    }

    pub(super) fn daemon(
        &mut self,
        keys: &toml::Table,
        paths: &[PathSpec],
    ) -> Option<config::Config> {
        let place = daemon::nowhere(paths.iter().map(|path| path.weight));
        let text = self.text;
        match daemon::check(keys, &place, |key| line_of(text, key)) {
            Ok(config) => Some(config),
            Err(mistakes) => {
                self.mistakes.extend(mistakes);
                None
            }
        }
    }

    fn line(&mut self, raw: &raw::Line) -> Line {
        Line {
            latency: self.duration("line.latency", &raw.latency, MILLI / 5),
            jitter: self.duration("line.jitter", &raw.jitter, MILLI / 10),
            bandwidth: self.rate("line.bandwidth", &raw.bandwidth),
            capacity: self.bytes("line.window", &raw.window, 1 << 20),
        }
    }

    fn paths(&mut self, raw: &[Spanned<raw::Path>], line: &Line) -> Vec<PathSpec> {
        if raw.is_empty() || raw.len() > PATHS_MAX {
            let problem = if raw.is_empty() {
                Problem::Missing("[[path]]")
            } else {
                Problem::OutOfRange {
                    value: format!("{} paths", raw.len()),
                    min: "1".to_owned(),
                    max: PATHS_MAX.to_string(),
                }
            };
            self.add(None, "path", problem);
        }
        let mut paths: Vec<PathSpec> = Vec::new();
        for (index, raw) in raw.iter().enumerate() {
            let path = self.path(index, raw.get_ref(), line);
            if paths.iter().any(|other| other.name == path.name) {
                let problem = Problem::Twice(path.name.clone());
                self.add(Some(raw.span().start), &format!("path[{index}]"), problem);
            }
            paths.push(path);
        }
        paths
    }

    fn path(&mut self, index: usize, raw: &raw::Path, line: &Line) -> PathSpec {
        let key = |key: &str| format!("path[{index}].{key}");
        let letter = u8::try_from(index).map_or('?', |index| char::from(b'A' + index.min(25)));
        let own = raw.bandwidth.is_some();
        PathSpec {
            name: match &raw.name {
                Some(name) => self.name(&key("name"), name),
                None => letter.to_string(),
            },
            group: self.small(&key("group"), &raw.group, 1, (1, 65535)),
            process: self.small(&key("process"), &raw.process, 0, (0, 65535)),
            impostor: self.choice(
                &key("unit"),
                &raw.unit,
                &[("right", false), ("another", true)],
            ),
            weight: self.small(&key("weight"), &raw.weight, 1, (1, 255)),
            access: self.choice(&key("access"), &raw.access, &order::ACCESS),
            configured: raw.configured.unwrap_or(true),
            line: Line {
                latency: self.duration(&key("latency"), &raw.latency, line.latency),
                jitter: self.duration(&key("jitter"), &raw.jitter, line.jitter),
                bandwidth: match self.rate(&key("bandwidth"), &raw.bandwidth) {
                    None if !own => line.bandwidth,
                    rate => rate,
                },
                capacity: self.bytes(&key("window"), &raw.window, line.capacity),
            },
        }
    }

    fn unit(&mut self, raw: &raw::Unit) -> Unit {
        let block_size = self.bytes("unit.block_size", &raw.block_size, 512_u32);
        if !block_size.is_power_of_two() || !(512..=65536).contains(&block_size) {
            let at = raw.block_size.as_ref().map(|given| given.span().start);
            let problem = Problem::Choice {
                value: format!("{block_size}B"),
                choices: [
                    "512B", "1KiB", "2KiB", "4KiB", "8KiB", "16KiB", "32KiB", "64KiB",
                ]
                .map(str::to_owned)
                .to_vec(),
            };
            self.add(at, "unit.block_size", problem);
        }
        let block = u64::from(block_size.max(1));
        let size = self.bytes_in("unit.size", &raw.size, 64 << 10, (block, 16 << 20));
        let transfer = self.bytes_in(
            "unit.largest_transfer",
            &raw.largest_transfer,
            0,
            (0, 16 << 20),
        );
        let caches = [
            ("safe", WriteCache::Safe),
            ("off", WriteCache::Off),
            ("volatile", WriteCache::Volatile),
        ];
        let identities = [
            ("unique", Identity::Unique),
            ("default", Identity::Default),
            ("copied", Identity::Copied),
        ];
        Unit {
            block_size,
            blocks: size / block,
            transfer_blocks: u32::try_from(transfer / block).unwrap_or(0),
            fua: raw.fua.unwrap_or(true),
            thin: raw.thin.unwrap_or(true),
            cache: self.choice("unit.cache", &raw.cache, &caches),
            identity: self.choice("unit.identity", &raw.identity, &identities),
            reservations: raw.reservations.unwrap_or(true),
        }
    }

    fn target(&mut self, raw: &raw::Target) -> Target {
        let reinstatements = [
            ("synchronous", Reinstatement::Synchronous),
            ("asynchronous", Reinstatement::Asynchronous),
            ("ignored", Reinstatement::Ignored),
        ];
        let orphans = match &raw.orphans {
            None => Orphans::Terminate,
            Some(text) if text.get_ref() == "terminate" => Orphans::Terminate,
            Some(_) => Orphans::ExecuteAfter(self.duration("target.orphans", &raw.orphans, SECOND)),
        };
        let aborts = match &raw.aborts {
            None => Aborts::End,
            Some(text) if text.get_ref() == "end" => Aborts::End,
            Some(text) if text.get_ref() == "refused" => Aborts::Refused,
            Some(_) => Aborts::RunOn(self.duration("target.aborts", &raw.aborts, SECOND)),
        };
        let resets = match &raw.resets {
            None => Resets::Wait,
            Some(text) if text.get_ref() == "wait" => Resets::Wait,
            Some(_) => Resets::Early(self.duration("target.resets", &raw.resets, SECOND)),
        };
        Target {
            aborts,
            resets,
            service_time: self.duration("target.service_time", &raw.service_time, MILLI),
            queue_depth: self.small("target.queue_depth", &raw.queue_depth, 32, (1, 1024)),
            reinstatement: self.choice("target.reinstatement", &raw.reinstatement, &reinstatements),
            orphans,
            nexuses: self.choice(
                "target.nexuses",
                &raw.nexuses,
                &[
                    ("remembered", Nexuses::Remembered),
                    ("per-session", Nexuses::PerSession),
                ],
            ),
            persistent: raw.keeps_registrations.unwrap_or(true),
            explicit: self.choice(
                "target.access",
                &raw.access,
                &[("implicit", false), ("explicit", true)],
            ),
        }
    }

    fn workload(&mut self, raw: &raw::Workload, unit: &Unit) -> WorkloadSpec {
        let block = u64::from(unit.block_size.max(1));
        if raw.lasts.is_none() {
            self.add(None, "workload.lasts", Problem::Missing("lasts = \"20s\""));
        }
        let default = (block * 16).min(block * unit.blocks);
        let largest = self.bytes_in(
            "workload.largest",
            &raw.largest,
            default,
            (block, block * unit.blocks),
        );
        let hour = 3600 * SECOND;
        let small = (1, 256);
        WorkloadSpec {
            lasts: self.duration_in("workload.lasts", &raw.lasts, SECOND, (MILLI, hour)),
            clients: self.small("workload.clients", &raw.clients, 2, small),
            depth: self.small("workload.depth", &raw.depth, 4, small),
            pause: self.duration("workload.pause", &raw.pause, 10 * MILLI),
            blocks_max: largest / block,
            reads: self.small("workload.reads", &raw.reads, 45, (0, 100)),
            zeroes: raw.zeroes.unwrap_or(true),
        }
    }

    fn pass(&mut self, raw: &raw::Pass, paths: &[PathSpec]) -> Pass {
        let number = |number: &raw::Number| number.as_ref().map(|number| *number.get_ref());
        let kept = raw
            .kept
            .as_ref()
            .map(|kept| (kept.span().start, kept.get_ref()));
        Pass {
            stall_max: self.maybe("pass.stall_max", &raw.stall_max),
            slowest_max: self.maybe("pass.slowest_max", &raw.slowest_max),
            errors_max: number(&raw.errors_max).unwrap_or(0),
            errors_min: number(&raw.errors_min),
            log_errors: raw.log_errors.unwrap_or(false),
            ready_within: self.maybe("pass.ready_within", &raw.ready_within),
            paths_ready: raw.paths_ready.as_ref().map(|_| {
                let most = paths.len() as u64;
                self.small("pass.paths_ready", &raw.paths_ready, 0, (0, most))
            }),
            failovers_max: number(&raw.failovers_max),
            failovers_min: number(&raw.failovers_min),
            logins_max: number(&raw.logins_max),
            retries_max: number(&raw.retries_max),
            fenced_min: number(&raw.fenced_min),
            quiesced_max: number(&raw.quiesced_max),
            late_writes_min: number(&raw.late_writes_min),
            ejections_max: number(&raw.ejections_max),
            ejections_min: number(&raw.ejections_min),
            hedges_max: number(&raw.hedges_max),
            hedges_min: number(&raw.hedges_min),
            aborts_max: number(&raw.aborts_max),
            aborts_min: number(&raw.aborts_min),
            resets_max: number(&raw.resets_max),
            resets_min: number(&raw.resets_min),
            rate_min: self.size("pass.rate_min", &raw.rate_min),
            size: self.size("pass.size", &raw.size),
            registration: raw.registration.as_ref().map(|_| {
                let choices = [
                    ("registered", Registration::Registered),
                    ("preempted", Registration::Preempted),
                ];
                self.choice("pass.registration", &raw.registration, &choices)
            }),
            kept: match kept {
                None => Vec::new(),
                Some((at, names)) => self.paths_named(at, "pass.kept", names, paths),
            },
        }
    }
}

/// The line of a key, by its full name.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let mut here = table.get_ref();
    let mut found = None;
    for part in key.split('.') {
        let (name, value) = here.get_key_value(part)?;
        found = Some(name.span().start);
        match value.get_ref().as_table() {
            Some(table) => here = table,
            None => break,
        }
    }
    found.map(|at| values::line_at(text, at))
}
