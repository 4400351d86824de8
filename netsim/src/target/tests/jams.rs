use iiblockdaemon::iscsi::tags::Itt;

use super::super::*;
use super::initiator::{BLOCK, Initiator, target};

const SECOND: Duration = Duration::from_secs(1);

/// What was answered by now.
fn answered(initiator: &mut Initiator, target: &mut Target) -> Vec<Itt> {
    std::iter::from_fn(|| initiator.response(target))
        .map(|response| response.itt)
        .collect()
}

#[test]
fn a_barrier_that_waited_for_a_stuck_write_still_waits_for_what_an_older_session_left() {
    let now = crate::clock::now();
    let mut target = target(|_| {});
    let slow = PortalBehaviour {
        service_time: 10 * SECOND,
        ..PortalBehaviour::default()
    };
    target.set_portal(0, slow);
    target.set_behaviour(Behaviour {
        reinstatement: Reinstatement::Asynchronous,
        orphans: Orphans::ExecuteAfter(10 * SECOND),
        ..Behaviour::default()
    });
    let mut old = Initiator::log_in(now, &mut target, 0, 1, &[]);
    old.write(now, &mut target, 0, &[7; BLOCK]);
    let mut new = Initiator::log_in(now, &mut target, 1, 1, &[]);
    assert_eq!(target.is_over(old.id), Some(true));
    target.jam(1, 1);
    new.write(now, &mut target, 1, &[8; BLOCK]);
    let barrier = new.barrier(now, &mut target);
    target.handle_timeout(now + SECOND);
    assert_eq!(answered(&mut new, &mut target), [], "the write is stuck");
    target.end_jams(now + 2 * SECOND);
    target.handle_timeout(now + 9 * SECOND);
    assert!(!answered(&mut new, &mut target).contains(&barrier));
    assert_eq!(target.unit(0).unwrap().peek(0, 1).unwrap()[0], 0);
    target.handle_timeout(now + 11 * SECOND);
    assert!(answered(&mut new, &mut target).contains(&barrier));
    assert_eq!(target.unit(0).unwrap().peek(0, 1).unwrap()[0], 7);
}
