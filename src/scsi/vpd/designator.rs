//! Page 83h: the names of a logical unit, of its port and of its target (SPC-5 7.7.6).

use super::super::wire::{BadData, u8_or_0, u16_or_0};
use super::{body, page};

/// What a designator names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Association {
    /// The logical unit: the same over every path.
    LogicalUnit,
    /// The target port that answered.
    TargetPort,
    /// The target device.
    TargetDevice,
    /// Reserved.
    Other,
}

/// One designator as it stands in the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Designator {
    /// What it names.
    pub association: Association,
    /// CODE SET: 1 binary, 2 ASCII, 3 UTF-8.
    pub code_set: u8,
    /// DESIGNATOR TYPE, one of [`Designator::T10`] and so on.
    pub kind: u8,
    /// The designator.
    pub bytes: Vec<u8>,
}

impl Designator {
    /// T10 vendor identification.
    pub const T10: u8 = 1;
    /// EUI-64 based: 8, 12 or 16 bytes.
    pub const EUI64: u8 = 2;
    /// NAA: 8 or 16 bytes, the first four bits say which.
    pub const NAA: u8 = 3;
    /// Relative target port.
    pub const RELATIVE_PORT: u8 = 4;
    /// Target port group.
    pub const PORT_GROUP: u8 = 5;
    /// SCSI name string.
    pub const NAME_STRING: u8 = 8;
    /// UUID.
    pub const UUID: u8 = 10;
}

/// Page 83h.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceIdentification {
    /// All designators in the order of the page.
    pub designators: Vec<Designator>,
    /// The page says that it is longer than what came: some designators are missing.
    pub truncated: bool,
}

impl DeviceIdentification {
    /// Reads the page.
    ///
    /// # Errors
    /// If the header is cut or of another page.
    pub fn parse(data: &[u8]) -> Result<Self, BadData> {
        let mut rest = body(data, page::IDENTIFICATION)?;
        let mut truncated = rest.len() < usize::from(u16_or_0(data, 2));
        let mut designators = Vec::new();
        while let [sets, flags, _, len, tail @ ..] = rest {
            let Some((bytes, next)) = tail.split_at_checked((*len).into()) else {
                break;
            };
            designators.push(Designator {
                association: match flags >> 4 & 3 {
                    0 => Association::LogicalUnit,
                    1 => Association::TargetPort,
                    2 => Association::TargetDevice,
                    _ => Association::Other,
                },
                code_set: sets & 0x0f,
                kind: flags & 0x0f,
                bytes: bytes.to_vec(),
            });
            rest = next;
        }
        truncated |= !rest.is_empty();
        Ok(Self {
            designators,
            truncated,
        })
    }

    /// The group of the port that answered: its access state stands in REPORT TARGET PORT GROUPS.
    #[must_use]
    pub fn target_port_group(&self) -> Option<u16> {
        self.port_number(Designator::PORT_GROUP)
    }

    /// The relative identifier of the port that answered.
    #[must_use]
    pub fn relative_target_port(&self) -> Option<u16> {
        self.port_number(Designator::RELATIVE_PORT)
    }

    /// Both kinds are four bytes: two reserved, then the number.
    fn port_number(&self, kind: u8) -> Option<u16> {
        let named = |d: &&Designator| {
            d.association == Association::TargetPort && d.kind == kind && d.bytes.len() == 4
        };
        self.designators
            .iter()
            .find(named)
            .map(|d| u16_or_0(&d.bytes, 2))
    }
}

impl Designator {
    /// The NAA of an NAA designator, its first four bits.
    #[must_use]
    pub fn naa(&self) -> Option<u8> {
        (self.kind == Self::NAA).then(|| u8_or_0(&self.bytes, 0) >> 4)
    }
}
