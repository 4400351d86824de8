//! Fences through the path's own portal and through a sibling's, and the proof that the latter would work.

use super::*;
use crate::path::health::Peers;

/// Goes into use, sends a write and loses the session; then the target is away.
fn haunted() -> Bench {
    let mut bench = Bench::new();
    bench.up();
    bench.disk = Box::new(|_, _| None);
    let task = bench.write();
    bench.serve_once(Link::Main);
    bench.messages.clear();
    bench.close(Link::Main);
    assert_eq!(bench.lost(), [vec![(task, Disposition::Indeterminate)]]);
    bench.messages.clear();
    bench.disk = Box::new(|cdb, _| Some(disk(cdb)));
    bench
}

fn wanted(via: Option<PathId>) -> Surroundings {
    Surroundings {
        wants_fence: true,
        fence_route: via,
        ..Surroundings::default()
    }
}

fn proof_wanted(usable: bool) -> Surroundings {
    Surroundings {
        proof_route: Some(PathId(1)),
        peers: Peers {
            usable,
            ..Peers::default()
        },
        ..Surroundings::default()
    }
}

#[test]
fn a_new_login_fences_the_sessions_before_it() {
    let mut bench = haunted();
    bench.path.set_surroundings(wanted(None));
    bench.pass(ms(10));
    bench.up();
    assert_eq!(bench.fences(), [1]);
}

#[test]
fn a_login_to_a_unit_that_is_not_the_volumes_is_no_fence() {
    let mut bench = haunted();
    bench.path.set_surroundings(wanted(None));
    bench.pass(ms(10));
    bench.connect(Link::Main);
    bench.serve(Link::Main);
    assert!(bench.fences().is_empty(), "the volume has not judged yet");
    let why = "another machine took over the address".into();
    bench.path.order(
        bench.now,
        Order::Refuse {
            why,
            stranger: true,
        },
    );
    assert!(bench.fences().is_empty());
}

#[test]
fn an_ordered_command_that_did_not_take_its_turn_is_no_fence() {
    // Not ready (LIO in standby answers before it queues), no such unit, aborted, reserved.
    for answer in [
        Answer::check(2, 0x04, 0x0b),
        Answer::check(5, 0x25, 0),
        Answer::check(0x0b, 0, 0),
        Answer::status(0x18),
        Answer::status(0x40),
    ] {
        let mut bench = haunted();
        let tur = answer.clone();
        bench.disk =
            Box::new(move |cdb, _| Some(if cdb[0] == 0 { tur.clone() } else { disk(cdb) }));
        bench.path.set_surroundings(wanted(None));
        bench.pass(ms(10));
        bench.connect(Link::Main);
        bench.serve(Link::Main);
        assert!(bench.fences().is_empty(), "own portal: {answer:?}");

        let mut bench = haunted();
        let tur = answer.clone();
        bench.disk =
            Box::new(move |cdb, _| Some(if cdb[0] == 0 { tur.clone() } else { disk(cdb) }));
        bench.path.fence_early(bench.now, wanted(Some(PathId(1))));
        bench.turn();
        bench.connect(Link::Fencer);
        bench.serve(Link::Fencer);
        assert!(bench.fences().is_empty(), "sibling's portal: {answer:?}");
    }
}

#[test]
fn unit_attentions_of_the_login_do_not_stand_in_the_way_of_a_fence() {
    let mut bench = haunted();
    let mut attentions = 3;
    bench.disk = Box::new(move |cdb, _| {
        if cdb[0] == 0 && attentions > 0 {
            attentions -= 1;
            return Some(Answer::check(6, 0x29, 0));
        }
        Some(disk(cdb))
    });
    bench.path.fence_early(bench.now, wanted(Some(PathId(1))));
    bench.turn();
    bench.connect(Link::Fencer);
    bench.serve(Link::Fencer);
    assert_eq!(bench.fences(), [1]);
}

#[test]
fn a_barrier_that_a_reset_of_the_unit_ended_is_sent_again() {
    let mut bench = haunted();
    let mut unheard = 1;
    bench.disk = Box::new(move |cdb, _| {
        if cdb[0] == 0 && unheard > 0 {
            unheard -= 1;
            return None;
        }
        Some(disk(cdb))
    });
    bench.path.fence_early(bench.now, wanted(Some(PathId(1))));
    bench.turn();
    bench.connect(Link::Fencer);
    bench.serve(Link::Fencer);
    assert!(bench.fences().is_empty(), "its barrier is not answered");
    bench.path.on_unit_was_reset(bench.now);
    bench.turn();
    bench.serve(Link::Fencer);
    assert_eq!(bench.fences(), [1]);
}

