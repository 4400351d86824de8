//! What was found, as text that can be pasted into `multipath.toml`.

use std::fmt::Write as _;

use crate::iscsi::name::PortalAddr;

use super::{FoundTarget, FoundUnit};

/// One commented `[[volume]]` per unit. `portal` is the one that was asked; targets that named no portal
/// of theirs are reached there (RFC 7143 appendix C).
#[must_use]
pub fn toml(portal: &PortalAddr, found: &[FoundTarget]) -> String {
    let mut text = format!(
        "# {} target{} behind {portal}\n",
        found.len(),
        plural(found.len())
    );
    for target in found {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n# target {}", target.target.name);
        match &target.units {
            Err(error) => {
                let _ = writeln!(text, "# its units cannot be listed: {error}");
            }
            Ok(units) if units.is_empty() => {
                let _ = writeln!(text, "# it has no disk for this initiator");
            }
            Ok(units) => {
                for unit in units {
                    volume(&mut text, portal, target, unit);
                }
            }
        }
    }
    text
}

fn volume(text: &mut String, asked: &PortalAddr, target: &FoundTarget, unit: &FoundUnit) {
    let name = volume_name(target, unit);
    let (identity, geometry) = (&unit.identity, unit.geometry);
    let size = size(geometry.bytes());
    let _ = writeln!(text, "\n[[volume]]\nname   = \"{name}\"");
    let _ = writeln!(text, "target = \"{}\"", target.target.name);
    let _ = writeln!(
        text,
        "lun    = {}   # {size}, blocks of {} bytes, {}",
        unit.lun,
        geometry.block_size(),
        identity.model()
    );
    let wwid = identity.wwid();
    if identity.weak() {
        let _ = writeln!(
            text,
            "# wwid = \"{wwid}\"   # looks like a vendor's default: other units may have the same"
        );
    } else {
        let _ = writeln!(text, "wwid   = \"{wwid}\"");
    }
    let _ = writeln!(
        text,
        "export = {{ nbd = \"unix:/run/iiblockdaemon/{name}.sock\" }}\npaths  = ["
    );
    if target.target.portals.is_empty() {
        let _ = writeln!(text, "  {{ portal = \"{asked}\" }},");
    }
    for (portal, group) in &target.target.portals {
        let group = group
            .map(|group| format!("   # portal group {group}"))
            .unwrap_or_default();
        let _ = writeln!(text, "  {{ portal = \"{portal}\" }},{group}");
    }
    text.push_str("]\n");
}

/// From the last part of the target's name and the unit's number.
fn volume_name(target: &FoundTarget, unit: &FoundUnit) -> String {
    let name = target.target.name.to_string();
    let last = name.rsplit(':').next().unwrap_or_default();
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!(
        "{}-{}",
        last.chars().map(allowed).collect::<String>(),
        unit.lun
    )
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A size in the largest unit that keeps it whole, or with two decimals.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    match UNITS.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) if bytes.is_multiple_of(unit) => format!("{} {name}", bytes / unit),
        Some((name, unit)) => {
            let hundredths = u128::from(bytes) * 100 / u128::from(unit);
            format!("{}.{:02} {name}", hundredths / 100, hundredths % 100)
        }
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Lun;
    use crate::iscsi::discovery::DiscoveredTarget;
    use crate::scsi::identity::LunIdentity;
    use crate::scsi::inquiry::StandardInquiry;
    use crate::units::Geometry;

    fn found() -> FoundTarget {
        let inquiry = StandardInquiry {
            qualifier: 0,
            device_type: 0,
            version: 5,
            tpgs: 0,
            vendor: "ACME".into(),
            product: "disk".into(),
            revision: "1".into(),
        };
        let geometry = Geometry::new(512, 3 << 20).unwrap();
        let identity = LunIdentity::new(&inquiry, &[], Some("S77".into()), geometry);
        FoundTarget {
            target: DiscoveredTarget {
                name: "iqn.2026-11.com.example:array1".parse().unwrap(),
                portals: vec![
                    ("10.0.1.10".parse().unwrap(), Some(1)),
                    ("[fe80::5%eth3]:3261".parse().unwrap(), None),
                ],
            },
            units: Ok(vec![FoundUnit {
                lun: Lun::from_number(7).unwrap(),
                identity,
                geometry,
            }]),
        }
    }

    #[test]
    fn what_is_printed_is_a_volume_that_the_configuration_takes() {
        let text = toml(&"10.0.1.10".parse().unwrap(), &[found()]);
        assert!(text.contains("1.50 GiB"), "{text}");
        let file = format!(
            "[daemon]\ninitiator_name = \"iqn.2026-11.com.example:db1\"\nstate_dir = \"/tmp/s\"\n{text}"
        );
        let parsed: toml::Table = toml::from_str(&file).unwrap();
        let volume = &parsed["volume"][0];
        assert_eq!(volume["lun"].as_integer(), Some(7));
        assert_eq!(volume["name"].as_str(), Some("array1-7"));
        assert_eq!(
            volume["paths"][1]["portal"].as_str(),
            Some("[fe80::5%eth3]:3261")
        );
    }

    #[test]
    fn a_target_whose_units_cannot_be_listed_is_named_with_the_reason() {
        let mut target = found();
        target.units = Err(super::super::DiscoverError::Silent {
            portal: "10.0.1.10".parse().unwrap(),
        });
        let text = toml(&"10.0.1.10".parse().unwrap(), &[target]);
        assert!(
            text.contains("array1") && text.contains("no answer"),
            "{text}"
        );
        assert!(!text.contains("[[volume]]"));
    }
}
