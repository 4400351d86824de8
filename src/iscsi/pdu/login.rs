//! Login Request and Login Response (RFC 7143 11.12, 11.13).

use super::{Bhs, InvalidPdu, Opcode};
use crate::iscsi::error::LoginStatus;
use crate::iscsi::isid::Isid;
use crate::iscsi::serial::SerialNumber;
use crate::iscsi::tags::Itt;

const TRANSIT: u8 = 0x80;
const CONTINUE: u8 = 0x40;

/// The stages of a login (RFC 7143 11.12.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// SecurityNegotiation.
    Security,
    /// LoginOperationalNegotiation.
    Operational,
    /// FullFeaturePhase.
    FullFeature,
}

impl Stage {
    const fn to_wire(self) -> u8 {
        match self {
            Self::Security => 0,
            Self::Operational => 1,
            Self::FullFeature => 3,
        }
    }

    fn from_wire(value: u8, field: &'static str) -> Result<Self, InvalidPdu> {
        match value & 3 {
            0 => Ok(Self::Security),
            1 => Ok(Self::Operational),
            3 => Ok(Self::FullFeature),
            _ => Err(InvalidPdu::UndefinedValue {
                field,
                value: u32::from(value & 3),
            }),
        }
    }
}

/// The T, C, CSG and NSG fields that both PDUs share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageFlags {
    /// CSG.
    pub stage: Stage,
    /// NSG if the T bit is set.
    pub transit: Option<Stage>,
    /// The C bit: the text goes on in the next PDU.
    pub continues: bool,
}

impl StageFlags {
    fn to_wire(self) -> u8 {
        let next = self.transit.map_or(0, |next| TRANSIT | next.to_wire());
        let more = if self.continues { CONTINUE } else { 0 };
        next | more | (self.stage.to_wire() << 2)
    }

    fn from_wire(flags: u8) -> Result<Self, InvalidPdu> {
        let transit = (flags & TRANSIT != 0).then(|| Stage::from_wire(flags, "NSG"));
        Ok(Self {
            stage: Stage::from_wire(flags >> 2, "CSG")?,
            transit: transit.transpose()?,
            continues: flags & CONTINUE != 0,
        })
    }
}

/// A Login Request (RFC 7143 11.12); always immediate. Its data segment is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginRequest {
    /// Stage and what comes next.
    pub flags: StageFlags,
    /// Highest version that the initiator supports.
    pub version_max: u8,
    /// Lowest version that the initiator supports.
    pub version_min: u8,
    /// The initiator's part of the session's name.
    pub isid: Isid,
    /// Zero for a new session.
    pub tsih: u16,
    /// The same in all requests of one login.
    pub itt: Itt,
    /// The connection within the session.
    pub cid: u16,
    /// Number of the first command of the session.
    pub cmd_sn: SerialNumber,
    /// The StatSN that is expected next; reserved in the first request.
    pub exp_stat_sn: SerialNumber,
}

impl LoginRequest {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::LoginRequest);
        bhs.set_immediate(true);
        bhs.set_flags(self.flags.to_wire());
        bhs.set_byte::<2>(self.version_max);
        bhs.set_byte::<3>(self.version_min);
        bhs.set::<8, 6>(self.isid.to_wire());
        bhs.set_half::<14>(self.tsih);
        bhs.set_itt(Some(self.itt));
        bhs.set_half::<20>(self.cid);
        bhs.set_serial::<24>(self.cmd_sn);
        bhs.set_serial::<28>(self.exp_stat_sn);
        bhs
    }

    /// From a header whose opcode is that of a Login Request.
    ///
    /// # Errors
    /// Another opcode, a stage that does not exist, the reserved task tag.
    pub fn decode(bhs: &Bhs) -> Result<Self, InvalidPdu> {
        expect_opcode(bhs, Opcode::LoginRequest)?;
        Ok(Self {
            flags: StageFlags::from_wire(bhs.flags())?,
            version_max: bhs.byte::<2>(),
            version_min: bhs.byte::<3>(),
            isid: Isid::from_wire(bhs.get::<8, 6>()),
            tsih: bhs.half::<14>(),
            itt: bhs.required_itt()?,
            cid: bhs.half::<20>(),
            cmd_sn: bhs.serial::<24>(),
            exp_stat_sn: bhs.serial::<28>(),
        })
    }
}

/// A Login Response (RFC 7143 11.13). Its data segment is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginResponse {
    /// Stage and what comes next.
    pub flags: StageFlags,
    /// Highest version that the target supports.
    pub version_max: u8,
    /// The version that holds from now on.
    pub version_active: u8,
    /// The request's ISID.
    pub isid: Isid,
    /// The target's part of the session's name, in the last response.
    pub tsih: u16,
    /// The request's task tag.
    pub itt: Itt,
    /// Number of this response.
    pub stat_sn: SerialNumber,
    /// The next CmdSN that the target expects.
    pub exp_cmd_sn: SerialNumber,
    /// The highest CmdSN that the target accepts.
    pub max_cmd_sn: SerialNumber,
    /// What became of the login. Unless it is success, nothing else in the header means anything.
    pub status: LoginStatus,
}

