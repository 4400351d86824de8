//! What differs between the configuration that runs and the one that is wanted, and when it takes effect.
//!
//! Pure: it compares what [`Effective`] shows of both, key by key, and the paths by their routes. What cannot
//! be changed while the daemon runs is put back in the result, and reported, and the rest goes on.

use std::collections::BTreeSet;
use std::fmt;

use super::show::{Effective, Shown};
use super::{Path, Volume, isid};

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// At once.
    Now,
    /// With each path's next login; sessions go on as they are.
    NextLogin,
    /// For clients that connect from now on.
    NewClients,
    /// With the daemon's next start.
    Restart,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Now => "now",
            Self::NextLogin => "at each path's next login",
            Self::NewClients => "for new clients",
            Self::Restart => "NEEDS A RESTART",
        })
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The volume that it concerns; `None`: the daemon.
    pub volume: Option<String>,
    /// What it is.
    pub what: What,
    /// When it takes effect.
    pub effect: Effect,
}

/// What is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The volume is new.
    VolumeAdded,
    /// There is no such volume any more.
    VolumeRemoved,
    /// A path is new.
    PathAdded(String),
    /// There is no such path any more.
    PathRemoved(String),
    /// A path has another rank or share, or is in another tier.
    Rank {
        /// The path.
        path: String,
        /// `weight` or `tier`.
        key: &'static str,
        /// Before.
        from: u8,
        /// After.
        to: u8,
    },
    /// The same paths stand in another order.
    PathOrder,
    /// Other credentials, by the same name or another one. They are not shown.
    Auth,
    /// A key has another value.
    Value {
        /// The key.
        key: String,
        /// Before; `None`: it had none.
        from: Option<String>,
        /// After; `None`: it has none.
        to: Option<String>,
    },
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VolumeAdded => f.write_str("volume added"),
            Self::VolumeRemoved => f.write_str("volume removed"),
            Self::PathAdded(path) => write!(f, "path {path} added"),
            Self::PathRemoved(path) => write!(f, "path {path} removed"),
            Self::Rank {
                path,
                key,
                from,
                to,
            } => write!(f, "path {path}: {key} {from} -> {to}"),
            Self::PathOrder => f.write_str("paths in another order"),
            Self::Auth => f.write_str("other credentials"),
            Self::Value { key, from, to } => {
                let (from, to) = (from.as_deref(), to.as_deref());
                let (from, to) = (from.unwrap_or("(none)"), to.unwrap_or("(none)"));
                write!(f, "{key}: {from} -> {to}")
            }
        }
    }
}

/// All differences.
#[derive(Clone, Debug)]
pub struct Diff {
    /// One by one: the daemon's, then those of each volume.
    pub changes: Vec<Change>,
    /// What is to run from now on: the wanted configuration without what needs a restart.
    pub effective: Effective,
}

/// Keys of a volume that cannot be changed while it is at work. Its identity was checked against `wwid` and
/// is pinned; its sessions are registered with `reservation_key`.
const RESTART: [&str; 2] = ["wwid", "reservation_key"];

/// What counts from a login on.
const LOGIN: [&str; 9] = [
    "same_unit",
    "iscsi.header_digest",
    "iscsi.data_digest",
    "iscsi.max_recv_data_segment_length",
    "iscsi.first_burst_length",
    "iscsi.max_burst_length",
    "iscsi.immediate_data",
    "iscsi.initial_r2t",
    "iscsi.max_outstanding_r2t",
];

/// Whether the target is asked for access states, ...
const ALUA: &str = "alua";

/// ... and that it is not, as it is shown.
const IGNORED: &str = "\"ignore\"";

/// What clients are told when they connect.
const CLIENTS: [&str; 1] = ["export.read_only"];

/// Target, LUN and sessions are compared with the paths.
const OF_PATHS: [&str; 3] = ["target", "lun", "sessions"];

/// Where credentials are compared: as a whole.
const OF_AUTH: [&str; 1] = ["auth"];

fn effect(key: &str) -> Effect {
    if RESTART.contains(&key) {
        Effect::Restart
    } else if LOGIN.contains(&key) {
        Effect::NextLogin
    } else if CLIENTS.contains(&key) {
        Effect::NewClients
    } else {
        Effect::Now
    }
}

/// Compares what runs with what is wanted.
#[must_use]
pub fn diff(running: &Effective, wanted: Effective) -> Diff {
    let mut diff = Diff {
        changes: Vec::new(),
        effective: wanted,
    };
    diff.daemon(running);
    for old in &running.config.volumes {
        if diff.effective.config.volume(&old.name).is_none() {
            diff.add(Some(&old.name), What::VolumeRemoved, Effect::Now);
        }
    }
    for index in 0..diff.effective.config.volumes.len() {
        diff.volume(running, index);
    }
    diff
}

