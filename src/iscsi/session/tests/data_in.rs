//! Reads: Data-In with and without status, order, residuals, sense.

use super::*;

const GOOD: u8 = 0;
const CHECK_CONDITION: u8 = 2;

#[test]
fn a_read_command_says_its_length_its_lun_and_that_nothing_follows() {
    let mut peer = Peer::new(&Setup::default());
    let command = peer.read(1, 4096);
    assert_eq!(command.direction, DataDirection::Read(4096));
    assert!(command.last);
    assert_eq!(command.lun, lun());
    assert_eq!(command.cdb[..10], [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
}

#[test]
fn data_in_and_its_status_may_come_in_one_pdu() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 512).itt;
    let mut data_in = peer.data_in(itt, 0, 0);
    data_in.numbers = peer.consumed();
    data_in.status = Some(DataInStatus {
        status: GOOD,
        residual: Residual::None.into(),
    });
    peer.send(data_in.encode(), &pattern(512));
    let (id, completion) = peer.completion();
    assert_eq!(id, TaskId(1));
    assert_eq!(completion.status, GOOD);
    assert_eq!(completion.data.to_bytes(), pattern(512));
    assert_eq!(peer.full().outstanding(), 0);
}

#[test]
fn the_final_bit_of_a_data_in_ends_a_burst_and_not_the_command() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 1024).itt;
    for part in 0..2 {
        let mut data_in = peer.data_in(itt, part, part * 512);
        data_in.last = true;
        peer.send(data_in.encode(), &[u8::try_from(part).unwrap(); 512]);
        assert!(peer.events().is_empty());
    }
    peer.respond(itt, GOOD, Residual::None);
    let data = peer.completion().1.data.to_bytes();
    assert_eq!(data[510..514], [0, 0, 1, 1]);
}

#[test]
fn a_data_in_that_comes_byte_by_byte_is_the_same_as_in_one_piece() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 6001).itt;
    let data_in = peer.data_in(itt, 0, 0);
    peer.outbox
        .push(data_in.encode(), &Bytes::from(pattern(6001)).into());
    let response = peer.response(itt, GOOD, Residual::None);
    peer.outbox.push(response.encode(), &Payload::new());
    let bytes = peer.outbox.outgoing().take_all();
    let mut input = BytesMut::new();
    for byte in &bytes {
        input.extend_from_slice(&[*byte]);
        peer.session.handle_bytes(peer.now, &mut input).unwrap();
    }
    let data = peer.completion().1.data;
    assert_eq!(data.to_bytes(), pattern(6001));
    assert!(
        data.chunks().count() <= 2,
        "dripping does not shred the data"
    );
}

#[test]
fn payload_is_a_slice_of_the_input_and_no_copy() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 8192).itt;
    let data_in = peer.data_in(itt, 0, 0);
    peer.outbox
        .push(data_in.encode(), &Bytes::from(pattern(8192)).into());
    let mut input = BytesMut::from(&peer.outbox.outgoing().take_all()[..]);
    let place = input.as_ptr() as usize + BHS_LEN;
    peer.session.handle_bytes(peer.now, &mut input).unwrap();
    peer.respond(itt, GOOD, Residual::None);
    let data = peer.completion().1.data;
    let chunks: Vec<_> = data.chunks().map(|chunk| chunk.as_ptr() as usize).collect();
    assert_eq!(chunks, [place]);
}

#[test]
fn data_out_of_order_ends_the_session() {
    let cases = [
        (
            1,
            0,
            512,
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
        (0, 0, 1025, TransferFault::BeyondEnd),
    ];
    for (data_sn, offset, length, expected) in cases {
        let mut peer = Peer::new(&Setup::default());
        let itt = peer.read(1, 1024).itt;
        let data_in = peer.data_in(itt, data_sn, offset);
        let error = peer
            .try_send(data_in.encode(), &pattern(length))
            .unwrap_err();
        assert_eq!(fault(error), expected);
    }
}

#[test]
fn data_that_was_sent_twice_ends_the_session() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 1024).itt;
    let data_in = peer.data_in(itt, 0, 0);
    peer.send(data_in.encode(), &pattern(512));
    let again = peer.data_in(itt, 1, 0);
    let error = peer.try_send(again.encode(), &pattern(512)).unwrap_err();
    let expected = TransferFault::Offset {
        expected: 512,
        found: 0,
    };
    assert_eq!(fault(error), expected);
}

#[test]
fn data_in_for_a_write_or_a_command_without_data_ends_the_session() {
    for data in [
        DataTransfer::None,
        DataTransfer::Out(Bytes::from_static(b"x").into()),
    ] {
        let mut peer = Peer::new(&Setup::default());
        peer.submit(1, data);
        let itt = peer.sent()[0].command().itt;
        let data_in = peer.data_in(itt, 0, 0);
        let error = peer.try_send(data_in.encode(), &[0; 4]).unwrap_err();
        assert_eq!(fault(error), TransferFault::WrongDirection);
    }
}

