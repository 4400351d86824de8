//! CHAP as iSCSI uses it (RFC 7143 12.1.3, RFC 1994), for both roles.

#![deny(clippy::indexing_slicing)]

mod algorithm;
mod binary;
mod secret;

pub use algorithm::{ChapAlgorithm, UnknownAlgorithm};
pub use binary::{decode_binary, encode_binary};
pub use secret::{SECRET_LEN_MAX, SECRET_LEN_MIN, Secret, SecretError, constant_time_eq};

/// Longest challenge or response in bytes (RFC 7143 12.1.3).
pub const BINARY_LEN_MAX: usize = 1024;
