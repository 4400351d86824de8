//! What the interop tests stand on: foreign programs as values that clean up after themselves.
//!
//! Everything a test starts gets a folder and loopback addresses of its own, is known by its process id, and
//! is killed when its value is dropped; a failing test prints the end of every log.

pub(crate) mod config;
pub(crate) mod daemon;
pub(crate) mod lab;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod tgt;
pub(crate) mod tools;

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Every portal of these tests listens here, each on an address of its own: below the ephemeral ports, so
/// that no outgoing connection takes it, and not 3260, so that a tgt that runs as a service is left alone.
const PORT: u16 = 13260;

/// An unused loopback address: 127.A.B.C, with A from the process, B and C from a counter.
pub(crate) fn fresh_address() -> SocketAddrV4 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = u8::try_from(std::process::id() % 200).expect("less than 200") + 50;
    loop {
        let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let address = SocketAddrV4::new(Ipv4Addr::new(127, process, high, low), PORT);
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// The wall clock, which only interop tests may read.
#[expect(
    clippy::disallowed_methods,
    reason = "foreign programs run on the wall clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits on the wall clock.
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Asks every 20 ms until there is an answer.
///
/// # Panics
/// After `limit`, naming `what` did not happen.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        pause(Duration::from_millis(20));
    }
}

/// A program of this workspace, as the build left it beside the tests.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let folder = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("target/PROFILE");
    let program = folder.join(name);
    assert!(
        program.exists(),
        "{} is not there: cargo build --workspace --bins",
        program.display()
    );
    program
}
