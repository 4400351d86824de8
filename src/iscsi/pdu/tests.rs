use proptest::prelude::*;

use super::*;
use crate::ids::Lun;
use crate::iscsi::serial::SerialNumber;
use crate::iscsi::tags::{Itt, RESERVED_TAG, Ttt};
use crate::task::{Residual, TaskAttribute};

fn itt() -> impl Strategy<Value = Itt> {
    any::<u32>().prop_filter_map("reserved", Itt::new)
}

fn tag() -> impl Strategy<Value = Option<Ttt>> {
    prop_oneof![Just(None), any::<u32>().prop_map(Ttt::new)]
}

fn lun() -> impl Strategy<Value = Lun> {
    any::<[u8; 8]>().prop_map(Lun::from_wire)
}

fn ours() -> impl Strategy<Value = InitiatorNumbers> {
    any::<(u32, u32)>().prop_map(|(a, b)| InitiatorNumbers {
        cmd_sn: SerialNumber(a),
        exp_stat_sn: SerialNumber(b),
    })
}

fn theirs() -> impl Strategy<Value = TargetNumbers> {
    any::<(u32, u32, u32)>().prop_map(|(a, b, c)| TargetNumbers {
        stat_sn: SerialNumber(a),
        exp_cmd_sn: SerialNumber(b),
        max_cmd_sn: SerialNumber(c),
    })
}

fn residual() -> impl Strategy<Value = RawResidual> {
    any::<(bool, bool, u32)>().prop_map(|(overflow, underflow, count)| RawResidual {
        overflow,
        underflow,
        count,
    })
}

fn function() -> impl Strategy<Value = Function> {
    (0..7, lun(), itt(), any::<u32>()).prop_map(|(which, lun, itt, cmd_sn)| match which {
        0 => Function::AbortTask {
            lun,
            itt,
            cmd_sn: SerialNumber(cmd_sn),
        },
        1 => Function::AbortTaskSet(lun),
        2 => Function::ClearAca(lun),
        3 => Function::ClearTaskSet(lun),
        4 => Function::LogicalUnitReset(lun),
        5 => Function::TargetWarmReset,
        _ => Function::TargetColdReset,
    })
}

