//! Carrier, address, route.

use super::*;

const NO_CARRIER: Uplink = Uplink::Down("its NIC has no carrier");

fn others(bench: &mut Bench, any: bool) {
    let peers = Peers {
        usable: any,
        any,
        ..Peers::default()
    };
    bench.path.set_surroundings(Surroundings {
        peers,
        ..Surroundings::default()
    });
}

fn tell(bench: &mut Bench, uplink: Uplink) {
    bench.path.on_uplink(bench.now, uplink);
    bench.turn();
}

#[test]
fn without_a_carrier_a_path_is_lost_at_once_if_there_is_another() {
    let mut bench = Bench::new();
    bench.up();
    others(&mut bench, true);
    tell(&mut bench, NO_CARRIER);
    assert_eq!(bench.lost().len(), 1);
    assert_eq!(bench.path.status(bench.now).why, "its NIC has no carrier");
    let events = bench.path.events(bench.now);
    assert!(events.iter().any(|event| event.what == "uplink"));
}

#[test]
fn a_carrier_that_comes_back_soon_costs_the_last_path_nothing() {
    let mut bench = Bench::new();
    bench.up();
    others(&mut bench, false);
    tell(&mut bench, NO_CARRIER);
    assert_eq!(bench.state(), PathState::Suspect);
    bench.pongs = false;
    bench.pass(ms(500));
    bench.pongs = true;
    tell(&mut bench, Uplink::Up);
    bench.pass(ms(1_100));
    assert_eq!(bench.state(), PathState::Ready);
    assert!(bench.lost().is_empty());
}

#[test]
fn the_last_path_without_a_carrier_is_lost_after_the_network_time() {
    let mut bench = Bench::new();
    bench.up();
    others(&mut bench, false);
    tell(&mut bench, NO_CARRIER);
    bench.pass(ms(699));
    assert!(bench.lost().is_empty());
    bench.pass(ms(1));
    assert_eq!(bench.lost().len(), 1);
}

#[test]
fn what_was_heard_while_there_was_no_carrier_does_not_make_the_path_ready() {
    let mut bench = Bench::new();
    bench.up();
    others(&mut bench, false);
    tell(&mut bench, NO_CARRIER);
    bench.async_message(255, [0; 3]);
    assert_eq!(bench.state(), PathState::Suspect);
}

#[test]
fn when_the_carrier_is_back_the_path_connects_at_once() {
    let mut bench = Bench::new();
    bench.up();
    others(&mut bench, true);
    tell(&mut bench, NO_CARRIER);
    for _ in 0..20 {
        bench.pass(ms(6_000));
        while !bench.dialing.is_empty() {
            bench.refuse(Link::Main);
        }
    }
    let waits = bench.path.poll_timeout().unwrap().at - bench.now;
    bench.pass(waits / 2);
    assert!(bench.dialing.is_empty());
    tell(&mut bench, Uplink::Up);
    bench.pass(ms(0));
    assert_eq!(bench.dialing.len(), 1);
}

#[test]
fn a_path_whose_carrier_comes_and_goes_is_held_back_unless_everything_waits_for_it() {
    let mut bench = Bench::new();
    bench.up();
    others(&mut bench, true);
    for held in [0, 250, 500, 1_000] {
        tell(&mut bench, NO_CARRIER);
        bench.pass(ms(10));
        tell(&mut bench, Uplink::Up);
        let due = bench.path.poll_timeout().expect("it is tried again").at;
        assert_eq!(due - bench.now, ms(held));
    }
    others(&mut bench, false);
    tell(&mut bench, NO_CARRIER);
    tell(&mut bench, Uplink::Up);
    bench.pass(ms(0));
    assert_eq!(bench.state(), PathState::Connecting);
}

#[test]
fn an_attempt_whose_packets_went_nowhere_is_begun_anew() {
    let mut bench = Bench::new();
    bench.up();
    others(&mut bench, true);
    tell(&mut bench, NO_CARRIER);
    bench.pass(ms(100));
    assert_eq!(bench.state(), PathState::Connecting);
    let before = bench.path.incarnation();
    tell(&mut bench, Uplink::Up);
    bench.pass(ms(0));
    assert_eq!(bench.state(), PathState::Connecting);
    assert_ne!(bench.path.incarnation(), before);
}

#[test]
fn a_path_that_all_wait_for_does_not_wait_for_its_backoff() {
    let mut bench = Bench::new();
    bench.up();
    others(&mut bench, true);
    bench.close(Link::Main);
    for _ in 0..20 {
        bench.pass(ms(6_000));
        while !bench.dialing.is_empty() {
            bench.refuse(Link::Main);
        }
    }
    bench.path.hurry(bench.now);
    bench.pass(ms(0));
    assert_eq!(bench.dialing.len(), 1);
    bench.refuse(Link::Main);
    others(&mut bench, false);
    bench.pass(ms(6_000));
    bench.refuse(Link::Main);
    let waits = bench.path.poll_timeout().unwrap().at - bench.now;
    assert!(waits <= ms(1_000), "{waits:?}");
}
