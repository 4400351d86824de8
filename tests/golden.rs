//! Golden vectors: what foreign stacks said on the wire (`tests/golden/capture.py`), read and said again.
//!
//! The simulated target shares our codec, so a symmetric error is invisible to it; these bytes are not ours.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "golden/codec.rs"]
mod codec;
#[path = "golden/meaning.rs"]
mod meaning;
#[path = "golden/vectors.rs"]
mod vectors;