proptest! {
    #[test]
    fn a_scsi_command_survives_the_wire(
        immediate: bool, last: bool, which in 0..3, length: u32, ordered: bool,
        lun in lun(), itt in itt(), numbers in ours(), cdb: [u8; 16],
    ) {
        let direction = match which {
            0 => DataDirection::None,
            1 => DataDirection::Read(length),
            _ => DataDirection::Write(length),
        };
        let attribute = if ordered { TaskAttribute::Ordered } else { TaskAttribute::Simple };
        let pdu = ScsiCommand { immediate, last, direction, attribute, lun, itt, numbers, cdb };
        prop_assert_eq!(ScsiCommand::decode(&pdu.encode()), Ok(pdu));
    }

    #[test]
    fn a_scsi_response_survives_the_wire(
        itt in itt(), response: u8, status: u8, residual in residual(), numbers in theirs(), exp_data_sn: u32,
    ) {
        let pdu = ScsiResponse { itt, response, status, residual, numbers, exp_data_sn };
        prop_assert_eq!(ScsiResponse::decode(&pdu.encode()), Ok(pdu));
    }

    #[test]
    fn data_out_data_in_and_r2t_survive_the_wire(
        last: bool, lun in lun(), itt in itt(), ttt in tag(), numbers in theirs(), sn: u32, offset: u32,
        acknowledge: bool, with_status: bool, status: u8, residual in residual(), length in 1u32..,
    ) {
        let exp_stat_sn = numbers.stat_sn;
        let out = DataOut { last, lun, itt, ttt, exp_stat_sn, data_sn: sn, offset };
        prop_assert_eq!(DataOut::decode(&out.encode()), Ok(out));
        let status = with_status.then_some(DataInStatus { status, residual });
        let data_in = DataIn { last, acknowledge, status, lun, itt, ttt, numbers, data_sn: sn, offset };
        prop_assert_eq!(DataIn::decode(&data_in.encode()), Ok(data_in));
        if let Some(ttt) = ttt {
            let r2t = R2t { lun, itt, ttt, numbers, r2t_sn: sn, offset, length };
            prop_assert_eq!(R2t::decode(&r2t.encode()), Ok(r2t));
        }
    }

    #[test]
    fn task_management_survives_the_wire(
        immediate: bool, function in function(), itt in itt(), ours in ours(), theirs in theirs(), code: u8,
    ) {
        let request = TaskManagementRequest { immediate, function, itt, numbers: ours };
        prop_assert_eq!(TaskManagementRequest::decode(&request.encode()), Ok(request));
        let done = TmfResponse::Complete;
        let mut bhs = TaskManagementResponse { itt, response: done, numbers: theirs }.encode();
        bhs.set_byte::<2>(code);
        let response = TaskManagementResponse::decode(&bhs).unwrap();
        prop_assert_eq!(response.encode(), bhs);
    }

    #[test]
    fn nops_survive_the_wire(lun in lun(), itt in itt(), ttt in tag(), ours in ours(), theirs in theirs()) {
        let out = NopOut { immediate: true, lun, itt: Some(itt), ttt, numbers: ours };
        prop_assert_eq!(NopOut::decode(&out.encode()), Ok(out));
        let nop_in = NopIn { lun, itt: None, ttt, numbers: theirs };
        prop_assert_eq!(NopIn::decode(&nop_in.encode()), nop_in);
    }

    #[test]
    fn async_logout_and_reject_survive_the_wire(
        lun in lun(), itt in itt(), ours in ours(), theirs in theirs(), code: u8, vendor_code: u8,
        parameters: [u16; 3], data_sn: u32,
    ) {
        let message = AsyncMessage { lun, numbers: theirs, event: code, vendor_code, parameters };
        prop_assert_eq!(AsyncMessage::decode(&message.encode()), message);
        let request = LogoutRequest {
            immediate: true, reason: LogoutReason::CloseSession, itt, cid: 0, numbers: ours,
        };
        prop_assert_eq!(LogoutRequest::decode(&request.encode()), Ok(request));
        let [time2wait, time2retain, _] = parameters;
        let response = LogoutResponse { itt, response: code, numbers: theirs, time2wait, time2retain };
        prop_assert_eq!(LogoutResponse::decode(&response.encode()), Ok(response));
        let reject = Reject { reason: RejectReason::from_wire(code), numbers: theirs, data_sn };
        prop_assert_eq!(Reject::decode(&reject.encode()), reject);
    }

    #[test]
    fn no_header_makes_a_decoder_panic(bytes: [u8; 48]) {
        let bhs = Bhs::from_wire(bytes);
        let _ = (ScsiCommand::decode(&bhs), ScsiResponse::decode(&bhs), DataOut::decode(&bhs));
        let _ = (DataIn::decode(&bhs), R2t::decode(&bhs), TaskManagementRequest::decode(&bhs));
        let _ = (TaskManagementResponse::decode(&bhs), NopOut::decode(&bhs), NopIn::decode(&bhs));
        let _ = (AsyncMessage::decode(&bhs), LogoutRequest::decode(&bhs), LogoutResponse::decode(&bhs));
        let _ = Reject::decode(&bhs);
    }
}

/// Bytes written out by hand from the figures of RFC 7143 section 11: a codec that is wrong both
/// ways survives the wire, but not these.
mod figures {
    use super::*;

    const LUN: [u8; 8] = [0x40, 0x01, 2, 3, 4, 5, 6, 7];
    const SN: TargetNumbers = TargetNumbers {
        stat_sn: SerialNumber(0x1111_1111),
        exp_cmd_sn: SerialNumber(0x2222_2222),
        max_cmd_sn: SerialNumber(0x3333_3333),
    };
    const OUR_SN: InitiatorNumbers = InitiatorNumbers {
        cmd_sn: SerialNumber(0x4444_4444),
        exp_stat_sn: SerialNumber(0x5555_5555),
    };

    fn tag() -> Itt {
        Itt::new(0xaabb_ccdd).unwrap()
    }

    /// (offset, bytes) of everything that is not zero.
    fn wire(parts: &[(usize, &[u8])]) -> [u8; 48] {
        let mut bytes = [0; 48];
        for (at, part) in parts {
            bytes[*at..at + part.len()].copy_from_slice(part);
        }
        bytes
    }

    const ITT: (usize, &[u8]) = (16, &[0xaa, 0xbb, 0xcc, 0xdd]);
    const NO_ITT: (usize, &[u8]) = (16, &[0xff; 4]);
    const TTT: (usize, &[u8]) = (20, &[0, 0, 0, 9]);
    const NO_TTT: (usize, &[u8]) = (20, &[0xff; 4]);
    const TARGET_SN: (usize, &[u8]) = (
        24,
        &[
            0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x22, 0x22, 0x33, 0x33, 0x33, 0x33,
        ],
    );
    const INITIATOR_SN: (usize, &[u8]) = (24, &[0x44, 0x44, 0x44, 0x44, 0x55, 0x55, 0x55, 0x55]);

