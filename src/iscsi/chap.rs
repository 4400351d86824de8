//! CHAP as iSCSI uses it (RFC 7143 12.1.3, RFC 1994), for both roles.

mod algorithm;
mod secret;

pub use algorithm::{ChapAlgorithm, UnknownAlgorithm};
pub use secret::{SECRET_LEN_MAX, SECRET_LEN_MIN, Secret, SecretError};