#[test]
fn good_with_underflow_is_delivered_with_the_data_that_came() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 1024).itt;
    let data_in = peer.data_in(itt, 0, 0);
    peer.send(data_in.encode(), &pattern(512));
    peer.respond(itt, GOOD, Residual::Underflow(512));
    let completion = peer.completion().1;
    assert_eq!(completion.residual, Residual::Underflow(512));
    assert_eq!(completion.data.len(), 512);
}

#[test]
fn good_with_a_residual_that_the_data_contradicts_is_a_failure() {
    for (received, residual) in [
        (512, Residual::None),
        (512, Residual::Overflow(9)),
        (512, Residual::Underflow(511)),
        (1024, Residual::Underflow(1)),
        (0, Residual::None),
    ] {
        let mut peer = Peer::new(&Setup::default());
        let itt = peer.read(1, 1024).itt;
        if received > 0 {
            let data_in = peer.data_in(itt, 0, 0);
            peer.send(data_in.encode(), &pattern(received));
        }
        peer.respond(itt, GOOD, residual);
        assert_eq!(peer.failure(), (TaskId(1), TaskFailure::Residual));
    }
}

#[test]
fn overflow_with_all_expected_data_is_delivered() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 8).itt;
    let data_in = peer.data_in(itt, 0, 0);
    peer.send(data_in.encode(), &pattern(8));
    peer.respond(itt, GOOD, Residual::Overflow(100));
    assert_eq!(peer.completion().1.residual, Residual::Overflow(100));
}

#[test]
fn overflow_and_underflow_together_say_nothing_and_fail_the_task() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 8).itt;
    let mut response = peer.response(itt, GOOD, Residual::None);
    response.residual = RawResidual {
        overflow: true,
        underflow: true,
        count: 8,
    };
    peer.send(response.encode(), &[]);
    assert_eq!(peer.failure(), (TaskId(1), TaskFailure::Residual));
}

#[test]
fn the_status_of_another_response_than_00_means_nothing() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 512).itt;
    let mut response = peer.response(itt, GOOD, Residual::None);
    response.response = ScsiResponse::TARGET_FAILURE;
    peer.send(response.encode(), &[]);
    let (id, failure) = peer.failure();
    assert_eq!((id, failure), (TaskId(1), TaskFailure::Response(1)));
    assert_eq!(failure.disposition(), Disposition::Indeterminate);
}

#[test]
fn sense_data_stands_behind_two_bytes_of_length() {
    let fixed = [0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 0, 0, 0, 0, 0];
    let cases: [(Vec<u8>, &[u8]); 5] = [
        ([&[0, 18][..], &fixed].concat(), &fixed),
        ([&[0, 18][..], &fixed, &[0; 10]].concat(), &fixed),
        ([&[0, 200][..], &fixed].concat(), &fixed),
        (vec![0, 0], &[]),
        (vec![7], &[]),
    ];
    for (segment, sense) in cases {
        let mut peer = Peer::new(&Setup::default());
        let itt = peer.read(1, 512).itt;
        let response = peer.response(itt, CHECK_CONDITION, Residual::None);
        peer.send(response.encode(), &segment);
        let completion = peer.completion().1;
        assert_eq!(completion.status, CHECK_CONDITION);
        assert_eq!(completion.sense, sense);
    }
}

#[test]
fn data_before_a_check_condition_is_handed_on_with_it() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 1024).itt;
    let data_in = peer.data_in(itt, 0, 0);
    peer.send(data_in.encode(), &pattern(512));
    peer.respond(itt, CHECK_CONDITION, Residual::Underflow(512));
    let completion = peer.completion().1;
    assert_eq!(completion.data.len(), 512);
}

#[test]
fn a_read_of_nothing_is_a_command_without_data() {
    let mut peer = Peer::new(&Setup::default());
    let command = peer.read(1, 0);
    assert_eq!(command.direction, DataDirection::None);
    peer.respond(command.itt, GOOD, Residual::None);
    assert!(peer.completion().1.data.is_empty());
}

#[test]
fn many_reads_answered_in_any_order_get_their_own_data() {
    let mut peer = Peer::new(&Setup::default());
    let tags: Vec<Itt> = (0..20).map(|id| peer.read(id, 512).itt).collect();
    for id in [3u8, 19, 0, 7] {
        let mut data_in = peer.data_in(tags[usize::from(id)], 0, 0);
        data_in.numbers = peer.consumed();
        data_in.status = Some(DataInStatus {
            status: GOOD,
            residual: Residual::None.into(),
        });
        peer.send(data_in.encode(), &[id; 512]);
        let (task, completion) = peer.completion();
        assert_eq!(task, TaskId(u64::from(id)));
        assert_eq!(completion.data.to_bytes(), vec![id; 512]);
    }
    assert_eq!(peer.full().outstanding(), 16);
}
