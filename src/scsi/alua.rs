//! Asymmetric logical unit access: parameter data of REPORT and SET TARGET PORT GROUPS (SPC-5 6.37, 6.45).

use std::fmt;

use super::sense::{Sense, SenseKey};
use super::wire::{BadData, at_least, u8_or_0, u16_or_0, u32_or_0, up_to};

/// How a target port group reaches the unit (SPC-5 5.18.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessState {
    /// Active/optimized.
    Optimized,
    /// Active/non-optimized.
    NonOptimized,
    /// Standby: answers questions, carries no data.
    Standby,
    /// Unavailable.
    Unavailable,
    /// Logical block dependent.
    BlockDependent,
    /// Offline.
    Offline,
    /// Between two states.
    Transitioning,
    /// A reserved code.
    Other(u8),
}

impl AccessState {
    /// The state of a code's low four bits.
    #[must_use]
    pub fn from_wire(code: u8) -> Self {
        match code & 0x0f {
            0x0 => Self::Optimized,
            0x1 => Self::NonOptimized,
            0x2 => Self::Standby,
            0x3 => Self::Unavailable,
            0x4 => Self::BlockDependent,
            0xe => Self::Offline,
            0xf => Self::Transitioning,
            other => Self::Other(other),
        }
    }

    /// The state that a refusal tells of (SPC-5 annex F, ASC 04h).
    #[must_use]
    pub fn of_refusal(sense: &Sense) -> Option<Self> {
        if sense.deferred || !matches!(sense.key, SenseKey::NotReady | SenseKey::AbortedCommand) {
            return None;
        }
        match (sense.asc, sense.ascq) {
            (0x04, 0x0a) => Some(Self::Transitioning),
            (0x04, 0x0b) => Some(Self::Standby),
            (0x04, 0x0c) => Some(Self::Unavailable),
            (0x04, 0x12) => Some(Self::Offline),
            _ => None,
        }
    }

    /// Whether reads and writes are carried out in it.
    #[must_use]
    pub fn carries_io(self) -> bool {
        match self {
            Self::Optimized | Self::NonOptimized | Self::BlockDependent => true,
            Self::Standby
            | Self::Unavailable
            | Self::Offline
            | Self::Transitioning
            | Self::Other(_) => false,
        }
    }
}

impl fmt::Display for AccessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Optimized => f.write_str("active/optimized"),
            Self::NonOptimized => f.write_str("active/non-optimized"),
            Self::Standby => f.write_str("standby"),
            Self::Unavailable => f.write_str("unavailable"),
            Self::BlockDependent => f.write_str("logical block dependent"),
            Self::Offline => f.write_str("offline"),
            Self::Transitioning => f.write_str("transitioning"),
            Self::Other(code) => write!(f, "reserved state {code:x}h"),
        }
    }
}

/// One target port group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortGroup {
    /// Its number; a port learns its own from VPD page 83h.
    pub id: u16,
    /// Its access state.
    pub state: AccessState,
    /// The target prefers it.
    pub preferred: bool,
    /// Relative identifiers of its ports.
    pub ports: Vec<u16>,
}

/// The target's port groups and how long they take to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortGroups {
    /// In the order of the answer.
    pub groups: Vec<PortGroup>,
    /// Seconds that an implicit transition may take, if said (extended header).
    pub transition_seconds: Option<u8>,
    /// Allocation length in bytes that holds the whole answer, saturated.
    pub needed: u32,
    /// The answer was cut: ask again with `needed`.
    pub truncated: bool,
}

impl PortGroups {
    /// Reads it, with the length-only or the extended header.
    ///
    /// # Errors
    /// If the header is cut.
    pub fn parse(data: &[u8]) -> Result<Self, BadData> {
        let data = at_least("REPORT TARGET PORT GROUPS data", data, 4)?;
        let len = u32_or_0(data, 0);
        let body = data.get(4..).unwrap_or_default();
        let body = up_to(body, usize::try_from(len).unwrap_or(usize::MAX));
        // FORMAT TYPE 001b stands where a group descriptor has reserved bits.
        let extended = u8_or_0(body, 0) & 0x70 == 0x10;
        let transition = extended
            .then(|| u8_or_0(body, 1))
            .filter(|&seconds| seconds > 0);
        let mut rest = body.get(if extended { 4 } else { 0 }..).unwrap_or_default();
        let mut groups = Vec::new();
        while let Some((group, next)) = group(rest) {
            groups.push(group);
            rest = next;
        }
        let whole = rest.is_empty() && u32::try_from(body.len()) == Ok(len);
        Ok(Self {
            groups,
            transition_seconds: transition,
            needed: len.saturating_add(4),
            truncated: !whole,
        })
    }

    /// The group of the port with that relative identifier.
    #[must_use]
    pub fn group_of_port(&self, port: u16) -> Option<&PortGroup> {
        let mut groups = self.groups.iter();
        groups.find(|group| group.ports.contains(&port))
    }

    /// The group of that number.
    #[must_use]
    pub fn group(&self, id: u16) -> Option<&PortGroup> {
        self.groups.iter().find(|group| group.id == id)
    }
}

/// Length of the parameter list that [`activation`] makes.
pub const ACTIVATION_LEN: u32 = 8;

