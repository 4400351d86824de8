//! The basic header segment: the 48 bytes that every PDU begins with (RFC 7143 11.2.1).

use std::fmt;

use super::{InvalidPdu, Opcode};
use crate::ids::Lun;
use crate::iscsi::serial::SerialNumber;
use crate::iscsi::tags::{Itt, RESERVED_TAG, Ttt};

/// Length of the basic header segment.
pub const BHS_LEN: usize = 48;

const IMMEDIATE: u8 = 0x40;
const FINAL: u8 = 0x80;
const MAX_24_BITS: u32 = 0x00ff_ffff;

/// A basic header segment, as it stands on the wire.
///
/// Offsets of fields are constants checked at compile time, so no accessor can fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bhs([u8; BHS_LEN]);

impl Bhs {
    /// A header of zeroes but for the opcode.
    #[must_use]
    pub const fn new(opcode: Opcode) -> Self {
        let mut bytes = [0; BHS_LEN];
        bytes[0] = opcode as u8;
        Self(bytes)
    }

    /// From its bytes on the wire.
    #[must_use]
    pub const fn from_wire(bytes: [u8; BHS_LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes on the wire.
    #[must_use]
    pub const fn wire(&self) -> &[u8; BHS_LEN] {
        &self.0
    }

    /// The `N` bytes from offset `AT` on.
    #[must_use]
    #[inline]
    pub fn get<const AT: usize, const N: usize>(&self) -> [u8; N] {
        const { assert!(AT + N <= BHS_LEN, "field inside the header") };
        #[expect(
            clippy::indexing_slicing,
            reason = "bounds are checked at compile time"
        )]
        std::array::from_fn(|i| self.0[AT + i])
    }

    /// Sets the `N` bytes from offset `AT` on.
    #[inline]
    pub fn set<const AT: usize, const N: usize>(&mut self, bytes: [u8; N]) {
        const { assert!(AT + N <= BHS_LEN, "field inside the header") };
        #[expect(
            clippy::indexing_slicing,
            reason = "bounds are checked at compile time"
        )]
        self.0[AT..AT + N].copy_from_slice(&bytes);
    }

    /// The byte at offset `AT`.
    #[must_use]
    #[inline]
    pub fn byte<const AT: usize>(&self) -> u8 {
        u8::from_be_bytes(self.get::<AT, 1>())
    }

    /// Sets the byte at offset `AT`.
    #[inline]
    pub fn set_byte<const AT: usize>(&mut self, value: u8) {
        self.set::<AT, 1>([value]);
    }

    /// The 16-bit number at offset `AT`.
    #[must_use]
    #[inline]
    pub fn half<const AT: usize>(&self) -> u16 {
        u16::from_be_bytes(self.get::<AT, 2>())
    }

    /// Sets the 16-bit number at offset `AT`.
    #[inline]
    pub fn set_half<const AT: usize>(&mut self, value: u16) {
        self.set::<AT, 2>(value.to_be_bytes());
    }

    /// The 32-bit number at offset `AT`.
    #[must_use]
    #[inline]
    pub fn word<const AT: usize>(&self) -> u32 {
        u32::from_be_bytes(self.get::<AT, 4>())
    }

    /// Sets the 32-bit number at offset `AT`.
    #[inline]
    pub fn set_word<const AT: usize>(&mut self, value: u32) {
        self.set::<AT, 4>(value.to_be_bytes());
    }

    /// The sequence number at offset `AT`.
    #[must_use]
    #[inline]
    pub fn serial<const AT: usize>(&self) -> SerialNumber {
        SerialNumber(self.word::<AT>())
    }

    /// Sets the sequence number at offset `AT`.
    #[inline]
    pub fn set_serial<const AT: usize>(&mut self, value: SerialNumber) {
        self.set_word::<AT>(value.0);
    }

    /// The opcode's value, without the immediate bit.
    #[must_use]
    pub fn opcode_value(&self) -> u8 {
        self.byte::<0>() & 0x3f
    }

    /// The opcode.
    ///
    /// # Errors
    /// If RFC 7143 defines none of this value.
    pub fn opcode(&self) -> Result<Opcode, InvalidPdu> {
        let value = self.opcode_value();
        Opcode::from_wire(value).ok_or(InvalidPdu::UnexpectedOpcode(value))
    }

    /// The I bit: a request for immediate delivery (RFC 7143 11.2.1.1).
    #[must_use]
    pub fn is_immediate(&self) -> bool {
        self.byte::<0>() & IMMEDIATE != 0
    }

    /// Sets or clears the I bit.
    pub fn set_immediate(&mut self, immediate: bool) {
        let bit = if immediate { IMMEDIATE } else { 0 };
        self.set_byte::<0>(self.opcode_value() | bit);
    }

    /// Byte 1: the F bit and what the opcode makes of the other seven.
    #[must_use]
    pub fn flags(&self) -> u8 {
        self.byte::<1>()
    }

    /// Sets byte 1.
    pub fn set_flags(&mut self, flags: u8) {
        self.set_byte::<1>(flags);
    }

    /// The F bit (RFC 7143 11.2.1.3).
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.flags() & FINAL != 0
    }

    /// Length of the additional header segments in bytes (TotalAHSLength is in words).
    #[must_use]
    pub fn ahs_len(&self) -> usize {
        usize::from(self.byte::<4>()) * 4
    }

    /// DataSegmentLength: without padding and digest.
    #[must_use]
    pub fn data_len(&self) -> u32 {
        let [a, b, c] = self.get::<5, 3>();
        u32::from_be_bytes([0, a, b, c])
    }

    /// Sets DataSegmentLength.
    ///
    /// # Panics
    /// If it does not fit 24 bits.
    pub fn set_data_len(&mut self, len: u32) {
        assert!(len <= MAX_24_BITS, "DataSegmentLength has 24 bits");
        let [_, a, b, c] = len.to_be_bytes();
        self.set::<5, 3>([a, b, c]);
    }

    /// The logical unit number, in PDUs that have one.
    #[must_use]
    pub fn lun(&self) -> Lun {
        Lun::from_wire(self.get::<8, 8>())
    }

    /// Sets the logical unit number.
    pub fn set_lun(&mut self, lun: Lun) {
        self.set::<8, 8>(lun.to_wire());
    }

    /// The initiator task tag; `None` if reserved.
    #[must_use]
    pub fn itt(&self) -> Option<Itt> {
        Itt::new(self.word::<16>())
    }

    /// The initiator task tag of a PDU that must have one.
    ///
    /// # Errors
    /// If it is the reserved tag.
    pub fn required_itt(&self) -> Result<Itt, InvalidPdu> {
        self.itt()
            .ok_or_else(|| InvalidPdu::ReservedTag(self.opcode_value()))
    }

    /// Sets the initiator task tag.
    pub fn set_itt(&mut self, itt: Option<Itt>) {
        self.set_word::<16>(Itt::wire(itt));
    }

    /// The target transfer tag (offset 20 wherever there is one); `None` if reserved.
    #[must_use]
    pub fn ttt(&self) -> Option<Ttt> {
        Ttt::new(self.word::<20>())
    }

    /// Sets the target transfer tag.
    pub fn set_ttt(&mut self, ttt: Option<Ttt>) {
        self.set_word::<20>(ttt.map_or(RESERVED_TAG, Ttt::get));
    }
}