#[test]
fn a_login_to_another_portal_group_reinstates_nothing_and_is_no_fence() {
    let mut bench = haunted();
    bench.group = "2";
    bench.path.set_surroundings(wanted(None));
    bench.pass(ms(10));
    bench.up();
    assert_eq!(bench.state(), PathState::Probation);
    assert!(
        bench.fences().iter().all(|&upto| upto < 1),
        "the session was in group 1"
    );
    bench.close(Link::Main);
    bench.messages.clear();
    bench.group = "1";
    bench.path.set_surroundings(wanted(None));
    bench.pass(ms(5_000));
    bench.up();
    assert_eq!(bench.fences(), [1], "the session of group 2 still haunts");
}

#[test]
fn a_sibling_in_another_portal_group_is_no_fence() {
    let mut bench = haunted();
    bench.group = "2";
    bench.path.fence_early(bench.now, wanted(Some(PathId(1))));
    bench.turn();
    bench.connect(Link::Fencer);
    bench.serve(Link::Fencer);
    assert!(bench.fences().iter().all(|&upto| upto < 1));
}

#[test]
fn fences_that_fail_are_not_tried_as_fast_as_the_network_lets_them() {
    let mut bench = haunted();
    let (mut fences, mut own) = (0, 0);
    let end = bench.now + ms(10_000);
    while bench.now < end {
        bench.path.fence_early(bench.now, wanted(Some(PathId(1))));
        bench.turn();
        bench.pass(ms(1));
        if bench.dialing.iter().any(|(link, _)| *link == Link::Fencer) {
            fences += 1;
            bench.refuse(Link::Fencer);
        }
        if bench.dialing.iter().any(|(link, _)| *link == Link::Main) {
            own += 1;
            bench.refuse(Link::Main);
        }
    }
    assert!((2..=20).contains(&fences), "{fences} fences in 10 s");
    assert!((2..=40).contains(&own), "{own} attempts in 10 s");
}

#[test]
fn a_disabled_path_that_is_being_fenced_does_not_spin() {
    let mut bench = haunted();
    bench.path.order(
        bench.now,
        Order::Refuse {
            why: "another unit".into(),
            stranger: true,
        },
    );
    bench.path.set_surroundings(wanted(Some(PathId(1))));
    bench.turn();
    bench.pass(ms(4_000));
    assert!(bench.dialing.iter().any(|(link, _)| *link == Link::Fencer));
    bench.pass(ms(4_000));
}

fn provable() -> Bench {
    let mut bench = Bench::new();
    bench.identify();
    bench.path.set_surroundings(proof_wanted(true));
    bench.path.order(bench.now, Order::Admit);
    bench.turn();
    assert_eq!(bench.state(), PathState::Probing);
    bench
}

/// The sibling's login has ended the session, and the path has logged in over its own portal again.
fn there_and_back(announced: bool) -> Bench {
    let mut bench = provable();
    bench.connect(Link::Fencer);
    if announced {
        bench.async_message(3, [0, 0, 0]);
    } else {
        bench.close(Link::Main);
    }
    bench.serve(Link::Fencer);
    assert_eq!(bench.path.take_proven(), None, "it may be a coincidence");
    bench.pass(ms(100));
    bench.identify();
    bench
}

#[test]
fn logins_that_end_each_others_sessions_prove_that_portals_share_them() {
    for announced in [false, true] {
        let mut bench = there_and_back(announced);
        bench.close(Link::Fencer);
        bench.path.order(bench.now, Order::Admit);
        bench.pass(ms(249));
        assert_eq!(bench.path.take_proven(), None);
        assert_eq!(bench.state(), PathState::Probing, "it waits for the proof");
        bench.pass(ms(1));
        assert_eq!(bench.path.take_proven(), Some((PathId(1), true)));
        bench
            .path
            .on_proof_known(bench.now, Surroundings::default());
        assert_eq!(bench.state(), PathState::Ready);
    }
}

/// A second and a half is what a proof may take; the path is used then, and not in the sibling's group.
fn assert_disproven_in_time(bench: &mut Bench) {
    bench.pass(ms(1_499));
    assert_eq!(bench.state(), PathState::Probing);
    bench.pass(ms(1));
    assert_eq!(bench.path.take_proven(), Some((PathId(1), false)));
    assert_eq!(bench.state(), PathState::Ready);
}

#[test]
fn a_session_that_ended_by_chance_is_found_out_on_the_way_back() {
    let mut bench = there_and_back(false);
    bench.path.order(bench.now, Order::Admit);
    assert_disproven_in_time(&mut bench);
}

#[test]
fn what_closes_all_connections_proves_nothing() {
    // The sibling's session with them.
    let mut bench = there_and_back(false);
    bench.close(Link::Fencer);
    bench.path.set_surroundings(Surroundings {
        fencer_stranded: true,
        ..proof_wanted(true)
    });
    bench.path.handle_timeout(bench.now);
    bench.pass(ms(2_000));
    assert_eq!(bench.path.take_proven(), None);

    // The path's own with them.
    let mut bench = there_and_back(false);
    bench.close(Link::Fencer);
    bench.close(Link::Main);
    bench.pass(ms(2_000));
    assert_eq!(bench.path.take_proven(), None);
}

