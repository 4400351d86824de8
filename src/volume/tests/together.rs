//! Where access states, gray paths and settings that change meet.

use policies::Failback;

use super::gray::{all_on, counters, duty};
use super::*;
use crate::scsi::alua::AccessState::{self, NonOptimized, Optimized, Standby};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn on_trial(bench: &Bench, path: usize) -> bool {
    matches!(duty(bench, path), DutyStatus::OnTrial { .. })
}

fn policy(kind: PolicyKind) -> Box<dyn Policy> {
    let mut spec = PolicySpec::preset(kind);
    spec.failback = Failback::Immediate;
    policies::build(spec, 1)
}

impl Bench {
    fn back(&mut self, path: u16, state: AccessState) {
        self.identify(path, unit("S1"));
        self.access(path, state);
        self.stand(path, Standing::Ready);
    }

    /// Answers what the volume asks for itself on two paths, until the trial is over.
    fn pass_trial(&mut self) {
        for _ in 0..16 {
            self.pass(MILLI);
            (0..2).for_each(|path| self.all_good(path));
            self.pass(100 * MILLI);
        }
    }

    /// Commands of every kind over all paths, the late ones 20 ms late.
    fn rounds(&mut self, rounds: u32, late: impl Fn(u16, bool) -> bool) {
        for _ in 0..rounds {
            for lba in 0..4 {
                self.read(lba, 1);
                self.write(8 + lba, 1);
            }
            self.pass(MILLI);
            let all = self.in_flight.iter();
            let all =
                all.map(|(task, s)| (*task, s.path.0, matches!(s.task.data, DataTransfer::In(_))));
            for (task, path, reads) in all.collect::<Vec<_>>() {
                if !late(path, reads) {
                    self.good(task);
                }
            }
            self.pass(19 * MILLI);
            (0..3).for_each(|path| self.all_good(path));
        }
    }
}

#[test]
fn a_path_that_comes_back_beside_a_better_one_alone_is_not_put_on_trial() {
    let mut bench = Bench::array(&[Optimized, NonOptimized], all_on);
    bench.lose(1, Disposition::Unsent);
    bench.back(1, NonOptimized);
    assert_eq!(duty(&bench, 1), DutyStatus::On);
    assert!(bench.in_flight.is_empty(), "it would never look good");
}

#[test]
fn a_path_that_comes_back_beside_a_worse_one_shows_itself_and_then_carries_all() {
    let mut bench = Bench::array(&[Optimized, NonOptimized], |config| {
        all_on(config);
        config.policy = policy(PolicyKind::RoundRobin);
    });
    bench.lose(0, Disposition::Unsent);
    bench.back(0, Optimized);
    assert!(on_trial(&bench, 0));
    assert_eq!((bench.tasks_on(0).len(), bench.tasks_on(1).len()), (1, 1));
    bench.pass_trial();
    for lba in 0..6 {
        bench.write(lba, 1);
    }
    let all = (bench.tasks_on(0).len(), bench.tasks_on(1).len());
    assert_eq!(all, (6, 0), "it has nobody to share its start with");
    assert_eq!(duty(&bench, 0), DutyStatus::On);
}

#[test]
fn the_trial_of_a_path_whose_port_rests_waits_until_it_carries_something() {
    let mut bench = Bench::array(&[Optimized, Optimized], all_on);
    bench.lose(0, Disposition::Unsent);
    bench.back(0, Standby);
    for _ in 0..100 {
        bench.pass(100 * MILLI);
        assert!(bench.in_flight.is_empty());
    }
    let due = bench.volume.poll_timeout();
    assert!(due.is_none_or(|due| due.at > bench.now), "{due:?}");
    bench.access(0, Optimized);
    assert!(on_trial(&bench, 0));
    assert_eq!((bench.tasks_on(0).len(), bench.tasks_on(1).len()), (1, 1));
}

