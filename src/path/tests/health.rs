//! Silence.

use super::*;

fn peers(bench: &mut Bench, usable: bool) {
    let peers = Peers {
        witness: Some(Witness {
            asked: bench.now + ms(3_600_000),
            took: ms(1),
            waiting: None,
            longest: None,
        }),
        usable,
        any: usable,
    };
    bench.path.set_surroundings(Surroundings {
        peers,
        ..Surroundings::default()
    });
}

#[test]
fn a_silent_path_is_lost_when_others_answer() {
    let mut bench = Bench::new();
    bench.up();
    bench.pongs = false;
    peers(&mut bench, true);
    bench.pass(ms(1_699));
    assert_eq!(bench.state(), PathState::Suspect);
    bench.pass(ms(1));
    assert_eq!(bench.lost().len(), 1);
}

#[test]
fn a_path_that_delivers_is_not_silent_whatever_becomes_of_its_ping() {
    let mut bench = Bench::new();
    bench.up();
    bench.pongs = false;
    peers(&mut bench, true);
    bench.pass(ms(1_000));
    let session = bench.path.session.as_mut().and_then(Session::full_feature);
    assert!(session.unwrap().oldest_ping().is_some());
    for _ in 0..100 {
        bench.pass(ms(100));
        // Unrelated bytes of the target, as of a long transfer before which our ping waits.
        let numbers = bench.wires.get_mut(&Link::Main).unwrap().numbers();
        let note = NopIn {
            lun: Lun::from_wire([0; 8]),
            itt: None,
            ttt: None,
            numbers,
        };
        bench.send(Link::Main, note.encode(), &[]);
        assert_eq!(bench.state(), PathState::Ready);
    }
}

#[test]
fn the_last_path_is_lost_at_the_command_timeout_even_if_no_command_is_in_flight() {
    let mut bench = Bench::new();
    bench.up();
    bench.pongs = false;
    peers(&mut bench, false);
    bench.pass(ms(30_000));
    assert_eq!(bench.state(), PathState::Suspect);
    bench.pass(ms(2_000));
    assert_eq!(
        bench.lost().len(),
        1,
        "what waits for it must not wait for ever"
    );
}

#[test]
fn a_swallowed_probe_is_given_up_soon_where_another_path_answers() {
    let mut bench = Bench::new();
    bench.up();
    bench.close(Link::Main);
    bench.pass(ms(10));
    bench.identify();
    bench.path.order(bench.now, Order::Admit);
    bench.turn();
    bench.disk = Box::new(|cdb, _| (cdb[0] != 0x28).then(|| disk(cdb)));
    peers(&mut bench, true);
    bench.messages.clear();
    bench.pass(ms(1_200));
    assert_eq!(bench.lost().len(), 1, "{:?}", bench.path.status(bench.now));
}

#[test]
fn an_idle_path_is_pinged_together_with_another_one() {
    let mut bench = Bench::new();
    bench.up();
    let asked = |bench: &mut Bench| {
        bench.path.ping_in_company(bench.now);
        bench.path.has_pinged(bench.now)
    };
    bench.pass(ms(499));
    assert!(!asked(&mut bench), "it was heard of late");
    bench.pass(ms(1));
    assert!(asked(&mut bench));
    bench.pass(ms(999));
    assert!(!bench.path.has_pinged(bench.now), "its own is due later");
    bench.disk = Box::new(|_, _| None);
    bench.write();
    assert!(
        !asked(&mut bench),
        "it is pinged by rules of its own while it works"
    );
}
