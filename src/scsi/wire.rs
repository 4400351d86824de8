//! Big-endian fields of parameter data, and text in it.

/// Why parameter data makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadData {
    /// It ends before a field that must be there.
    #[error("{what} is {got} bytes long, at least {need} were expected")]
    Short {
        /// Which data.
        what: &'static str,
        /// Length in bytes.
        got: usize,
        /// Bytes that must be there.
        need: usize,
    },
    /// Another vital product data page than the one that was asked for.
    #[error("VPD page {got:02x}h was answered where {asked:02x}h was asked for")]
    OtherPage {
        /// Page that was asked for.
        asked: u8,
        /// Page that came.
        got: u8,
    },
    /// A size that is no size of a disk that we can serve.
    #[error(
        "the unit claims {blocks} blocks of {block_size} bytes, which is not a disk that can be served"
    )]
    Geometry {
        /// Block length in bytes.
        block_size: u32,
        /// Number of blocks, saturated.
        blocks: u64,
    },
}

/// The `N` bytes from `at` on.
pub(super) fn array<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..)?.first_chunk().copied()
}

/// One byte; zero where the data ends before it, as SPC wants fields beyond the end to be read.
pub(super) fn u8_or_0(data: &[u8], at: usize) -> u8 {
    data.get(at).copied().unwrap_or(0)
}

/// A 16-bit field; zero where the data ends before its end.
pub(super) fn u16_or_0(data: &[u8], at: usize) -> u16 {
    array(data, at).map_or(0, u16::from_be_bytes)
}

/// A 32-bit field; zero where the data ends before its end.
pub(super) fn u32_or_0(data: &[u8], at: usize) -> u32 {
    array(data, at).map_or(0, u32::from_be_bytes)
}

/// A 64-bit field; zero where the data ends before its end.
pub(super) fn u64_or_0(data: &[u8], at: usize) -> u64 {
    array(data, at).map_or(0, u64::from_be_bytes)
}

/// The data if it has at least `need` bytes.
pub(super) fn at_least<'a>(
    what: &'static str,
    data: &'a [u8],
    need: usize,
) -> Result<&'a [u8], BadData> {
    let got = data.len();
    match got >= need {
        true => Ok(data),
        false => Err(BadData::Short { what, got, need }),
    }
}

/// The first `len` bytes, or as many as there are.
pub(super) fn up_to(data: &[u8], len: usize) -> &[u8] {
    data.get(..len).unwrap_or(data)
}

/// An ASCII field without its padding of blanks and zeroes; other bytes are escaped, so that different
/// fields stay different.
pub(super) fn text(field: &[u8]) -> String {
    let blank = |b: &u8| matches!(b, b' ' | 0);
    let start = field.iter().position(|b| !blank(b)).unwrap_or(field.len());
    let end = field
        .iter()
        .rposition(|b| !blank(b))
        .map_or(start, |i| i + 1);
    field
        .get(start..end)
        .unwrap_or_default()
        .escape_ascii()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_goes_and_odd_bytes_are_escaped() {
        assert_eq!(text(b"  LIO-ORG \0\0"), "LIO-ORG");
        assert_eq!(text(b"a b"), "a b");
        assert_eq!(text(b"\0   "), "");
        assert_eq!(text(b"x\xffy"), "x\\xffy");
    }

    #[test]
    fn a_field_beyond_the_end_reads_as_zero() {
        assert_eq!(u16_or_0(&[1, 2, 3], 1), 0x0203);
        assert_eq!(u16_or_0(&[1, 2, 3], 2), 0);
        assert_eq!(u64_or_0(&[], usize::MAX), 0);
    }
}
