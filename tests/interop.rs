//! Interoperation with foreign software over real sockets: tgt as the target, libiscsi and qemu as other
//! initiators, libnbd, qemu and fio as NBD clients, `netsim proxy` for faults.
//!
//! These tests need root, the packages that `tests/run` installs, and the programs of this workspace
//! (`cargo build --workspace --bins`). They are the only ones that wait on the wall clock.

#![expect(
    clippy::print_stdout,
    reason = "figures and the logs of a failure go to the test's output"
)]

mod support;

#[path = "interop/administration.rs"]
mod administration;
#[path = "interop/data.rs"]
mod data;
#[path = "interop/demo.rs"]
mod demo;
#[path = "interop/failover.rs"]
mod failover;
#[path = "interop/harness.rs"]
mod harness;
#[path = "interop/lifecycle.rs"]
mod lifecycle;
#[path = "interop/mistakes.rs"]
mod mistakes;
#[path = "interop/reload.rs"]
mod reload;
#[path = "interop/reservation.rs"]
mod reservation;
