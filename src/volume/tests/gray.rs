//! Gray paths, trials and hedged reads.

use super::*;

const MILLI: Duration = Duration::from_millis(1);

pub(super) fn all_on(config: &mut VolumeConfig) {
    config.gray = GrayConfig {
        eject: true,
        prove: true,
        hedge: 100,
        domains: Vec::new(),
        jitter: None,
    };
}

/// Two paths, and some hundred reads over path 0 that took a millisecond each.
fn seasoned(change: impl FnOnce(&mut VolumeConfig)) -> Bench {
    let mut bench = Bench::new(2, |config| {
        all_on(config);
        change(config);
    });
    bench.up(0);
    bench.up(1);
    for _ in 0..400 {
        bench.read(8, 8);
        bench.pass(MILLI);
        bench.all_good(0);
        assert!(bench.in_flight.is_empty(), "none of them was late");
    }
    assert_eq!(bench.replies().len(), 400);
    bench
}

pub(super) fn counters(bench: &Bench) -> [u64; 3] {
    let counters = bench.volume.status(bench.now).counters;
    [counters.hedges, counters.hedges_won, counters.hedges_wasted]
}

pub(super) fn duty(bench: &Bench, path: usize) -> DutyStatus {
    bench.volume.status(bench.now).routes[path].duty
}

#[test]
fn a_late_read_is_sent_on_a_second_path_and_answered_once() {
    let mut bench = seasoned(|_| {});
    let io = bench.read(16, 8);
    bench.pass(3 * MILLI);
    assert_eq!(bench.tasks_on(1).len(), 0, "not late yet");
    bench.pass(2 * MILLI);
    let [second] = bench.tasks_on(1)[..] else {
        panic!("sent once more");
    };
    bench.pass(50 * MILLI);
    assert_eq!(bench.in_flight.len(), 2, "and not a third time");
    bench.good(second);
    assert_eq!(bench.replies(), [(io, None)]);
    bench.pass(MILLI);
    bench.all_good(0);
    assert_eq!(bench.replies(), []);
    assert_eq!(counters(&bench), [1, 1, 0]);
    assert!(bench.volume.is_idle());
}

#[test]
fn the_first_attempt_counts_if_it_is_answered_first() {
    let mut bench = seasoned(|_| {});
    let io = bench.read(16, 8);
    bench.pass(5 * MILLI);
    bench.all_good(0);
    assert_eq!(bench.replies(), [(io, None)]);
    assert_eq!(counters(&bench), [1, 0, 1]);
    // What becomes of the second is its path's matter.
    bench.lose(1, Disposition::Indeterminate);
    assert!(bench.in_flight.is_empty());
    assert_eq!(bench.replies(), []);
}

#[test]
fn what_one_of_two_attempts_fails_with_is_no_matter_while_the_other_is_under_way() {
    let mut bench = seasoned(|_| {});
    let ends: [fn(&mut Bench, TaskId); 3] = [
        |bench, task| bench.answer(task, check(3, 0x11, 0)),
        |bench, task| bench.fail(task, Fate::Over),
        |bench, task| bench.answer(task, check(2, 4, 0x0b)),
    ];
    for end in ends {
        let io = bench.read(16, 8);
        bench.pass(5 * MILLI);
        let (first, second) = (bench.tasks_on(0)[0], bench.tasks_on(1)[0]);
        end(&mut bench, second);
        assert_eq!(bench.in_flight.len(), 1, "the first goes on alone");
        bench.good(first);
        assert_eq!(bench.replies(), [(io, None)]);
    }
}

#[test]
fn if_both_attempts_fail_the_command_is_tried_again() {
    let mut bench = seasoned(|_| {});
    let io = bench.read(16, 8);
    bench.pass(5 * MILLI);
    let (first, second) = (bench.tasks_on(0)[0], bench.tasks_on(1)[0]);
    bench.fail(first, Fate::Over);
    bench.fail(second, Fate::Over);
    bench.pass(Duration::from_secs(1));
    let path = u16::from(bench.tasks_on(0).is_empty());
    bench.all_good(path);
    assert_eq!(bench.replies(), [(io, None)]);
}

#[test]
fn a_read_of_a_lost_session_that_has_a_second_attempt_is_not_sent_a_third_time() {
    let mut bench = seasoned(|_| {});
    let io = bench.read(16, 8);
    bench.pass(5 * MILLI);
    bench.lose(0, Disposition::Indeterminate);
    assert_eq!(bench.tasks_on(1).len(), 1);
    bench.all_good(1);
    assert_eq!(bench.replies(), [(io, None)]);
    assert!(bench.volume.is_idle());
}

#[test]
fn writes_are_never_sent_twice() {
    let mut bench = seasoned(|_| {});
    for _ in 0..400 {
        bench.write(8, 8);
        bench.pass(MILLI);
        bench.all_good(0);
    }
    bench.write(16, 8);
    bench.pass(100 * MILLI);
    assert_eq!(bench.tasks_on(1).len(), 0);
}

#[test]
fn without_a_budget_no_read_is_sent_twice() {
    let mut bench = seasoned(|config| config.gray.hedge = 0);
    bench.read(16, 8);
    bench.pass(100 * MILLI);
    assert_eq!(bench.tasks_on(1).len(), 0);
}

