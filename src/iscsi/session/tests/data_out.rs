//! Writes: immediate, unsolicited and solicited data.

use super::*;

const GOOD: u8 = 0;

fn setup(initial_r2t: &'static str, immediate: &'static str) -> Setup {
    let mut setup = Setup::answers(&[
        ("InitialR2T", initial_r2t),
        ("ImmediateData", immediate),
        ("MaxRecvDataSegmentLength", "4096"),
        ("FirstBurstLength", "10000"),
        ("MaxBurstLength", "20000"),
    ]);
    setup.offer.initial_r2t = false;
    setup.offer.immediate_data = true;
    setup
}

/// (offset, length, DataSN, F) of Data-Outs.
fn shape(sent: &[Sent]) -> Vec<(u32, usize, u32, bool)> {
    let pdu = |sent: &Sent| {
        let out = sent.data_out();
        (out.offset, sent.data.len(), out.data_sn, out.last)
    };
    sent.iter().map(pdu).collect()
}

#[test]
fn with_immediate_data_and_without_initial_r2t_the_first_burst_goes_unasked() {
    let mut peer = Peer::new(&setup("No", "Yes"));
    let sent = peer.write(1, &pattern(30_000));
    let command = sent[0].command();
    assert_eq!(command.direction, DataDirection::Write(30_000));
    assert!(!command.last, "unsolicited data follows");
    assert_eq!(sent[0].data.len(), 4096);
    // Immediate data counts against FirstBurstLength: 4096 + 5904 = 10000.
    let expected = [(4096, 4096, 0, false), (8192, 1808, 1, true)];
    assert_eq!(shape(&sent[1..]), expected);
    assert!(sent[1..].iter().all(|pdu| pdu.data_out().ttt.is_none()));
    assert!(sent[1..].iter().all(|pdu| pdu.data_out().lun == lun()));
    let all: Vec<u8> = sent.iter().flat_map(|pdu| pdu.data.clone()).collect();
    assert_eq!(all, pattern(30_000)[..10_000]);
}

#[test]
fn with_immediate_data_and_initial_r2t_one_segment_goes_unasked() {
    let mut peer = Peer::new(&setup("Yes", "Yes"));
    let sent = peer.write(1, &pattern(30_000));
    assert_eq!(sent.len(), 1);
    assert!(sent[0].command().last, "no unsolicited Data-Out follows");
    assert_eq!(sent[0].data, pattern(30_000)[..4096]);
}

#[test]
fn without_immediate_data_and_without_initial_r2t_the_first_burst_is_data_out() {
    let mut peer = Peer::new(&setup("No", "No"));
    let sent = peer.write(1, &pattern(30_000));
    assert!(!sent[0].command().last && sent[0].data.is_empty());
    let expected = [
        (0, 4096, 0, false),
        (4096, 4096, 1, false),
        (8192, 1808, 2, true),
    ];
    assert_eq!(shape(&sent[1..]), expected);
}

#[test]
fn without_immediate_data_and_with_initial_r2t_nothing_goes_unasked() {
    let mut peer = Peer::new(&setup("Yes", "No"));
    let sent = peer.write(1, &pattern(30_000));
    assert_eq!(sent.len(), 1);
    assert!(sent[0].command().last && sent[0].data.is_empty());
}

#[test]
fn a_small_write_goes_whole_with_its_command() {
    for initial_r2t in ["Yes", "No"] {
        let mut peer = Peer::new(&setup(initial_r2t, "Yes"));
        let sent = peer.write(1, &pattern(513));
        assert_eq!(sent.len(), 1);
        assert!(sent[0].command().last);
        assert_eq!(sent[0].data, pattern(513));
        peer.respond(sent[0].command().itt, GOOD, Residual::None);
        peer.completion();
    }
}

#[test]
fn immediate_data_is_bounded_by_the_first_burst_too() {
    let mut setup = setup("Yes", "Yes");
    setup.answers[3] = ("FirstBurstLength", "1000");
    let mut peer = Peer::new(&setup);
    let sent = peer.write(1, &pattern(30_000));
    assert_eq!(sent[0].data.len(), 1000);
}

