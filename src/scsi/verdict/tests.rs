use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::payload::Payload;
use crate::task::Residual;

fn answer(status: u8, sense: Bytes) -> Completion {
    Completion {
        status,
        sense,
        data: Payload::new(),
        residual: Residual::None,
    }
}

fn of(kind: CommandKind, key: SenseKey, asc: u8, ascq: u8) -> Verdict {
    let sense = Sense::new(key, asc, ascq).to_fixed().unwrap();
    verdict(
        &answer(status::CHECK_CONDITION, Bytes::copy_from_slice(&sense)),
        kind,
    )
}

fn of_status(status: u8) -> Verdict {
    verdict(&answer(status, Bytes::new()), CommandKind::Write)
}

#[test]
fn every_row_decides_about_some_answer() {
    for row in TABLE {
        let codes: Vec<(u8, u8)> = match row.code {
            Code::Exact(asc, ascq) => vec![(asc, ascq)],
            Code::Asc(asc) => (0..=255).map(|ascq| (asc, ascq)).collect(),
            Code::Any => (0..=255).map(|asc| (asc, 0xee)).collect(),
        };
        let decides = |(asc, ascq): &(u8, u8), kind| {
            row.kinds.contains(kind) && std::ptr::eq(table::find(row.key, *asc, *ascq, kind), row)
        };
        let reached = codes
            .iter()
            .any(|code| CommandKind::ALL.into_iter().any(|kind| decides(code, kind)));
        assert!(reached, "shadowed: {row}");
    }
}

#[test]
fn statuses_mean_what_sam_says() {
    assert_eq!(of_status(0x00), Verdict::Good);
    assert_eq!(of_status(0x04), Verdict::Good);
    assert_eq!(of_status(0x08), Verdict::ShrinkQueue);
    assert_eq!(of_status(0x28), Verdict::ShrinkQueue);
    assert_eq!(of_status(0x18), Verdict::Conflict);
    assert_eq!(of_status(0x40), RETRY);
    assert_eq!(of_status(0x02), RETRY_ELSEWHERE_LATER, "no sense data");
    assert_eq!(of_status(0xfe), RETRY_ELSEWHERE_LATER);
}

#[test]
fn unit_attentions_are_rechecked_and_never_fail_a_command() {
    let table = [
        (0x28, 0x00, Recheck::Identity),
        (0x29, 0x00, Recheck::Reset),
        (0x29, 0x07, Recheck::Reset),
        (0x2a, 0x01, Recheck::Parameters),
        (0x2a, 0x03, Recheck::Reservations),
        (0x2a, 0x06, Recheck::Access),
        (0x2a, 0x09, Recheck::Capacity),
        (0x38, 0x07, Recheck::Parameters),
        (0x3f, 0x03, Recheck::Identity),
        (0x3f, 0x0e, Recheck::Identity),
        (0x77, 0x77, Recheck::Identity),
    ];
    for kind in CommandKind::ALL {
        for (asc, ascq, what) in table {
            let verdict = of(kind, SenseKey::UnitAttention, asc, ascq);
            assert_eq!(
                verdict,
                Verdict::Recheck(what),
                "{kind:?} {asc:02x}/{ascq:02x}"
            );
        }
    }
}

#[test]
fn access_states_send_a_command_to_another_path() {
    let of = |ascq| of(CommandKind::Read, SenseKey::NotReady, 0x04, ascq);
    assert_eq!(of(0x0a), Verdict::OtherPath(PathTrouble::Transitioning));
    assert_eq!(of(0x0b), Verdict::OtherPath(PathTrouble::Standby));
    assert_eq!(of(0x0c), Verdict::OtherPath(PathTrouble::Unavailable));
    assert_eq!(of(0x01), Verdict::OtherPath(PathTrouble::NotReady));
    assert_eq!(of(0x03), Verdict::OtherPath(PathTrouble::Offline));
}

#[test]
fn a_block_beyond_the_end_is_no_space_for_a_write_and_invalid_for_a_read() {
    let of = |kind| of(kind, SenseKey::IllegalRequest, 0x21, 0);
    let fail = |errno| Verdict::Fail {
        errno,
        recheck: Some(Recheck::Capacity),
    };
    assert_eq!(of(CommandKind::Write), fail(IoErrno::NoSpc));
    assert_eq!(of(CommandKind::WriteZeroes), fail(IoErrno::NoSpc));
    assert_eq!(of(CommandKind::Read), fail(IoErrno::Inval));
    assert_eq!(of(CommandKind::Trim), fail(IoErrno::Inval));
}

#[test]
fn an_unknown_command_switches_a_feature_off_but_fails_a_transfer() {
    let inval = Verdict::Fail {
        errno: IoErrno::Inval,
        recheck: None,
    };
    for (asc, ascq) in [(0x20, 0), (0x24, 0), (0x26, 0), (0x1a, 0), (0x22, 0)] {
        let of = |kind| of(kind, SenseKey::IllegalRequest, asc, ascq);
        assert_eq!(of(CommandKind::Trim), Verdict::Unsupported);
        assert_eq!(of(CommandKind::WriteZeroes), Verdict::Unsupported);
        assert_eq!(of(CommandKind::Read), inval);
        assert_eq!(of(CommandKind::Write), inval);
    }
}