#[test]
fn a_fencer_that_ends_before_the_path_is_back_proves_nothing() {
    let mut bench = provable();
    bench.connect(Link::Fencer);
    bench.close(Link::Main);
    bench.serve(Link::Fencer);
    bench.close(Link::Fencer);
    bench.pass(ms(100));
    bench.identify();
    bench.pass(ms(3_000));
    assert_eq!(bench.path.take_proven(), None);
}

#[test]
fn a_session_that_goes_on_proves_the_contrary_and_goes_into_use() {
    let mut bench = provable();
    bench.connect(Link::Fencer);
    bench.serve(Link::Fencer);
    assert_disproven_in_time(&mut bench);
}

#[test]
fn a_session_that_ended_before_the_siblings_login_was_sent_proves_nothing() {
    let mut bench = provable();
    assert_eq!(bench.path.fencer_via(), Some(PathId(1)));
    bench.close(Link::Main);
    assert_eq!(bench.path.fencer_via(), None, "the proof is given up");
    bench.pass(ms(3_000));
    assert_eq!(bench.path.take_proven(), None);
}

#[test]
fn a_proof_that_outlives_its_session_does_not_bring_the_next_one_into_use() {
    let mut bench = provable();
    bench.connect(Link::Fencer);
    bench.serve(Link::Fencer);
    // The session is lost by our own judgement; the next one is still being asked who it is.
    bench.path.order(
        bench.now,
        Order::Refuse {
            why: "x".into(),
            stranger: true,
        },
    );
    bench.turn();
    bench.pass(ms(2_100));
    bench.disk = Box::new(|_, _| None);
    bench.connect(Link::Main);
    bench.serve(Link::Main);
    bench.pass(ms(1_000));
    assert!(
        bench.standings().is_empty(),
        "nobody knows what it leads to"
    );
}

#[test]
fn a_sibling_that_cannot_be_reached_refutes_nothing_at_first() {
    let mut bench = provable();
    bench.refuse(Link::Fencer);
    assert_eq!(bench.path.take_proven(), None);
    assert_eq!(
        bench.state(),
        PathState::Ready,
        "and does not keep the path out of use"
    );
}

#[test]
fn a_proof_through_a_lost_sibling_does_not_keep_the_last_path_waiting() {
    let mut bench = provable();
    bench.path.set_surroundings(proof_wanted(false));
    bench.path.handle_timeout(bench.now);
    assert_eq!(bench.state(), PathState::Ready);
    assert_eq!(bench.path.take_proven(), None);
}

#[test]
fn a_unit_with_a_default_identifier_is_not_used_without_a_proof() {
    // The sibling's login leaves the session alone: another target with the same names.
    let mut bench = Bench::new();
    bench.identify();
    bench.path.set_surroundings(proof_wanted(true));
    bench.path.order(bench.now, Order::AdmitIfProven);
    bench.turn();
    bench.connect(Link::Fencer);
    bench.serve(Link::Fencer);
    bench.pass(ms(1_500));
    assert_eq!(bench.path.take_proven(), Some((PathId(1), false)));
    assert_eq!(bench.state(), PathState::Disabled);
    assert!(bench.standings().is_empty());

    // Nobody to prove it with.
    let mut bench = Bench::new();
    bench.identify();
    bench.path.order(bench.now, Order::AdmitIfProven);
    assert_eq!(bench.state(), PathState::Disabled);

    // Proven in an earlier session.
    let mut bench = Bench::new();
    bench.identify();
    bench.path.set_surroundings(Surroundings {
        kin: true,
        ..Surroundings::default()
    });
    bench.path.order(bench.now, Order::AdmitIfProven);
    assert_eq!(bench.state(), PathState::Ready);
}

#[test]
fn a_fencer_whose_sibling_is_lost_gives_way_to_an_own_login() {
    let mut bench = haunted();
    bench.path.set_surroundings(wanted(Some(PathId(1))));
    bench.pass(ms(10));
    bench.connect(Link::Fencer);
    assert_eq!(bench.path.fencer_via(), Some(PathId(1)));
    bench.path.set_surroundings(Surroundings {
        fencer_stranded: true,
        ..wanted(None)
    });
    bench.path.handle_timeout(bench.now);
    bench.turn();
    assert!(!bench.is_open(Link::Fencer));
    assert_eq!(bench.path.fencer_via(), None);
    bench.path.set_surroundings(wanted(None));
    bench.pass(ms(10));
    assert!(bench.dialing.iter().any(|(link, _)| *link == Link::Main));
}
