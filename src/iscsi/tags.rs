//! Task tags: the reserved value `0xffffffff` cannot be written.

use std::fmt;

/// The reserved tag on the wire: "no task" (RFC 7143 11.2.1.8).
pub const RESERVED_TAG: u32 = 0xffff_ffff;

/// An initiator task tag (RFC 7143 11.2.1.8), never the reserved value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Itt(u32);

/// A target transfer tag (RFC 7143 11.7.4), never the reserved value. Zero is an ordinary value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttt(u32);

macro_rules! tag {
    ($name:ident) => {
        impl $name {
            /// `None` for the reserved value.
            #[must_use]
            pub const fn new(value: u32) -> Option<Self> {
                if value == RESERVED_TAG {
                    None
                } else {
                    Some(Self(value))
                }
            }

            /// The value on the wire.
            #[must_use]
            pub const fn get(self) -> u32 {
                self.0
            }

            /// The value on the wire of a tag that may be absent.
            #[must_use]
            pub const fn wire(tag: Option<Self>) -> u32 {
                match tag {
                    Some(tag) => tag.0,
                    None => RESERVED_TAG,
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#010x}", self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    };
}

tag!(Itt);
tag!(Ttt);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserved_value_is_no_tag_and_zero_is_one() {
        assert_eq!(Itt::new(RESERVED_TAG), None);
        assert_eq!(Ttt::new(0).map(Ttt::get), Some(0));
        assert_eq!(Ttt::wire(None), RESERVED_TAG);
    }
}
