//! The one place that reads the clock.

use std::time::Instant;

/// Now, on the runtime's clock, which a test may pause. To be read once per turn.
#[must_use]
pub fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    let now = tokio::time::Instant::now();
    now.into_std()
}
