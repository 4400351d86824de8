//! Is what a path found the volume's logical unit?
//!
//! The first unit that is admitted pins the volume's identity, unless the configuration or an earlier
//! run pinned it. Every later one must be equal. Identifiers that look like a vendor's default prove
//! nothing between two targets, so such units are merged only within one portal group of one target, and
//! only where the portals are proven to share their sessions, for names and tags of two targets may be
//! equal as well.
//!
//! A unit that has grown since is still the volume's (`capacity` says what becomes of that); a smaller one is
//! not.

use std::sync::Arc;
use std::time::Instant;

use crate::ids::{Incarnation, PathId};
use crate::path::message::{Order, Unit, Waiting};
use crate::sabotage::{self, Sabotage};
use crate::scsi::identity::LunIdentity;
use crate::units::Geometry;

use super::Volume;

/// What is known of the volume's logical unit.
#[derive(Clone, Debug, Default)]
pub struct Pin {
    /// The identifier that the configuration demands (`wwid`).
    pub configured: Option<String>,
    /// The identifier and size that an earlier run found.
    pub remembered: Option<(String, Geometry)>,
    /// Through which of the paths earlier runs used it; `None` if that is not known.
    pub remembered_paths: Option<Vec<PathId>>,
    /// Paths behind which an earlier run found another unit with the same identifiers.
    pub distrusted: Vec<PathId>,
}

/// Why a path's unit is not the volume's, with what to do.
fn judge(pin: &Pin, volume: Option<&Unit>, found: &Unit) -> Result<(), String> {
    if sabotage::is(Sabotage::IdentityUnchecked) {
        return Ok(());
    }
    let wwid = found.identity.wwid();
    if let Some(configured) = &pin.configured
        && !found.identity.is_named(configured)
    {
        return Err(format!(
            "wrong logical unit: found {} but the configuration demands wwid = \"{configured}\"; \
             correct the path's target or lun, or the volume's wwid",
            found.identity
        ));
    }
    if let Some((remembered, geometry)) = &pin.remembered {
        if !found.identity.is_named(remembered) && pin.configured.is_none() {
            return Err(format!(
                "wrong logical unit: found {} but this volume was {remembered} when it was last used; \
                 correct the path's target or lun, or, if the volume was meant to change, set wwid = \"{wwid}\"",
                found.identity
            ));
        }
        let shrunk = found.geometry.bytes() < geometry.bytes()
            || found.geometry.block_size() != geometry.block_size();
        if found.identity.is_named(remembered) && shrunk {
            return Err(format!(
                "size changed: {wwid} has {} but had {geometry} when it was last used; a smaller unit is \
                 not served, for what was written beyond its end is gone",
                found.geometry
            ));
        }
    }
    let Some(volume) = volume else { return Ok(()) };
    if found.geometry.block_size() == volume.geometry.block_size()
        && found.geometry.blocks() < volume.geometry.blocks()
        && found
            .identity
            .resized(volume.geometry)
            .matches(&volume.identity)
            .is_ok()
    {
        return Err(format!(
            "the logical unit shrank: {wwid} has {} over this path, and {} is served; what was written beyond its \
             end is gone; enlarge it again, or stop the volume and start anew",
            found.geometry, volume.geometry
        ));
    }
    // A unit that has grown is the same unit; the rest of it is not used. A default identifier says too
    // little for that.
    let grown = !found.identity.weak()
        && found.geometry.block_size() == volume.geometry.block_size()
        && found.geometry.blocks() > volume.geometry.blocks();
    let identity = if grown {
        found.identity.resized(volume.geometry)
    } else {
        found.identity.clone()
    };
    if let Err(mismatch) = identity.matches(&volume.identity) {
        return Err(format!(
            "different logical unit: {mismatch}; this path found {}, the volume's other paths lead to {}; \
             correct the path's target or lun",
            found.identity, volume.identity
        ));
    }
    let one_group = volume.target == found.target && volume.portal_group == found.portal_group;
    if found.identity.weak() && !one_group {
        return Err(format!(
            "not proven to be the same logical unit: {} looks like a vendor's default identifier, and this \
             path leads to another target or portal group; give the logical unit an identifier of its own",
            found.identity
        ));
    }
    Ok(())
}

