//! Loss of sessions, ghosts, fences, no path left.

use super::*;

#[test]
fn an_unsent_write_goes_to_the_other_path_and_leaves_no_ghost() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.up(1);
    let io = bench.write(0, 8);
    assert_eq!(bench.tasks_on(0).len(), 1);
    bench.lose(0, Disposition::Unsent);
    assert_eq!(bench.tasks_on(1).len(), 1, "issued again at once");
    bench.all_good(1);
    assert_eq!(bench.replies(), [(io, None)]);
    let later = bench.write(0, 8);
    bench.all_good(1);
    assert_eq!(bench.replies(), [(later, None)], "nothing haunts the range");
}

#[test]
fn an_indeterminate_write_is_acknowledged_after_its_second_attempt_and_haunts_its_range() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.up(1);
    let first = bench.write(0, 8);
    bench.lose(0, Disposition::Indeterminate);
    bench.all_good(1);
    assert_eq!(
        bench.replies(),
        [(first, None)],
        "acknowledged without waiting for the fence"
    );
    let overlapping = bench.write(4, 8);
    let apart = bench.write(64, 8);
    assert_eq!(
        bench.tasks_on(1).len(),
        1,
        "only the write that overlaps the ghost waits"
    );
    bench.all_good(1);
    assert_eq!(bench.replies(), [(apart, None)]);
    let lost = bench.incarnation(0);
    bench.fence(0, lost);
    bench.all_good(1);
    assert_eq!(bench.replies(), [(overlapping, None)]);
}

#[test]
fn reads_of_a_haunted_range_never_wait() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.up(1);
    bench.write(0, 8);
    bench.lose(0, Disposition::Indeterminate);
    bench.all_good(1);
    bench.replies();
    let read = bench.read(0, 8);
    bench.all_good(1);
    assert_eq!(bench.replies(), [(read, None)]);
}

#[test]
fn reads_and_flushes_of_unknown_fate_are_issued_again_and_leave_no_ghost() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.up(1);
    let read = bench.read(0, 8);
    let flush = bench.ask(Request::Flush);
    bench.lose(0, Disposition::Indeterminate);
    assert_eq!(bench.volume.status(bench.now).ghosts, 0);
    bench.all_good(1);
    assert_eq!(bench.replies(), [(read, None), (flush, None)]);
}

#[test]
fn trims_and_zeroing_of_unknown_fate_haunt_like_writes() {
    for zeroes in [false, true] {
        let mut bench = Bench::new(2, |_| {});
        bench.up(0);
        bench.up(1);
        let range = geometry().range(0, 64 * 512).unwrap();
        bench.ask(if zeroes {
            Request::WriteZeroes {
                range,
                may_unmap: true,
                fua: false,
            }
        } else {
            Request::Trim { range, fua: false }
        });
        bench.lose(0, Disposition::Indeterminate);
        bench.all_good(1);
        assert_eq!(bench.replies().len(), 1);
        let write = bench.write(10, 1);
        bench.all_good(1);
        assert!(bench.replies().is_empty(), "zeroes {zeroes}");
        bench.fence(0, Incarnation(1));
        bench.all_good(1);
        assert_eq!(bench.replies(), [(write, None)]);
    }
}

#[test]
fn a_fence_of_an_older_session_lays_no_ghost_of_a_later_one() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.up(1);
    bench.write(0, 8);
    bench.lose(0, Disposition::Indeterminate);
    bench.all_good(1);
    bench.replies();
    let waiting = bench.write(0, 8);
    bench.fence(0, Incarnation(0));
    assert!(
        bench.in_flight.is_empty(),
        "that fence is of the session before"
    );
    bench.fence(1, Incarnation(9));
    assert!(bench.in_flight.is_empty(), "that fence is of another path");
    bench.fence(0, Incarnation(1));
    bench.all_good(1);
    assert_eq!(bench.replies(), [(waiting, None)]);
}

#[test]
fn without_a_fence_a_ghost_is_let_go_after_the_quiesce_time_exactly() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.up(1);
    bench.write(0, 8);
    bench.lose(0, Disposition::Indeterminate);
    bench.all_good(1);
    bench.replies();
    let waiting = bench.write(0, 8);
    bench.pass(Duration::from_millis(44_999));
    assert!(bench.in_flight.is_empty());
    bench.pass(Duration::from_millis(1));
    bench.all_good(1);
    assert_eq!(bench.replies(), [(waiting, None)]);
    assert_eq!(bench.volume.status(bench.now).counters.quiesced, 1);
}