#[test]
fn only_a_flush_that_is_unknown_altogether_counts_as_done() {
    let of = |asc| of(CommandKind::Flush, SenseKey::IllegalRequest, asc, 0);
    assert_eq!(of(0x20), Verdict::Unsupported);
    assert_eq!(
        of(0x24),
        Verdict::Fail {
            errno: IoErrno::Inval,
            recheck: None
        }
    );
}

#[test]
fn what_is_the_same_on_every_path_fails_at_once() {
    let of = |key, asc, ascq| of(CommandKind::Write, key, asc, ascq);
    let fail = |errno| Verdict::Fail {
        errno,
        recheck: None,
    };
    assert_eq!(of(SenseKey::MediumError, 0x11, 0), fail(IoErrno::Io));
    assert_eq!(of(SenseKey::DataProtect, 0x27, 7), fail(IoErrno::NoSpc));
    assert_eq!(
        of(SenseKey::DataProtect, 0x27, 0),
        Verdict::Fail {
            errno: IoErrno::Perm,
            recheck: Some(Recheck::Parameters)
        }
    );
}

#[test]
fn a_unit_that_vanished_is_looked_for_elsewhere() {
    for (asc, ascq) in [(0x25, 0), (0x68, 0), (0x3f, 0x0e)] {
        let verdict = of(CommandKind::Write, SenseKey::IllegalRequest, asc, ascq);
        assert_eq!(verdict, Verdict::OtherPath(PathTrouble::Gone));
    }
}

#[test]
fn an_aborted_command_is_sent_again_and_a_damaged_one_elsewhere() {
    let of = |asc| of(CommandKind::Write, SenseKey::AbortedCommand, asc, 0);
    assert_eq!(of(0), RETRY);
    assert_eq!(of(0x47), Verdict::OtherPath(PathTrouble::Transport));
}

#[test]
fn a_deferred_error_fails_a_flush_and_is_remembered_by_the_others() {
    let sense = Sense {
        deferred: true,
        ..Sense::new(SenseKey::MediumError, 0x0c, 0)
    };
    let bytes = Bytes::copy_from_slice(&sense.to_fixed().unwrap());
    let of = |kind| verdict(&answer(status::CHECK_CONDITION, bytes.clone()), kind);
    assert_eq!(
        of(CommandKind::Flush),
        Verdict::Fail {
            errno: IoErrno::Io,
            recheck: None
        }
    );
    assert_eq!(of(CommandKind::Write), Verdict::Recheck(Recheck::CacheLost));
    assert_eq!(of(CommandKind::Read), Verdict::Recheck(Recheck::CacheLost));
}

#[test]
fn a_judgement_reads_as_a_sentence() {
    let sense = Sense {
        information: Some(4711),
        ..Sense::new(SenseKey::MediumError, 0x11, 0)
    };
    let bytes = Bytes::copy_from_slice(&sense.to_fixed().unwrap());
    let judged = judge(&answer(status::CHECK_CONDITION, bytes), CommandKind::Read);
    assert_eq!(
        judged.to_string(),
        "medium error (MEDIUM ERROR 11/00 at block 4711)"
    );
    let judged = judge(
        &answer(status::TASK_SET_FULL, Bytes::new()),
        CommandKind::Read,
    );
    assert_eq!(judged.to_string(), "task set full (status 28h)");
}

proptest! {
    #[test]
    fn every_answer_has_a_verdict(
        status in any::<u8>(),
        check in any::<bool>(),
        sense in vec(any::<u8>(), 0..40),
    ) {
        let status = if check { status::CHECK_CONDITION } else { status };
        let answer = answer(status, sense.into());
        for kind in CommandKind::ALL {
            let judged = judge(&answer, kind);
            prop_assert_eq!(judged.verdict == Verdict::Good, judged.verdict.errno().is_none());
            prop_assert!(!judged.why.is_empty());
        }
    }

    #[test]
    fn no_sense_but_success_is_good(key in 0..16usize, asc in any::<u8>(), ascq in any::<u8>()) {
        let key = SenseKey::ALL[key];
        let good = matches!(key, SenseKey::RecoveredError | SenseKey::Completed);
        for kind in CommandKind::ALL {
            prop_assert_eq!(of(kind, key, asc, ascq) == Verdict::Good, good);
        }
    }

    #[test]
    fn both_formats_of_sense_are_judged_alike(key in 0..16usize, asc in any::<u8>(), ascq in any::<u8>()) {
        let sense = Sense::new(SenseKey::ALL[key], asc, ascq);
        let fixed = answer(status::CHECK_CONDITION, Bytes::copy_from_slice(&sense.to_fixed().unwrap()));
        let descriptor = answer(status::CHECK_CONDITION, sense.to_descriptors().into());
        for kind in CommandKind::ALL {
            prop_assert_eq!(judge(&fixed, kind), judge(&descriptor, kind));
        }
    }
}
