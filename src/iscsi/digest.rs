//! CRC32C digests of headers and data (RFC 7143 13.1, appendix A).

/// Length of a digest on the wire.
pub const DIGEST_LEN: usize = 4;

/// Which digests a connection carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// CRC32C after the header and its additional segments.
    pub header: bool,
    /// CRC32C after the padded data segment, if there is one.
    pub data: bool,
}

/// A CRC32C over bytes that come in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crc32c(u32);

impl Crc32c {
    /// Takes more bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0 = crc32c::crc32c_append(self.0, bytes);
    }

    /// The digest in wire order: least significant byte first, as RFC 7143 A.4 shows.
    #[must_use]
    pub fn wire(self) -> [u8; DIGEST_LEN] {
        self.0.to_le_bytes()
    }
}

/// The digest of `bytes` in wire order.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; DIGEST_LEN] {
    let mut crc = Crc32c::default();
    crc.update(bytes);
    crc.wire()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_7143_a_4_hold() {
        let up: Vec<u8> = (0..32).collect();
        let down: Vec<u8> = (0..32).rev().collect();
        assert_eq!(digest(&[0; 32]), [0xaa, 0x36, 0x91, 0x8a]);
        assert_eq!(digest(&[0xff; 32]), [0x43, 0xab, 0xa8, 0x62]);
        assert_eq!(digest(&up), [0x4e, 0x79, 0xdd, 0x46]);
        assert_eq!(digest(&down), [0x5c, 0xdb, 0x3f, 0x11]);
    }

    #[test]
    fn the_digest_of_a_read_command_pdu_is_that_of_rfc_7143_a_4() {
        let mut pdu = [0u8; 48];
        pdu[0] = 0x01;
        pdu[1] = 0xc0;
        pdu[16] = 0x14;
        pdu[22] = 0x04;
        pdu[27] = 0x14;
        pdu[31] = 0x18;
        pdu[32] = 0x28;
        pdu[40] = 0x02;
        assert_eq!(digest(&pdu), [0x56, 0x3a, 0x96, 0xd9]);
    }

    #[test]
    fn pieces_give_the_digest_of_the_whole() {
        let mut crc = Crc32c::default();
        crc.update(b"123");
        crc.update(b"456789");
        assert_eq!(crc.wire(), 0xe306_9283_u32.to_le_bytes());
    }
}
