//! The one place of netsim that reads a clock.

use std::time::Instant;

/// The runtime's clock: real time, or the paused time of a test.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one clock; everything else gets time as an argument"
)]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Sleeps until `at`, or for ever if there is nothing to wait for.
pub async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