impl Volume {
    /// A default identifier says nothing without another path to prove it by. The first path of a run then
    /// has to be one of those that the unit was used through before.
    fn judge_founder(&self, path: PathId, found: &Unit) -> Result<(), String> {
        let pin = &self.config.pin;
        let known = pin.remembered_paths.as_ref();
        let founds = self.unit.is_none() && found.identity.weak() && pin.remembered.is_some();
        if founds && known.is_some_and(|paths| !paths.contains(&path)) {
            return Err(format!(
                "not proven to be the same logical unit: {} looks like a vendor's default identifier, and in earlier \
                 runs this volume was not used through this path; it is tried again when a path is there that it \
                 was used through; or give the logical unit an identifier of its own",
                found.identity
            ));
        }
        Ok(())
    }

    /// Whether that is surely another unit.
    fn is_stranger(&self, found: &Unit) -> bool {
        let pin = &self.config.pin;
        let remembered = pin.remembered.as_ref().map(|(name, _)| name.as_str());
        let name = pin.configured.as_deref().or(remembered);
        let other = match (&self.unit, name) {
            (Some(unit), _) => found.identity.wwid() != unit.identity.wwid(),
            (None, Some(name)) => !found.identity.is_named(name),
            (None, None) => false,
        };
        other && !found.identity.weak()
    }

    /// Commands are to fit every path that they may be tried on.
    fn heed_limits(&mut self, found: &Unit) {
        let Some(unit) = &mut self.unit else { return };
        let features = unit.features.common(&found.features);
        if features != unit.features {
            let mut narrower = (**unit).clone();
            narrower.features = features;
            *unit = Arc::new(narrower);
        }
    }

    /// A path waits for its port to carry something; whether its unit is the volume's, as far as that can be
    /// told without its size.
    pub(super) fn on_waiting(&mut self, now: Instant, path: PathId, waiting: Option<&Waiting>) {
        let pin = &self.config.pin;
        let pinned = pin.configured.as_ref();
        let pinned = pinned.or_else(|| pin.remembered.as_ref().map(|(name, _)| name));
        let ours = |found: &LunIdentity| match (&self.unit, pinned) {
            (Some(unit), _) => {
                let found = found.resized(unit.geometry);
                !found.weak() && found.matches(&unit.identity).is_ok()
            }
            (None, Some(name)) => found.is_named(name),
            (None, None) => true,
        };
        let access = waiting.filter(|waiting| ours(&waiting.identity));
        self.roster.route_mut(path).waiting = access.map(|waiting| waiting.access);
        self.check_activation(now);
    }

    pub(super) fn on_identified(
        &mut self,
        now: Instant,
        path: PathId,
        incarnation: Incarnation,
        unit: Arc<Unit>,
    ) {
        let judged = judge(&self.config.pin, self.unit.as_deref(), &unit);
        match judged.and_then(|()| self.judge_founder(path, &unit)) {
            Ok(()) => {
                if self.unit.is_none() {
                    tracing::info!(unit = %unit.identity, "logical unit identified");
                    let why = format!("{} over {}", unit.identity, self.names.of(path));
                    self.journal.note(now, "identified", &why);
                    self.unit = Some(Arc::clone(&unit));
                    self.founder = Some(path);
                }
                if let Some(volume) = &self.unit
                    && unit.geometry != volume.geometry
                    && !self.config.grow
                {
                    tracing::info!(
                        path = %self.names.of(path), found = %unit.geometry, served = %volume.geometry,
                        "the logical unit has grown: the new size is served after a restart, for resize is \"never\""
                    );
                }
                self.heed_limits(&unit);
                let sure = !unit.identity.weak() || self.founder == Some(path);
                let route = self.roster.route_mut(path);
                route.waiting = None;
                route.incarnation = incarnation;
                route.unit = Some(unit);
                let order = if sure {
                    Order::Admit
                } else {
                    Order::AdmitIfProven
                };
                self.orders.push_back((path, order));
                // Whatever changed may have been its registration.
                self.look_after(path);
            }
            Err(why) => {
                let told = format!("{}: {why}", self.names.of(path));
                self.journal.note(now, "path refused", &told);
                let stranger = self.is_stranger(&unit);
                self.orders
                    .push_back((path, Order::Refuse { why, stranger }));
            }
        }
    }
}
