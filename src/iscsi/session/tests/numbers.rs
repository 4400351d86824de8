//! CmdSN, its window, and StatSN.

use super::*;
use crate::iscsi::serial::SerialNumber;

const GOOD: u8 = 0;

fn nop_in(peer: &Peer, ttt: Option<Ttt>) -> NopIn {
    NopIn {
        lun: Lun::from_wire([0; 8]),
        itt: None,
        ttt,
        numbers: peer.numbers(),
    }
}

#[test]
fn commands_are_numbered_in_the_order_of_submission_without_holes() {
    let mut peer = Peer::new(&Setup::default());
    let first = peer.read(0, 512).numbers.cmd_sn;
    for id in 1..10u32 {
        assert_eq!(peer.read(u64::from(id), 512).numbers.cmd_sn, first.plus(id));
    }
}

#[test]
fn the_window_closes_with_submissions_and_opens_with_max_cmd_sn() {
    let mut peer = Peer::new(&Setup {
        window: 2,
        ..Setup::default()
    });
    let frozen = peer.numbers();
    let itt = peer.read(0, 512).itt;
    peer.read(1, 512);
    assert_eq!(peer.full().free_slots(), 0);
    // A late PDU with the old window changes nothing.
    let mut late = nop_in(&peer, None);
    late.numbers = frozen;
    peer.send(late.encode(), &[]);
    assert_eq!(peer.full().free_slots(), 0);
    let mut response = peer.response(itt, 8, Residual::None);
    response.numbers.max_cmd_sn = frozen.max_cmd_sn.plus(5);
    peer.send(response.encode(), &[]);
    assert_eq!(peer.full().free_slots(), 5);
}

#[test]
#[should_panic(expected = "free slot")]
fn a_submission_beyond_the_window_is_our_own_bug() {
    let mut peer = Peer::new(&Setup {
        window: 0,
        ..Setup::default()
    });
    peer.submit(0, DataTransfer::None);
}

#[test]
#[should_panic(expected = "submitted before")]
fn a_task_id_that_is_outstanding_cannot_be_used_again() {
    let mut peer = Peer::new(&Setup::default());
    peer.submit(0, DataTransfer::None);
    peer.submit(0, DataTransfer::None);
}

#[test]
fn max_cmd_sn_may_move_in_a_nop_in_that_nobody_asked_for() {
    let mut peer = Peer::new(&Setup {
        window: 0,
        ..Setup::default()
    });
    assert_eq!(peer.full().free_slots(), 0);
    peer.max_cmd_sn = peer.max_cmd_sn.plus(3);
    let nop = nop_in(&peer, None);
    peer.send(nop.encode(), &[]);
    assert_eq!(peer.full().free_slots(), 3);
    assert!(peer.sent().is_empty(), "it wants no answer");
}

#[test]
fn every_kind_of_pdu_moves_the_window() {
    let mut peer = Peer::new(&Setup {
        window: 2,
        ..Setup::answers(&[("InitialR2T", "Yes"), ("ImmediateData", "No")])
    });
    let write = peer.write(0, &pattern(1024))[0].command().itt;
    let read = peer.read(1, 1024).itt;
    let before = peer.full().free_slots();
    peer.max_cmd_sn = peer.max_cmd_sn.plus(10);
    let r2t = peer.r2t(write, 0, 0, 512);
    peer.send(r2t.encode(), &[]);
    let after = peer.full().free_slots();
    assert_eq!(after, before + 12, "R2T");
    peer.max_cmd_sn = peer.max_cmd_sn.plus(10);
    let data_in = peer.data_in(read, 0, 0);
    peer.send(data_in.encode(), &pattern(512));
    assert_eq!(peer.full().free_slots(), after + 10, "Data-In");
}

