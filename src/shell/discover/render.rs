//! What was found, as text that can be pasted into `multipath.toml`.

use std::fmt::Write as _;

use crate::iscsi::name::PortalAddr;

use super::{FoundTarget, FoundUnit};

/// How the portal was asked, as the configuration has it.
#[derive(Clone, Debug, Default)]
pub struct AskedWith {
    /// CHAP user name and the file with its secret.
    pub credentials: Option<(String, String)>,
    /// The same for the target (mutual CHAP).
    pub target_credentials: Option<(String, String)>,
    /// The network interface.
    pub nic: Option<String>,
    /// The source address.
    pub source: Option<String>,
}

/// One commented `[[volume]]` per unit. `portal` is the one that was asked; targets that named no portal
/// of theirs are reached there (RFC 7143 appendix C).
#[must_use]
pub fn toml(portal: &PortalAddr, with: &AskedWith, found: &[FoundTarget]) -> String {
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
                let _ = writeln!(
                    text,
                    "# its units cannot be listed: {error}{}",
                    super::advice(error)
                );
            }
            Ok(units) if units.is_empty() => {
                let _ = writeln!(text, "# it has no disk for this initiator");
            }
            Ok(units) => {
                for unit in units {
                    volume(&mut text, portal, with, target, unit);
                }
            }
        }
    }
    if text.contains("\n[[volume]]") {
        auth_section(&mut text, with);
    }
    text
}

fn volume(
    text: &mut String,
    asked: &PortalAddr,
    with: &AskedWith,
    target: &FoundTarget,
    unit: &FoundUnit,
) {
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
    if let Some((username, _)) = &with.credentials {
        let _ = writeln!(text, "auth   = \"{}\"", plain(username));
    }
    let _ = writeln!(
        text,
        "export = {{ nbd = \"unix:/run/iiblockdaemon/{name}.sock\" }}\npaths  = ["
    );
    if target.target.portals.is_empty() {
        let _ = writeln!(text, "  {{ portal = \"{asked}\"{} }},", leaving(with));
    }
    for (portal, group) in &target.target.portals {
        let group = group
            .map(|group| format!("   # portal group {group}"))
            .unwrap_or_default();
        // The other portals may be behind other interfaces: that one is known to lead to the portal asked.
        let leaving = if portal == asked {
            leaving(with)
        } else {
            String::new()
        };
        let _ = writeln!(text, "  {{ portal = \"{portal}\"{leaving} }},{group}");
    }
    text.push_str("]\n");
}

/// The section that the volumes' `auth` names.
fn auth_section(text: &mut String, with: &AskedWith) {
    let Some((username, file)) = &with.credentials else {
        return;
    };
    let mut keys = vec![("username", username), ("secret_file", file)];
    if let Some((username, file)) = &with.target_credentials {
        keys.push(("target_username", username));
        keys.push(("target_secret_file", file));
    }
    let _ = writeln!(text, "\n[auth.{}]", plain(username));
    for (key, value) in keys {
        let _ = writeln!(text, "{key:<18} = {}", quoted(value));
    }
}

fn leaving(with: &AskedWith) -> String {
    let nic = with
        .nic
        .iter()
        .map(|nic| format!(", nic = {}", quoted(nic)));
    let source = with.source.iter();
    let source = source.map(|source| format!(", source = {}", quoted(source)));
    nic.chain(source).collect()
}

/// As a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// From the last part of the target's name and the unit's number.
fn volume_name(target: &FoundTarget, unit: &FoundUnit) -> String {
    let name = target.target.name.to_string();
    let last = name.rsplit(':').next().unwrap_or_default();
    format!("{}-{}", plain(last), unit.lun)
}

/// A name that the configuration takes unquoted.
fn plain(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    text.chars().map(allowed).collect()
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
    use crate::iscsi::error::AuthenticationFailed;
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
        let with = AskedWith {
            credentials: Some(("db\"1".into(), "/etc/iiblockdaemon/db1.secret".into())),
            target_credentials: None,
            nic: Some("eth2".into()),
            source: None,
        };
        let text = toml(&"10.0.1.10".parse().unwrap(), &with, &[found()]);
        assert!(text.contains("1.50 GiB"), "{text}");
        let file = format!(
            "[daemon]\ninitiator_name = \"iqn.2026-11.com.example:db1\"\nstate_dir = \"/tmp/s\"\n{text}"
        );
        let parsed: toml::Table = toml::from_str(&file).unwrap();
        let volume = &parsed["volume"][0];
        assert_eq!(volume["lun"].as_integer(), Some(7));
        assert_eq!(volume["name"].as_str(), Some("array1-7"));
        let auth = volume["auth"].as_str().unwrap();
        assert_eq!(parsed["auth"][auth]["username"].as_str(), Some("db\"1"));
        assert_eq!(volume["paths"][0]["nic"].as_str(), Some("eth2"));
        assert_eq!(volume["paths"][1].get("nic"), None);
        assert_eq!(
            volume["paths"][1]["portal"].as_str(),
            Some("[fe80::5%eth3]:3261")
        );
    }

    #[test]
    fn a_target_whose_units_cannot_be_listed_is_named_with_the_reason() {
        let mut target = found();
        target.units = Err(super::super::TalkError::Silent {
            portal: "10.0.1.10".parse().unwrap(),
        });
        let with = AskedWith::default();
        let text = toml(&"10.0.1.10".parse().unwrap(), &with, &[target]);
        assert!(
            text.contains("array1") && text.contains("no answer"),
            "{text}"
        );
        assert!(!text.contains("[[volume]]"));
    }

    #[test]
    fn who_was_asked_for_credentials_is_told_how_to_give_them() {
        let mut target = found();
        let portal: PortalAddr = "10.0.1.10".parse().unwrap();
        target.units = Err(super::super::TalkError::Session {
            portal: portal.clone(),
            error: AuthenticationFailed::CredentialsMissing.into(),
        });
        let text = toml(&portal, &AskedWith::default(), &[target]);
        let advice = "configured; give them with --username and --secret-file\n";
        assert!(text.contains(advice), "{text}");
    }
}
