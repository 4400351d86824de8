//! SendTargets (RFC 7143 section 4.3 and appendix C): what discovery found.

#![deny(clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use super::error::{Excerpt, PeerMisbehaved};
use super::keys::{Text, name};
use super::name::{IscsiName, PortalAddr, PortalAddrError};

/// The value of `SendTargets` that asks for every target; in discovery sessions only.
pub const SEND_TARGETS_ALL: &str = "All";

/// A target and where to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveredTarget {
    /// Its name.
    pub name: IscsiName,
    /// Its portals, each with its target portal group if the target said which. Empty if it named
    /// none: then the portal that was asked is the target's (RFC 7143 appendix C).
    pub portals: Vec<(PortalAddr, Option<u16>)>,
}

/// The answer to SendTargets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// In the order of the answer, each once, each portal once.
    pub targets: Vec<DiscoveredTarget>,
    /// Number of names and addresses that could not be used; each was logged.
    pub skipped: usize,
}

/// The question: every target, one target, or the target of this session.
#[must_use]
pub fn send_targets(value: &str) -> Text {
    Text::new().with(name::SEND_TARGETS, value)
}

/// Reads a complete answer: all Text Responses of the exchange, put together.
///
/// A name or address that cannot be used is skipped, so that one odd entry does not hide the rest.
/// IPv6 link-local addresses are kept: the interface that reaches them is known to whoever connects.
///
/// # Errors
/// Malformed text (an answer that ends within a pair is one), an address before the first name, or
/// a question that the target refused.
pub fn parse_send_targets(bytes: &[u8]) -> Result<Discovered, PeerMisbehaved> {
    let text = Text::decode(bytes)?;
    let mut reader = Reader::default();
    let mut current = Current::None;
    for (key, value) in text.iter() {
        match key {
            name::TARGET_NAME => current = reader.on_name(value),
            name::TARGET_ADDRESS => match current {
                Current::None => return Err(PeerMisbehaved::KeyOutOfPlace(name::TARGET_ADDRESS)),
                Current::Skipped => {}
                Current::Target(index) => reader.on_address(index, value),
            },
            name::SEND_TARGETS => return Err(PeerMisbehaved::KeyOutOfPlace(name::SEND_TARGETS)),
            // TargetAlias and whatever vendors add.
            _ => {}
        }
    }
    Ok(reader.found)
}

/// The target that an address belongs to.
#[derive(Clone, Copy)]
enum Current {
    None,
    Skipped,
    Target(usize),
}

/// What was read so far, with an index: an answer may be a megabyte long.
#[derive(Default)]
struct Reader {
    found: Discovered,
    names: BTreeMap<IscsiName, usize>,
    portals: BTreeSet<(usize, PortalAddr, Option<u16>)>,
}

impl Reader {
    fn on_name(&mut self, value: &str) -> Current {
        match IscsiName::new(value) {
            Ok(name) => {
                let targets = &mut self.found.targets;
                let index = *self.names.entry(name.clone()).or_insert_with(|| {
                    let portals = Vec::new();
                    targets.push(DiscoveredTarget { name, portals });
                    targets.len() - 1
                });
                Current::Target(index)
            }
            Err(error) => {
                tracing::debug!(name = %Excerpt::new(value), %error, "discovered target skipped");
                self.found.skipped += 1;
                Current::Skipped
            }
        }
    }

    fn on_address(&mut self, index: usize, value: &str) {
        match parse_target_address(value) {
            Ok((portal, tag)) => {
                let new = self.portals.insert((index, portal.clone(), tag));
                let target = self.found.targets.get_mut(index).filter(|_| new);
                if let Some(target) = target {
                    target.portals.push((portal, tag));
                }
            }
            Err(error) => {
                tracing::debug!(address = %Excerpt::new(value), %error, "discovered portal skipped");
                self.found.skipped += 1;
            }
        }
    }
}