#[test]
fn a_refused_read_of_a_trial_tells_of_the_access_state_too() {
    let mut bench = Bench::array(&[Optimized, Optimized], all_on);
    bench.lose(0, Disposition::Unsent);
    bench.back(0, Optimized);
    let [read] = bench.tasks_on(0)[..] else {
        panic!("a read of the trial");
    };
    bench.orders();
    bench.answer(read, check(2, 4, 0x0b));
    let asked: Vec<_> = bench.orders().into_iter().collect();
    let asked = asked
        .iter()
        .filter(|(_, order)| matches!(order, Order::ReadAccess));
    assert_eq!(asked.count(), 2, "all paths of the target look again");
    let state = bench.volume.status(bench.now).routes[0].access;
    assert_eq!(state.map(|known| known.state), Some(Standby));
}

#[test]
fn a_late_read_is_not_sent_on_a_path_of_a_worse_tier() {
    for (state, hedges) in [(Optimized, 1), (NonOptimized, 0)] {
        let mut bench = Bench::array(&[Optimized, state], all_on);
        for _ in 0..400 {
            bench.read(8, 8);
            bench.pass(MILLI);
            bench.all_good(0);
        }
        bench.read(16, 8);
        bench.pass(100 * MILLI);
        assert_eq!(bench.tasks_on(1).len(), hedges);
    }
}

#[test]
fn an_idle_tier_is_not_asked_for_signs_of_life() {
    for (state, asked) in [(Optimized, true), (NonOptimized, false)] {
        let mut bench = Bench::array(&[Optimized, state], |config| {
            all_on(config);
            config.policy = policy(PolicyKind::LatencyAware);
        });
        let mut second = 0;
        for _ in 0..3_000 {
            bench.read(8, 8);
            bench.pass(MILLI);
            second += bench.tasks_on(1).len();
            bench.all_good(0);
            bench.all_good(1);
        }
        assert_eq!(second > 0, asked);
    }
}

#[test]
fn the_last_path_of_a_tier_is_not_ejected_for_a_worse_one() {
    let mut bench = Bench::array(&[Optimized, Optimized, NonOptimized], |config| {
        all_on(config);
        config.gray.hedge = 0;
        config.policy = policy(PolicyKind::RoundRobin);
    });
    bench.rounds(60, |_, _| false);
    bench.rounds(60, |path, _| path == 0);
    bench.rounds(60, |path, _| path == 1);
    let routes = bench.volume.status(bench.now).routes;
    let seen = |of: fn(&RouteCounters) -> u64| routes.iter().map(move |route| of(&route.counters));
    let ejections: Vec<u64> = seen(|counters| counters.ejections).collect();
    assert_eq!(ejections, [1, 0, 0]);
    assert_eq!(seen(|counters| counters.commands).next_back(), Some(0));
}

#[test]
fn without_ejection_an_ejected_path_is_used_again() {
    let mut bench = Bench::array(&[Optimized, Optimized], |config| {
        all_on(config);
        config.policy = policy(PolicyKind::RoundRobin);
    });
    bench.rounds(60, |_, _| false);
    bench.rounds(60, |path, _| path == 0);
    assert!(matches!(duty(&bench, 0), DutyStatus::Out { .. }) || on_trial(&bench, 0));
    let mut settings = config(2);
    all_on(&mut settings);
    settings.gray.eject = false;
    bench.volume.reconfigure(bench.now, settings, false, "test");
    if on_trial(&bench, 0) {
        bench.pass_trial();
    }
    assert!(matches!(
        duty(&bench, 0),
        DutyStatus::On | DutyStatus::Rising
    ));
}

#[test]
fn a_share_of_hedged_reads_can_be_taken_back() {
    for (hedge, sent) in [(100, 1), (0, 0)] {
        let mut bench = Bench::new(2, all_on);
        (0..2).for_each(|path| bench.up(path));
        for _ in 0..400 {
            bench.read(8, 8);
            bench.pass(MILLI);
            bench.all_good(0);
        }
        let mut settings = config(2);
        all_on(&mut settings);
        settings.gray.hedge = hedge;
        bench.volume.reconfigure(bench.now, settings, false, "test");
        bench.read(16, 8);
        bench.pass(100 * MILLI);
        assert_eq!(counters(&bench)[0], sent);
    }
}