#[test]
fn without_quiesce_a_ghost_stays_until_it_is_fenced() {
    let mut bench = Bench::new(2, |config| config.quiesce = None);
    bench.up(0);
    bench.up(1);
    bench.write(0, 8);
    bench.lose(0, Disposition::Indeterminate);
    bench.all_good(1);
    bench.write(0, 8);
    bench.pass(Duration::from_secs(86_400));
    assert!(bench.in_flight.is_empty());
    bench.fence(0, Incarnation(1));
    assert_eq!(bench.in_flight.len(), 1);
}

#[test]
fn a_write_lost_on_both_paths_haunts_until_both_are_fenced() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.up(1);
    let first = bench.write(0, 8);
    bench.lose(0, Disposition::Indeterminate);
    bench.lose(1, Disposition::Indeterminate);
    bench.up(0);
    bench.fence(0, Incarnation(1));
    bench.all_good(0);
    assert_eq!(bench.replies(), [(first, None)]);
    bench.write(0, 8);
    assert!(
        bench.in_flight.is_empty(),
        "path 1's copy may still execute"
    );
    bench.fence(1, Incarnation(1));
    assert_eq!(bench.in_flight.len(), 1);
}

#[test]
fn a_shared_volume_acknowledges_a_write_of_unknown_fate_only_after_its_fence() {
    let mut bench = Bench::new(2, |config| config.shared = true);
    bench.up(0);
    bench.up(1);
    let io = bench.write(0, 8);
    bench.lose(0, Disposition::Indeterminate);
    bench.all_good(1);
    assert!(
        bench.replies().is_empty(),
        "another host must not see the acknowledgement yet"
    );
    assert!(!bench.volume.is_idle());
    bench.fence(0, Incarnation(1));
    assert_eq!(bench.replies(), [(io, None)]);
}

#[test]
fn a_shared_volume_acknowledges_at_once_what_was_tried_again_after_the_fence() {
    let mut bench = Bench::new(2, |config| config.shared = true);
    bench.up(0);
    let io = bench.write(0, 8);
    bench.lose(0, Disposition::Indeterminate);
    bench.fence(0, Incarnation(1));
    bench.up(1);
    bench.all_good(1);
    assert_eq!(bench.replies(), [(io, None)]);
}

#[test]
fn after_an_unclean_exit_writes_wait_for_every_path_and_reads_do_not() {
    let mut bench = Bench::new(2, |config| config.unclean = true);
    bench.up(0);
    bench.fence(0, Incarnation(0));
    let read = bench.read(0, 8);
    bench.all_good(0);
    assert_eq!(bench.replies(), [(read, None)]);
    let write = bench.write(0, 8);
    assert!(
        bench.in_flight.is_empty(),
        "path 1's old session is not fenced"
    );
    bench.fence(1, Incarnation(0));
    bench.all_good(0);
    assert_eq!(bench.replies(), [(write, None)]);
}

#[test]
fn with_no_path_left_io_waits_and_the_first_path_back_takes_it_in_order() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    let lost = bench.write(0, 8);
    bench.lose(0, Disposition::Unsent);
    let later: Vec<_> = (1..=3).map(|n| bench.write(n * 100, 8)).collect();
    bench.pass(Duration::from_secs(299));
    assert!(bench.replies().is_empty());
    bench.up(1);
    bench.all_good(1);
    let ios: Vec<_> = bench.replies();
    let expected: Vec<_> = [lost]
        .into_iter()
        .chain(later)
        .map(|io| (io, None))
        .collect();
    assert_eq!(ios, expected);
}

#[test]
fn with_no_path_left_io_fails_exactly_at_the_limit_and_recovers_without_a_restart() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    bench.lose(0, Disposition::Unsent);
    let io = bench.write(0, 8);
    bench.pass(Duration::from_millis(299_999));
    assert!(bench.replies().is_empty());
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.replies(), [(io, Some(IoErrno::Io))]);
    let refused = bench.read(0, 8);
    assert_eq!(bench.replies(), [(refused, Some(IoErrno::Io))], "at once");
    bench.up(0);
    let good = bench.read(0, 8);
    bench.all_good(0);
    assert_eq!(bench.replies(), [(good, None)]);
}

