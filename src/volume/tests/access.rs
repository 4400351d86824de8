//! Access states: who carries I/O, and what follows from a change.

use policies::{Failback, Tiers};

use super::*;
use crate::path::message::{PathAccess, Waiting};
use crate::scsi::alua::AccessState::{
    self, NonOptimized, Optimized, Standby, Transitioning, Unavailable,
};
use crate::scsi::vpd::{Association, Designator};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Bench {
    pub(super) fn access(&mut self, path: u16, state: AccessState) {
        let access = PathAccess {
            group: path,
            state,
            preferred: false,
            explicit: true,
            transition: secs(60),
        };
        let incarnation = self.incarnation(path);
        let message = Message::Access {
            incarnation,
            access: Some(access),
        };
        self.volume.handle_message(self.now, PathId(path), message);
        self.turn();
    }

    /// A path for each state, in use.
    pub(super) fn array(states: &[AccessState], change: impl FnOnce(&mut VolumeConfig)) -> Self {
        let mut bench = Self::new(states.len(), change);
        for (path, &state) in (0u16..).zip(states) {
            let order = bench.identify(path, unit("S1"));
            assert!(!matches!(order, Order::Refuse { .. }), "{order:?}");
            bench.access(path, state);
            bench.stand(path, Standing::Ready);
        }
        bench.orders();
        bench
    }

    pub(super) fn orders(&mut self) -> Vec<(u16, Order)> {
        std::iter::from_fn(|| self.volume.poll_order())
            .map(|(path, order)| (path.0, order))
            .collect()
    }

    fn in_flight_on(&self) -> Vec<u16> {
        self.in_flight
            .values()
            .map(|submission| submission.path.0)
            .collect()
    }

    /// Reads until one path carries this read, and which one that is.
    pub(super) fn carrier(&mut self) -> u16 {
        self.read(0, 8);
        let [path] = self.in_flight_on()[..] else {
            panic!("in flight on {:?}", self.in_flight_on())
        };
        self.all_good(path);
        self.replies();
        path
    }
}

fn no_path(limit: u64) -> impl FnOnce(&mut VolumeConfig) {
    move |config| config.no_path = NoPath::Queue(secs(limit))
}

#[test]
fn the_best_active_state_carries_everything_and_the_states_without_io_nothing() {
    let mut bench = Bench::array(&[Standby, NonOptimized, Optimized, Unavailable], |_| {});
    assert_eq!(bench.carrier(), 2);
    bench.access(2, Standby);
    assert_eq!(bench.carrier(), 1);
    bench.access(1, Transitioning);
    bench.read(0, 8);
    assert!(bench.in_flight.is_empty(), "not even as the last one");
    bench.access(0, NonOptimized);
    assert_eq!(bench.in_flight_on(), [0]);
}

#[test]
fn what_rested_and_is_optimized_again_is_used_at_once() {
    let mut bench = Bench::array(&[Optimized, NonOptimized], |config| {
        let mut spec = PolicySpec::preset(PolicyKind::Failover);
        spec.failback = Failback::Manual;
        config.policy = policies::build(spec, 1);
    });
    for _ in 0..3 {
        bench.access(0, Transitioning);
        assert_eq!(bench.carrier(), 1);
        bench.access(0, Optimized);
        assert_eq!(bench.carrier(), 0, "the target's word, not a failure");
    }
}

#[test]
fn operators_tiers_stand_in_for_the_states_but_not_where_nothing_is_carried() {
    let mut bench = Bench::array(&[Optimized, NonOptimized], |config| {
        let mut spec = PolicySpec::preset(PolicyKind::LatencyAware);
        spec.tiers = Tiers::Explicit;
        config.policy = policies::build(spec, 1);
        config.tiers = vec![1, 0];
    });
    assert_eq!(bench.carrier(), 1);
    bench.access(1, Standby);
    assert_eq!(bench.carrier(), 0);
}