    #[test]
    fn a_write_command_is_that_of_figure_11_3() {
        let pdu = ScsiCommand {
            immediate: false,
            last: false,
            direction: DataDirection::Write(0x0102_0304),
            attribute: TaskAttribute::Simple,
            lun: Lun::from_wire(LUN),
            itt: tag(),
            numbers: OUR_SN,
            cdb: [0x8a; 16],
        };
        let expected = wire(&[
            (0, &[0x01, 0x21]),
            (8, &LUN),
            ITT,
            (20, &[1, 2, 3, 4]),
            INITIATOR_SN,
            (32, &[0x8a; 16]),
        ]);
        assert_eq!(pdu.encode().wire(), &expected);
    }

    #[test]
    fn a_scsi_response_is_that_of_11_4() {
        let pdu = ScsiResponse {
            itt: tag(),
            response: 1,
            status: 2,
            residual: Residual::Underflow(0x0708_090a).into(),
            numbers: SN,
            exp_data_sn: 3,
        };
        let expected = wire(&[
            (0, &[0x21, 0x82, 1, 2]),
            ITT,
            TARGET_SN,
            (39, &[3]),
            (44, &[7, 8, 9, 0x0a]),
        ]);
        assert_eq!(pdu.encode().wire(), &expected);
    }

    #[test]
    fn a_data_out_is_that_of_11_7() {
        let pdu = DataOut {
            last: true,
            lun: Lun::from_wire(LUN),
            itt: tag(),
            ttt: Ttt::new(9),
            exp_stat_sn: OUR_SN.exp_stat_sn,
            data_sn: 7,
            offset: 0x0001_0000,
        };
        let expected = wire(&[
            (0, &[0x05, 0x80]),
            (8, &LUN),
            ITT,
            TTT,
            (28, &[0x55; 4]),
            (39, &[7]),
            (40, &[0, 1, 0, 0]),
        ]);
        assert_eq!(pdu.encode().wire(), &expected);
    }

    #[test]
    fn a_data_in_with_status_is_that_of_11_7() {
        let pdu = DataIn {
            last: true,
            acknowledge: false,
            status: Some(DataInStatus {
                status: 0,
                residual: Residual::Overflow(5).into(),
            }),
            lun: Lun::from_wire([0; 8]),
            itt: tag(),
            ttt: None,
            numbers: SN,
            data_sn: 7,
            offset: 0x0001_0000,
        };
        let expected = wire(&[
            (0, &[0x25, 0x85, 0, 0]),
            ITT,
            NO_TTT,
            TARGET_SN,
            (39, &[7]),
            (40, &[0, 1, 0, 0]),
            (47, &[5]),
        ]);
        assert_eq!(pdu.encode().wire(), &expected);
    }

    #[test]
    fn an_r2t_is_that_of_11_8() {
        let pdu = R2t {
            lun: Lun::from_wire(LUN),
            itt: tag(),
            ttt: Ttt::new(9).unwrap(),
            numbers: SN,
            r2t_sn: 1,
            offset: 0x0002_0000,
            length: 0x0004_0000,
        };
        let expected = wire(&[
            (0, &[0x31, 0x80]),
            (8, &LUN),
            ITT,
            TTT,
            TARGET_SN,
            (39, &[1]),
            (40, &[0, 2, 0, 0]),
            (44, &[0, 4, 0, 0]),
        ]);
        assert_eq!(pdu.encode().wire(), &expected);
    }

    #[test]
    fn task_management_is_that_of_11_5_and_11_6() {
        let abort = TaskManagementRequest {
            immediate: true,
            function: Function::AbortTask {
                lun: Lun::from_wire(LUN),
                itt: Itt::new(9).unwrap(),
                cmd_sn: SerialNumber(0x0102_0304),
            },
            itt: tag(),
            numbers: OUR_SN,
        };
        let expected = wire(&[
            (0, &[0x42, 0x81]),
            (8, &LUN),
            ITT,
            TTT,
            INITIATOR_SN,
            (32, &[1, 2, 3, 4]),
        ]);
        assert_eq!(abort.encode().wire(), &expected);
        let reset = TaskManagementRequest {
            function: Function::TargetColdReset,
            ..abort
        };
        let expected = wire(&[(0, &[0x42, 0x87]), ITT, NO_TTT, INITIATOR_SN]);
        assert_eq!(reset.encode().wire(), &expected);
        let response = TaskManagementResponse {
            itt: tag(),
            response: TmfResponse::Rejected,
            numbers: SN,
        };
        let expected = wire(&[(0, &[0x22, 0x80, 255]), ITT, TARGET_SN]);
        assert_eq!(response.encode().wire(), &expected);
    }