#[test]
fn r2t_nop_in_without_itt_and_data_in_without_status_consume_no_stat_sn() {
    let mut peer = Peer::new(&Setup::answers(&[
        ("InitialR2T", "Yes"),
        ("ImmediateData", "No"),
    ]));
    let expected = peer.probe_numbers().exp_stat_sn.next();
    assert_eq!(expected, peer.stat_sn);
    let read = peer.read(1, 1024).itt;
    let data_in = peer.data_in(read, 0, 0);
    peer.send(data_in.encode(), &pattern(512));
    assert_eq!(peer.probe_numbers().exp_stat_sn, expected, "Data-In");
    let nop = nop_in(&peer, Ttt::new(3));
    peer.send(nop.encode(), &[]);
    let answer = peer.sent_one().nop_out();
    assert_eq!(answer.numbers.exp_stat_sn, expected.next(), "NOP-In");
    let write = peer.write(2, &pattern(1024))[0].command().itt;
    let r2t = peer.r2t(write, 0, 0, 512);
    peer.send(r2t.encode(), &[]);
    let data_out = peer.sent_one().data_out();
    assert_eq!(data_out.exp_stat_sn, expected.next(), "R2T");
}

#[test]
fn async_messages_and_rejects_consume_a_stat_sn_although_they_have_no_tag() {
    let mut peer = Peer::new(&Setup::default());
    let before = peer.probe_numbers().exp_stat_sn.next();
    let message = AsyncMessage {
        lun: lun(),
        numbers: peer.consumed(),
        event: 255,
        vendor_code: 0,
        parameters: [0; 3],
    };
    peer.send(message.encode(), &[]);
    peer.events();
    assert_eq!(peer.probe_numbers().exp_stat_sn, before.next());
    peer.submit(1, DataTransfer::None);
    let command = peer.sent_one();
    let reject = Reject {
        reason: RejectReason::InvalidPduField,
        numbers: peer.consumed(),
        data_sn: 0,
    };
    peer.send(reject.encode(), command.bhs.wire());
    peer.events();
    assert_eq!(peer.probe_numbers().exp_stat_sn, before.plus(3));
}

#[test]
fn data_is_acknowledged_only_once_it_is_in_our_buffer() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 8192).itt;
    let mut data_in = peer.data_in(itt, 0, 0);
    let status = peer.stat_sn;
    data_in.numbers = peer.consumed();
    data_in.status = Some(DataInStatus {
        status: GOOD,
        residual: Residual::None.into(),
    });
    peer.outbox
        .push(data_in.encode(), &Bytes::from(pattern(8192)).into());
    let bytes = peer.outbox.outgoing().take_all();
    let (early, late) = bytes.split_at(6000);
    let mut input = BytesMut::from(early);
    peer.session.handle_bytes(peer.now, &mut input).unwrap();
    let now = peer.now;
    peer.full().ping(now);
    assert_eq!(peer.sent_one().nop_out().numbers.exp_stat_sn, status);
    input.extend_from_slice(late);
    peer.session.handle_bytes(peer.now, &mut input).unwrap();
    peer.full().ping(now);
    assert_eq!(peer.sent_one().nop_out().numbers.exp_stat_sn, status.next());
}

#[test]
fn stat_sn_may_start_anywhere_and_wraps() {
    for start in [0, 1 << 31, u32::MAX - 1, u32::MAX] {
        let mut peer = Peer::new(&Setup {
            stat_sn: start,
            ..Setup::default()
        });
        // Two login responses were consumed.
        let first = SerialNumber(start).plus(2);
        assert_eq!(peer.probe_numbers().exp_stat_sn, first);
        assert_eq!(peer.probe_numbers().exp_stat_sn, first.next());
    }
}

#[test]
fn immediate_commands_carry_the_next_number_and_do_not_take_it() {
    let mut peer = Peer::new(&Setup::default());
    let ping = peer.probe_numbers();
    let command = peer.read(1, 512);
    assert_eq!(ping.cmd_sn, command.numbers.cmd_sn);
    assert_eq!(peer.probe_numbers().cmd_sn, command.numbers.cmd_sn.next());
}
