//! Every bound of the program, with what happens when it is reached.

use std::time::Duration;

/// Paths per volume; the configuration is refused above.
pub const PATHS_MAX: usize = 32;

/// Paths per volume, with those that were removed and are not gone yet; a change of the configuration that
/// needs more is refused.
pub const PATH_SLOTS_MAX: usize = 2 * PATHS_MAX;

/// Volumes per daemon; the configuration is refused above.
pub const VOLUMES_MAX: usize = 256;

/// Size of the configuration file; refused above.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;

/// Length of a CHAP secret; refused below (96 bits, RFC 7143 12.1.3).
pub const SECRET_BYTES_MIN: usize = 12;

/// Length of a CHAP secret; refused above.
pub const SECRET_BYTES_MAX: usize = 256;

/// A request on the control socket; the connection is closed above.
pub const CONTROL_REQUEST_MAX: usize = 64 << 10;

/// An answer on the control socket: room for every path of every volume. `iibadm` gives up above.
pub const CONTROL_LINE_MAX: usize = 16 << 20;

/// Lines of the log that wait for whoever reads stderr; further ones are counted and left out.
pub const LOG_LINES_MAX: usize = 1024;

/// What is remembered of a path's past; the oldest is forgotten above.
pub const PATH_EVENTS_MAX: usize = 128;

/// What is remembered of a volume's past; the oldest is forgotten above.
pub const VOLUME_EVENTS_MAX: usize = 256;

/// Connections to the control socket; further ones are closed at once.
pub const CONTROL_CLIENTS_MAX: usize = 16;

/// How long a control client may take for its request, and to take the answer; the connection is closed
/// after.
pub const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long `iibadm reload` waits: volumes that are removed are drained and logged out meanwhile. It goes on
/// after.
pub const RELOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// How long `iibadm reservation` waits: longer than the volume takes to do it, or to undo it.
pub const RESERVATION_TIMEOUT: Duration = Duration::from_secs(20);

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

/// Handshakes at a time per listener; further clients wait to be accepted.
pub const NBD_HANDSHAKES_MAX: usize = 32;

/// Bytes that the kernel may hold for a client on a unix socket, each way; as many as it grants where it
/// grants fewer.
pub const NBD_SOCKET_BUFFER: usize = 4 << 20;

/// Client connections per volume; further ones are closed at once with a log line.
pub const NBD_CLIENTS_MAX: usize = 64;

/// Requests in flight per volume over all clients; clients are not read above.
pub const VOLUME_IOS_MAX: usize = 1024;

/// Bytes of requests in flight per volume over all clients; clients are not read above. What they have sent
/// of their next requests by then comes on top.
pub const VOLUME_BYTES_MAX: u64 = 256 << 20;

/// Text of one login or text exchange, all continuations together; the session is dropped above.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Login requests of one login; the login fails above.
pub const LOGIN_EXCHANGES_MAX: u32 = 64;

/// Keys of a target that wait for an answer in a login; the login fails above.
pub const LOGIN_REPLIES_MAX: usize = 1024;

/// Login redirects followed in a row; the connect attempt fails above.
pub const REDIRECTS_MAX: u32 = 4;

/// Data segment that we accept for PDUs other than Data-In; the session is dropped above.
pub const CONTROL_SEGMENT_MAX: u32 = 64 << 10;

/// Tasks outstanding per session; no further ones are taken above.
pub const SESSION_TASKS_MAX: usize = 4096;

/// Our unanswered pings per session; further ones are not sent.
pub const PINGS_MAX: usize = 2;

/// Data of a ping: above every MTU, and below what a target's socket takes without being read.
pub const PING_DATA_MAX: usize = 16 << 10;

/// Answers to a target's pings that wait for the socket; the session is dropped above.
pub const PING_ANSWERS_MAX: usize = 64;

/// ABORT TASK requests on the wire per session; further ones wait for an answer.
pub const ABORTS_MAX: usize = 4;

/// Rejected commands whose numbers wait to be filled; the session is dropped above.
pub const PLUGS_MAX: usize = 16;

/// Different asynchronous messages that wait to be looked at; the session is dropped above.
pub const ASYNC_EVENTS_MAX: usize = 32;

/// Text responses of one exchange in the full feature phase; the session is dropped above.
pub const TEXT_EXCHANGES_MAX: u32 = 1024;

/// A piece of a data segment that is handed on before the segment is complete; smaller ones wait in the
/// input buffer.
pub const DATA_PIECE_MIN: usize = 4 << 10;

/// Bytes of one transfer command; larger requests are split.
pub const TRANSFER_MAX: u32 = 4 << 20;

/// Attempts of one command that ended with a retryable verdict; EIO after.
pub const RETRYABLE_MAX: u32 = 8;

/// Unit attentions that one command meets; EIO after.
pub const UNIT_ATTENTIONS_MAX: u32 = 32;

/// A command that every path answers with "not now" (BUSY, not ready, an access state in transition) is
/// tried again so long from the first such answer; EIO after. T10's recommended limit for an implicit
/// transition is 60 s.
pub const RETRY_WINDOW: Duration = Duration::from_secs(60);

const _: () = assert!(VOLUMES_MAX * PATHS_MAX * 1024 <= CONTROL_LINE_MAX);
const _: () = assert!(PING_DATA_MAX <= CONTROL_SEGMENT_MAX as usize);
const _: () = assert!(CONTROL_REQUEST_MAX <= CONTROL_LINE_MAX);
const _: () = assert!(NBD_PAYLOAD_MAX as u64 <= NBD_BYTES_MAX);
const _: () = assert!(NBD_BYTES_MAX <= VOLUME_BYTES_MAX);
const _: () = assert!(NBD_PAYLOAD_MAX <= NBD_SKIP_MAX);
