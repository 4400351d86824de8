//! How long clients wait when a path fails, measured: the daemon and tgt in network namespaces of their own,
//! joined by two pairs of virtual NICs, with faults that a proxy cannot make: packets that are really lost, a
//! carrier, an address, a whole NIC that is gone; and, for comparison, those that it can.
//!
//! These tests need root and what `tests/interop.rs` needs. They wait on the wall clock, and measure: run
//! them with `--test-threads=1`, on a machine that has nothing else to do. The table of what they saw is
//! `failover-stalls.txt` beside the programs.

#![expect(
    clippy::print_stdout,
    reason = "figures and the logs of a failure go to the test's output"
)]

#[allow(dead_code, reason = "tests/interop.rs uses the rest")]
mod support;

#[path = "netns/frozen.rs"]
mod frozen;
#[path = "netns/lab.rs"]
mod lab;
#[path = "netns/namespace.rs"]
mod namespace;
#[path = "netns/network.rs"]
mod network;
#[path = "netns/probe.rs"]
mod probe;
#[path = "netns/proxied.rs"]
mod proxied;
#[path = "netns/table.rs"]
mod table;