    #[test]
    fn nops_are_those_of_11_18_and_11_19() {
        let answer = NopOut {
            immediate: true,
            lun: Lun::from_wire(LUN),
            itt: None,
            ttt: Ttt::new(9),
            numbers: OUR_SN,
        };
        let expected = wire(&[(0, &[0x40, 0x80]), (8, &LUN), NO_ITT, TTT, INITIATOR_SN]);
        assert_eq!(answer.encode().wire(), &expected);
        let pong = NopIn {
            lun: Lun::from_wire([0; 8]),
            itt: Some(tag()),
            ttt: None,
            numbers: SN,
        };
        let expected = wire(&[(0, &[0x20, 0x80]), ITT, NO_TTT, TARGET_SN]);
        assert_eq!(pong.encode().wire(), &expected);
    }

    #[test]
    fn async_logout_and_reject_are_those_of_11_9_11_14_11_15_and_11_17() {
        let message = AsyncMessage {
            lun: Lun::from_wire(LUN),
            numbers: SN,
            event: 2,
            vendor_code: 8,
            parameters: [1, 0x0203, 0x0405],
        };
        let expected = wire(&[
            (0, &[0x32, 0x80]),
            (8, &LUN),
            NO_ITT,
            TARGET_SN,
            (36, &[2, 8, 0, 1, 2, 3, 4, 5]),
        ]);
        assert_eq!(message.encode().wire(), &expected);
        let request = LogoutRequest {
            immediate: true,
            reason: LogoutReason::CloseConnection,
            itt: tag(),
            cid: 0x0102,
            numbers: OUR_SN,
        };
        let expected = wire(&[(0, &[0x46, 0x81]), ITT, (20, &[1, 2]), INITIATOR_SN]);
        assert_eq!(request.encode().wire(), &expected);
        let response = LogoutResponse {
            itt: tag(),
            response: 3,
            numbers: SN,
            time2wait: 2,
            time2retain: 20,
        };
        let expected = wire(&[(0, &[0x26, 0x80, 3]), ITT, TARGET_SN, (40, &[0, 2, 0, 20])]);
        assert_eq!(response.encode().wire(), &expected);
        let reject = Reject {
            reason: RejectReason::WaitingForLogout,
            numbers: SN,
            data_sn: 6,
        };
        let expected = wire(&[(0, &[0x3f, 0x80, 0x0c]), NO_ITT, TARGET_SN, (39, &[6])]);
        assert_eq!(reject.encode().wire(), &expected);
    }
}

#[test]
fn both_residual_bits_say_nothing_and_a_count_without_a_bit_is_ignored() {
    let raw = |overflow, underflow| RawResidual {
        overflow,
        underflow,
        count: 9,
    };
    assert_eq!(raw(true, true).checked(), None);
    assert_eq!(raw(false, false).checked(), Some(Residual::None));
    assert_eq!(raw(false, true).checked(), Some(Residual::Underflow(9)));
}

#[test]
fn an_r2t_for_nothing_or_without_a_tag_is_refused() {
    let mut bhs = Bhs::new(Opcode::R2t);
    bhs.set_itt(Itt::new(1));
    assert!(R2t::decode(&bhs).is_err(), "length 0");
    bhs.set_word::<44>(512);
    bhs.set_word::<20>(RESERVED_TAG);
    assert_eq!(R2t::decode(&bhs), Err(InvalidPdu::ReservedTag(0x31)));
    bhs.set_word::<20>(0);
    assert!(R2t::decode(&bhs).is_ok(), "0 is an ordinary tag");
}

#[test]
fn every_opcode_has_one_value() {
    let known = (0..=0x3f).filter_map(Opcode::from_wire).count();
    assert_eq!(known, 18);
    for value in 0..=0x3f {
        if let Some(opcode) = Opcode::from_wire(value) {
            assert_eq!(opcode as u8, value);
        }
    }
}
