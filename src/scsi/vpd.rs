//! Vital product data pages (SPC-5 7.7, SBC-4 6.6).

mod designator;
#[cfg(test)]
mod tests;

pub use designator::{Association, Designator, DeviceIdentification};

use super::wire::{BadData, at_least, text, u8_or_0, u16_or_0, u32_or_0, u64_or_0, up_to};

/// Page codes.
pub mod page {
    /// Supported VPD pages.
    pub const SUPPORTED: u8 = 0x00;
    /// Unit serial number.
    pub const SERIAL: u8 = 0x80;
    /// Device identification.
    pub const IDENTIFICATION: u8 = 0x83;
    /// Block limits.
    pub const BLOCK_LIMITS: u8 = 0xb0;
    /// Block device characteristics.
    pub const BLOCK_CHARACTERISTICS: u8 = 0xb1;
    /// Logical block provisioning.
    pub const PROVISIONING: u8 = 0xb2;
}

/// The page's body after its header of four bytes, cut to its PAGE LENGTH.
pub(super) fn body(data: &[u8], asked: u8) -> Result<&[u8], BadData> {
    let data = at_least("a VPD page", data, 4)?;
    let got = u8_or_0(data, 1);
    if got != asked {
        return Err(BadData::OtherPage { asked, got });
    }
    let body = data.get(4..).unwrap_or_default();
    Ok(up_to(body, u16_or_0(data, 2).into()))
}

/// The pages that the unit has, page 00h.
///
/// # Errors
/// If the header is cut or of another page.
pub fn supported_pages(data: &[u8]) -> Result<Vec<u8>, BadData> {
    body(data, page::SUPPORTED).map(<[u8]>::to_vec)
}

/// The unit's serial number, page 80h; `None` if it is blank.
///
/// # Errors
/// If the header is cut or of another page.
pub fn serial(data: &[u8]) -> Result<Option<String>, BadData> {
    let serial = text(body(data, page::SERIAL)?);
    Ok((!serial.is_empty()).then_some(serial))
}

/// Limits of commands, page B0h; 0 where the unit says nothing. Counts are in logical blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockLimits {
    /// WRITE SAME with 0 blocks is refused.
    pub no_zero_write_same: bool,
    /// Transfers should be a multiple of it.
    pub transfer_granularity: u16,
    /// Longest READ or WRITE.
    pub transfer_max: u32,
    /// Longest READ or WRITE that is not slower for it.
    pub transfer_optimal: u32,
    /// Most blocks of one UNMAP over all its descriptors; 0xffffffff no limit, 0 no UNMAP.
    pub unmap_blocks_max: u32,
    /// Most descriptors of one UNMAP; 0xffffffff no limit, 0 no UNMAP.
    pub unmap_descriptors_max: u32,
    /// Only multiples of it are deallocated.
    pub unmap_granularity: u32,
    /// First block to which the granularity applies, if stated (UGAVALID).
    pub unmap_alignment: Option<u32>,
    /// Longest WRITE SAME.
    pub write_same_max: u64,
}

impl BlockLimits {
    /// Reads the page; an older one that ends early (SBC-2) leaves zeroes.
    ///
    /// # Errors
    /// If the header is cut or of another page.
    pub fn parse(data: &[u8]) -> Result<Self, BadData> {
        body(data, page::BLOCK_LIMITS)?;
        let data = up_to(data, usize::from(u16_or_0(data, 2)) + 4);
        let alignment = u32_or_0(data, 32);
        Ok(Self {
            no_zero_write_same: u8_or_0(data, 4) & 1 != 0,
            transfer_granularity: u16_or_0(data, 6),
            transfer_max: u32_or_0(data, 8),
            transfer_optimal: u32_or_0(data, 12),
            unmap_blocks_max: u32_or_0(data, 20),
            unmap_descriptors_max: u32_or_0(data, 24),
            unmap_granularity: u32_or_0(data, 28),
            unmap_alignment: (alignment >> 31 == 1).then_some(alignment & 0x7fff_ffff),
            write_same_max: u64_or_0(data, 36),
        })
    }
}

/// How the medium turns, page B1h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Not said.
    Unknown,
    /// Does not turn.
    SolidState,
    /// Revolutions per minute.
    Rpm(u16),
}

impl Rotation {
    /// Reads page B1h.
    ///
    /// # Errors
    /// If the header is cut or of another page.
    pub fn parse(data: &[u8]) -> Result<Self, BadData> {
        let body = body(data, page::BLOCK_CHARACTERISTICS)?;
        Ok(match u16_or_0(body, 0) {
            1 => Self::SolidState,
            rate @ 0x0401..=0xfffe => Self::Rpm(rate),
            _ => Self::Unknown,
        })
    }
}

/// How space is given and taken, page B2h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Provisioning {
    /// UNMAP (LBPU).
    pub unmap: bool,
    /// WRITE SAME(16) with UNMAP (LBPWS).
    pub write_same_16: bool,
    /// WRITE SAME(10) with UNMAP (LBPWS10).
    pub write_same_10: bool,
    /// Deallocated blocks read as zeroes (LBPRZ xx1b).
    pub reads_zeroes: bool,
    /// Space can be anchored (ANC_SUP).
    pub anchor: bool,
    /// Full, resource or thin provisioned (PROVISIONING TYPE).
    pub kind: ProvisioningKind,
}

/// PROVISIONING TYPE of page B2h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProvisioningKind {
    /// Not said, or fully provisioned.
    #[default]
    Full,
    /// Every block has space set aside.
    Resource,
    /// Blocks get space when they are written: it can run out.
    Thin,
}

impl Provisioning {
    /// Reads page B2h.
    ///
    /// # Errors
    /// If the header is cut or of another page.
    pub fn parse(data: &[u8]) -> Result<Self, BadData> {
        let body = body(data, page::PROVISIONING)?;
        let flags = u8_or_0(body, 1);
        Ok(Self {
            unmap: flags & 0x80 != 0,
            write_same_16: flags & 0x40 != 0,
            write_same_10: flags & 0x20 != 0,
            reads_zeroes: flags & 0x04 != 0,
            anchor: flags & 0x02 != 0,
            kind: match u8_or_0(body, 2) & 7 {
                1 => ProvisioningKind::Resource,
                2 => ProvisioningKind::Thin,
                _ => ProvisioningKind::Full,
            },
        })
    }
}
