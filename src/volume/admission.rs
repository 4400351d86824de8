//! Is what a path found the volume's logical unit?
//!
//! The first unit that is admitted pins the volume's identity, unless the configuration or an earlier
//! run pinned it. Every later one must be equal. Identifiers that look like a vendor's default prove
//! nothing between two targets, so such units are merged only within one portal group of one target, and
//! only where the portals are proven to share their sessions, for names and tags of two targets may be
//! equal as well.
//!
//! A unit that has grown since is still the volume's; a smaller one is not.

use crate::path::message::Unit;
use crate::units::Geometry;

/// What is known of the volume's logical unit.
#[derive(Clone, Debug, Default)]
pub struct Pin {
    /// The identifier that the configuration demands (`wwid`).
    pub configured: Option<String>,
    /// The identifier and size that an earlier run found.
    pub remembered: Option<(String, Geometry)>,
}

/// Why a path's unit is not the volume's, with what to do.
pub(super) fn judge(pin: &Pin, volume: Option<&Unit>, found: &Unit) -> Result<(), String> {
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