impl LoginResponse {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::LoginResponse);
        bhs.set_flags(self.flags.to_wire());
        bhs.set_byte::<2>(self.version_max);
        bhs.set_byte::<3>(self.version_active);
        bhs.set::<8, 6>(self.isid.to_wire());
        bhs.set_half::<14>(self.tsih);
        bhs.set_itt(Some(self.itt));
        bhs.set_serial::<24>(self.stat_sn);
        bhs.set_serial::<28>(self.exp_cmd_sn);
        bhs.set_serial::<32>(self.max_cmd_sn);
        bhs.set_byte::<36>(self.status.class);
        bhs.set_byte::<37>(self.status.detail);
        bhs
    }

    /// From a header whose opcode is that of a Login Response.
    ///
    /// # Errors
    /// Another opcode, the reserved task tag; a stage that does not exist if the status is success
    /// (targets that refuse leave garbage there).
    pub fn decode(bhs: &Bhs) -> Result<Self, InvalidPdu> {
        expect_opcode(bhs, Opcode::LoginResponse)?;
        let status = LoginStatus::new(bhs.byte::<36>(), bhs.byte::<37>());
        let flags = match StageFlags::from_wire(bhs.flags()) {
            Err(_) if status.class != 0 => StageFlags {
                stage: Stage::Security,
                transit: None,
                continues: false,
            },
            flags => flags?,
        };
        Ok(Self {
            flags,
            version_max: bhs.byte::<2>(),
            version_active: bhs.byte::<3>(),
            isid: Isid::from_wire(bhs.get::<8, 6>()),
            tsih: bhs.half::<14>(),
            itt: bhs.required_itt()?,
            stat_sn: bhs.serial::<24>(),
            exp_cmd_sn: bhs.serial::<28>(),
            max_cmd_sn: bhs.serial::<32>(),
            status,
        })
    }
}

fn expect_opcode(bhs: &Bhs, opcode: Opcode) -> Result<(), InvalidPdu> {
    match bhs.opcode_value() {
        value if value == opcode as u8 => Ok(()),
        value => Err(InvalidPdu::UnexpectedOpcode(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> LoginRequest {
        LoginRequest {
            flags: StageFlags {
                stage: Stage::Operational,
                transit: Some(Stage::FullFeature),
                continues: false,
            },
            version_max: 0,
            version_min: 0,
            isid: Isid::from_wire([0x80, 1, 2, 3, 4, 5]),
            tsih: 0x0607,
            itt: Itt::new(0x0809_0a0b).unwrap(),
            cid: 0x0c0d,
            cmd_sn: SerialNumber(0x1011_1213),
            exp_stat_sn: SerialNumber(0x1415_1617),
        }
    }

    #[test]
    fn a_request_stands_on_the_wire_as_rfc_7143_11_12_draws_it() {
        let wire = *request().encode().wire();
        let mut expected = [0; 48];
        expected[..4].copy_from_slice(&[0x43, 0x87, 0, 0]);
        expected[8..22].copy_from_slice(&[0x80, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xa, 0xb, 0xc, 0xd]);
        let numbers = [0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17];
        expected[24..32].copy_from_slice(&numbers);
        assert_eq!(wire, expected);
        assert_eq!(LoginRequest::decode(&Bhs::from_wire(wire)), Ok(request()));
    }

    #[test]
    fn the_next_stage_means_nothing_without_the_transit_bit() {
        let mut bhs = request().encode();
        bhs.set_flags(0x46);
        let flags = LoginRequest::decode(&bhs).unwrap().flags;
        assert_eq!(flags.stage, Stage::Operational);
        assert_eq!(flags.transit, None);
        assert!(flags.continues);
    }

    #[test]
    fn a_response_stands_on_the_wire_as_rfc_7143_11_13_draws_it() {
        let response = LoginResponse {
            flags: StageFlags {
                stage: Stage::Security,
                transit: None,
                continues: true,
            },
            version_max: 1,
            version_active: 2,
            isid: Isid::from_wire([1, 2, 3, 4, 5, 6]),
            tsih: 0x0708,
            itt: Itt::new(0x090a_0b0c).unwrap(),
            stat_sn: SerialNumber(0x1819_1a1b),
            exp_cmd_sn: SerialNumber(0x1c1d_1e1f),
            max_cmd_sn: SerialNumber(0x2021_2223),
            status: LoginStatus::NOT_FOUND,
        };
        let wire = *response.encode().wire();
        assert_eq!(wire[..8], [0x23, 0x40, 1, 2, 0, 0, 0, 0]);
        assert_eq!(
            wire[8..24],
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 0]
        );
        let numbers: Vec<u8> = (0x18..0x24).collect();
        assert_eq!(wire[24..36], numbers);
        assert_eq!(wire[36..40], [2, 3, 0, 0]);
        let back = LoginResponse::decode(&Bhs::from_wire(wire));
        assert_eq!(back, Ok(response));
    }

    #[test]
    fn garbage_in_the_stages_is_an_error_only_if_the_login_proceeds() {
        let mut bhs = Bhs::new(Opcode::LoginResponse);
        bhs.set_flags(0x08);
        assert!(LoginResponse::decode(&bhs).is_err());
        bhs.set_byte::<36>(2);
        bhs.set_byte::<37>(1);
        let response = LoginResponse::decode(&bhs).unwrap();
        assert_eq!(response.status, LoginStatus::AUTHENTICATION_FAILURE);
    }

    #[test]
    fn another_opcode_is_no_login_pdu() {
        let bhs = Bhs::new(Opcode::TextResponse);
        assert_eq!(
            LoginResponse::decode(&bhs),
            Err(InvalidPdu::UnexpectedOpcode(0x24))
        );
        assert!(LoginRequest::decode(&bhs).is_err());
    }
}
