//! The reservation keys of one path: made, recognised, remembered until they are surely gone.
//!
//! A key's upper half follows from the path's initiator port and target, so that what a process that was
//! killed has left behind is known for ours; the lower half is random.

use crate::iscsi::session::config::{Entropy, SessionConfig, SessionKind};
use crate::scsi::reservation::{RegisteredKeys, ReservationKey};

/// No key: what REGISTER has for its own key where none is registered, and for a new one to remove it.
pub(super) const NONE: ReservationKey = ReservationKey(0);

/// What the target said to REGISTER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Registered {
    /// Done.
    Good,
    /// RESERVATION CONFLICT: the nexus has another key than was said.
    Conflict,
    /// Not done, for another reason.
    Refused,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Keys {
    prefix: u32,
    random: u64,
    /// Those that may be registered for this nexus; of these one is, at most.
    held: Vec<ReservationKey>,
    /// A process before this one may have left one.
    pub(super) sweep: bool,
}

impl Keys {
    pub(super) fn new(session: &SessionConfig, seed: u64) -> Self {
        let target = match &session.kind {
            SessionKind::Normal { target } => target.as_str(),
            SessionKind::Discovery => "",
        };
        let name = session.initiator_name.as_str().bytes();
        let bytes = name
            .chain(session.isid.to_wire())
            .chain(target.bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                // FNV-1a.
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let [a, b, c, d, ..] = bytes.to_be_bytes();
        Self {
            prefix: u32::from_be_bytes([a, b, c, d]).max(1),
            random: seed,
            held: Vec::new(),
            sweep: false,
        }
    }

    /// What a key is made of must not come again after a restart: the old one may still be registered.
    pub(super) fn stir(&mut self, entropy: &Entropy) {
        for chunk in entropy.bytes().chunks_exact(8) {
            let number = chunk.iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
            self.random = self.next() ^ number;
        }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    pub(super) fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A key that was never used.
    pub(super) fn fresh(&mut self) -> ReservationKey {
        let low = self.next() & u64::from(u32::MAX);
        ReservationKey(u64::from(self.prefix) << 32 | low)
    }

    /// The one that is probably registered; [`NONE`] if none is, as far as is known.
    pub(super) fn own(&self) -> ReservationKey {
        self.held.first().copied().unwrap_or(NONE)
    }

    /// Whether one may be registered.
    pub(super) fn any(&self) -> bool {
        !self.held.is_empty()
    }

    /// REGISTER is about to be sent.
    pub(super) fn on_register(&mut self, new: ReservationKey) {
        if new != NONE && !self.held.contains(&new) {
            self.held.push(new);
        }
    }

    /// REGISTER was answered.
    pub(super) fn on_registered(
        &mut self,
        own: ReservationKey,
        new: ReservationKey,
        said: Registered,
    ) {
        match said {
            Registered::Good => {
                self.held.clear();
                self.on_register(new);
                self.sweep = false;
            }
            Registered::Conflict => self.held.retain(|key| *key != own && *key != new),
            Registered::Refused => self.held.retain(|key| *key != new),
        }
    }

    /// Of what is registered at the target, what is ours: it is tried first.
    pub(super) fn recognise(&mut self, registered: &RegisteredKeys) {
        let ours = |key: &&ReservationKey| key.0 >> 32 == u64::from(self.prefix);
        let found: Vec<_> = registered.keys.iter().filter(ours).copied().collect();
        self.held.retain(|key| !found.contains(key));
        self.held.splice(0..0, found);
        self.sweep = false;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::iscsi::isid::Isid;
    use crate::iscsi::name::IscsiName;
    use crate::iscsi::session::config::{AuthConfig, Offer};

    fn keys(isid: u8, entropy: u8) -> Keys {
        let session = SessionConfig {
            initiator_name: IscsiName::new("iqn.2026-11.com.example:db1").unwrap(),
            kind: SessionKind::Normal {
                target: IscsiName::new("iqn.2003-01.com.example:array1").unwrap(),
            },
            isid: Isid::from_wire([0x80, 0, 0, 0, 0, isid]),
            auth: AuthConfig::None,
            offer: Offer::default(),
            login_timeout: Duration::from_secs(30),
            logout_timeout: Duration::from_secs(5),
        };
        let mut keys = Keys::new(&session, 1);
        keys.stir(&Entropy::new([entropy; 32]));
        keys
    }

    fn registered(keys: &[ReservationKey]) -> RegisteredKeys {
        RegisteredKeys {
            generation: 1,
            keys: keys.to_vec(),
            needed: 8,
        }
    }

    #[test]
    fn a_process_knows_the_keys_of_the_one_before_it_and_makes_others() {
        let left = keys(1, 7).fresh();
        let mut after = keys(1, 8);
        assert_ne!(after.fresh(), left);
        let other = keys(2, 7).fresh();
        after.recognise(&registered(&[ReservationKey(5), other, left]));
        assert_eq!(after.own(), left);
        after.on_registered(left, NONE, Registered::Good);
        assert!(!after.any());
    }

    #[test]
    fn a_key_whose_registration_is_in_doubt_is_tried_until_the_target_has_denied_it() {
        let mut keys = keys(1, 7);
        let (first, second) = (keys.fresh(), keys.fresh());
        keys.on_register(first);
        // The session was lost; the next login's REGISTER is lost as well.
        keys.on_register(second);
        assert_eq!(keys.own(), first);
        let third = keys.fresh();
        keys.on_register(third);
        keys.on_registered(first, third, Registered::Conflict);
        assert_eq!(keys.own(), second);
        keys.on_register(third);
        keys.on_registered(second, third, Registered::Good);
        assert_eq!(keys.own(), third);
        keys.on_registered(third, NONE, Registered::Refused);
        assert_eq!(keys.own(), third, "it is still there");
        keys.on_registered(third, NONE, Registered::Conflict);
        assert!(!keys.any(), "somebody else removed it");
    }
}