/// The sequence numbers that an initiator's PDUs carry (RFC 7143 4.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InitiatorNumbers {
    /// CmdSN: the command's number; of an immediate one, the next command's.
    pub cmd_sn: SerialNumber,
    /// ExpStatSN: the status that the initiator waits for; it has received all before.
    pub exp_stat_sn: SerialNumber,
}

/// The sequence numbers that a target's PDUs carry (RFC 7143 4.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetNumbers {
    /// StatSN: the status's number, or the next one's in a PDU that consumes none.
    pub stat_sn: SerialNumber,
    /// ExpCmdSN: the command that the target waits for; it has received all before.
    pub exp_cmd_sn: SerialNumber,
    /// MaxCmdSN: the last command that the target has room for.
    pub max_cmd_sn: SerialNumber,
}

impl Bhs {
    /// CmdSN and ExpStatSN, where the PDU has both.
    #[must_use]
    pub fn initiator_numbers(&self) -> InitiatorNumbers {
        InitiatorNumbers {
            cmd_sn: self.serial::<24>(),
            exp_stat_sn: self.serial::<28>(),
        }
    }

    /// Sets CmdSN and ExpStatSN.
    pub fn set_initiator_numbers(&mut self, numbers: InitiatorNumbers) {
        self.set_serial::<24>(numbers.cmd_sn);
        self.set_serial::<28>(numbers.exp_stat_sn);
    }

    /// StatSN, ExpCmdSN and MaxCmdSN: every PDU of a target has them at the same place.
    #[must_use]
    pub fn target_numbers(&self) -> TargetNumbers {
        TargetNumbers {
            stat_sn: self.serial::<24>(),
            exp_cmd_sn: self.serial::<28>(),
            max_cmd_sn: self.serial::<32>(),
        }
    }

    /// Sets StatSN, ExpCmdSN and MaxCmdSN.
    pub fn set_target_numbers(&mut self, numbers: TargetNumbers) {
        self.set_serial::<24>(numbers.stat_sn);
        self.set_serial::<28>(numbers.exp_cmd_sn);
        self.set_serial::<32>(numbers.max_cmd_sn);
    }
}

impl fmt::Debug for Bhs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bhs({:#04x}", self.opcode_value())?;
        if self.is_immediate() {
            write!(f, " immediate")?;
        }
        write!(
            f,
            " flags {:#04x} data {} itt {:#010x})",
            self.flags(),
            self.data_len(),
            self.word::<16>()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_where_rfc_7143_11_2_1_puts_them() {
        let mut bhs = Bhs::new(Opcode::ScsiCommand);
        bhs.set_immediate(true);
        bhs.set_flags(0x81);
        bhs.set_data_len(0x0001_0203);
        bhs.set_lun(Lun::from_wire([1, 2, 3, 4, 5, 6, 7, 8]));
        bhs.set_itt(Itt::new(0xa0b0_c0d0));
        bhs.set_ttt(None);
        let wire = bhs.wire();
        assert_eq!(wire[..8], [0x41, 0x81, 0, 0, 0, 1, 2, 3]);
        assert_eq!(wire[8..16], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(wire[16..24], [0xa0, 0xb0, 0xc0, 0xd0, 255, 255, 255, 255]);
        let back = Bhs::from_wire(*wire);
        assert_eq!(back.opcode(), Ok(Opcode::ScsiCommand));
        assert_eq!(back.data_len(), 0x0001_0203);
        assert_eq!((back.itt(), back.ttt()), (Itt::new(0xa0b0_c0d0), None));
    }

    #[test]
    fn the_reserved_tag_is_refused_where_a_task_must_be_named() {
        let mut bhs = Bhs::new(Opcode::DataIn);
        bhs.set_itt(None);
        assert_eq!(bhs.required_itt(), Err(InvalidPdu::ReservedTag(0x25)));
    }
}