#[test]
fn a_refusal_for_the_state_goes_elsewhere_at_once_and_all_paths_of_the_target_read_theirs() {
    for ascq in [0x0a, 0x0b, 0x0c] {
        let mut bench = Bench::array(&[Optimized, NonOptimized, NonOptimized], |_| {});
        let io = bench.write(0, 8);
        let younger = bench.write(8, 8);
        let task = bench.tasks_on(0)[0];
        bench.answer(task, check(2, 0x04, ascq));
        assert_eq!(bench.tasks_on(1).len(), 1, "without a pause");
        let read = |path| (path, Order::ReadAccess);
        assert_eq!(bench.orders(), [read(0), read(1), read(2)]);
        let third = bench.write(16, 8);
        assert_eq!(
            bench.tasks_on(0).len(),
            1,
            "it is believed: nothing further goes there"
        );
        bench.all_good(1);
        bench.all_good(0);
        let mut replies = bench.replies();
        replies.sort();
        assert_eq!(replies, [(io, None), (younger, None), (third, None)]);
    }
}

#[test]
fn any_number_of_refusals_for_the_state_is_no_failure() {
    let mut bench = Bench::array(&[Optimized, Optimized], |_| {});
    let io = bench.read(0, 8);
    for _ in 0..50 {
        let [path] = bench.in_flight_on()[..] else {
            panic!()
        };
        let task = bench.tasks_on(path)[0];
        bench.answer(task, check(2, 0x04, 0x0a));
        bench.access(path, Optimized);
        bench.pass(secs(1));
    }
    let [path] = bench.in_flight_on()[..] else {
        panic!()
    };
    bench.all_good(path);
    assert_eq!(bench.replies(), [(io, None)]);
}

#[test]
fn a_target_that_contradicts_itself_is_given_time() {
    let mut bench = Bench::array(&[Optimized], |_| {});
    bench.read(0, 8);
    let mut refusals = 0;
    let began = bench.now;
    while bench.now < began + secs(10) {
        for task in bench.tasks_on(0) {
            refusals += 1;
            bench.answer(task, check(2, 0x04, 0x0b));
            bench.access(0, Optimized);
        }
        bench.pass(Duration::from_millis(1));
    }
    assert!(refusals < 25, "{refusals} refusals in ten seconds");
}

#[test]
fn a_changed_state_by_unit_attention_goes_elsewhere_and_is_read_without_a_look_at_the_unit() {
    for ascq in [0x06, 0x07] {
        let mut bench = Bench::array(&[Optimized, NonOptimized], |_| {});
        let io = bench.read(0, 8);
        let task = bench.tasks_on(0)[0];
        bench.answer(task, check(6, 0x2a, ascq));
        assert_eq!(bench.tasks_on(1).len(), 1);
        let read = |path| (path, Order::ReadAccess);
        assert_eq!(bench.orders(), [read(0), read(1)]);
        bench.all_good(1);
        assert_eq!(bench.replies(), [(io, None)]);
    }
}

#[test]
fn one_paths_news_make_the_others_read_too_but_only_once() {
    let mut bench = Bench::array(&[Optimized, NonOptimized], |_| {});
    bench.access(0, NonOptimized);
    assert_eq!(bench.orders(), [(1, Order::ReadAccess)]);
    bench.access(1, Optimized);
    assert_eq!(bench.orders(), [(0, Order::ReadAccess)]);
    bench.access(0, NonOptimized);
    assert_eq!(bench.orders(), []);
}

#[test]
fn while_all_are_in_transition_io_waits_for_as_long_as_that_may_take_and_then_as_without_a_path() {
    let mut bench = Bench::array(&[Optimized, Optimized], no_path(20));
    bench.access(0, Transitioning);
    bench.access(1, Transitioning);
    let io = bench.read(0, 8);
    bench.pass(secs(59));
    assert_eq!(bench.volume.status(bench.now).no_path, None);
    bench.pass(secs(20));
    assert_eq!(bench.volume.status(bench.now).no_path, Some(secs(19)));
    assert_eq!(bench.replies(), []);
    bench.pass(secs(1));
    assert_eq!(bench.replies(), [(io, Some(IoErrno::Io))]);
    bench.access(1, Optimized);
    assert_eq!(bench.carrier(), 1);
}

#[test]
fn what_is_in_flight_on_a_path_that_carries_nothing_any_more_is_answered_once() {
    let mut bench = Bench::array(&[Optimized], no_path(20));
    let slow = bench.read(0, 512);
    let [first, second] = bench.tasks_on(0)[..] else {
        panic!()
    };
    bench.access(0, Standby);
    let waiting = bench.read(0, 8);
    bench.pass(secs(20));
    assert_eq!(bench.replies(), [(waiting, Some(IoErrno::Io))]);
    bench.good(first);
    bench.answer(second, check(2, 0x04, 0x0b));
    assert_eq!(bench.replies(), [(slow, Some(IoErrno::Io))]);
    bench.access(0, Optimized);
    assert_eq!(bench.carrier(), 0);
}

