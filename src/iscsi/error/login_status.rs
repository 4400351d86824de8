//! The status of a login response (RFC 7143 11.13.5).

use std::fmt;

/// Status-Class and Status-Detail of a login response.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoginStatus {
    /// Status-Class: 0 success, 1 redirection, 2 initiator error, 3 target error.
    pub class: u8,
    /// Status-Detail.
    pub detail: u8,
}

impl LoginStatus {
    /// 0000h: the login proceeds.
    pub const SUCCESS: Self = Self::new(0x00, 0x00);
    /// 0101h: the target is elsewhere for now.
    pub const MOVED_TEMPORARILY: Self = Self::new(0x01, 0x01);
    /// 0102h: the target is elsewhere for good.
    pub const MOVED_PERMANENTLY: Self = Self::new(0x01, 0x02);
    /// 0200h: an error of the initiator that has no code of its own.
    pub const INITIATOR_ERROR: Self = Self::new(0x02, 0x00);
    /// 0201h: wrong name or secret, or no authentication where it is required.
    pub const AUTHENTICATION_FAILURE: Self = Self::new(0x02, 0x01);
    /// 0202h: this initiator may not use this target.
    pub const FORBIDDEN: Self = Self::new(0x02, 0x02);
    /// 0203h: no such target here.
    pub const NOT_FOUND: Self = Self::new(0x02, 0x03);
    /// 0204h: the target was removed.
    pub const REMOVED: Self = Self::new(0x02, 0x04);
    /// 0205h: no common protocol version.
    pub const UNSUPPORTED_VERSION: Self = Self::new(0x02, 0x05);
    /// 0206h: too many connections on this session.
    pub const TOO_MANY_CONNECTIONS: Self = Self::new(0x02, 0x06);
    /// 0207h: a key that the target needs is missing.
    pub const MISSING_PARAMETER: Self = Self::new(0x02, 0x07);
    /// 0209h: the target does not do sessions of this type.
    pub const SESSION_TYPE: Self = Self::new(0x02, 0x09);
    /// 0300h: an error of the target that has no code of its own.
    pub const TARGET_ERROR: Self = Self::new(0x03, 0x00);
    /// 0301h: the service is not available now.
    pub const UNAVAILABLE: Self = Self::new(0x03, 0x01);
    /// 0302h: out of resources now; often the old session of a crashed initiator still counts.
    pub const OUT_OF_RESOURCES: Self = Self::new(0x03, 0x02);

    /// From the two bytes of the response.
    #[must_use]
    pub const fn new(class: u8, detail: u8) -> Self {
        Self { class, detail }
    }

    /// What an administrator can do something with.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match (self.class, self.detail) {
            (0, _) => "success",
            (1, 1) => "target moved temporarily",
            (1, 2) => "target moved permanently",
            (1, _) => "redirection of an unknown kind",
            (2, 0x00) => "the target found a mistake in our login and does not say which",
            (2, 0x01) => "authentication failure: wrong CHAP user name or secret, or CHAP required",
            (2, 0x02) => "authorization failure: this initiator name may not use this target",
            (2, 0x03) => "target not found: no target of this name at this portal",
            (2, 0x04) => "target removed: the target existed and is gone",
            (2, 0x05) => "unsupported iSCSI version",
            (2, 0x06) => "too many connections in the session",
            (2, 0x07) => "missing parameter",
            (2, 0x08) => "can't include in session: this connection fits no session of the target",
            (2, 0x09) => "session type not supported",
            (2, 0x0a) => "session does not exist",
            (2, 0x0b) => "invalid request during login",
            (2, _) => "an initiator error of an unknown kind",
            (3, 0x00) => "target error: hardware or software error at the target",
            (3, 0x01) => "service unavailable: the target is not operational now",
            (3, 0x02) => "out of resources at the target, perhaps an old session still counts",
            (3, _) => "a target error of an unknown kind",
            (_, _) => "a status class that RFC 7143 does not define",
        }
    }

    /// Class 2: the request itself is wrong, the same one will be refused again. Class 3 is the
    /// target's own trouble and passes (Synology answers 0301 and 0302 right after a crash of the
    /// initiator, while the old session still counts).
    #[must_use]
    pub fn needs_operator(self) -> bool {
        match (self.class, self.detail) {
            // These name a session that another try will not have.
            (2, 0x06 | 0x08 | 0x0a | 0x0b) => false,
            (2, _) => true,
            _ => false,
        }
    }
}

impl fmt::Display for LoginStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (status {:02x}{:02x}h)",
            self.meaning(),
            self.class,
            self.detail
        )
    }
}

impl fmt::Debug for LoginStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}h", self.class, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_3_is_never_fatal() {
        for detail in 0..=255 {
            assert!(!LoginStatus::new(3, detail).needs_operator());
        }
    }

    #[test]
    fn what_only_an_administrator_can_mend_is_said_so() {
        for detail in [0, 1, 2, 3, 4, 5, 7, 9, 0x33] {
            assert!(LoginStatus::new(2, detail).needs_operator(), "{detail:#x}");
        }
        for detail in [6, 8, 0x0a, 0x0b] {
            assert!(!LoginStatus::new(2, detail).needs_operator(), "{detail:#x}");
        }
    }

    #[test]
    fn every_status_shows_its_meaning_and_its_code() {
        assert_eq!(
            LoginStatus::NOT_FOUND.to_string(),
            "target not found: no target of this name at this portal (status 0203h)"
        );
        assert!(
            LoginStatus::new(0x7f, 0xff)
                .to_string()
                .ends_with("(status 7fffh)")
        );
    }
}
