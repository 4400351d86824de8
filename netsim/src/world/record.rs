//! What a scenario was seen to do: for reports and pass criteria.

use std::time::Duration;

use iiblockdaemon::path::PathState;
use iiblockdaemon::volume::{DutyStatus, OutCause};

use super::World;
use super::client::Ended;
use crate::recording::{Carried, Io, PathRecord, REMOVED, Recording, Told};

/// Width of the intervals of what paths carry.
const INTERVAL: Duration = Duration::from_millis(100);

/// A recording that grows.
#[derive(Debug)]
pub(super) struct Recorder {
    recording: Recording,
    /// What each path had carried when it was looked at last.
    before: Vec<Carried>,
}

impl Recorder {
    pub(super) fn new(paths: usize) -> Self {
        let recording = Recording {
            simulated: true,
            interval: INTERVAL,
            paths: vec![PathRecord::default(); paths],
            ..Recording::default()
        };
        Self {
            recording,
            before: vec![Carried::default(); paths],
        }
    }

    pub(super) fn finish(self) -> Recording {
        self.recording
    }
}

impl World {
    /// A turn is over.
    pub(super) fn record(&mut self) {
        let at = self.elapsed();
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        let status = self.engine.status(self.now);
        let recording = &mut recorder.recording;
        recording.lasted = at;
        let interval = usize::try_from(at.as_millis() / INTERVAL.as_millis()).unwrap_or(usize::MAX);
        let paths = recording.paths.iter_mut().zip(&mut recorder.before);
        for (index, (record, before)) in paths.enumerate() {
            // Several sessions of a path count as one path; its state is that of the first.
            let mut seen: Vec<_> = status
                .paths
                .iter()
                .zip(&status.volume.routes)
                .filter(|(_, route)| self.ids.get(&route.path) == Some(&index))
                .collect();
            seen.sort_by_key(|(path, _)| path.name.len());
            let Some((path, route)) = seen.first() else {
                record.enter(at, REMOVED, "not in the configuration");
                continue;
            };
            if record.name.is_empty() {
                record.name.clone_from(&path.name);
            }
            let state = if path.state == PathState::Ready {
                duty(route.duty)
            } else {
                name(path.state)
            };
            record.enter(at, state, &path.why);
            let counters = seen.iter().map(|(_, route)| route.counters);
            let now = Carried {
                commands: counters.clone().map(|counters| counters.commands).sum(),
                bytes: counters.map(|counters| counters.bytes).sum(),
            };
            // A daemon that was killed began to count anew.
            let base = if now.commands < before.commands {
                Carried::default()
            } else {
                *before
            };
            *before = now;
            record.carried.resize(interval + 1, Carried::default());
            if let Some(here) = record.carried.last_mut() {
                here.commands += now.commands - base.commands;
                here.bytes += now.bytes.saturating_sub(base.bytes);
            }
        }
    }

    /// The run is over: what the daemon's journal says of it.
    pub(super) fn record_journal(&mut self) {
        let elapsed = self.elapsed();
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        let events = self.engine.events(self.now);
        let at = |ago| elapsed.saturating_sub(ago);
        let journal = &mut recorder.recording.journal;
        for (name, events) in events.paths {
            let path = (0..self.knobs.groups.len()).find(|path| is_of(&name, *path));
            journal.extend(events.into_iter().map(|event| Told {
                at: at(event.ago),
                path,
                text: Told::text(&event.what, &event.why, None),
            }));
        }
        journal.extend(events.volume.into_iter().map(|event| Told {
            at: at(event.ago),
            path: None,
            text: Told::text(&event.what, &event.why, event.took),
        }));
        journal.sort_by_key(|told| told.at);
    }

    /// A request was answered.
    pub(super) fn record_io(&mut self, ended: &Ended) {
        let at = self.elapsed();
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        recorder.recording.ios.push(Io {
            asked: at.saturating_sub(ended.took),
            took: ended.took,
            kind: ended.kind,
            bytes: ended.bytes,
            failed: ended.error.is_some(),
        });
    }
}

/// Whether a path of the daemon is that of the world, or one of its sessions.
fn is_of(name: &str, path: usize) -> bool {
    let own = name.strip_prefix(&format!("path {path}"));
    own.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// What a path that is ready is used for.
fn duty(duty: DutyStatus) -> &'static str {
    match duty {
        DutyStatus::On | DutyStatus::Rising => "ready",
        DutyStatus::OnTrial { .. } => "on-trial",
        DutyStatus::Out { cause, .. } => match cause {
            OutCause::Gray => "ejected",
            OutCause::Flapping => "held-down",
        },
    }
}

/// As status names it.
fn name(state: PathState) -> &'static str {
    match state {
        PathState::Down => "down",
        PathState::Connecting => "connecting",
        PathState::LoggingIn => "logging-in",
        PathState::Probing => "probing",
        PathState::Probation => "probation",
        PathState::Ready => "ready",
        PathState::Suspect => "suspect",
        PathState::Disabled => "disabled",
        PathState::Stopped => "stopped",
    }
}
