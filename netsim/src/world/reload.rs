//! The administrator changes the daemon's configuration while it runs.

use std::fmt;

use iiblockdaemon::path::Detect;
use iiblockdaemon::volume::NoPath;
use policies::PolicySpec;

use super::judge::Rule;
use super::{Knobs, World, setup};

/// Settings of a volume that may be changed while it is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Path selection.
    pub policy: PolicySpec,
    /// Detection times.
    pub detect: Detect,
    /// Commands in flight per path.
    pub commands_per_path: u32,
    /// Writes of unknown fate wait for their fence.
    pub shared: bool,
    /// What happens to requests while no path is usable.
    pub no_path: NoPath,
    /// Sessions per path.
    pub sessions: u16,
}

/// What is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The configuration does not have a path any more.
    Remove {
        /// The path.
        path: usize,
    },
    /// The configuration has a path that it did not have.
    Add {
        /// The path.
        path: usize,
    },
    /// A path's rank or share.
    Weight {
        /// The path.
        path: usize,
        /// 1 to 255.
        weight: u8,
    },
    /// The volume's settings.
    Settings(Box<Settings>),
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remove { path } => write!(f, "configuration without path {path}"),
            Self::Add { path } => write!(f, "configuration with path {path}"),
            Self::Weight { path, weight } => {
                write!(f, "configuration with weight {weight} for path {path}")
            }
            Self::Settings(settings) => {
                let Settings {
                    policy,
                    detect,
                    commands_per_path,
                    shared,
                    no_path,
                    sessions,
                } = **settings;
                write!(
                    f,
                    "configuration with {policy}, {sessions} sessions and {commands_per_path} commands per path, shared {shared}, {no_path:?}, \
                     {detect:?}"
                )
            }
        }
    }
}

impl Knobs {
    /// What of it may be changed while the daemon runs.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            policy: self.policy,
            detect: self.detect,
            commands_per_path: self.commands_per_path,
            shared: self.shared,
            no_path: self.no_path,
            sessions: self.sessions,
        }
    }
}

impl World {
    /// The paths that the configuration has at the beginning.
    pub(super) fn configured(knobs: &Knobs) -> Vec<usize> {
        let paths = 0..knobs.groups.len();
        paths.filter(|path| !knobs.absent.contains(path)).collect()
    }

    /// The configuration is changed, and the daemon takes it over.
    pub(super) fn reload(&mut self, reload: &Reload) {
        let before = self.knobs.settings();
        match *reload {
            Reload::Remove { path } => self.configured.retain(|known| *known != path),
            Reload::Add { path } => {
                self.configured.push(path);
                self.configured.sort_unstable();
                self.configured.dedup();
            }
            Reload::Weight { path, weight } => {
                self.knobs.weights.resize(self.knobs.groups.len(), 1);
                self.knobs.weights[path] = weight;
            }
            Reload::Settings(ref settings) => {
                let Settings {
                    policy,
                    detect,
                    commands_per_path,
                    shared,
                    no_path,
                    sessions,
                } = **settings;
                self.knobs.sessions = sessions;
                self.knobs.policy = policy;
                self.knobs.detect = detect;
                self.knobs.commands_per_path = commands_per_path;
                self.knobs.shared = shared;
                self.knobs.no_path = no_path;
            }
        }
        let changed = before.policy != self.knobs.policy;
        let change = setup::change(&self.knobs, &self.configured, changed);
        match self.engine.reconfigure(self.now, change) {
            Ok(ids) => {
                let numbered = setup::numbered(&self.knobs, &self.configured);
                self.ids.extend(ids.into_iter().zip(numbered));
                self.sessions.extend(self.configured.iter().copied());
                for path in self.configured.clone() {
                    self.tell_uplink(path);
                }
            }
            Err(refused) => {
                self.violation = Some(self.broken(Rule::Recovers, refused.to_string()));
            }
        }
    }

    /// A removed path is gone for good.
    pub(super) fn path_gone(&mut self, path: iiblockdaemon::ids::PathId) {
        if let Some(path) = self.ids.remove(&path)
            && !self.ids.values().any(|other| *other == path)
        {
            self.sessions.remove(&path);
        }
    }

    /// Whether the daemon, killed now, leaves a session behind that belongs to no path any more.
    pub(super) fn leaves_orphans(&self) -> bool {
        let orphan = |path| !self.configured.contains(path);
        self.sessions.iter().any(orphan)
    }
}
