//! Every bound of the program, with what happens when it is reached.

use std::time::Duration;

/// Paths per volume; the configuration is refused above.
pub const PATHS_MAX: usize = 32;

/// NBD requests in flight per client connection; the socket is not read above.
pub const NBD_REQUESTS_MAX: usize = 256;

/// Payload bytes in flight per client connection; the socket is not read above.
pub const NBD_BYTES_MAX: u64 = 64 << 20;

/// Payload of one NBD request; larger ones are answered EINVAL, a larger write's payload is skipped.
pub const NBD_PAYLOAD_MAX: u32 = 32 << 20;

/// A payload that exceeds [`NBD_PAYLOAD_MAX`] is skipped up to this; beyond, the connection is closed.
pub const NBD_SKIP_MAX: u32 = 128 << 20;

/// Slices of a write's payload shorter than this wait in the input until more has arrived.
pub const NBD_FRAGMENT_MIN: usize = 4 << 10;

/// Length of one NBD option; the connection is closed above.
pub const NBD_OPTION_MAX: u32 = 64 << 10;

/// NBD options per handshake; the connection is closed above.
pub const NBD_OPTIONS_MAX: u32 = 64;

/// An export name or other NBD string; refused above (NBD protocol: 4096).
pub const NBD_STRING_MAX: usize = 4096;

/// Duration of an NBD handshake; the connection is closed after.
pub const NBD_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Client connections per volume; further ones are closed at once with a log line.
pub const NBD_CLIENTS_MAX: usize = 64;

/// Requests in flight per volume over all clients; clients are not read above.
pub const VOLUME_IOS_MAX: usize = 1024;

/// Text of one login or text exchange, all continuations together; the session is dropped above.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Login requests and responses of one login, and redirects followed; the login fails above.
pub const LOGIN_EXCHANGES_MAX: u32 = 64;

/// Login redirects followed in a row; the connect attempt fails above.
pub const REDIRECTS_MAX: u32 = 4;

/// Data segment that we accept for PDUs other than Data-In; the session is dropped above.
pub const CONTROL_SEGMENT_MAX: u32 = 64 << 10;

/// A piece of a data segment that is handed on before the segment is complete; smaller ones wait in the input buffer.
pub const DATA_PIECE_MIN: usize = 4 << 10;

/// Bytes of one transfer command; larger requests are split.
pub const TRANSFER_MAX: u32 = 4 << 20;

/// Attempts of one command that ended with a retryable verdict; EIO after.
pub const RETRYABLE_MAX: u32 = 8;

const _: () = assert!(NBD_PAYLOAD_MAX as u64 <= NBD_BYTES_MAX);
const _: () = assert!(NBD_PAYLOAD_MAX <= NBD_SKIP_MAX);