#[test]
fn an_r2t_is_answered_in_segments_of_the_targets_length_numbered_from_0() {
    let mut peer = Peer::new(&setup("No", "Yes"));
    let itt = peer.write(1, &pattern(30_000))[0].command().itt;
    let mut r2t = peer.r2t(itt, 0, 10_000, 10_000);
    r2t.lun = Lun::from_wire([1, 2, 3, 4, 5, 6, 7, 8]);
    peer.send(r2t.encode(), &[]);
    let sent = peer.sent();
    let expected = [
        (10_000, 4096, 0, false),
        (14_096, 4096, 1, false),
        (18_192, 1808, 2, true),
    ];
    assert_eq!(shape(&sent), expected);
    for pdu in &sent {
        let out = pdu.data_out();
        assert_eq!((out.itt, out.ttt), (itt, Ttt::new(0xf00d)));
        assert_eq!(out.lun, r2t.lun, "the LUN comes from the R2T, all of it");
    }
    // The next burst counts from 0 again: LIO rejects anything else.
    let r2t = peer.r2t(itt, 1, 20_000, 10_000);
    peer.send(r2t.encode(), &[]);
    let sent = peer.sent();
    let numbers: Vec<u32> = sent.iter().map(|pdu| pdu.data_out().data_sn).collect();
    assert_eq!(numbers, [0, 1, 2]);
    let data: Vec<u8> = sent.iter().flat_map(|pdu| pdu.data.clone()).collect();
    assert_eq!(data, pattern(30_000)[20_000..]);
    peer.respond(itt, GOOD, Residual::None);
    assert_eq!(peer.completion().0, TaskId(1));
}

#[test]
fn a_reused_ttt_is_accepted_once_the_burst_ended_and_zero_is_one() {
    let mut peer = Peer::new(&setup("Yes", "No"));
    let itt = peer.write(1, &pattern(8192))[0].command().itt;
    for number in 0..2 {
        let mut r2t = peer.r2t(itt, number, number * 4096, 4096);
        r2t.ttt = Ttt::new(0).unwrap();
        peer.send(r2t.encode(), &[]);
        assert_eq!(peer.sent_one().data_out().ttt, Ttt::new(0));
    }
}

#[test]
fn several_outstanding_r2ts_are_served_in_the_order_of_their_arrival() {
    let mut setup = setup("Yes", "No");
    setup.offer.max_outstanding_r2t = 4;
    setup.answers.push(("MaxOutstandingR2T", "4"));
    let mut peer = Peer::new(&setup);
    let itt = peer.write(1, &pattern(12_000))[0].command().itt;
    for number in 0..3 {
        let mut r2t = peer.r2t(itt, number, number * 4000, 4000);
        r2t.ttt = Ttt::new(number).unwrap();
        peer.outbox.push(r2t.encode(), &Payload::new());
    }
    let bytes = peer.outbox.outgoing().take_all();
    peer.try_bytes(&bytes).unwrap();
    let expected = [
        (0, 4000, 0, true),
        (4000, 4000, 0, true),
        (8000, 4000, 0, true),
    ];
    let sent = peer.sent();
    assert_eq!(shape(&sent), expected);
    let tags: Vec<_> = sent.iter().map(|pdu| pdu.data_out().ttt).collect();
    assert_eq!(tags, [Ttt::new(0), Ttt::new(1), Ttt::new(2)]);
}

#[test]
fn an_r2t_that_comes_while_the_command_is_still_being_written_is_served() {
    let mut peer = Peer::new(&setup("Yes", "Yes"));
    peer.submit(1, DataTransfer::Out(Bytes::from(pattern(8192)).into()));
    // The socket took the header alone so far; the target answers it at once.
    peer.received.extend_from_slice(&{
        let mut slices = [std::io::IoSlice::new(&[])];
        peer.session.outgoing().slices(&mut slices);
        slices[0][..BHS_LEN].to_vec()
    });
    peer.session.outgoing().advance(BHS_LEN);
    let itt = Bhs::from_wire(*peer.received.first_chunk().unwrap())
        .itt()
        .unwrap();
    let r2t = peer.r2t(itt, 0, 4096, 4096);
    peer.send(r2t.encode(), &[]);
    let sent = peer.sent();
    assert_eq!(
        sent[0].data.len(),
        4096,
        "the command with its data is whole"
    );
    assert_eq!(shape(&sent[1..]), [(4096, 4096, 0, true)]);
}

#[test]
fn a_burst_above_max_burst_length_is_served() {
    let mut peer = Peer::new(&setup("Yes", "No"));
    let itt = peer.write(1, &pattern(30_000))[0].command().itt;
    let r2t = peer.r2t(itt, 0, 0, 30_000);
    peer.send(r2t.encode(), &[]);
    assert_eq!(peer.sent().len(), 8);
}

