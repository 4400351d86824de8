//! Allocations of the engine per request, in steady state: the goal is none.
//!
//! `cargo bench --bench allocations`. The count is that of one thread that does nothing else, so it is exact
//! and the same on every machine; what the wire, the client and the target allocate is not counted. Buffers
//! that the shell reads into are not the engine's. Fails if requests cost allocations. Where they are made
//! shows, of one workload:
//! `valgrind --tool=dhat target/release/deps/allocations-* 'read 4 KiB depth 32'`.

#![expect(clippy::print_stdout, reason = "a program that speaks to its user")]

use std::alloc::System;
use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

mod lab;

use lab::{Lab, Workload};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const REQUESTS: u64 = 20_000;
/// Tables that still grow now and then do so ever more rarely; this is one in a hundred requests.
const MOST: f64 = 0.01;

fn allocations() -> u64 {
    let stats = ALLOCATOR.stats();
    (stats.allocations + stats.reallocations) as u64
}

fn main() -> ExitCode {
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let mut all_met = true;
    println!("allocations of the engine per request, two paths");
    for (name, write, bytes, depth) in [
        ("read 4 KiB depth 1", false, 4 << 10, 1),
        ("read 4 KiB depth 32", false, 4 << 10, 32),
        ("write 4 KiB depth 32", true, 4 << 10, 32),
        ("read 64 KiB depth 16", false, 64 << 10, 16),
        ("write 64 KiB depth 16", true, 64 << 10, 16),
        ("read 1 MiB depth 8", false, 1 << 20, 8),
        ("write 1 MiB depth 8", true, 1 << 20, 8),
    ] {
        let unwanted = |wanted: &String| !name.contains(wanted.as_str());
        if wanted.as_ref().is_some_and(unwanted) {
            continue;
        }
        for digests in [false, true] {
            let workload = Workload {
                write,
                bytes,
                depth,
            };
            let requests = (REQUESTS << 12) / u64::from(bytes).max(4 << 10);
            let mut lab = Lab::new(2, digests, allocations);
            lab.run(workload, requests);
            let each = lab.run(workload, requests) as f64 / requests as f64;
            let met = each <= MOST;
            all_met &= met;
            let (with, verdict) = (
                if digests { ", digests" } else { "" },
                if met { "met" } else { "missed" },
            );
            println!("{:<32} {each:8.3}  {verdict}", format!("{name}{with}"));
        }
    }
    if all_met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