#[test]
fn a_path_through_the_same_portal_and_nic_is_no_second_path() {
    let same = |portal| Domain { portal, nic: 0 };
    for (portal, hedges) in [(0, 0), (1, 1)] {
        let mut bench = seasoned(|config| config.gray.domains = vec![same(0), same(portal)]);
        bench.read(16, 8);
        bench.pass(100 * MILLI);
        assert_eq!(bench.tasks_on(1).len(), hedges);
    }
}

#[test]
fn a_path_that_holds_a_late_read_itself_gets_no_other() {
    let mut bench = seasoned(|_| {});
    let mut most = 0;
    for lba in 0..8 {
        bench.read(lba * 8, 8);
        bench.pass(MILLI);
        most = most.max(bench.tasks_on(1).len());
    }
    bench.pass(Duration::from_secs(1));
    most = most.max(bench.tasks_on(1).len());
    assert!(
        (1..=5).contains(&most),
        "until its first is late itself: {most}"
    );
}

#[test]
fn a_path_that_comes_back_is_used_beside_others_after_sixteen_reads() {
    let mut bench = Bench::new(2, all_on);
    bench.up(0);
    bench.up(1);
    bench.lose(0, Disposition::Indeterminate);
    bench.up(0);
    assert!(matches!(duty(&bench, 0), DutyStatus::OnTrial { .. }));
    for _ in 0..16 {
        assert!(matches!(duty(&bench, 0), DutyStatus::OnTrial { .. }));
        assert_eq!((bench.tasks_on(0).len(), bench.tasks_on(1).len()), (1, 1));
        bench.pass(MILLI);
        bench.all_good(0);
        bench.all_good(1);
        bench.pass(100 * MILLI);
    }
    assert_eq!(duty(&bench, 0), DutyStatus::Rising);
    bench.pass(Duration::from_secs(10));
    assert_eq!(duty(&bench, 0), DutyStatus::On);
    assert_eq!(bench.volume.poll_timeout().map(|d| d.why), None);
}

#[test]
fn clients_requests_do_not_go_to_a_path_on_trial_while_another_is_in_use() {
    let mut bench = Bench::new(2, all_on);
    bench.up(0);
    bench.up(1);
    bench.lose(0, Disposition::Indeterminate);
    bench.up(0);
    for lba in 0..7 {
        bench.write(lba, 1);
    }
    assert_eq!((bench.tasks_on(0).len(), bench.tasks_on(1).len()), (1, 8));
    // But once it is the only one.
    bench.lose(1, Disposition::Unsent);
    assert_eq!(bench.tasks_on(0).len(), 8);
    bench.all_good(0);
    assert_eq!(bench.replies().len(), 7);
}

#[test]
fn the_only_path_is_used_at_once_when_it_comes_back() {
    let mut bench = Bench::new(2, all_on);
    bench.up(0);
    bench.lose(0, Disposition::Unsent);
    bench.write(0, 1);
    bench.up(0);
    assert_eq!(duty(&bench, 0), DutyStatus::On);
    assert_eq!(bench.tasks_on(0).len(), 1);
}

#[test]
fn a_path_whose_trial_reads_fail_stays_out_of_use() {
    let mut bench = Bench::new(2, all_on);
    bench.up(0);
    bench.up(1);
    bench.lose(0, Disposition::Indeterminate);
    bench.up(0);
    let mut reads = 0;
    for _ in 0..100 {
        if let Some(&task) = bench.tasks_on(0).first() {
            reads += 1;
            bench.fail(task, Fate::Over);
        }
        bench.all_good(1);
        bench.pass(100 * MILLI);
    }
    assert!((10..=16).contains(&reads), "not in a hurry: {reads}");
    let answered = 0;
    assert_eq!(duty(&bench, 0), DutyStatus::OnTrial { answered, of: 16 });
}

#[test]
fn a_gray_path_is_put_out_of_use_with_its_session_kept() {
    let mut bench = Bench::new(2, |config| {
        all_on(config);
        config.policy = policies::build(PolicySpec::preset(PolicyKind::RoundRobin), 1);
    });
    bench.up(0);
    bench.up(1);
    let mut notes = Vec::new();
    for round in 0..1_000 {
        let slow = round > 400;
        for lba in 0..4 {
            bench.write(lba, 1);
        }
        bench.pass(MILLI);
        bench.all_good(1);
        bench.pass(MILLI * if slow { 19 } else { 1 });
        bench.all_good(0);
        notes.extend(std::iter::from_fn(|| bench.volume.poll_order()));
        if !notes.is_empty() {
            break;
        }
    }
    let [
        (
            PathId(0),
            Order::Note {
                what: "ejected",
                why,
            },
        ),
    ] = &notes[..]
    else {
        panic!("{notes:?}");
    };
    assert!(why.starts_with("slower than its peers"), "{why}");
    for lba in 0..4 {
        bench.write(lba, 1);
    }
    assert_eq!((bench.tasks_on(0).len(), bench.tasks_on(1).len()), (0, 4));
    assert_eq!(
        bench.volume.status(bench.now).routes[0].counters.ejections,
        1
    );
}
