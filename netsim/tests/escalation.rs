//! Commands that hang, resets that free a fence, and reads that lost against their second attempt.

use std::time::Duration;

use netsim::link::End;
use netsim::target::{Aborts, Pace, Reinstatement, Resets};
use netsim::world::{self, Detail, Fault, Knobs, Outcome, Planned};
use policies::{PolicyKind, PolicySpec};

const SECOND: Duration = Duration::from_secs(1);

fn passes(knobs: &Knobs) -> Outcome {
    let outcome = world::run(knobs, Detail::Nothing);
    if let Some(violation) = &outcome.violation {
        panic!("{knobs}{violation}");
    }
    outcome
}

fn at(at: Duration, fault: Fault) -> Planned {
    Planned { at, fault }
}

/// Writes of path 0 are stuck in the backing store when its session ends.
fn stuck(seed: u64) -> Knobs {
    let mut knobs = Knobs::calm(seed);
    knobs.blocks = 32;
    knobs.load.blocks_max = 4;
    knobs.load.reads = 20;
    knobs.load.zeroes = false;
    knobs.trouble = 25 * SECOND;
    let (path, times, end) = (0, 2, End::Reset);
    knobs.faults = vec![
        at(3 * SECOND, Fault::Jam { path, times }),
        at(3 * SECOND + SECOND / 5, Fault::Cut { path, end }),
    ];
    knobs
}

/// Whether the login waits for what is stuck (LIO), or the barrier after it (tgt), the unit's reset frees
/// them; if it is answered before the backing store is done, the barrier waits for the rest.
#[test]
fn a_reset_frees_a_fence_that_is_held_up() {
    for reinstatement in [Reinstatement::Synchronous, Reinstatement::Asynchronous] {
        for resets in [Resets::Wait, Resets::Early(2 * SECOND)] {
            for seed in 0..4 {
                let knobs = |lun_reset| Knobs {
                    reinstatement,
                    resets,
                    lun_reset,
                    ..stuck(seed)
                };
                let freed = passes(&knobs(true)).summary;
                let held = passes(&knobs(false)).summary;
                assert!(freed.resets == 1 && freed.fenced > 0, "{freed:?}");
                assert!(freed.slowest < 7 * SECOND, "{freed:?}");
                assert!(held.resets == 0 && held.slowest > 15 * SECOND, "{held:?}");
            }
        }
    }
}

/// Sessions of the two paths are with different machines: a reset over the one is not asked for to free the
/// other's fence.
#[test]
fn a_machine_that_does_not_share_the_sessions_is_not_asked_for_a_reset() {
    for seed in 0..4 {
        let mut knobs = stuck(seed);
        knobs.groups = vec![1, 2];
        knobs.lun_reset = true;
        // The lost path's own portal is away.
        knobs.faults.push(at(
            3 * SECOND + SECOND / 5,
            Fault::Refuse { path: 0, on: true },
        ));
        assert_eq!(passes(&knobs).summary.resets, 0);
    }
}

/// The unit's commands of all paths end, with and without an answer, and no client sees an error.
#[test]
fn a_reset_of_our_own_costs_no_client_an_error() {
    for resets in [Resets::Wait, Resets::Early(SECOND)] {
        for seed in 0..6 {
            let mut knobs = Knobs::calm(seed);
            knobs.blocks = 64;
            knobs.service_time = SECOND / 50;
            knobs.load.depth = 16;
            knobs.load.blocks_max = 4;
            knobs.detect.command = 2 * SECOND;
            knobs.lun_reset = true;
            knobs.resets = resets;
            knobs.trouble = 20 * SECOND;
            let (path, times) = (0, 1);
            knobs.faults = vec![at(3 * SECOND, Fault::Jam { path, times })];
            let summary = passes(&knobs).summary;
            assert_eq!(summary.resets, 1, "{summary:?}");
            assert!(
                summary.retries > 1 && summary.slowest < 10 * SECOND,
                "{summary:?}"
            );
        }
    }
}

/// Of the second attempts' losers those that are aborted bring no data.
#[test]
fn large_reads_that_lost_against_their_second_attempt_are_not_sent_for_nothing() {
    let (mut with, mut without) = (0, 0);
    for seed in 0..4 {
        let wasted = |aborts| {
            let mut knobs = Knobs::calm(seed);
            knobs.aborts = aborts;
            knobs.policy = PolicySpec::preset(PolicyKind::RoundRobin);
            knobs.policy.eject = false;
            knobs.blocks = 8192;
            knobs.line.capacity = 1 << 20;
            knobs.load.blocks_max = 512;
            knobs.load.reads = 95;
            knobs.load.zeroes = false;
            knobs.trouble = 20 * SECOND;
            let pace = Pace {
                stragglers: Some((40, SECOND / 2)),
                ..Pace::default()
            };
            knobs.faults = vec![at(5 * SECOND, Fault::Pace { path: 0, pace })];
            passes(&knobs).summary
        };
        let refused = wasted(Aborts::Refused);
        let aborted = wasted(Aborts::End);
        assert!(
            aborted.aborts > 10 && refused.aborts < 10,
            "{aborted:?} {refused:?}"
        );
        with += aborted.wasted_bytes;
        without += refused.wasted_bytes;
    }
    println!("bytes that arrived for nothing: {with} with ABORT TASK, {without} without");
    assert!(without > 4 << 20 && with * 4 < without, "{with} {without}");
}
