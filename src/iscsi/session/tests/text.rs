//! SendTargets.

use super::*;
use crate::iscsi::pdu::text::{TextRequest, TextResponse};

fn discovery() -> Setup {
    Setup {
        kind: SessionKind::Discovery,
        ..Setup::answers(&[])
    }
}

fn ask(peer: &mut Peer, query: TargetQuery<'_>) -> (TextRequest, Vec<u8>) {
    let now = peer.now;
    peer.full().send_targets(now, query);
    let sent = peer.sent_one();
    (TextRequest::decode(&sent.bhs).unwrap(), sent.data)
}

fn answer(
    peer: &mut Peer,
    request: &TextRequest,
    ttt: Option<u32>,
    continues: bool,
) -> TextResponse {
    let numbers = peer.consumed();
    TextResponse {
        is_final: ttt.is_none(),
        continues,
        lun: Lun::from_wire([8, 7, 6, 5, 4, 3, 2, 1]),
        itt: request.itt,
        ttt: ttt.and_then(Ttt::new),
        stat_sn: numbers.stat_sn,
        exp_cmd_sn: numbers.exp_cmd_sn,
        max_cmd_sn: numbers.max_cmd_sn,
    }
}

#[test]
fn each_query_has_its_text() {
    for (query, text) in [
        (TargetQuery::All, &b"SendTargets=All\0"[..]),
        (TargetQuery::ThisTarget, b"SendTargets=\0"),
        (
            TargetQuery::Named("iqn.2003-01.a:b"),
            b"SendTargets=iqn.2003-01.a:b\0",
        ),
    ] {
        let mut peer = Peer::new(&discovery());
        let (request, data) = ask(&mut peer, query);
        assert!(request.is_final && !request.continues && request.immediate);
        assert_eq!(request.ttt, None);
        assert_eq!(data, text);
    }
}

#[test]
fn a_short_answer_names_the_targets_with_their_portals() {
    let mut peer = Peer::new(&discovery());
    let (request, _) = ask(&mut peer, TargetQuery::All);
    let response = answer(&mut peer, &request, None, false);
    let text = b"TargetName=iqn.2003-01.com.example:array1\0TargetAddress=10.0.0.1:3260,1\0\
        TargetAddress=[fe80::1]:3260,2\0";
    peer.send(response.encode(), text);
    let Event::Targets(targets) = peer.event() else {
        panic!("no targets");
    };
    assert_eq!(targets.len(), 1);
    let portals: Vec<_> = targets[0]
        .portals
        .iter()
        .map(|(portal, group)| (portal.to_string(), *group))
        .collect();
    let expected = [
        ("10.0.0.1:3260".to_owned(), Some(1)),
        ("[fe80::1]:3260".to_owned(), Some(2)),
    ];
    assert_eq!(portals, expected);
}

#[test]
fn a_long_answer_is_fetched_piece_by_piece_even_if_cut_within_a_key() {
    let mut text = Vec::new();
    for n in 0..500 {
        let target = format!("TargetName=iqn.2003-01.com.example:t{n}\0TargetAddress=10.0.0.1,1\0");
        text.extend_from_slice(target.as_bytes());
    }
    let mut peer = Peer::new(&discovery());
    let (first, _) = ask(&mut peer, TargetQuery::All);
    let pieces: Vec<&[u8]> = text.chunks(1000).collect();
    let (last, others) = pieces.split_last().unwrap();
    for (number, piece) in (0..).zip(others) {
        // C with a cut within a key, F=0 alone otherwise: both go on in the same way.
        let response = answer(&mut peer, &first, Some(number), number % 2 == 0);
        peer.send(response.encode(), piece);
        let sent = peer.sent_one();
        let next = TextRequest::decode(&sent.bhs).unwrap();
        assert!(sent.data.is_empty() && next.is_final);
        assert_eq!((next.itt, next.ttt), (first.itt, Ttt::new(number)));
        assert_eq!(next.lun, response.lun, "the LUN goes with the tag");
    }
    let response = answer(&mut peer, &first, None, false);
    peer.send(response.encode(), last);
    let Event::Targets(targets) = peer.event() else {
        panic!("no targets");
    };
    assert_eq!(targets.len(), 500);
}

#[test]
fn an_answer_without_end_is_bounded() {
    let mut peer = Peer::new(&discovery());
    let (request, _) = ask(&mut peer, TargetQuery::All);
    let result = (0..=limits::TEXT_EXCHANGES_MAX).try_for_each(|number| {
        let response = answer(&mut peer, &request, Some(number), false);
        let result = peer.try_send(response.encode(), &[]);
        peer.sent();
        result
    });
    let too_long = crate::iscsi::error::TextError::TooLong;
    assert_eq!(result, Err(PeerMisbehaved::Text(too_long).into()));

    let mut peer = Peer::new(&discovery());
    let (request, _) = ask(&mut peer, TargetQuery::All);
    let result = (0..100).try_for_each(|number| {
        let response = answer(&mut peer, &request, Some(number), true);
        peer.try_send(response.encode(), &pattern(20_000))
    });
    assert_eq!(result, Err(PeerMisbehaved::Text(too_long).into()));
}

#[test]
fn one_question_is_asked_at_a_time() {
    let mut peer = Peer::new(&discovery());
    let (request, _) = ask(&mut peer, TargetQuery::All);
    let now = peer.now;
    peer.full().send_targets(now, TargetQuery::All);
    assert!(peer.sent().is_empty());
    let response = answer(&mut peer, &request, None, false);
    peer.send(response.encode(), b"");
    assert!(matches!(peer.event(), Event::Targets(targets) if targets.is_empty()));
    ask(&mut peer, TargetQuery::All);
}

#[test]
fn an_answer_that_goes_on_without_a_tag_ends_the_session() {
    let mut peer = Peer::new(&discovery());
    let (request, _) = ask(&mut peer, TargetQuery::All);
    let mut response = answer(&mut peer, &request, None, false);
    response.is_final = false;
    let error = peer.try_send(response.encode(), &[]).unwrap_err();
    let expected = PeerMisbehaved::Mismatch("Target Transfer Tag");
    assert_eq!(error, expected.into());
}

#[test]
fn a_rejected_question_is_told() {
    let mut peer = Peer::new(&discovery());
    let now = peer.now;
    peer.full().send_targets(now, TargetQuery::All);
    let request = peer.sent_one();
    let reject = Reject {
        reason: RejectReason::CommandNotSupported,
        numbers: peer.consumed(),
        data_sn: 0,
    };
    peer.send(reject.encode(), request.bhs.wire());
    let expected = RejectReason::CommandNotSupported;
    assert!(matches!(peer.event(), Event::TargetsRefused(reason) if reason == expected));
    ask(&mut peer, TargetQuery::All);
}