#[test]
fn a_suspect_path_gets_nothing_new_but_is_no_reason_to_fail() {
    let mut bench = Bench::new(1, |config| config.no_path = NoPath::Fail);
    bench.up(0);
    bench.stand(0, Standing::Suspect);
    bench.read(0, 8);
    assert!(bench.in_flight.is_empty());
    bench.pass(Duration::from_secs(600));
    assert!(bench.replies().is_empty());
    bench.stand(0, Standing::Ready);
    assert_eq!(bench.in_flight.len(), 1);
}

#[test]
fn a_path_on_probation_carries_only_while_no_path_is_ready() {
    let mut bench = Bench::new(2, |_| {});
    assert_eq!(bench.identify(0, unit("S1")), Order::Admit);
    bench.stand(0, Standing::Probation);
    bench.read(0, 1);
    assert_eq!(bench.tasks_on(0).len(), 1, "better than none");
    bench.up(1);
    bench.read(0, 1);
    assert_eq!(bench.tasks_on(1).len(), 1);
    assert_eq!(bench.tasks_on(0).len(), 1);
}

#[test]
fn another_unit_behind_a_path_is_refused_and_both_are_named() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    let Order::Refuse { why, .. } = bench.identify(1, unit("S2")) else {
        panic!("admitted")
    };
    assert!(why.contains("S1") && why.contains("S2"), "{why}");
}

#[test]
fn a_pinned_identity_refuses_what_the_volume_was_not() {
    let remembered = (unit("S1").identity.wwid(), geometry());
    let pin = Pin {
        configured: None,
        remembered: Some(remembered),
        remembered_paths: None,
        distrusted: Vec::new(),
    };
    let mut bench = Bench::new(1, |config| config.pin = pin);
    assert!(matches!(
        bench.identify(0, unit("S2")),
        Order::Refuse { .. }
    ));
    assert_eq!(bench.identify(0, unit("S1")), Order::Admit);
}

#[test]
fn a_default_identifier_is_believed_first_where_it_was_in_use_before() {
    let found = unit("beaf11");
    assert!(found.identity.weak(), "{}", found.identity);
    let pin = |paths: &[u16]| Pin {
        configured: None,
        remembered: Some((unit("beaf11").identity.wwid(), geometry())),
        remembered_paths: Some(paths.iter().copied().map(PathId).collect()),
        distrusted: Vec::new(),
    };
    let mut bench = Bench::new(2, |config| config.pin = pin(&[1]));
    let Order::Refuse { why, .. } = bench.identify(0, unit("beaf11")) else {
        panic!("another target's unit may have the same identifier")
    };
    assert!(why.contains("not used through this path"), "{why}");
    assert_eq!(bench.identify(1, unit("beaf11")), Order::Admit);
    assert_eq!(bench.identify(0, unit("beaf11")), Order::AdmitIfProven);
}

#[test]
fn a_write_that_failed_without_a_status_and_may_still_execute_haunts_until_its_session_is_fenced() {
    for at_large in [true, false] {
        let mut bench = Bench::new(2, |_| {});
        bench.up(0);
        bench.up(1);
        let io = bench.write(0, 8);
        let task = bench.tasks_on(0)[0];
        bench.fail(task, if at_large { Fate::AtLarge } else { Fate::Over });
        let order = bench.volume.poll_order();
        assert_eq!(order.is_some(), at_large, "the session is given up");
        bench.all_good(1);
        assert_eq!(bench.replies(), [(io, None)]);
        bench.lose(0, Disposition::Indeterminate);
        let later = bench.write(4, 8);
        assert_eq!(bench.in_flight.is_empty(), at_large);
        bench.fence(0, Incarnation(1));
        bench.all_good(1);
        assert_eq!(bench.replies(), [(later, None)]);
    }
}

#[test]
fn a_shared_volume_fails_what_waits_for_a_fence_too_when_no_path_comes_back_in_time() {
    let mut bench = Bench::new(2, |config| {
        config.shared = true;
        config.quiesce = None;
    });
    bench.up(0);
    bench.up(1);
    let io = bench.write(0, 8);
    bench.lose(0, Disposition::Indeterminate);
    bench.all_good(1);
    bench.lose(1, Disposition::Indeterminate);
    bench.pass(Duration::from_secs(301));
    assert_eq!(bench.replies(), [(io, Some(IoErrno::Io))]);
    assert!(bench.volume.is_idle());
}

