//! MODE SENSE: write protection and FUA from the header (SBC-4 6.5.1), the caching page (SBC-4 6.5.6).

use super::wire::{BadData, at_least, u8_or_0, u16_or_0, up_to};

/// The caching page's code.
pub const CACHING_PAGE: u8 = 0x08;

/// What we ask MODE SENSE for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeParameters {
    /// Writes are refused (WP).
    pub write_protected: bool,
    /// FUA in READ and WRITE is understood (DPOFUA).
    pub fua: bool,
    /// Writes are acknowledged from a volatile cache (WCE); `None` where no caching page came.
    pub write_cache: Option<bool>,
}

impl ModeParameters {
    /// Reads the answer to MODE SENSE(6).
    ///
    /// # Errors
    /// If the header is cut.
    pub fn parse_6(data: &[u8]) -> Result<Self, BadData> {
        let data = at_least("MODE SENSE(6) data", data, 4)?;
        let data = up_to(data, usize::from(u8_or_0(data, 0)) + 1);
        Ok(Self::parse(
            u8_or_0(data, 2),
            data,
            4 + usize::from(u8_or_0(data, 3)),
        ))
    }

    /// Reads the answer to MODE SENSE(10).
    ///
    /// # Errors
    /// If the header is cut.
    pub fn parse_10(data: &[u8]) -> Result<Self, BadData> {
        let data = at_least("MODE SENSE(10) data", data, 8)?;
        let data = up_to(data, usize::from(u16_or_0(data, 0)) + 2);
        Ok(Self::parse(
            u8_or_0(data, 3),
            data,
            8 + usize::from(u16_or_0(data, 6)),
        ))
    }

    fn parse(device_specific: u8, data: &[u8], pages_at: usize) -> Self {
        let pages = data.get(pages_at..).unwrap_or_default();
        Self {
            write_protected: device_specific & 0x80 != 0,
            fua: device_specific & 0x10 != 0,
            write_cache: caching_flags(pages).map(|flags| flags & 0x04 != 0),
        }
    }
}

/// Byte 2 of the caching page, if it is among the pages. A page's length is one byte, or two with SPF.
fn caching_flags(mut pages: &[u8]) -> Option<u8> {
    loop {
        let code = *pages.first()?;
        let (header, len) = match code & 0x40 {
            0 => (2, usize::from(*pages.get(1)?)),
            _ => (4, usize::from(u16_or_0(pages, 2))),
        };
        if code & 0x7f == CACHING_PAGE && len > 0 {
            return pages.get(2).copied();
        }
        pages = pages.get(header + len..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A caching page of 20 bytes with WCE as told, after a control page.
    fn pages(write_cache: bool) -> Vec<u8> {
        let mut pages = vec![0x0a, 0x0a, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        pages.extend([0x88, 0x12, u8::from(write_cache) << 2]);
        pages.extend([0; 17]);
        pages
    }

    #[test]
    fn both_headers_tell_the_same() {
        for (wp, fua, cache) in [
            (false, true, true),
            (true, false, false),
            (true, true, true),
        ] {
            let specific = u8::from(wp) << 7 | u8::from(fua) << 4;
            let expected = ModeParameters {
                write_protected: wp,
                fua,
                write_cache: Some(cache),
            };
            // A block descriptor of 8 bytes comes although DBD was set.
            let body = [vec![0xff; 8], pages(cache)].concat();
            let short = [
                vec![u8::try_from(body.len() + 3).unwrap(), 0, specific, 8],
                body.clone(),
            ];
            assert_eq!(ModeParameters::parse_6(&short.concat()), Ok(expected));
            let len = u8::try_from(body.len() + 6).unwrap();
            let long = [vec![0, len, 0, specific, 0, 0, 0, 8], body];
            assert_eq!(ModeParameters::parse_10(&long.concat()), Ok(expected));
        }
    }

    #[test]
    fn a_header_without_the_page_says_nothing_of_the_cache() {
        let parsed = ModeParameters::parse_6(&[3, 0, 0x10, 0]).unwrap();
        assert_eq!(parsed.write_cache, None);
        assert!(parsed.fua);
        assert!(ModeParameters::parse_6(&[3, 0, 0x10]).is_err());
    }

    #[test]
    fn a_subpage_before_the_caching_page_is_stepped_over() {
        let body = [vec![0x5c, 0x02, 0, 3, 8, 8, 8], pages(true)].concat();
        let data = [vec![u8::try_from(body.len() + 3).unwrap(), 0, 0, 0], body].concat();
        assert_eq!(
            ModeParameters::parse_6(&data).unwrap().write_cache,
            Some(true)
        );
    }

    proptest! {
        #[test]
        fn no_answer_is_too_odd_to_read(data in proptest::collection::vec(any::<u8>(), 0..120)) {
            prop_assert_eq!(ModeParameters::parse_6(&data).is_ok(), data.len() >= 4);
            prop_assert_eq!(ModeParameters::parse_10(&data).is_ok(), data.len() >= 8);
        }
    }
}
