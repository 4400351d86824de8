//! What the kernel says of the connection.

use super::*;

fn beside_others(bench: &mut Bench) {
    let peers = Peers {
        usable: true,
        any: true,
        ..Peers::default()
    };
    bench.path.set_surroundings(Surroundings {
        peers,
        ..Surroundings::default()
    });
}

/// Nothing is acknowledged from now on.
fn silence(bench: &mut Bench) {
    let began = bench.now;
    bench.pongs = false;
    bench.disk = Box::new(|_, _| None);
    bench.kernel = Box::new(move |now| NetworkView {
        in_flight: 2,
        acked: 1_000,
        since_ack: now - began,
        timeouts: 2,
        ..NetworkView::default()
    });
}

fn reason(bench: &Bench) -> String {
    bench.path.status(bench.now).why
}

#[test]
fn a_path_whose_bytes_are_not_acknowledged_is_lost_if_there_is_another() {
    let mut bench = Bench::new();
    bench.up();
    beside_others(&mut bench);
    silence(&mut bench);
    bench.write();
    bench.pass(ms(699));
    assert_eq!(bench.state(), PathState::Suspect);
    bench.pass(ms(1));
    assert_eq!(bench.lost().len(), 1);
    assert!(reason(&bench).contains("not acknowledged"));
    let evidence = bench.path.events(bench.now);
    let evidence = evidence.iter().find(|event| event.what == "network");
    assert!(
        evidence
            .unwrap()
            .why
            .contains("not acknowledged for 700 ms")
    );
}

#[test]
fn the_last_path_is_kept_until_a_new_connection_is_the_better_bet() {
    let mut bench = Bench::new();
    bench.up();
    silence(&mut bench);
    bench.write();
    bench.pass(ms(4_999));
    assert_eq!(bench.state(), PathState::Suspect);
    bench.pass(ms(1));
    assert_eq!(bench.lost().len(), 1);
}

#[test]
fn a_target_whose_kernel_acknowledges_is_judged_by_its_silence_alone() {
    let mut bench = Bench::new();
    bench.up();
    beside_others(&mut bench);
    silence(&mut bench);
    bench.kernel = Box::new(|_| NetworkView::default());
    bench.write();
    bench.pass(ms(4_900));
    assert_eq!(bench.state(), PathState::Suspect, "{}", reason(&bench));
    assert!(reason(&bench).contains("silent"));
}

#[test]
fn acknowledgements_without_progress_are_a_broken_path_mtu() {
    let mut bench = Bench::new();
    bench.up();
    beside_others(&mut bench);
    silence(&mut bench);
    bench.kernel = Box::new(|_| NetworkView {
        in_flight: 9,
        sacked: 1,
        acked: 1_000,
        timeouts: 2,
        ..NetworkView::default()
    });
    bench.write();
    bench.pass(ms(800));
    assert_eq!(bench.lost().len(), 1);
    assert!(reason(&bench).contains("MTU"), "{}", reason(&bench));
}

#[test]
fn progress_however_slow_keeps_the_path() {
    let mut bench = Bench::new();
    bench.up();
    beside_others(&mut bench);
    let began = bench.now;
    bench.kernel = Box::new(move |now| {
        let steps = u64::try_from((now - began).as_millis() / 300).unwrap();
        NetworkView {
            in_flight: 100,
            acked: steps,
            since_ack: now - began - ms(steps * 300),
            ..NetworkView::default()
        }
    });
    bench.disk = Box::new(|_, _| None);
    bench.write();
    bench.pass(ms(20_000));
    assert_eq!(bench.state(), PathState::Ready);
}

#[test]
fn a_path_is_suspect_until_what_it_is_sent_arrives_whatever_is_heard_of_it() {
    let mut bench = Bench::new();
    bench.up();
    beside_others(&mut bench);
    silence(&mut bench);
    bench.write();
    bench.pass(ms(400));
    assert_eq!(bench.state(), PathState::Suspect);
    bench.async_message(255, [0; 3]);
    assert_eq!(bench.state(), PathState::Suspect);
    bench.kernel = Box::new(|_| NetworkView {
        acked: 2_000,
        ..NetworkView::default()
    });
    bench.pass(ms(100));
    assert_eq!(bench.state(), PathState::Ready);
}

#[test]
fn a_round_trip_of_a_second_is_no_loss() {
    let mut bench = Bench::new();
    bench.up();
    beside_others(&mut bench);
    let began = bench.now;
    bench.kernel = Box::new(move |now| NetworkView {
        in_flight: 1,
        since_ack: now - began,
        round_trip: (ms(900), ms(50)),
        ..NetworkView::default()
    });
    bench.disk = Box::new(|_, _| None);
    bench.write();
    bench.pass(ms(1_500));
    assert!(bench.lost().is_empty());
}

#[test]
fn a_login_that_is_not_acknowledged_is_given_up_early() {
    let mut bench = Bench::new();
    bench.connect(Link::Main);
    silence(&mut bench);
    let began = bench.now;
    // No session: nothing is lost but the attempt, and another one is made at once.
    bench.wires.clear();
    bench.pass(ms(800));
    assert!(!bench.dialing.is_empty(), "{}", reason(&bench));
    assert!(bench.now - began < ms(1_000));
}

#[test]
fn a_path_without_anything_under_way_is_looked_at_only_after_its_pings() {
    let mut bench = Bench::new();
    bench.up();
    bench.looks = 0;
    bench.pass(ms(60_000));
    assert!((50..=61).contains(&bench.looks), "{}", bench.looks);
    assert_eq!(bench.state(), PathState::Ready);
}

#[test]
fn a_probe_of_a_closed_window_that_is_answered_is_no_silence() {
    for (probes, lost) in [(1, 0), (2, 1)] {
        let mut bench = Bench::new();
        bench.up();
        beside_others(&mut bench);
        let began = bench.now;
        bench.kernel = Box::new(move |now| NetworkView {
            probes,
            since_ack: now - began,
            ..NetworkView::default()
        });
        bench.disk = Box::new(|_, _| None);
        bench.write();
        bench.pass(ms(1_000));
        assert_eq!(bench.lost().len(), lost);
    }
}