impl Diff {
    /// Whether anything is different, now or later.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What is different in a volume, in words.
    #[must_use]
    pub fn of(&self, volume: &str) -> String {
        let here = |change: &&Change| change.volume.as_deref() == Some(volume);
        let texts = self.changes.iter().filter(here);
        let texts: Vec<String> = texts.map(|change| change.what.to_string()).collect();
        texts.join("; ")
    }

    fn add(&mut self, volume: Option<&str>, what: What, effect: Effect) {
        let volume = volume.map(str::to_owned);
        self.changes.push(Change {
            volume,
            what,
            effect,
        });
    }

    /// Nothing of the daemon itself can be changed while it runs.
    fn daemon(&mut self, running: &Effective) {
        let (old, new) = (running.daemon(), self.effective.daemon());
        for value in differences(old, new) {
            self.add(None, value, Effect::Restart);
        }
        let name = &running.config.daemon.initiator_name;
        if *name != self.effective.config.daemon.initiator_name {
            // The paths keep the names of their sessions.
            for volume in &mut self.effective.config.volumes {
                for path in &mut volume.paths {
                    path.isid = isid(name, &volume.name, path);
                }
            }
        }
        self.effective.config.daemon = running.config.daemon.clone();
        *self.effective.daemon_mut() = old.clone();
    }

    fn volume(&mut self, running: &Effective, index: usize) {
        let new = &self.effective.config.volumes[index];
        let name = new.name.clone();
        let Some((old, old_shown)) = running.volume(&name) else {
            return self.add(Some(&name), What::VolumeAdded, Effect::Now);
        };
        let mut found = Vec::new();
        found.extend(values(old_shown, self.effective.shown(index)));
        if old.auth != new.auth {
            found.push((What::Auth, Effect::NextLogin));
        }
        let paths = paths(old, new);
        found.extend(paths.into_iter().map(|what| (what, Effect::Now)));
        for (what, effect) in found {
            self.add(Some(&name), what, effect);
        }
        self.effective.config.volumes[index]
            .wwid
            .clone_from(&old.wwid);
        self.effective.config.volumes[index].reservation_key = old.reservation_key;
        let shown = self.effective.shown_mut(index);
        shown.put_back(old_shown, &RESTART);
    }
}

fn values(old: &Shown, new: &Shown) -> Vec<(What, Effect)> {
    let mut found = Vec::new();
    for what in differences(old, new) {
        let What::Value { key, from, to } = &what else {
            continue;
        };
        let elsewhere = OF_PATHS.contains(&key.as_str()) || OF_AUTH.contains(&key.as_str());
        // What the target says of its ports is learned with the unit's identity.
        let learned = key == ALUA
            && [from, to]
                .iter()
                .any(|value| value.as_deref() == Some(IGNORED));
        let effect = match learned {
            true => Effect::NextLogin,
            false => effect(key),
        };
        if !elsewhere {
            found.push((what, effect));
        }
    }
    found
}

/// Keys whose values differ, in their order.
fn differences(old: &Shown, new: &Shown) -> Vec<What> {
    let mut keys: Vec<&str> = old.keys().collect();
    let known: BTreeSet<&str> = keys.iter().copied().collect();
    keys.extend(new.keys().filter(|key| !known.contains(key)));
    let mut found = Vec::new();
    for key in keys {
        let (from, to) = (old.value(key), new.value(key));
        if from != to {
            found.push(What::Value {
                key: key.to_owned(),
                from: from.map(str::to_owned),
                to: to.map(str::to_owned),
            });
        }
    }
    found
}

/// Paths are the same that have the same session.
fn paths(old: &Volume, new: &Volume) -> Vec<What> {
    let has = |volume: &Volume, path: &Path| volume.paths.iter().any(|p| p.isid == path.isid);
    let mut found = Vec::new();
    for path in old.paths.iter().filter(|path| !has(new, path)) {
        found.push(What::PathRemoved(path.to_string()));
    }
    for path in &new.paths {
        let before = old.paths.iter().find(|before| before.isid == path.isid);
        let Some(before) = before else {
            found.push(What::PathAdded(path.to_string()));
            continue;
        };
        let ranks = [
            ("weight", before.weight, path.weight),
            ("tier", before.tier, path.tier),
        ];
        let changed = ranks.into_iter().filter(|(_, from, to)| from != to);
        found.extend(changed.map(|(key, from, to)| What::Rank {
            path: path.to_string(),
            key,
            from,
            to,
        }));
    }
    let names =
        |volume: &Volume| -> Vec<[u8; 6]> { volume.paths.iter().map(|path| path.isid).collect() };
    if found.is_empty() && names(old) != names(new) {
        found.push(What::PathOrder);
    }
    found
}

#[cfg(test)]
mod tests;