#[test]
fn an_r2t_out_of_order_or_range_ends_the_session() {
    let cases = [
        (
            1,
            0,
            4096,
            TransferFault::Number {
                expected: 0,
                found: 1,
            },
        ),
        (
            0,
            512,
            512,
            TransferFault::Offset {
                expected: 0,
                found: 512,
            },
        ),
        (0, 0, 8193, TransferFault::BeyondEnd),
        (0, 0, u32::MAX, TransferFault::BeyondEnd),
    ];
    for (number, offset, length, expected) in cases {
        let mut peer = Peer::new(&setup("Yes", "No"));
        let itt = peer.write(1, &pattern(8192))[0].command().itt;
        let r2t = peer.r2t(itt, number, offset, length);
        let error = peer.try_send(r2t.encode(), &[]).unwrap_err();
        assert_eq!(fault(error), expected);
        assert!(peer.sent().is_empty());
    }
}

#[test]
fn data_is_sent_once_however_often_the_target_asks_for_it() {
    let mut peer = Peer::new(&setup("Yes", "No"));
    let itt = peer.write(1, &pattern(8192))[0].command().itt;
    let r2t = peer.r2t(itt, 0, 0, 4096);
    peer.send(r2t.encode(), &[]);
    let again = peer.r2t(itt, 1, 0, 4096);
    assert!(peer.try_send(again.encode(), &[]).is_err());
}

#[test]
fn an_r2t_for_a_read_ends_the_session() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 512).itt;
    let r2t = peer.r2t(itt, 0, 0, 512);
    let error = peer.try_send(r2t.encode(), &[]).unwrap_err();
    assert_eq!(fault(error), TransferFault::WrongDirection);
}

#[test]
fn a_write_that_is_good_before_its_data_was_asked_for_is_a_failure() {
    let mut peer = Peer::new(&setup("Yes", "Yes"));
    let itt = peer.write(1, &pattern(8192))[0].command().itt;
    peer.respond(itt, GOOD, Residual::None);
    assert_eq!(peer.failure(), (TaskId(1), TaskFailure::Residual));
}

#[test]
fn a_write_that_the_target_used_a_part_of_says_so() {
    let mut peer = Peer::new(&setup("Yes", "Yes"));
    let itt = peer.write(1, &pattern(8192))[0].command().itt;
    peer.respond(itt, GOOD, Residual::Underflow(8192 - 4096));
    let residual = peer.completion().1.residual;
    assert_eq!(residual, Residual::Underflow(4096));
}

#[test]
fn an_error_status_may_end_a_write_before_all_its_data_was_sent() {
    let mut peer = Peer::new(&setup("Yes", "Yes"));
    let itt = peer.write(1, &pattern(8192))[0].command().itt;
    peer.respond(itt, 2, Residual::None);
    assert_eq!(peer.completion().1.status, 2);
}

#[test]
fn payload_is_queued_by_reference() {
    let mut peer = Peer::new(&setup("No", "Yes"));
    let data = Bytes::from(pattern(8000));
    peer.submit(1, DataTransfer::Out(data.clone().into()));
    let mut slices = [std::io::IoSlice::new(&[]); 8];
    let count = peer.session.outgoing().slices(&mut slices);
    let places: Vec<_> = slices[..count]
        .iter()
        .map(|s| s.as_ptr() as usize)
        .collect();
    let base = data.as_ptr() as usize;
    assert_eq!((places[1], places[3]), (base, base + 4096));
    assert_eq!(count, 4, "header, data, header, data");
}

#[test]
fn a_payload_of_many_slices_goes_out_in_order() {
    let mut peer = Peer::new(&setup("No", "Yes"));
    let mut payload = Payload::new();
    pattern(9000)
        .chunks(700)
        .for_each(|chunk| payload.push(Bytes::copy_from_slice(chunk)));
    peer.submit(1, DataTransfer::Out(payload));
    let data: Vec<u8> = peer.sent().iter().flat_map(|p| p.data.clone()).collect();
    assert_eq!(data, pattern(9000));
}

#[test]
fn headers_without_payload_between_them_leave_as_one_slice() {
    let mut peer = Peer::new(&Setup::default());
    for id in 0..32 {
        peer.submit(id, DataTransfer::In(4096));
    }
    let mut slices = [std::io::IoSlice::new(&[]); 8];
    assert_eq!(peer.session.outgoing().slices(&mut slices), 1);
    assert_eq!(slices[0].len(), 32 * BHS_LEN);
}
