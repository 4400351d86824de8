//! Each path's initiator session identifier.
//!
//! A path keeps its ISID over restarts: the new process's login with it makes the target end the
//! old process's session first (reinstatement, RFC 7143 6.3.5), which is the fence. Two paths must
//! never share one, for within a portal group they would end each other's sessions.
//!
//! Format (RFC 7143 11.12.5): type 10b, "random", whose 24 bits of random number and 16 bits of
//! qualifier are taken from SHA-256 over the initiator's name, the volume's name and what defines
//! the path; each part with its length before it, so that no two lists of parts are one text.
//! Forty bits: collisions are checked for, and not expected.

use sha2::{Digest, Sha256};

use super::Path;

/// The ISID of a path (its own `isid` is not looked at). Weight and tier are no part of it: changing it
/// changes no session.
#[must_use]
pub fn isid(initiator_name: &str, volume: &str, path: &Path) -> [u8; 6] {
    let source = path.source.map(|address| address.to_string());
    let session = path.session.to_string();
    let mut parts: Vec<&[u8]> = Vec::new();
    let (portal, target, lun) = (
        path.portal.to_string(),
        path.target.to_lowercase(),
        path.lun.to_wire(),
    );
    let initiator_name = initiator_name.to_lowercase();
    parts.extend([
        &b"iiblockdaemon isid 1"[..],
        initiator_name.as_bytes(),
        volume.as_bytes(),
        portal.as_bytes(),
        path.nic.as_deref().unwrap_or_default().as_bytes(),
        source.as_deref().unwrap_or_default().as_bytes(),
        target.as_bytes(),
        &lun,
    ]);
    // The first one's is that of the releases which had one session per route.
    if path.session > 1 {
        parts.push(session.as_bytes());
    }
    derive(&parts)
}

fn derive(parts: &[&[u8]]) -> [u8; 6] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let [a, b, c, d, e, ..] = <[u8; 32]>::from(hash.finalize());
    [0b1000_0000, a, b, c, d, e]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::names::portal;
    use crate::ids::Lun;

    fn path() -> Path {
        Path {
            portal: portal("10.0.1.10").unwrap(),
            nic: Some("eth1".to_owned()),
            source: None,
            weight: 1,
            tier: 0,
            target: "iqn.2003-01.com.example:array1".to_owned(),
            lun: Lun::from_number(1).unwrap(),
            session: 1,
            isid: [0; 6],
        }
    }

    #[test]
    fn an_isid_never_changes_between_releases() {
        // python3: sha256 over (8-byte big-endian length, bytes) of each part, first five bytes.
        let isid = isid("iqn.2026-11.com.example:db1", "db", &path());
        assert_eq!(isid, [0x80, 0x27, 0x8c, 0x30, 0x7f, 0xe7]);
    }

    #[test]
    fn whatever_defines_a_path_changes_its_isid() {
        let name = "iqn.2026-11.com.example:db1";
        let base = isid(name, "db", &path());
        let other = |change: fn(&mut Path)| {
            let mut path = path();
            change(&mut path);
            isid(name, "db", &path)
        };
        let variants = [
            isid("iqn.2026-11.com.example:db2", "db", &path()),
            isid(name, "db2", &path()),
            other(|path| path.portal = portal("10.0.1.11").unwrap()),
            other(|path| path.portal = portal("10.0.1.10:3261").unwrap()),
            other(|path| path.session = 2),
            other(|path| path.nic = None),
            other(|path| path.source = Some([10, 0, 1, 2].into())),
            other(|path| path.target = "iqn.2003-01.com.example:b".to_owned()),
            other(|path| path.lun = Lun::from_number(2).unwrap()),
        ];
        for (index, variant) in variants.iter().enumerate() {
            assert_ne!(*variant, base, "{index}");
            assert_eq!(variant[0] >> 6, 0b10, "type");
        }
        assert_eq!(
            other(|path| (path.weight, path.tier) = (9, 9)),
            base,
            "neither weight nor tier defines a session"
        );
    }
}