/// With an identifier that no other unit has.
fn named_unit(blocks: u64) -> Unit {
    let naa = [
        0x60, 0x01, 0x40, 0x5f, 0x2d, 0x3c, 0x4b, 0x5a, 1, 2, 3, 4, 5, 6, 7, 8,
    ];
    let page = [&[0, 0x83, 0, 20, 0x01, 0x03, 0x00, 16][..], &naa].concat();
    let found = crate::scsi::vpd::DeviceIdentification::parse(&page).unwrap();
    let geometry = Geometry::new(512, blocks).unwrap();
    let base = unit("S1");
    let inquiry = StandardInquiry {
        qualifier: 0,
        device_type: 0,
        version: 5,
        tpgs: 0,
        vendor: "ACME".into(),
        product: "disk".into(),
        revision: "1".into(),
    };
    let identity = LunIdentity::new(&inquiry, &found.designators, Some("S1".into()), geometry);
    assert!(!identity.weak());
    Unit {
        identity,
        geometry,
        ..base
    }
}

#[test]
fn a_unit_that_has_grown_is_still_the_volumes_and_a_smaller_one_is_not() {
    let mut bench = Bench::new(2, |config| config.grow = false);
    assert_eq!(bench.identify(0, named_unit(1 << 20)), Order::Admit);
    assert_eq!(
        bench.identify(0, named_unit(1 << 21)),
        Order::Admit,
        "resized at the target"
    );
    assert_eq!(bench.identify(1, named_unit(1 << 21)), Order::Admit);
    assert_eq!(
        bench.volume.unit().unwrap().geometry,
        geometry(),
        "clients know the old size"
    );
    let Order::Refuse { why, .. } = bench.identify(1, named_unit(1 << 19)) else {
        panic!("a smaller unit is used");
    };
    assert!(why.contains("shrank") && why.contains("524288"), "{why}");
}

/// The blocks that clients are told of.
fn served(bench: &Bench) -> u64 {
    bench.volume.unit().unwrap().geometry.blocks()
}

#[test]
fn growth_is_served_when_all_paths_that_are_up_tell_of_it_and_idle_ones_are_asked() {
    let mut bench = Bench::new(3, |_| {});
    for path in [0, 1] {
        assert_eq!(bench.identify(path, named_unit(1 << 20)), Order::Admit);
        bench.stand(path, Standing::Ready);
    }
    // The third is down, and has no say.
    bench.stand(0, Standing::Suspect);
    assert_eq!(bench.identify(0, named_unit(1 << 21)), Order::Admit);
    bench.stand(0, Standing::Ready);
    assert_eq!(served(&bench), 1 << 20, "one path is not enough");
    assert_eq!(
        bench.volume.poll_order(),
        Some((PathId(1), Order::Recheck)),
        "an idle path hears nothing by itself"
    );
    bench.stand(1, Standing::Suspect);
    assert_eq!(served(&bench), 1 << 20, "it has not answered yet");
    assert_eq!(bench.identify(1, named_unit(1 << 20)), Order::Admit);
    bench.stand(1, Standing::Ready);
    assert_eq!(bench.volume.poll_order(), None, "not at once again");
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.volume.poll_order(), Some((PathId(1), Order::Recheck)));
    bench.stand(1, Standing::Suspect);
    assert_eq!(bench.identify(1, named_unit(1 << 21)), Order::Admit);
    bench.stand(1, Standing::Ready);
    assert_eq!(served(&bench), 1 << 21);
    let Order::Refuse { why, .. } = bench.identify(2, named_unit(1 << 20)) else {
        panic!("a path with the old size is used");
    };
    assert!(why.contains("shrank"), "{why}");
    let events = bench.volume.events(bench.now);
    assert!(
        events.iter().any(|event| event.what == "grown"),
        "{events:?}"
    );
}

#[test]
fn a_default_identifier_is_believed_only_on_the_path_that_found_it_first() {
    let mut bench = Bench::new(2, |_| {});
    assert!(unit("S1").identity.weak());
    assert_eq!(bench.identify(0, unit("S1")), Order::Admit);
    assert_eq!(bench.identify(1, unit("S1")), Order::AdmitIfProven);
    assert_eq!(bench.identify(0, unit("S1")), Order::Admit);
}

#[test]
fn what_a_removed_path_left_behind_is_laid_by_time_alone() {
    let mut bench = Bench::new(1, |config| {
        config.unclean = true;
        config.orphaned = true;
    });
    bench.up(0);
    bench.fence(0, Incarnation(0));
    let write = bench.write(0, 8);
    assert!(
        bench.in_flight.is_empty(),
        "the path that was removed is not fenced by that"
    );
    bench.pass(Duration::from_secs(45));
    bench.all_good(0);
    assert_eq!(bench.replies(), [(write, None)]);
}
