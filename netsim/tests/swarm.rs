//! Seeds of the simulator: fixed ones, fresh ones, and the proof that broken rules are found.

use std::time::Duration;

use iiblockdaemon::sabotage::{self, Sabotage};
use netsim::clock;
use netsim::world::{self, Detail, Knobs, Rule, Violation};

/// Fixed seeds of every run.
const FIXED: u64 = 48;

/// Fresh seeds are played for so long.
const FRESH: Duration = Duration::from_secs(6);

/// A defect is found within so many seeds.
const SEARCH: u64 = 600;

fn must_pass(seed: u64) {
    let knobs = Knobs::draw(seed);
    let Some(violation) = world::run(&knobs, Detail::Nothing).violation else {
        return;
    };
    let again = world::run(&knobs, Detail::Events);
    let tail = again.timeline.len().saturating_sub(200);
    let lines: String = again.timeline[tail..]
        .iter()
        .map(|entry| format!("{entry}\n"))
        .collect();
    panic!("{knobs}...\n{lines}{violation}\nsee all of it: netsim replay {seed}");
}

#[test]
fn fixed_seeds_pass() {
    (0..FIXED).for_each(must_pass);
}

#[test]
fn fresh_seeds_pass() {
    let fresh = u64::from(std::process::id()) << 20;
    let mut seed = fresh;
    let until = clock::now() + FRESH;
    while clock::now() < until {
        must_pass(seed);
        seed += 1;
    }
    assert!(seed > fresh, "some seeds were played");
}

/// Seeds that once found a defect, and which. A seed means another scenario once the knobs are drawn
/// differently: what it found is held down by a test of its own as well, where that was possible.
const REGRESSIONS: &[(u64, &str)] = &[
    (
        10,
        "a probation met a full command window and gave its session up, for ever",
    ),
    (42, "a shared volume waited for a fence that had been"),
    (107, "a path that was transferring a lot was called silent"),
    (
        204,
        "two logins waited for the same predecessor, and both got a session",
    ),
    (
        303,
        "a login to a machine that had taken over the address passed for a fence: a lost write",
    ),
    (
        358,
        "a login after a redirect passed for a fence of a session elsewhere: a lost write",
    ),
    (
        430,
        "a flush told a client of a lost write that was not there any more",
    ),
    (
        735,
        "of two flushes under way after a power loss only one failed",
    ),
    (
        1301,
        "a proof outlived its session and put the next one into use before it was identified",
    ),
    (
        4173,
        "a barrier that an access state refused was not tried again: a ghost for ever",
    ),
    (4278, "the same after an unclean start"),
    (
        15312,
        "the same, when a unit attention interrupted the probation",
    ),
    (
        12458,
        "what one path could not do was taken from clients that had been told of it",
    ),
    (
        35898,
        "a write that waited for a fence, lost with the unit's power meanwhile, was acknowledged and flushed",
    ),
    (
        47375,
        "a unit that would not tell whether it caches was taken for one that does, for ever: a flush failed",
    ),
    (
        14548,
        "a cut during a proof passed for the proof: a false fence, a lost write",
    ),
    (
        16470,
        "a proof through a dead sibling kept the only good path out of use",
    ),
    (
        903,
        "a path in use never tried the barrier again that a portal in standby had refused",
    ),
    (
        8184,
        "a second power loss passed for the first, of which a session had told that was dead: no flush failed",
    ),
    (
        21940,
        "a unit that was in transition when it was asked whether it caches was taken for one that does",
    ),
    (
        43_193,
        "a flapping link closed a session at two logins through a sibling, which passed for a fence: a lost write",
    ),
    (
        55_619,
        "the judge took what a read under way during a crash had told of before it for told after it",
    ),
    (
        4597,
        "a port in transition would not tell registered keys: what a killed process had left was forgotten",
    ),
    (
        23_330,
        "a registration that was called aborted, and carried out after its key was removed, stayed for good",
    ),
    (
        24_888,
        "a path that was removed while it identified its unit left a doubt of a power loss: a flush failed",
    ),
];

#[test]
fn seeds_that_found_defects_pass() {
    for (seed, _) in REGRESSIONS {
        must_pass(*seed);
    }
}

/// The first of `seeds` that finds the defect, and how.
fn found(defect: Sabotage, seeds: impl IntoIterator<Item = u64>) -> Option<(u64, Violation)> {
    sabotage::set(Some(defect));
    let found = seeds.into_iter().find_map(|seed| {
        let outcome = world::run(&Knobs::draw(seed), Detail::Nothing);
        Some((seed, outcome.violation?))
    });
    sabotage::set(None);
    found
}

/// Each defect is found within a bounded number of seeds, by the rule that it breaks; without it the seed is
/// a good one. The first seed of each search is one that found it: should the knobs be drawn differently one
/// day, the search goes on from there, and this tells where it ended.
#[test]
fn every_defect_is_found() {
    let known = [
        (Sabotage::GhostRuleOff, 103),
        (Sabotage::FenceAtLogin, 337),
        (Sabotage::SentCalledUnsent, 127),
        (Sabotage::LostWriteAcknowledged, 16),
        (Sabotage::QuiesceTooShort, 242),
        (Sabotage::StaleFence, 127),
        (Sabotage::FlushNotWaiting, 43),
        (Sabotage::IdentityUnchecked, 2),
        (Sabotage::ForeignFence, 76),
        (Sabotage::HedgedWrites, 77),
        (Sabotage::SamenessUnchecked, 0),
        (Sabotage::ResetAloneIsAFence, 0),
        (Sabotage::AbortIsAFence, 0),
    ];
    assert_eq!(known.map(|(defect, _)| defect), Sabotage::ALL);
    for (defect, first) in known {
        let Some((seed, violation)) = found(defect, first..first + SEARCH) else {
            panic!(
                "no seed from {first} to {} finds {defect:?}",
                first + SEARCH
            );
        };
        println!("{defect:?}: found by seed {seed}, from {first} on: {violation}");
        let rule = match defect {
            Sabotage::IdentityUnchecked | Sabotage::SamenessUnchecked => Rule::WrongUnit,
            Sabotage::GhostRuleOff
            | Sabotage::FenceAtLogin
            | Sabotage::SentCalledUnsent
            | Sabotage::LostWriteAcknowledged
            | Sabotage::QuiesceTooShort
            | Sabotage::ForeignFence
            | Sabotage::StaleFence
            | Sabotage::FlushNotWaiting
            | Sabotage::HedgedWrites
            | Sabotage::ResetAloneIsAFence
            | Sabotage::AbortIsAFence => Rule::Content,
        };
        assert_eq!(violation.rule, rule, "{defect:?}: {violation}");
        must_pass(seed);
    }
}
