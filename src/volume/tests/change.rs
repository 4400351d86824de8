//! Settings and paths that change while the volume is at work.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// The bench's settings with a change, as a reload brings them.
fn settings(paths: usize, change: impl FnOnce(&mut VolumeConfig)) -> VolumeConfig {
    let mut config = config(paths);
    change(&mut config);
    config
}

impl Bench {
    fn reconfigure(&mut self, policy_changed: bool, change: impl FnOnce(&mut VolumeConfig)) {
        let settings = settings(self.incarnations.len(), change);
        let now = self.now;
        self.volume
            .reconfigure(now, settings, policy_changed, "test");
        self.turn();
    }

    fn retire(&mut self, path: u16, retiring: bool) {
        self.volume.set_retiring(self.now, PathId(path), retiring);
        self.turn();
    }
}

#[test]
fn another_limit_of_a_wait_that_is_under_way_counts_from_the_loss_of_the_last_path() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    bench.lose(0, Disposition::Unsent);
    let read = bench.read(0, 8);
    bench.pass(60 * SECOND);
    bench.reconfigure(false, |config| config.no_path = NoPath::Queue(90 * SECOND));
    bench.pass(29 * SECOND);
    assert_eq!(bench.replies(), [], "not before 90 s");
    bench.pass(SECOND);
    assert_eq!(bench.replies(), [(read, Some(IoErrno::Io))]);
    // Longer again: what is asked from now on waits.
    bench.reconfigure(false, |config| config.no_path = NoPath::QueueForever);
    let read = bench.read(0, 8);
    bench.pass(1000 * SECOND);
    assert_eq!(bench.replies(), []);
    bench.reconfigure(false, |config| config.no_path = NoPath::Queue(5 * SECOND));
    assert_eq!(bench.replies(), [(read, Some(IoErrno::Io))], "long over");
}

#[test]
fn another_policy_is_used_from_the_next_command_on() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.up(1);
    for lba in 0..4 {
        bench.read(lba * 8, 8);
    }
    assert_eq!((bench.tasks_on(0).len(), bench.tasks_on(1).len()), (4, 0));
    let spec = PolicySpec::preset(PolicyKind::RoundRobin);
    bench.reconfigure(true, |config| config.policy = policies::build(spec, 1));
    for lba in 4..8 {
        bench.read(lba * 8, 8);
    }
    assert_eq!((bench.tasks_on(0).len(), bench.tasks_on(1).len()), (6, 2));
    bench.reconfigure(false, |_| {});
    bench.read(64, 8);
    bench.read(72, 8);
    assert_eq!(
        bench.tasks_on(1).len(),
        3,
        "it is kept if it did not change"
    );
}

#[test]
fn a_path_that_is_about_to_go_is_used_only_while_no_other_one_is_ready() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.retire(0, true);
    bench.read(0, 8);
    assert_eq!(bench.tasks_on(0).len(), 1, "there is no other");
    assert!(!bench.volume.may_let_go(PathId(0)));
    bench.up(1);
    bench.read(8, 8);
    assert_eq!((bench.tasks_on(0).len(), bench.tasks_on(1).len()), (1, 1));
    assert!(
        !bench.volume.may_let_go(PathId(0)),
        "it has not answered all"
    );
    bench.all_good(0);
    assert!(bench.volume.may_let_go(PathId(0)));
    bench.retire(0, false);
    assert!(!bench.volume.may_let_go(PathId(0)), "it is wanted again");
}

#[test]
fn a_path_that_is_about_to_go_stays_until_its_ghosts_are_fenced() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.up(1);
    bench.write(0, 8);
    bench.retire(0, true);
    bench.lose(0, Disposition::Indeterminate);
    bench.all_good(1);
    let later = bench.write(0, 8);
    assert!(!bench.volume.may_let_go(PathId(0)) && !bench.volume.may_forget(PathId(0)));
    assert_eq!(bench.tasks_on(1), [], "it waits for the ghost");
    bench.fence(0, bench.incarnation(0));
    assert!(bench.volume.may_let_go(PathId(0)));
    bench.all_good(1);
    let replies = bench.replies();
    assert!(replies.contains(&(later, None)), "{replies:?}");
}

#[test]
fn a_number_is_not_given_away_while_it_stands_for_the_path_that_found_the_unit() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.up(1);
    bench.lose(0, Disposition::Unsent);
    assert!(!bench.volume.may_forget(PathId(0)));
    bench.volume.set_founder(PathId(1));
    assert!(bench.volume.may_forget(PathId(0)));
}

#[test]
fn writes_that_wait_for_their_fence_are_answered_when_that_is_no_longer_wanted() {
    let mut bench = Bench::new(2, |config| config.shared = true);
    bench.up(0);
    bench.up(1);
    let write = bench.write(0, 8);
    bench.lose(0, Disposition::Indeterminate);
    bench.all_good(1);
    assert_eq!(bench.replies(), [], "shared: not before the fence");
    bench.reconfigure(false, |config| config.shared = false);
    assert_eq!(bench.replies(), [(write, None)]);
}

#[test]
fn requests_are_bounded_in_bytes_and_clients_wait() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    bench.lose(0, Disposition::Unsent);
    let blocks = 4096;
    let each = blocks * BLOCK as u64;
    let mut asked = 0;
    while bench.volume.accepts() {
        bench.read(asked * blocks % (1 << 19), blocks);
        asked += 1;
        assert!(asked * each <= limits::VOLUME_BYTES_MAX, "no bound");
    }
    assert_eq!(asked * each, limits::VOLUME_BYTES_MAX);
    bench.pass(300 * SECOND);
    assert_eq!(bench.replies().len() as u64, asked, "they fail");
    assert!(bench.volume.accepts());
}
