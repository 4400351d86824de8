//! Text Request and Text Response (RFC 7143 11.10, 11.11).

use super::{Bhs, InvalidPdu, Opcode};
use crate::ids::Lun;
use crate::iscsi::serial::SerialNumber;
use crate::iscsi::tags::{Itt, Ttt};

const FINAL: u8 = 0x80;
const CONTINUE: u8 = 0x40;

/// A Text Request (RFC 7143 11.10). Its data segment is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextRequest {
    /// The I bit.
    pub immediate: bool,
    /// The F bit: the initiator has nothing more to say.
    pub is_final: bool,
    /// The C bit: the text goes on in the next request.
    pub continues: bool,
    /// The LUN of the response whose target transfer tag is used; else zero.
    pub lun: Lun,
    /// The same in all requests of one exchange.
    pub itt: Itt,
    /// The tag of the last response, if the exchange goes on.
    pub ttt: Option<Ttt>,
    /// Command sequence number.
    pub cmd_sn: SerialNumber,
    /// The StatSN that is expected next.
    pub exp_stat_sn: SerialNumber,
}

impl TextRequest {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::TextRequest);
        bhs.set_immediate(self.immediate);
        bhs.set_flags(flags(self.is_final, self.continues));
        bhs.set_lun(self.lun);
        bhs.set_itt(Some(self.itt));
        bhs.set_ttt(self.ttt);
        bhs.set_serial::<24>(self.cmd_sn);
        bhs.set_serial::<28>(self.exp_stat_sn);
        bhs
    }

    /// From a header whose opcode is that of a Text Request.
    ///
    /// # Errors
    /// Another opcode, the reserved initiator task tag, F and C together.
    pub fn decode(bhs: &Bhs) -> Result<Self, InvalidPdu> {
        let (is_final, continues) = check(bhs, Opcode::TextRequest)?;
        Ok(Self {
            immediate: bhs.is_immediate(),
            is_final,
            continues,
            lun: bhs.lun(),
            itt: bhs.required_itt()?,
            ttt: bhs.ttt(),
            cmd_sn: bhs.serial::<24>(),
            exp_stat_sn: bhs.serial::<28>(),
        })
    }
}

/// A Text Response (RFC 7143 11.11). Its data segment is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextResponse {
    /// The F bit: the exchange is over.
    pub is_final: bool,
    /// The C bit: the text goes on in the next response.
    pub continues: bool,
    /// To be repeated by the next request of the exchange.
    pub lun: Lun,
    /// The request's task tag.
    pub itt: Itt,
    /// To be repeated by the next request; `None` if the exchange is over.
    pub ttt: Option<Ttt>,
    /// Number of this response.
    pub stat_sn: SerialNumber,
    /// The next CmdSN that the target expects.
    pub exp_cmd_sn: SerialNumber,
    /// The highest CmdSN that the target accepts.
    pub max_cmd_sn: SerialNumber,
}

impl TextResponse {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::TextResponse);
        bhs.set_flags(flags(self.is_final, self.continues));
        bhs.set_lun(self.lun);
        bhs.set_itt(Some(self.itt));
        bhs.set_ttt(self.ttt);
        bhs.set_serial::<24>(self.stat_sn);
        bhs.set_serial::<28>(self.exp_cmd_sn);
        bhs.set_serial::<32>(self.max_cmd_sn);
        bhs
    }

    /// From a header whose opcode is that of a Text Response.
    ///
    /// # Errors
    /// Another opcode, the reserved initiator task tag, F and C together.
    pub fn decode(bhs: &Bhs) -> Result<Self, InvalidPdu> {
        let (is_final, continues) = check(bhs, Opcode::TextResponse)?;
        Ok(Self {
            is_final,
            continues,
            lun: bhs.lun(),
            itt: bhs.required_itt()?,
            ttt: bhs.ttt(),
            stat_sn: bhs.serial::<24>(),
            exp_cmd_sn: bhs.serial::<28>(),
            max_cmd_sn: bhs.serial::<32>(),
        })
    }
}

fn flags(is_final: bool, continues: bool) -> u8 {
    (if is_final { FINAL } else { 0 }) | (if continues { CONTINUE } else { 0 })
}

fn check(bhs: &Bhs, opcode: Opcode) -> Result<(bool, bool), InvalidPdu> {
    if bhs.opcode_value() != opcode as u8 {
        return Err(InvalidPdu::UnexpectedOpcode(bhs.opcode_value()));
    }
    let (is_final, continues) = (bhs.flags() & FINAL != 0, bhs.flags() & CONTINUE != 0);
    if is_final && continues {
        return Err(InvalidPdu::UndefinedValue {
            field: "F and C",
            value: u32::from(bhs.flags()),
        });
    }
    Ok((is_final, continues))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_stands_on_the_wire_as_rfc_7143_11_10_draws_it() {
        let request = TextRequest {
            immediate: true,
            is_final: true,
            continues: false,
            lun: Lun::from_wire([1, 2, 3, 4, 5, 6, 7, 8]),
            itt: Itt::new(0x1011_1213).unwrap(),
            ttt: None,
            cmd_sn: SerialNumber(0x1819_1a1b),
            exp_stat_sn: SerialNumber(0x1c1d_1e1f),
        };
        let wire = *request.encode().wire();
        assert_eq!(wire[..12], [0x44, 0x80, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(wire[16..24], [0x10, 0x11, 0x12, 0x13, 255, 255, 255, 255]);
        let numbers: Vec<u8> = (0x18..0x20).collect();
        assert_eq!(wire[24..32], numbers);
        assert_eq!(TextRequest::decode(&Bhs::from_wire(wire)), Ok(request));
    }

    #[test]
    fn a_response_stands_on_the_wire_as_rfc_7143_11_11_draws_it() {
        let response = TextResponse {
            is_final: false,
            continues: true,
            lun: Lun::from_wire([1, 2, 3, 4, 5, 6, 7, 8]),
            itt: Itt::new(0x1011_1213).unwrap(),
            ttt: Ttt::new(0),
            stat_sn: SerialNumber(0x1819_1a1b),
            exp_cmd_sn: SerialNumber(0x1c1d_1e1f),
            max_cmd_sn: SerialNumber(0x2021_2223),
        };
        let wire = *response.encode().wire();
        assert_eq!(wire[..9], [0x24, 0x40, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(wire[16..24], [0x10, 0x11, 0x12, 0x13, 0, 0, 0, 0]);
        let numbers: Vec<u8> = (0x18..0x24).collect();
        assert_eq!(wire[24..36], numbers);
        assert_eq!(TextResponse::decode(&Bhs::from_wire(wire)), Ok(response));
    }

    #[test]
    fn final_and_continue_exclude_each_other() {
        let mut bhs = Bhs::new(Opcode::TextResponse);
        bhs.set_flags(0xc0);
        assert!(TextResponse::decode(&bhs).is_err());
    }
}
