//! What was measured, for people.

use std::io::Write as _;
use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::program;

/// A busy machine makes everybody late: so often a figure may be too large.
const ATTEMPTS: u32 = 3;

/// How many times its bound a stall may last: 1, unless the machine has other things to do (`NETNS_SLACK`).
fn slack() -> u32 {
    let slack = std::env::var("NETNS_SLACK").ok();
    slack.map_or(1, |slack| slack.parse().expect("NETNS_SLACK is a number"))
}

/// Measures until a stall is within its bound, and notes each in `failover-stalls.txt`.
///
/// # Panics
/// If no attempt was within the bound.
pub(crate) fn within(what: &str, bound: Duration, mut measure: impl FnMut() -> Duration) {
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let stall = measure();
        note(what, bound, stall);
        if stall <= bound * slack() {
            return;
        }
        seen.push(stall);
    }
    panic!("{what}: {seen:?}, at most {bound:?} was expected");
}

/// What the daemon said, where it took longer than it should.
pub(crate) fn explain(stall: Duration, bound: Duration, daemon: &Daemon) {
    if stall > bound {
        println!("{stall:?} is too long; the daemon said:\n{}", daemon.log());
    }
}

/// Keeps a figure beyond the test's own output.
pub(crate) fn note(what: &str, bound: Duration, seen: Duration) {
    let line = format!(
        "{what:<58} {:>6} ms   (at most {} ms)\n",
        seen.as_millis(),
        bound.as_millis()
    );
    print!("{line}");
    let file = program("iiblockdaemon").with_file_name("failover-stalls.txt");
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(file);
    if let Ok(mut file) = file {
        let _ = file.write_all(line.as_bytes());
    }
}
