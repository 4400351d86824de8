//! Other settings while the engine runs: paths come, go and change, and nobody else is disturbed.
//!
//! A path is known by its ISID, which follows from its route: a path that keeps it keeps its session, its
//! history and its number. One that is not wanted any more *retires*: it is drained, its ghosts are fenced,
//! it is logged out, and only then its number may go to another path. A path that is wanted again while it
//! retires goes on.

use std::time::Instant;

use smallvec::SmallVec;

use crate::ids::{PathId, PathNames};
use crate::iscsi::isid::Isid;
use crate::limits::PATH_SLOTS_MAX;
use crate::path::{Path, PathConfig};
use crate::volume::{RouteConfig, VolumeConfig};

use super::{Engine, ExportConfig, path_id, same_way};

/// All that an engine can be told anew.
pub struct Change {
    /// How the volume is exported; clients that are there keep what they were told.
    pub export: ExportConfig,
    /// The volume's settings; [`crate::volume::Volume::reconfigure`] says what is taken from them.
    pub volume: VolumeConfig,
    /// Whether the policy in there is another one than before.
    pub policy_changed: bool,
    /// All paths that are wanted; at least one, none twice.
    pub paths: Vec<PathConfig>,
    /// What is different, in words.
    pub why: String,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Change")
            .field("export", &self.export)
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

/// Too many removed paths wait for their fences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} removed paths are not gone yet, and with them there would be more than {PATH_SLOTS_MAX} paths; try \
     again when they are (see: iibadm status)"
)]
pub struct TooManyPaths(pub usize);

impl Engine {
    /// Takes other settings over; the numbers of the paths, in the order of the change.
    ///
    /// # Errors
    /// There is no room for so many paths; nothing is changed then.
    pub fn reconfigure(
        &mut self,
        now: Instant,
        change: Change,
    ) -> Result<Vec<PathId>, TooManyPaths> {
        // What is under way belongs to the paths as they were.
        self.pump(now);
        self.find_heir();
        let places: Vec<_> = change
            .paths
            .iter()
            .map(|config| self.place_of(config))
            .collect();
        let free = self.free_places(&places)?;
        self.export = change.export;
        let routes = change.volume.routes();
        self.volume
            .reconfigure(now, change.volume, change.policy_changed, &change.why);
        let mut free = free.into_iter();
        self.order.clear();
        for ((config, place), route) in change.paths.into_iter().zip(places).zip(routes) {
            let path = match place {
                Some(path) => self.keep_path(now, path, config, route),
                None => {
                    let next = path_id(self.paths.len());
                    self.put_path(now, free.next().unwrap_or(next), config, route)
                }
            };
            self.order.push(path);
        }
        self.retire_others(now);
        self.spread_names();
        self.pump(now);
        Ok(self.order.clone())
    }

    /// Paths that are there: those that are configured in their order, then those that are about to go.
    pub(super) fn present(&self) -> SmallVec<[PathId; 16]> {
        let leaving = self.ids().filter(|path| {
            let removed = !self.order.contains(path);
            removed && !self.gone.contains(path)
        });
        self.order.iter().copied().chain(leaving).collect()
    }

    /// The ISIDs of the paths that are there, those that are about to go too.
    #[must_use]
    pub fn isids(&self) -> Vec<Isid> {
        let present = self.present().into_iter();
        present
            .map(|path| self.path(path).config().session.isid)
            .collect()
    }

    fn place_of(&self, config: &PathConfig) -> Option<PathId> {
        let isid = config.session.isid;
        let same = |path: &Path| path.config().session.isid == isid;
        self.paths.iter().position(same).map(path_id)
    }

    /// Numbers for the paths that have none, as far as there are some that nobody needs any more.
    fn free_places(&self, places: &[Option<PathId>]) -> Result<Vec<PathId>, TooManyPaths> {
        let taken = |path: &PathId| places.contains(&Some(*path));
        let free = |path: &PathId| self.gone.contains(path) && self.volume.may_forget(*path);
        let free: Vec<_> = self
            .ids()
            .filter(|path| free(path) && !taken(path))
            .collect();
        let new = places.iter().filter(|place| place.is_none()).count();
        if self.paths.len() + new.saturating_sub(free.len()) > PATH_SLOTS_MAX {
            let waiting = self.paths.len() - free.len() - (places.len() - new);
            return Err(TooManyPaths(waiting));
        }
        Ok(free)
    }

    fn keep_path(
        &mut self,
        now: Instant,
        path: PathId,
        config: PathConfig,
        route: RouteConfig,
    ) -> PathId {
        self.gone.remove(&path);
        let entry = self.path_mut(path);
        entry.reconfigure(now, config);
        entry.revive(now);
        self.volume.set_retiring(now, path, false);
        self.volume.set_route(now, path, route);
        path
    }

    fn put_path(
        &mut self,
        now: Instant,
        path: PathId,
        config: PathConfig,
        route: RouteConfig,
    ) -> PathId {
        self.gone.remove(&path);
        let mut new = Path::new(now, path, config);
        self.groups.put(path);
        self.volume.add_path(path, route);
        let twin = self.ids().find(|other| {
            let there = *other != path && !self.gone.contains(other);
            there && same_way(self.path(*other).config(), new.config())
        });
        if let Some(twin) = twin {
            self.groups.unite(path, twin);
        }
        match self.paths.get_mut(usize::from(path.0)) {
            Some(place) => {
                new.count_on_from(place.incarnation());
                *place = new;
            }
            None => self.paths.push(new),
        }
        path
    }

    fn retire_others(&mut self, now: Instant) {
        let others: Vec<PathId> = self
            .ids()
            .filter(|path| !self.order.contains(path))
            .collect();
        for path in others {
            if !self.path_mut(path).is_retiring() {
                self.path_mut(path).retire(now);
                self.volume.set_retiring(now, path, true);
            }
        }
    }

    /// A path that founded the volume's identity and is gone gives its part to one that is proven to lead
    /// to the same target.
    fn find_heir(&mut self) {
        let Some(founder) = self.volume.founder() else {
            return;
        };
        if !self.gone.contains(&founder) {
            return;
        }
        let used = self.volume.used_paths();
        let heir = used.into_iter().find(|path| {
            let stays = self.order.contains(path);
            stays && self.groups.same(*path, founder)
        });
        if let Some(heir) = heir {
            self.volume.set_founder(heir);
        }
    }

    fn spread_names(&mut self) {
        let names = self.paths.iter().map(|path| path.config().name.clone());
        let names = PathNames::new(names);
        for path in &mut self.paths {
            path.set_names(names.clone());
        }
        self.volume.set_names(names);
    }

    /// Logs out retiring paths that are not needed any more; whether there was one.
    pub(super) fn let_go(&mut self, now: Instant) -> bool {
        let mut any = false;
        for index in 0..self.paths.len() {
            let (id, path) = (path_id(index), &mut self.paths[index]);
            if !path.is_retiring() || self.gone.contains(&id) {
                continue;
            }
            let free = !path.is_stopping() && !path.is_being_told();
            if free && self.volume.may_let_go(id) {
                any = true;
                path.stop(now);
            }
            if path.is_stopped() && !self.volume.haunted_by(id) {
                any = true;
                self.gone.insert(id);
                self.farewells.push(id);
            }
        }
        any
    }
}
