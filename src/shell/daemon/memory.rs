//! What is remembered of one volume in the state directory, and which configured path each number stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config;
use crate::ids::PathId;
use crate::iscsi::isid::Isid;
use crate::shell::state::{KeyState, StateDir, StateError, VolumeState};
use crate::shell::volume_task::Found;

use super::assemble;

/// See the module.
#[derive(Debug)]
pub(super) struct Memory {
    name: String,
    dir: Arc<StateDir>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: VolumeState,
    paths: BTreeMap<PathId, config::Path>,
    /// Sessions of this run: they are forgotten when their paths are gone.
    ours: BTreeSet<String>,
}

impl Memory {
    /// Of a volume whose paths are numbered in this order. `state` is that of the run that begins, and is
    /// not stored yet.
    pub(super) fn new(
        name: &str,
        dir: &Arc<StateDir>,
        state: VolumeState,
        paths: &[config::Path],
    ) -> Self {
        let inner = Inner {
            state,
            paths: (0..).map(PathId).zip(paths.iter().cloned()).collect(),
            ours: paths.iter().map(session_name).collect(),
        };
        Self {
            name: name.to_owned(),
            dir: Arc::clone(dir),
            inner: Mutex::new(inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn store(&self) -> Result<(), StateError> {
        self.dir.store(&self.name, &self.lock().state)
    }

    pub(super) fn state(&self) -> VolumeState {
        self.lock().state.clone()
    }

    /// The path that a number stands for.
    pub(super) fn path(&self, id: PathId) -> Option<config::Path> {
        self.lock().paths.get(&id).cloned()
    }

    /// Pins what the volume is, before anybody can write to it; which paths it was used through; and which
    /// paths are gone.
    pub(super) fn remember(&self, found: &Found) -> Result<(), StateError> {
        let mut inner = self.lock();
        let Inner { state, paths, ours } = &mut *inner;
        let wwid = &found.wwid;
        if state.wwid.is_none() {
            tracing::info!(volume = self.name, wwid, "logical unit pinned on first use");
        }
        if state.wwid.as_ref() != Some(wwid) {
            state.places.clear();
            state.distrusted.clear();
        }
        state.wwid = Some(wwid.clone());
        (state.block_size, state.blocks) = (found.geometry.block_size(), found.geometry.blocks());
        for path in found.paths.iter().filter_map(|id| paths.get(id)) {
            let place = assemble::place(path);
            if !state.places.contains(&place) {
                state.places.push(place);
            }
        }
        state.reservation = found.key.map(KeyState::from);
        for (id, path) in paths.iter() {
            let place = assemble::place(path);
            state.distrusted.retain(|other| *other != place);
            if found.distrusted.contains(id) {
                state.distrusted.push(place);
            }
        }
        let there: Vec<String> = found.isids.iter().map(isid_text).collect();
        let gone = |session: &String| {
            let there = there.iter().any(|isid| session.starts_with(isid));
            ours.contains(session) && !there
        };
        state.sessions.retain(|session| !gone(session));
        self.dir.store(&self.name, state)
    }

    /// Sessions that may be made from now on: what they leave behind is to be fenced, whatever happens.
    pub(super) fn expect(&self, wanted: &[config::Path]) -> Result<(), StateError> {
        let mut inner = self.lock();
        for session in wanted.iter().map(session_name) {
            if !inner.state.sessions.contains(&session) {
                inner.state.sessions.push(session);
            }
        }
        self.dir.store(&self.name, &inner.state)
    }

    /// The paths have these numbers from now on; those of removed paths are kept.
    pub(super) fn number(&self, ids: &[PathId], paths: &[config::Path]) {
        let mut inner = self.lock();
        let numbered = ids.iter().copied().zip(paths.iter().cloned());
        inner.paths.extend(numbered);
        inner.ours.extend(paths.iter().map(session_name));
    }

    /// The run has ended, and nothing of it can execute any more.
    pub(super) fn end_cleanly(&self) -> Result<(), StateError> {
        let mut inner = self.lock();
        inner.state.clean = true;
        self.dir.store(&self.name, &inner.state)
    }
}

fn isid_text(isid: &Isid) -> String {
    let bytes = isid.to_wire();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What makes a path's session the same one for the target, over restarts.
pub(super) fn session_name(path: &config::Path) -> String {
    let isid = isid_text(&Isid::from_wire(path.isid));
    format!("{isid} {} {}", path.target, path.portal)
}