/// `domainname[:port][,portal-group-tag]` (RFC 7143 13.8).
///
/// # Errors
/// If the address cannot be connected to, or the tag is no number below 65536.
pub fn parse_target_address(value: &str) -> Result<(PortalAddr, Option<u16>), PortalAddrError> {
    let (address, tag) = match value.split_once(',') {
        Some((address, tag)) => {
            let number = super::keys::parse_number(tag.trim());
            let tag = number.and_then(|tag| u16::try_from(tag).ok());
            (address, Some(tag.ok_or(PortalAddrError::BadGroupTag)?))
        }
        None => (value, None),
    };
    Ok((address.parse()?, tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iscsi::error::TextError;
    use crate::limits;
    use proptest::prelude::*;

    fn shown(found: &Discovered) -> Vec<String> {
        let portal = |(portal, tag): &(PortalAddr, Option<u16>)| match tag {
            Some(tag) => format!("{portal},{tag}"),
            None => portal.to_string(),
        };
        let target = |target: &DiscoveredTarget| {
            let portals: Vec<_> = target.portals.iter().map(portal).collect();
            format!("{} {}", target.name, portals.join(" "))
        };
        found.targets.iter().map(target).collect()
    }

    #[test]
    fn targets_come_with_their_portals_and_groups() {
        let found = parse_send_targets(
            b"TargetName=iqn.2003-01.com.example:a\0\
              TargetAddress=10.0.0.1:3260,1\0\
              TargetAddress=10.0.1.1,2\0\
              TargetAddress=[2001:db8::1]:3260,0\0\
              TargetAddress=array.example.com\0\
              TargetName=eui.02004567A425678D\0\
              TargetAddress=10.0.0.1:3261,65535\0",
        )
        .unwrap();
        let expected = [
            "iqn.2003-01.com.example:a 10.0.0.1:3260,1 10.0.1.1:3260,2 [2001:db8::1]:3260,0 \
             array.example.com:3260",
            "eui.02004567A425678D 10.0.0.1:3261,65535",
        ];
        assert_eq!(shown(&found), expected);
        assert_eq!(found.skipped, 0);
    }

    #[test]
    fn a_target_without_addresses_is_found_without_portals() {
        let found = parse_send_targets(b"TargetName=iqn.2003-01.com.example:a\0").unwrap();
        assert_eq!(shown(&found), ["iqn.2003-01.com.example:a "]);
        assert_eq!(parse_send_targets(b"").unwrap(), Discovered::default());
    }

    #[test]
    fn targets_and_portals_that_come_twice_are_merged() {
        let found = parse_send_targets(
            b"TargetName=iqn.2003-01.com.example:a\0TargetAddress=10.0.0.1:3260,1\0\
              TargetName=iqn.2003-01.com.example:b\0TargetAddress=10.0.0.1:3260,1\0\
              TargetName=iqn.2003-01.com.example:A\0TargetAddress=10.0.0.1,1\0\
              TargetAddress=10.0.0.2,1\0TargetAddress=10.0.0.1,2\0",
        )
        .unwrap();
        let expected = [
            "iqn.2003-01.com.example:a 10.0.0.1:3260,1 10.0.0.2:3260,1 10.0.0.1:3260,2",
            "iqn.2003-01.com.example:b 10.0.0.1:3260,1",
        ];
        assert_eq!(shown(&found), expected);
    }

    /// Synology and SCST list them by default; open-iscsi fails on them.
    #[test]
    fn link_local_addresses_are_kept() {
        let found = parse_send_targets(
            b"TargetName=iqn.2003-01.com.example:a\0\
              TargetAddress=[fe80::1]:3260,1\0TargetAddress=[fe80::2%eth0]:3260,1\0",
        )
        .unwrap();
        let [(bare, _), (scoped, _)] = &found.targets[0].portals[..] else {
            panic!("{found:?}");
        };
        assert!(bare.lacks_scope());
        assert_eq!(scoped.scope(), Some("eth0"));
    }

    #[test]
    fn one_odd_entry_does_not_hide_the_rest() {
        let found = parse_send_targets(
            b"TargetName=disk one\0TargetAddress=10.0.0.9:3260,1\0\
              TargetName=iqn.2003-01.com.example:a\0\
              TargetAddress=0.0.0.0:3260,1\0TargetAddress=10.0.0.1:3260,70000\0\
              TargetAlias=x\0X-vendor=1\0TargetAddress=10.0.0.1:3260,1\0",
        )
        .unwrap();
        assert_eq!(shown(&found), ["iqn.2003-01.com.example:a 10.0.0.1:3260,1"]);
        assert_eq!(found.skipped, 3);
    }

    #[test]
    fn an_answer_that_ends_within_a_pair_is_an_error() {
        let whole = b"TargetName=iqn.2003-01.com.example:a\0TargetAddress=10.0.0.1:3260,1\0";
        for cut in 1..whole.len() {
            let complete = whole[cut - 1] == 0;
            let result = parse_send_targets(&whole[..cut]);
            if complete {
                assert!(result.is_ok());
            } else {
                assert_eq!(result, Err(PeerMisbehaved::Text(TextError::Truncated)));
            }
        }
    }

    #[test]
    fn an_address_without_a_target_and_a_refused_question_are_errors() {
        assert_eq!(
            parse_send_targets(b"TargetAddress=10.0.0.1:3260,1\0"),
            Err(PeerMisbehaved::KeyOutOfPlace("TargetAddress"))
        );
        assert_eq!(
            parse_send_targets(b"SendTargets=Reject\0"),
            Err(PeerMisbehaved::KeyOutOfPlace("SendTargets"))
        );
    }

    #[test]
    fn a_long_answer_is_read_up_to_the_bound() {
        let mut text = Text::new();
        for i in 0..5000 {
            text.push("TargetName", format!("iqn.2003-01.com.example:disk{i}"));
            text.push(
                "TargetAddress",
                format!("10.0.{}.{}:3260,1", i / 250, i % 250 + 1),
            );
        }
        let bytes = text.encode();
        assert!(bytes.len() < limits::TEXT_BYTES_MAX);
        let found = parse_send_targets(&bytes).unwrap();
        assert_eq!(found.targets.len(), 5000);
        let beyond = vec![0; limits::TEXT_BYTES_MAX + 1];
        assert_eq!(
            parse_send_targets(&beyond),
            Err(PeerMisbehaved::Text(TextError::TooLong))
        );
    }

    #[test]
    fn the_question_names_what_is_asked() {
        assert_eq!(
            send_targets(SEND_TARGETS_ALL).encode(),
            b"SendTargets=All\0"
        );
        assert_eq!(send_targets("").encode(), b"SendTargets=\0");
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_parser_panic(
            pairs in prop::collection::vec((prop::sample::select(vec!["TargetName", "TargetAddress", "X"]), "[^\0]{0,40}"), 0..10),
            tail in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut bytes = pairs.iter().fold(Text::new(), |t, (k, v)| t.with(k, v)).encode();
            let _ = parse_send_targets(&bytes);
            bytes.extend(tail);
            let _ = parse_send_targets(&bytes);
        }
    }
}