/// The parameter list of SET TARGET PORT GROUPS that asks for one group to become active/optimized
/// (SPC-5 6.45): four reserved bytes, then its descriptor.
#[must_use]
pub fn activation(group: u16) -> [u8; 8] {
    let [high, low] = group.to_be_bytes();
    [0, 0, 0, 0, 0, 0, high, low]
}

/// One descriptor: 8 bytes, then 4 for each port.
fn group(data: &[u8]) -> Option<(PortGroup, &[u8])> {
    let (head, rest) = data.split_at_checked(8)?;
    let (ports, rest) = rest.split_at_checked(4 * usize::from(u8_or_0(head, 7)))?;
    let first = u8_or_0(head, 0);
    let group = PortGroup {
        id: u16_or_0(head, 2),
        state: AccessState::from_wire(first),
        preferred: first & 0x80 != 0,
        ports: ports
            .chunks_exact(4)
            .map(|port| u16_or_0(port, 2))
            .collect(),
    };
    Some((group, rest))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const TWO_GROUPS: [u8; 28] = [
        0x80, 0xff, 0x00, 0x01, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, // group 1, preferred
        0x0f, 0xff, 0x01, 0x00, 0, 0, 0, 1, 0, 0, 0, 3, // group 256, transitioning
    ];

    #[test]
    fn groups_and_ports_are_read_by_their_layout() {
        let data = [&[0, 0, 0, 28][..], &TWO_GROUPS].concat();
        let parsed = PortGroups::parse(&data).unwrap();
        let first = PortGroup {
            id: 1,
            state: AccessState::Optimized,
            preferred: true,
            ports: vec![1, 2],
        };
        assert_eq!(parsed.group(1), Some(&first));
        assert_eq!(parsed.group(256).unwrap().state, AccessState::Transitioning);
        assert_eq!(parsed.group(2), None);
        assert_eq!(parsed.group_of_port(3).map(|group| group.id), Some(256));
        assert_eq!(parsed.group_of_port(4), None);
        assert_eq!((parsed.transition_seconds, parsed.truncated), (None, false));
    }

    #[test]
    fn the_extended_header_tells_the_transition_time() {
        let data = [&[0, 0, 0, 32, 0x10, 60, 0, 0][..], &TWO_GROUPS].concat();
        let parsed = PortGroups::parse(&data).unwrap();
        assert_eq!(parsed.transition_seconds, Some(60));
        assert_eq!(parsed.groups.len(), 2);
        assert!(!parsed.truncated);
    }

    #[test]
    fn a_cut_answer_keeps_whole_groups_and_says_how_much_to_ask_for() {
        let data = [&[0, 0, 0, 28][..], &TWO_GROUPS[..20]].concat();
        let parsed = PortGroups::parse(&data).unwrap();
        assert_eq!(
            (parsed.groups.len(), parsed.needed, parsed.truncated),
            (1, 32, true)
        );
    }

    #[test]
    fn a_refusal_tells_the_state_where_it_is_about_the_state() {
        let of = |key, asc, ascq| AccessState::of_refusal(&Sense::new(key, asc, ascq));
        let not_ready = SenseKey::NotReady;
        assert_eq!(of(not_ready, 4, 0x0a), Some(AccessState::Transitioning));
        let aborted = of(SenseKey::AbortedCommand, 4, 0x0a);
        assert_eq!(aborted, Some(AccessState::Transitioning));
        assert_eq!(of(not_ready, 4, 0x0b), Some(AccessState::Standby));
        assert_eq!(of(not_ready, 4, 0x0c), Some(AccessState::Unavailable));
        assert_eq!(of(not_ready, 4, 0x12), Some(AccessState::Offline));
        assert_eq!(of(not_ready, 4, 0x01), None, "becoming ready");
        assert_eq!(of(SenseKey::UnitAttention, 4, 0x0a), None);
    }

    #[test]
    fn the_list_to_activate_a_group_names_it() {
        assert_eq!(activation(0x1234), [0, 0, 0, 0, 0, 0, 0x12, 0x34]);
    }

    #[test]
    fn only_active_states_carry_data() {
        let carrying: Vec<u8> = (0..16)
            .filter(|&code| AccessState::from_wire(code).carries_io())
            .collect();
        assert_eq!(carrying, [0, 1, 4]);
    }

    proptest! {
        #[test]
        fn no_answer_is_too_odd_to_read(data in vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(PortGroups::parse(&data).is_ok(), data.len() >= 4);
        }

        #[test]
        fn every_group_that_came_whole_is_read(
            groups in vec((any::<u16>(), 0..16u8, vec(any::<u16>(), 0..5)), 0..6)
        ) {
            let mut body = Vec::new();
            for (id, state, ports) in &groups {
                body.extend([*state, 0]);
                body.extend(id.to_be_bytes());
                body.extend([0, 0, 0, u8::try_from(ports.len()).unwrap()]);
                for port in ports {
                    body.extend([0, 0]);
                    body.extend(port.to_be_bytes());
                }
            }
            let len = u32::try_from(body.len()).unwrap().to_be_bytes();
            let parsed = PortGroups::parse(&[&len[..], &body].concat()).unwrap();
            let read: Vec<_> = parsed.groups.into_iter().map(|g| (g.id, g.state, g.ports)).collect();
            let expected: Vec<_> = groups
                .into_iter()
                .map(|(id, state, ports)| (id, AccessState::from_wire(state), ports))
                .collect();
            prop_assert_eq!(read, expected);
            prop_assert!(!parsed.truncated);
        }
    }
}
