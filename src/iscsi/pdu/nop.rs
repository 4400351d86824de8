//! NOP-Out and NOP-In (RFC 7143 11.18, 11.19).

use super::bhs::{Bhs, InitiatorNumbers, TargetNumbers};
use super::{InvalidPdu, Opcode};
use crate::ids::Lun;
use crate::iscsi::tags::{Itt, Ttt};

const FINAL: u8 = 0x80;

/// A NOP-Out: a ping of the initiator (with an ITT), or its answer to a ping of the target (with a TTT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NopOut {
    /// I bit.
    pub immediate: bool,
    /// All eight bytes of the target's ping, with its TTT; else zero.
    pub lun: Lun,
    /// The ping's tag; none if no answer is wanted.
    pub itt: Option<Itt>,
    /// The tag of the target's ping that this answers.
    pub ttt: Option<Ttt>,
    /// CmdSN and ExpStatSN.
    pub numbers: InitiatorNumbers,
}

impl NopOut {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::NopOut);
        bhs.set_immediate(self.immediate);
        bhs.set_flags(FINAL);
        bhs.set_lun(self.lun);
        bhs.set_itt(self.itt);
        bhs.set_ttt(self.ttt);
        bhs.set_initiator_numbers(self.numbers);
        bhs
    }

    /// Reads a header.
    ///
    /// # Errors
    /// A NOP-Out that wants no answer and is not immediate (RFC 7143 11.18.1).
    pub fn decode(bhs: &Bhs) -> Result<Self, InvalidPdu> {
        if bhs.itt().is_none() && !bhs.is_immediate() {
            return Err(InvalidPdu::ReservedTag(bhs.opcode_value()));
        }
        Ok(Self {
            immediate: bhs.is_immediate(),
            lun: bhs.lun(),
            itt: bhs.itt(),
            ttt: bhs.ttt(),
            numbers: bhs.initiator_numbers(),
        })
    }
}

/// A NOP-In: the answer to a ping (with an ITT), a ping of the target (with a TTT), or neither, to
/// report new values of ExpCmdSN and MaxCmdSN. It consumes a StatSN only with an ITT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NopIn {
    /// To be copied with the TTT.
    pub lun: Lun,
    /// The tag of the ping that this answers.
    pub itt: Option<Itt>,
    /// The tag of the target's ping.
    pub ttt: Option<Ttt>,
    /// StatSN (the next one if there is no ITT), ExpCmdSN and MaxCmdSN.
    pub numbers: TargetNumbers,
}

impl NopIn {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::NopIn);
        bhs.set_flags(FINAL);
        bhs.set_lun(self.lun);
        bhs.set_itt(self.itt);
        bhs.set_ttt(self.ttt);
        bhs.set_target_numbers(self.numbers);
        bhs
    }

    /// Reads a header: every one is a NOP-In.
    #[must_use]
    pub fn decode(bhs: &Bhs) -> Self {
        Self {
            lun: bhs.lun(),
            itt: bhs.itt(),
            ttt: bhs.ttt(),
            numbers: bhs.target_numbers(),
        }
    }
}