#[test]
fn a_path_that_is_about_to_go_is_given_no_trial() {
    let mut bench = Bench::new(2, all_on);
    (0..2).for_each(|path| bench.up(path));
    bench.lose(0, Disposition::Unsent);
    bench.volume.set_retiring(bench.now, PathId(0), true);
    bench.up(0);
    bench.pass(10 * SECOND);
    assert!(bench.in_flight.is_empty());
    assert!(bench.volume.may_let_go(PathId(0)));
}

#[test]
fn a_path_is_not_let_go_and_its_number_not_given_away_while_its_trial_is_under_way() {
    let mut bench = Bench::new(2, all_on);
    (0..2).for_each(|path| bench.up(path));
    bench.volume.set_founder(PathId(1));
    bench.lose(0, Disposition::Unsent);
    bench.up(0);
    bench.volume.set_retiring(bench.now, PathId(0), true);
    bench.turn();
    assert!(!bench.volume.may_let_go(PathId(0)), "it has to answer");
    bench.all_good(0);
    assert!(bench.volume.may_let_go(PathId(0)));
    bench.lose(0, Disposition::Unsent);
    assert!(!bench.volume.may_forget(PathId(0)), "the other has as well");
    bench.all_good(1);
    assert!(bench.volume.may_forget(PathId(0)));
}

#[test]
fn a_path_with_the_number_of_a_removed_one_begins_with_a_clean_record() {
    let mut bench = Bench::new(2, |config| {
        all_on(config);
        config.policy = policy(PolicyKind::RoundRobin);
    });
    (0..2).for_each(|path| bench.up(path));
    bench.volume.set_founder(PathId(1));
    bench.rounds(60, |_, _| false);
    bench.rounds(60, |path, _| path == 0);
    assert!(duty(&bench, 0) != DutyStatus::On);
    bench.volume.set_retiring(bench.now, PathId(0), true);
    bench.lose(0, Disposition::Unsent);
    bench.all_good(1);
    assert!(bench.volume.may_forget(PathId(0)));
    let route = RouteConfig {
        weight: 1,
        ..RouteConfig::default()
    };
    bench.volume.add_path(PathId(0), route);
    bench.up(0);
    assert_eq!(duty(&bench, 0), DutyStatus::On);
    let route = bench.volume.status(bench.now).routes[0];
    assert_eq!((route.counters.losses, route.counters.ejections), (0, 0));
    bench.orders();
    // As many as there were, and one more.
    bench.volume.add_path(PathId(2), RouteConfig::default());
    bench.incarnations.push(0);
    bench.up(2);
    assert_eq!(duty(&bench, 2), DutyStatus::On);
    bench.rounds(60, |_, _| false);
    assert!((0..3).all(|path| duty(&bench, path) == DutyStatus::On));
}

#[test]
fn a_path_that_was_logged_out_on_purpose_was_not_lost() {
    for (removed, losses) in [(true, 0), (false, 1)] {
        let mut bench = Bench::new(2, all_on);
        (0..2).for_each(|path| bench.up(path));
        bench.volume.set_retiring(bench.now, PathId(0), removed);
        bench.lose(0, Disposition::Unsent);
        bench.volume.set_retiring(bench.now, PathId(0), false);
        bench.up(0);
        let route = bench.volume.status(bench.now).routes[0];
        assert_eq!(route.counters.losses, losses);
        assert_eq!(on_trial(&bench, 0), !removed);
    }
}

#[test]
fn a_path_that_is_about_to_go_does_not_keep_its_port_group_active() {
    let mut bench = Bench::array(&[Optimized, NonOptimized], |config| config.activate = true);
    bench.pass(60 * SECOND);
    let asks = |bench: &mut Bench| {
        let orders = bench.orders();
        let asked = orders
            .iter()
            .filter(|(_, order)| matches!(order, Order::Activate));
        asked.map(|(path, _)| *path).collect::<Vec<_>>()
    };
    assert!(asks(&mut bench).is_empty());
    bench.volume.set_retiring(bench.now, PathId(0), true);
    bench.pass(10 * SECOND);
    assert_eq!(asks(&mut bench), [1]);
}
