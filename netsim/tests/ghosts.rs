//! The ghost write, made by hand: a write is asked for on a path that is cut, is tried again on another, is
//! replaced by a newer one, and then the target executes what it had kept of the lost session.

use std::time::Duration;

use iiblockdaemon::sabotage::{self, Sabotage};
use netsim::link::End;
use netsim::target::{Orphans, Reinstatement};
use netsim::world::{self, Detail, Fault, Knobs, Outcome, Planned, Rule};

const SECOND: Duration = Duration::from_secs(1);

/// Path 0 dies every few seconds with commands in the target's queue, and they execute `late`.
fn haunted(seed: u64, late: Duration) -> Knobs {
    let mut knobs = Knobs::calm(seed);
    knobs.blocks = 16;
    knobs.load.blocks_max = 4;
    knobs.load.reads = 30;
    knobs.load.depth = 8;
    knobs.load.zeroes = false;
    knobs.service_time = SECOND / 10;
    knobs.orphans = Orphans::ExecuteAfter(late);
    knobs.trouble = 30 * SECOND;
    let end = End::Reset;
    // A session is not in use before some twenty commands of a tenth of a second each.
    let cuts = (1..9).map(|n| Planned {
        at: 3 * n * SECOND,
        fault: Fault::Cut { path: 0, end },
    });
    knobs.faults = cuts.collect();
    knobs
}

fn passes(knobs: &Knobs) -> Outcome {
    let outcome = world::run(knobs, Detail::Nothing);
    if let Some(violation) = &outcome.violation {
        panic!("{knobs}{violation}");
    }
    let proof = outcome.summary;
    assert!(
        proof.executed_late > 0,
        "the target executed orphans late: {proof:?}"
    );
    outcome
}

/// Among a few seeds, one loses a write.
fn loses_a_write(defect: Sabotage, knobs: impl Fn(u64) -> Knobs) -> bool {
    sabotage::set(Some(defect));
    let rules = (0..20).filter_map(|seed| world::run(&knobs(seed), Detail::Nothing).violation);
    let lost = rules
        .map(|violation| violation.rule)
        .any(|rule| rule == Rule::Content);
    sabotage::set(None);
    lost
}

#[test]
fn a_reinstatement_that_waits_for_the_old_commands_protects() {
    let knobs = |seed| haunted(seed, SECOND);
    for seed in 0..4 {
        assert!(passes(&knobs(seed)).summary.fenced > 0);
    }
    assert!(loses_a_write(Sabotage::GhostRuleOff, knobs));
}

#[test]
fn where_reinstatement_does_not_wait_the_ordered_barrier_protects() {
    let knobs = |seed| Knobs {
        reinstatement: Reinstatement::Asynchronous,
        ..haunted(seed, SECOND)
    };
    for seed in 0..4 {
        assert!(passes(&knobs(seed)).summary.fenced > 0);
    }
    assert!(loses_a_write(Sabotage::GhostRuleOff, knobs));
    assert!(loses_a_write(Sabotage::FenceAtLogin, knobs));
}

#[test]
fn where_reinstatement_is_not_honoured_the_quiesce_time_protects() {
    let knobs = |seed| {
        let mut knobs = haunted(seed, 2 * SECOND);
        knobs.reinstatement = Reinstatement::Ignored;
        knobs.reinstate = false;
        knobs.groups = vec![1, 2];
        knobs.quiesce = Some(knobs.last_ghost());
        knobs
    };
    for seed in 0..4 {
        assert!(passes(&knobs(seed)).summary.quiesced > 0);
    }
    assert!(loses_a_write(Sabotage::QuiesceTooShort, knobs));
}

/// Two portal groups, and the portal is away until long after: no fence, only the quiesce time.
#[test]
fn while_the_only_portal_that_could_fence_is_away_the_quiesce_time_protects() {
    let knobs = |seed| {
        let mut knobs = haunted(seed, 4 * SECOND);
        knobs.groups = vec![1, 2];
        knobs.faults.truncate(1);
        knobs.faults.push(Planned {
            at: 2 * SECOND,
            fault: Fault::Refuse { path: 0, on: true },
        });
        knobs.quiesce = Some(8 * SECOND);
        knobs
    };
    for seed in 0..4 {
        let summary = passes(&knobs(seed)).summary;
        assert!(summary.quiesced > 0 && summary.fenced == 0, "{summary:?}");
    }
    assert!(loses_a_write(Sabotage::QuiesceTooShort, knobs));
}

/// The smallest command window there is: a path's own commands and the volume's take turns. The only command
/// in flight at a cut may be one that leaves nothing behind: of some seeds one has to show that it does.
#[test]
fn a_path_comes_back_though_its_window_has_one_place() {
    let mut executed = 0;
    for seed in 0..4 {
        let mut knobs = haunted(seed, SECOND);
        knobs.queue_depth = 1;
        knobs.shared = true;
        let outcome = world::run(&knobs, Detail::Nothing);
        assert!(
            outcome.violation.is_none(),
            "{knobs}{:?}",
            outcome.violation
        );
        executed += outcome.summary.executed_late;
    }
    assert!(executed > 0, "the target executed orphans late");
}

/// Two portal groups: a sibling's portal ends nothing, only the path's own does, however it reinstates.
#[test]
fn with_two_portal_groups_the_paths_own_portal_fences() {
    for reinstatement in [Reinstatement::Synchronous, Reinstatement::Asynchronous] {
        let knobs = |seed| Knobs {
            groups: vec![1, 2],
            reinstatement,
            ..haunted(seed, SECOND)
        };
        for seed in 0..4 {
            let summary = passes(&knobs(seed)).summary;
            assert!(summary.fenced > 0 && summary.quiesced == 0, "{summary:?}");
        }
        assert!(loses_a_write(Sabotage::GhostRuleOff, knobs));
    }
}
