//! Pings both ways.

use super::*;

const ZERO: [u8; 8] = [0; 8];

fn pong(peer: &mut Peer, ping: &NopOut) -> NopIn {
    NopIn {
        lun: Lun::from_wire(ZERO),
        itt: ping.itt,
        ttt: None,
        numbers: peer.consumed(),
    }
}

fn target_ping(peer: &Peer, ttt: u32) -> NopIn {
    NopIn {
        lun: Lun::from_wire([1, 2, 3, 4, 5, 6, 7, 8]),
        itt: None,
        ttt: Ttt::new(ttt),
        numbers: peer.numbers(),
    }
}

#[test]
fn a_ping_is_immediate_and_its_answer_tells_the_round_trip() {
    let mut peer = Peer::new(&Setup {
        window: 0,
        ..Setup::default()
    });
    let now = peer.now;
    peer.full().ping(now);
    assert_eq!(peer.full().oldest_ping(), Some(now));
    let ping = peer.sent_one().nop_out();
    assert!(ping.immediate, "a closed window does not hold it up");
    assert!(ping.itt.is_some() && ping.ttt.is_none());
    peer.pass(Duration::from_millis(30));
    let pong = pong(&mut peer, &ping);
    peer.send(pong.encode(), &[]);
    let Event::PingAnswered { rtt } = peer.event() else {
        panic!("not answered");
    };
    assert_eq!(rtt, Duration::from_millis(30));
    assert_eq!(peer.full().oldest_ping(), None);
}

#[test]
fn no_more_than_two_pings_are_unanswered() {
    let mut peer = Peer::new(&Setup::default());
    let start = peer.now;
    for _ in 0..5 {
        let now = peer.now;
        peer.full().ping(now);
        peer.pass(Duration::from_secs(1));
    }
    let sent = peer.sent();
    assert_eq!(sent.len(), limits::PINGS_MAX);
    assert_eq!(peer.full().oldest_ping(), Some(start));
    let first = pong(&mut peer, &sent[0].nop_out());
    peer.send(first.encode(), &[]);
    let second = Some(start + Duration::from_secs(1));
    assert_eq!(peer.full().oldest_ping(), second);
    let now = peer.now;
    peer.full().ping(now);
    assert_eq!(peer.sent().len(), 1);
}

#[test]
fn a_targets_ping_is_answered_at_once_with_its_tag_and_all_eight_bytes_of_its_lun() {
    let mut peer = Peer::new(&Setup::default());
    let ping = target_ping(&peer, 0);
    peer.send(ping.encode(), &[]);
    let sent = peer.sent_one();
    let answer = sent.nop_out();
    assert!(answer.immediate);
    assert_eq!((answer.itt, answer.ttt), (None, Ttt::new(0)));
    assert_eq!(answer.lun.to_wire(), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(sent.data.is_empty());
    assert!(peer.events().is_empty());
}

#[test]
fn a_nop_in_without_tags_is_not_answered() {
    let mut peer = Peer::new(&Setup::default());
    let nop = NopIn {
        ttt: None,
        ..target_ping(&peer, 0)
    };
    peer.send(nop.encode(), &[]);
    assert!(peer.sent().is_empty() && peer.events().is_empty());
}

#[test]
fn an_answer_that_asks_back_is_taken_and_answered() {
    let mut peer = Peer::new(&Setup::default());
    let now = peer.now;
    peer.full().ping(now);
    let ping = peer.sent_one().nop_out();
    let mut both = pong(&mut peer, &ping);
    both.ttt = Ttt::new(4);
    peer.send(both.encode(), &[]);
    assert!(matches!(peer.event(), Event::PingAnswered { .. }));
    assert_eq!(peer.sent_one().nop_out().ttt, Ttt::new(4));
}

#[test]
fn a_flood_of_pings_to_a_full_socket_ends_the_session() {
    let mut peer = Peer::new(&Setup::default());
    for ttt in 0..1000 {
        let ping = target_ping(&peer, ttt);
        peer.send(ping.encode(), &[]);
        peer.sent();
    }
    for ttt in 0..u32::try_from(limits::PING_ANSWERS_MAX).unwrap() {
        let ping = target_ping(&peer, ttt);
        peer.send(ping.encode(), &[]);
    }
    let ping = target_ping(&peer, 7);
    let error = peer.try_send(ping.encode(), &[]).unwrap_err();
    assert_eq!(error, PeerMisbehaved::Flood("pings").into());
}

#[test]
fn a_rejected_ping_shows_that_the_target_is_there() {
    let mut peer = Peer::new(&Setup::default());
    let now = peer.now;
    peer.full().ping(now);
    let ping = peer.sent_one();
    let reject = Reject {
        reason: RejectReason::ImmediateCommandReject,
        numbers: peer.consumed(),
        data_sn: 0,
    };
    peer.send(reject.encode(), ping.bhs.wire());
    assert!(matches!(peer.event(), Event::PingAnswered { .. }));
    assert_eq!(peer.full().oldest_ping(), None);
}

#[test]
fn bytes_from_the_target_are_dated() {
    let mut peer = Peer::new(&Setup::default());
    let login = peer.session.last_received().unwrap();
    peer.pass(Duration::from_secs(3));
    let _ = peer.try_bytes(&[]);
    assert_eq!(peer.session.last_received(), Some(login));
    peer.try_bytes(&[0x20]).unwrap();
    assert_eq!(peer.session.last_received(), Some(peer.now));
}