#[test]
fn without_patience_for_a_missing_path_a_refusal_for_the_state_fails_the_io() {
    let mut bench = Bench::array(&[Optimized], |config| config.no_path = NoPath::Fail);
    let io = bench.read(0, 8);
    let task = bench.tasks_on(0)[0];
    bench.answer(task, check(2, 0x04, 0x0b));
    assert_eq!(bench.replies(), [(io, Some(IoErrno::Io))]);
}

#[test]
fn the_states_of_a_lost_session_say_nothing_of_the_next() {
    let mut bench = Bench::array(&[Standby], |_| {});
    bench.lose(0, Disposition::Indeterminate);
    bench.up(0);
    assert_eq!(bench.carrier(), 0);
}

#[test]
fn the_target_is_asked_for_an_active_group_only_where_configured_and_only_if_none_is_optimized() {
    let asked = |states: &[AccessState], activate: bool| {
        let mut bench = Bench::array(states, |config| config.activate = activate);
        bench.pass(secs(20));
        bench.orders()
    };
    assert_eq!(
        asked(&[Standby, NonOptimized], true),
        [(1, Order::Activate)]
    );
    assert_eq!(asked(&[Standby, Standby], true), [(0, Order::Activate)]);
    assert_eq!(asked(&[Standby, NonOptimized], false), []);
    assert_eq!(asked(&[Standby, Optimized], true), []);
    assert_eq!(
        asked(&[Standby, Transitioning], true),
        [],
        "it is about to change"
    );
}

#[test]
fn a_path_that_waits_for_its_port_can_be_activated_if_its_unit_seems_to_be_the_volumes() {
    let orders = |serial| {
        let mut bench = Bench::new(2, |config| config.activate = true);
        bench.identify(0, named("S1"));
        bench.access(0, Optimized);
        bench.stand(0, Standing::Ready);
        let access = PathAccess {
            group: 1,
            state: Standby,
            preferred: false,
            explicit: true,
            transition: secs(60),
        };
        let identity = named(serial).identity.resized(Geometry::ONE_BLOCK);
        let waiting = Message::Waiting(Some(Box::new(Waiting { identity, access })));
        bench.volume.handle_message(bench.now, PathId(1), waiting);
        bench.pass(secs(20));
        assert_eq!(bench.orders(), [], "path 0 is optimized");
        bench.lose(0, Disposition::Unsent);
        bench.pass(secs(20));
        bench.orders()
    };
    assert_eq!(orders("S1"), [(1, Order::Activate)]);
    assert_eq!(orders("S2"), []);
}

/// The unit of the other tests with a name that is no vendor's default.
fn named(serial: &str) -> Unit {
    let inquiry = StandardInquiry::parse(&[0, 0, 5, 2, 31]).unwrap();
    let naa = Designator {
        association: Association::LogicalUnit,
        code_set: 1,
        kind: Designator::NAA,
        bytes: vec![
            0x60, 1, 0x40, 0x5f, 0x2d, 0x3c, 0x4b, 0x5a, 1, 2, 3, 4, 5, 6, 7, 8,
        ],
    };
    Unit {
        identity: LunIdentity::new(&inquiry, &[naa], Some(serial.into()), geometry()),
        ..unit(serial)
    }
}

#[test]
fn two_hosts_do_not_play_a_group_back_and_forth() {
    let mut bench = Bench::array(&[NonOptimized], |config| config.activate = true);
    let mut asked = Vec::new();
    let began = bench.now;
    // Another host takes it back at once, each time, for an hour.
    for _ in 0..3600 {
        bench.pass(secs(1));
        if bench.orders().contains(&(0, Order::Activate)) {
            asked.push((bench.now - began).as_secs());
            bench.access(0, Optimized);
            bench.access(0, NonOptimized);
        }
    }
    let pauses: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses[..5], [30, 60, 120, 240, 480], "{asked:?}");
    assert!(pauses[5..].iter().all(|&pause| pause == 600), "{pauses:?}");
}
