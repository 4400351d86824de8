//! Every interleaving of small worlds, and the proof that broken rules are found in them.

#![expect(clippy::print_stdout, reason = "figures, for --nocapture")]

use iiblockdaemon::sabotage::{self, Sabotage};
use netsim::clock;
use netsim::exhaustive::{Blocks, Explored, SmallWorld, Violation, explore};

/// A world for every choice of blocks.
fn worlds(writes: usize, losses: u8) -> Vec<SmallWorld> {
    let layouts = SmallWorld::layouts(writes).into_iter();
    let worlds = layouts.map(|writes| SmallWorld {
        writes,
        losses,
        shared: false,
        unclean: false,
    });
    worlds.collect()
}

fn shared(mut worlds: Vec<SmallWorld>) -> Vec<SmallWorld> {
    worlds.iter_mut().for_each(|world| world.shared = true);
    worlds
}

/// All of them, up to the first violation.
fn explore_all(worlds: &[SmallWorld]) -> Explored {
    let mut all = Explored::default();
    for world in worlds {
        let explored = explore(world, clock::now());
        all.states += explored.states;
        all.transitions += explored.transitions;
        all.ends += explored.ends;
        all.volume_states += explored.volume_states;
        all.violation = explored.violation;
        if all.violation.is_some() {
            break;
        }
    }
    all
}

fn must_hold(what: &str, worlds: &[SmallWorld]) {
    let began = clock::now();
    let all = explore_all(worlds);
    println!(
        "{what}: {} worlds, {} states of the volume, {} of the world, {} steps, {} ends, {:.1} s",
        worlds.len(),
        all.volume_states,
        all.states,
        all.transitions,
        all.ends,
        (clock::now() - began).as_secs_f64()
    );
    if let Some(violation) = all.violation {
        panic!("{what}:\n{violation}");
    }
    assert!(all.ends > 0, "some world came to its end");
}

/// Where both blocks are written at once by the first write, and elsewhere: two tests, two threads.
fn three_writes_two_losses() -> (Vec<SmallWorld>, Vec<SmallWorld>) {
    let worlds = worlds(3, 2).into_iter();
    worlds.partition(|world| world.writes.first() == Some(&Blocks::Both))
}

#[test]
fn three_writes_and_two_losses_bring_no_block_back() {
    must_hold("three writes, two losses", &three_writes_two_losses().1);
}

#[test]
fn three_writes_and_two_losses_bring_no_block_back_if_the_first_is_to_both() {
    let worlds = three_writes_two_losses().0;
    must_hold(
        "three writes, the first to both blocks, two losses",
        &worlds,
    );
}

#[test]
fn what_an_earlier_run_left_at_the_target_brings_no_block_back() {
    let mut worlds = worlds(3, 1);
    worlds.iter_mut().for_each(|world| world.unclean = true);
    must_hold("three writes, one loss, after an unclean exit", &worlds);
}

#[test]
fn a_shared_volume_acknowledges_nothing_that_can_be_executed_again() {
    must_hold("shared: three writes, one loss", &shared(worlds(3, 1)));
    must_hold("shared: two writes, two losses", &shared(worlds(2, 2)));
}

/// What the search finds with that defect.
fn found(defect: Sabotage, worlds: &[SmallWorld]) -> Violation {
    sabotage::set(Some(defect));
    let explored = explore_all(worlds);
    sabotage::set(None);
    let violation = explored.violation;
    violation.unwrap_or_else(|| panic!("{defect:?} is not found"))
}

#[test]
fn without_the_ghost_rule_a_late_write_brings_a_block_back() {
    let violation = found(Sabotage::GhostRuleOff, &worlds(2, 1));
    println!("ghost rule off:\n{violation}");
    assert_eq!(violation.what, "block 0 went back from write 2 to write 1");
    assert!(
        violation
            .steps
            .last()
            .unwrap()
            .ends_with("is executed late")
    );
}

#[test]
fn a_write_that_was_sent_and_is_called_unsent_is_found() {
    let violation = found(Sabotage::SentCalledUnsent, &worlds(2, 1));
    assert!(violation.what.contains("went back"), "{violation}");
}

#[test]
fn a_lost_write_that_is_acknowledged_is_found() {
    let violation = found(Sabotage::LostWriteAcknowledged, &worlds(1, 1));
    assert!(violation.what.contains("never got it"), "{violation}");
}

#[test]
fn a_shared_volume_without_a_ledger_is_found() {
    let violation = found(Sabotage::SentCalledUnsent, &shared(worlds(1, 1)));
    assert!(
        violation.what.contains("before its ghost is laid"),
        "{violation}"
    );
}
