//! What paths are told of each other.

use std::time::Instant;

use crate::ids::PathId;
use crate::path::{Path, Peers, RESET_PAUSE, Surroundings};

use super::{Engine, path_id, same_way};

impl Engine {
    /// What the path in place `index` is told of the others.
    pub(super) fn surroundings(&self, index: usize) -> Surroundings {
        let own = path_id(index);
        let others = || {
            (0u16..)
                .map(PathId)
                .zip(&self.paths)
                .filter(move |(id, _)| *id != own)
        };
        let unit = self.volume.route_unit(own);
        let same_portal_group = |id: PathId| match (unit, self.volume.route_unit(id)) {
            (Some(a), Some(b)) => {
                a.target == b.target && a.portal_group.is_some() && a.portal_group == b.portal_group
            }
            _ => false,
        };
        let ready = |path: &Path| path.is_ready();
        // A path whose port carries nothing is no reason to give up one that does.
        let serves = |path: &Path| path.is_ready() && !path.is_resting();
        let any = |path: &Path| serves(path) || path.is_on_probation() && !path.is_resting();
        let in_use = |path: &Path| path.is_ready() || path.is_on_probation();
        let rank = |path: &Path| (path.is_resting(), !path.is_sure(), !path.is_ready());
        let references = || others().filter(|(_, path)| in_use(path));
        let first = references().min_by_key(|(_, path)| rank(path));
        let second = references()
            .filter(|(id, _)| first.is_some_and(|(first, _)| first != *id))
            .min_by_key(|(_, path)| rank(path));
        Surroundings {
            peers: Peers {
                witness: others()
                    .filter(|(_, path)| serves(path))
                    .filter_map(|(_, path)| path.witness())
                    .max(),
                usable: others().any(|(_, path)| serves(path)),
                any: others().any(|(_, path)| any(path)),
            },
            wants_fence: self.volume.wants_fence(own),
            holds_writes: self.volume.holds_writes(own),
            fencer_stranded: self.paths[index].fencer_via().is_some_and(|via| {
                let via = &self.paths[usize::from(via.0)];
                !via.is_ready() && !via.is_suspect()
            }),
            kin: self
                .volume
                .founder()
                .is_none_or(|founder| self.groups.same(own, founder)),
            // What another session over the same portal meets is what this one has met.
            fence_route: others()
                .filter(|(id, path)| ready(path) && self.groups.same(own, *id))
                .min_by_key(|(_, path)| same_way(path.config(), self.paths[index].config()))
                .map(|(id, _)| id),
            starved: self.volume.is_starved(),
            references: [first.map(|(id, _)| id), second.map(|(id, _)| id)],
            reference_is_sure: first.is_some_and(|(_, path)| path.is_sure()),
            others: others().any(|(_, path)| path.is_admitted() || path.is_taken()),
            proof_route: others()
                .find(|(id, path)| {
                    ready(path) && same_portal_group(*id) && self.groups.unknown(own, *id)
                })
                .map(|(id, _)| id),
        }
    }

    /// What a path decides depends on the others' present state.
    pub(super) fn tell_surroundings(&mut self, path: PathId) {
        let surroundings = self.surroundings(usize::from(path.0));
        self.path_mut(path).set_surroundings(surroundings);
    }

    /// The last path that carried I/O is gone, or its port carries nothing any more: those that wait for
    /// their next attempt make it now, and all watch their access states closely. Or one is back.
    pub(super) fn heed_starvation(&mut self, now: Instant) {
        let starved = self.volume.is_starved();
        if std::mem::replace(&mut self.starved, starved) == starved {
            return;
        }
        for index in 0..self.paths.len() {
            let surroundings = self.surroundings(index);
            self.paths[index].set_surroundings(surroundings);
            if starved {
                self.paths[index].hurry(now);
            }
        }
    }

    /// A command that hangs at the target may keep a fence from being made: it is ended by a reset of the
    /// unit.
    /// That is no fence itself: what the lost session's connection still delivers comes after it. It is asked
    /// for over a path whose sessions are with the same machine, as a proof has shown, or over the path
    /// itself.
    pub(super) fn free_fences(&mut self, now: Instant) {
        for index in 0..self.paths.len() {
            let (own, paths) = (path_id(index), &self.paths);
            if !paths[index].is_held_up(now) {
                continue;
            }
            let recent = |at: Instant| now.saturating_duration_since(at) < RESET_PAUSE;
            let mut others = self
                .ids()
                .filter(|id| *id != own && self.groups.same(own, *id));
            let other = others.find(|id| self.path(*id).is_ready());
            let over = other.or_else(|| self.path_mut(own).is_logged_in().then_some(own));
            let Some(over) = over.filter(|_| !self.freed_at.is_some_and(recent)) else {
                self.path_mut(own).note_freed(now, None);
                continue;
            };
            self.freed_at = Some(now);
            let by = self.path(over).config().name.clone();
            self.path_mut(own).note_freed(now, Some(&by));
            let why = "a fence is held up by what hangs at the target";
            self.path_mut(over).reset_unit(now, why);
        }
    }
}
