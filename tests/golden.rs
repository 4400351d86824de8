//! Golden vectors: what foreign stacks said on the wire (`tests/golden/capture.py`), read and said again.
//!
//! The simulated target shares our codec, so a symmetric error is invisible to it; these bytes are not ours.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for one of many"
)]

#[path = "golden/codec.rs"]
mod codec;
#[path = "golden/meaning.rs"]
mod meaning;
#[path = "golden/replay.rs"]
mod replay;
#[path = "golden/vectors.rs"]
mod vectors;
