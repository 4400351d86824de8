#![expect(
    clippy::disallowed_methods,
    reason = "any instant serves as the origin of a test's time"
)]

use policies::{Access, Direction, Tiers};

use super::*;

const READ: IoView = IoView {
    direction: Direction::Read,
    bytes: 4096,
    lba: 0,
};

const LONG_READ: IoView = IoView {
    bytes: 1 << 20,
    ..READ
};

fn tier(access: Access) -> Rank {
    Tiers::Alua.rank(access, false, 0)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Paths that answer as a test says, window by window.
struct Bench {
    outlier: Outlier,
    seen: Vec<Seen>,
    now: Instant,
}

impl Bench {
    fn new(paths: usize) -> Self {
        let seen = Seen {
            competes: true,
            tier: tier(Access::ActiveOptimized),
            oldest: None,
            returning: false,
        };
        Self {
            outlier: Outlier::new(paths),
            seen: vec![seen; paths],
            now: Instant::now(),
        }
    }

    /// So many answers of a path in this window, each after so long.
    fn answers(&mut self, path: usize, count: u32, io: &IoView, took: Duration) {
        for _ in 0..count {
            let sent = self.now.checked_sub(took).unwrap();
            self.outlier.on_answer(self.now, path, io, sent);
        }
    }

    /// The window is over.
    fn close(&mut self) -> Vec<usize> {
        self.now += WINDOW;
        let findings = self.outlier.close(self.now, &self.seen);
        findings.into_iter().map(|(path, _)| path).collect()
    }

    /// Windows in which each path answers so often, after so long; in which of them a path was found.
    fn windows(&mut self, windows: u32, paths: &[(u32, Duration)]) -> Vec<(u32, usize)> {
        let mut found = Vec::new();
        for window in 1..=windows {
            for (path, &(count, took)) in paths.iter().enumerate() {
                self.answers(path, count, &READ, took);
            }
            found.extend(self.close().into_iter().map(|path| (window, path)));
        }
        found
    }
}

#[test]
fn a_path_three_times_slower_than_its_peer_is_found_in_the_third_window() {
    let mut bench = Bench::new(2);
    assert!(bench.windows(40, &[(50, ms(1)), (50, ms(1))]).is_empty());
    let found = bench.windows(3, &[(50, ms(20)), (50, ms(1))]);
    assert_eq!(found, [(3, 0)]);
}

#[test]
fn two_bad_windows_are_none_and_a_good_one_breaks_a_row() {
    let mut bench = Bench::new(2);
    let (good, bad) = ([(50, ms(1)), (50, ms(1))], [(50, ms(20)), (50, ms(1))]);
    bench.windows(8, &good);
    for _ in 0..10 {
        assert!(bench.windows(2, &bad).is_empty());
        assert!(bench.windows(1, &good).is_empty());
    }
}

#[test]
fn less_than_two_milliseconds_more_are_no_matter() {
    let mut bench = Bench::new(2);
    let micros = Duration::from_micros;
    let paths = [(50, micros(1_900)), (50, micros(100))];
    assert!(bench.windows(100, &paths).is_empty());
}

#[test]
fn a_few_answers_that_are_somewhat_slower_are_no_gray_path() {
    let mut bench = Bench::new(2);
    for _ in 0..100 {
        bench.answers(0, 4, &READ, ms(100));
        bench.answers(0, 96, &READ, ms(1));
        bench.answers(1, 100, &READ, ms(1));
        assert!(bench.close().is_empty());
    }
}

#[test]
fn only_like_is_compared_with_like() {
    let mut bench = Bench::new(2);
    for _ in 0..40 {
        bench.answers(0, 50, &LONG_READ, ms(30));
        bench.answers(1, 50, &READ, ms(1));
        assert!(bench.close().is_empty());
    }
    // The same, but the peer is asked for long ones as well.
    let mut found = Vec::new();
    for _ in 0..3 {
        bench.answers(0, 50, &LONG_READ, ms(30));
        bench.answers(1, 50, &LONG_READ, ms(3));
        found.extend(bench.close());
    }
    assert_eq!(found, [0]);
}

#[test]
fn nothing_is_done_if_all_paths_are_slow_and_it_is_said() {
    let mut bench = Bench::new(3);
    bench.windows(40, &[(50, ms(1)), (50, ms(1)), (50, ms(1))]);
    assert!(!bench.outlier.all_slow());
    // One of them worse than the others.
    let found = bench.windows(20, &[(50, ms(400)), (50, ms(100)), (50, ms(100))]);
    assert!(found.is_empty(), "{found:?}");
    assert!(bench.outlier.all_slow());
    bench.windows(3, &[(50, ms(1)), (50, ms(1)), (50, ms(1))]);
    assert!(!bench.outlier.all_slow());
}

#[test]
fn a_frozen_target_is_slow_on_all_paths_though_nothing_is_answered() {
    let mut bench = Bench::new(2);
    bench.windows(40, &[(50, ms(1)), (50, ms(1))]);
    let class = Class::of(&READ).unwrap();
    bench.now += ms(1);
    for seen in &mut bench.seen {
        seen.oldest = Some((class, bench.now));
    }
    bench.now += ms(100);
    assert!(bench.windows(20, &[(0, ms(0)), (0, ms(0))]).is_empty());
    assert!(bench.outlier.all_slow());
}

#[test]
fn what_is_late_after_all_paths_were_silent_together_is_no_paths_fault() {
    let mut bench = Bench::new(2);
    bench.windows(40, &[(50, ms(1)), (50, ms(1))]);
    let class = Class::of(&READ).unwrap();
    for seen in &mut bench.seen {
        (seen.competes, seen.oldest) = (false, Some((class, bench.now)));
    }
    assert!(bench.windows(20, &[(0, ms(0)), (0, ms(0))]).is_empty());
    for seen in &mut bench.seen {
        (seen.competes, seen.oldest) = (true, None);
    }
    // Only one of them had several commands out.
    bench.answers(0, 8, &READ, ms(5_000));
    assert!(bench.windows(12, &[(50, ms(1)), (50, ms(1))]).is_empty());
    assert!(!bench.outlier.all_slow());
}

#[test]
fn a_command_that_is_out_for_long_speaks_for_a_path_with_few_others() {
    let mut bench = Bench::new(2);
    bench.windows(40, &[(50, ms(1)), (50, ms(1))]);
    bench.now += ms(1);
    bench.seen[0].oldest = Some((Class::of(&READ).unwrap(), bench.now));
    assert_eq!(bench.windows(3, &[(0, ms(0)), (50, ms(1))]), [(3, 0)]);
}

#[test]
fn one_stuck_command_is_no_slow_path_while_others_are_answered() {
    let mut bench = Bench::new(2);
    bench.windows(40, &[(50, ms(1)), (50, ms(1))]);
    bench.seen[0].oldest = Some((Class::of(&READ).unwrap(), bench.now));
    assert!(bench.windows(20, &[(1, ms(1)), (50, ms(1))]).is_empty());
    // Nor when nothing more is asked.
    assert!(bench.windows(20, &[(0, ms(1)), (50, ms(1))]).is_empty());
}

#[test]
fn the_last_path_is_never_found() {
    let mut bench = Bench::new(2);
    bench.windows(40, &[(50, ms(1)), (50, ms(1))]);
    bench.seen[1].competes = false;
    assert!(bench.windows(20, &[(50, ms(500)), (50, ms(1))]).is_empty());
    bench.seen[1] = Seen {
        tier: tier(Access::ActiveNonOptimized),
        ..bench.seen[0]
    };
    assert!(
        bench.windows(20, &[(50, ms(500)), (50, ms(1))]).is_empty(),
        "nor compared with a path of another tier"
    );
}

#[test]
fn a_path_that_carries_all_of_a_growing_load_is_not_blamed_for_it() {
    // One path carries everything, the other one is asked now and then.
    let mut bench = Bench::new(2);
    assert!(bench.windows(40, &[(50, ms(1)), (1, ms(1))]).is_empty());
    assert!(bench.windows(40, &[(500, ms(40)), (1, ms(1))]).is_empty());
}

#[test]
fn a_path_that_carries_everything_and_slows_down_is_found() {
    let mut bench = Bench::new(2);
    assert!(bench.windows(40, &[(500, ms(1)), (1, ms(1))]).is_empty());
    // Eight clients that wait for each answer: less is asked, the slower it is answered.
    assert_eq!(bench.windows(3, &[(25, ms(20)), (1, ms(1))]), [(3, 0)]);
}

#[test]
fn one_window_is_enough_for_a_path_that_has_just_come_back() {
    let mut bench = Bench::new(2);
    bench.windows(40, &[(50, ms(1)), (50, ms(1))]);
    bench.seen[0].returning = true;
    assert_eq!(bench.windows(1, &[(50, ms(20)), (50, ms(1))]), [(1, 0)]);
}

#[test]
fn a_path_that_fails_one_of_fifty_commands_is_found() {
    let mut bench = Bench::new(2);
    let mut found = Vec::new();
    for window in 0..40 {
        bench.answers(0, 49, &READ, ms(1));
        bench.outlier.on_error(0);
        bench.answers(1, 50, &READ, ms(1));
        found.extend(bench.close().into_iter().map(|path| (window, path)));
    }
    assert_eq!(found.first(), Some(&(2, 0)), "the third failure");
}

#[test]
fn commands_that_fail_on_all_paths_are_the_targets_matter() {
    let mut bench = Bench::new(2);
    for _ in 0..40 {
        for path in 0..2 {
            bench.answers(path, 10, &READ, ms(1));
            bench.outlier.on_error(path);
        }
        assert!(bench.close().is_empty());
    }
}

#[test]
fn a_path_that_loses_one_of_fifty_answers_for_a_fifth_of_a_second_is_found() {
    let mut bench = Bench::new(2);
    bench.windows(40, &[(50, ms(1)), (50, ms(1))]);
    let mut found = Vec::new();
    for window in 0..40 {
        bench.answers(0, 1, &READ, ms(210));
        bench.answers(0, 49, &READ, ms(1));
        bench.answers(1, 50, &READ, ms(1));
        found.extend(bench.close().into_iter().map(|path| (window, path)));
    }
    let first = found.first().unwrap();
    assert!(first.0 <= 20 && first.1 == 0, "{first:?}");
}

/// Windows of a path of which one answer in each of them is a fifth of a second late; in which it was found.
fn found_late(bench: &mut Bench, each: [u32; 2], every: u32) -> Option<u32> {
    bench.windows(40, &[(each[0], ms(1)), (each[1], ms(1))]);
    (0..40).find(|window| {
        let late = u32::from(window % every == 0);
        bench.answers(1, each[1], &READ, ms(1));
        bench.answers(0, late, &READ, ms(210));
        bench.answers(0, each[0] - late, &READ, ms(1));
        bench.close().contains(&0)
    })
}

#[test]
fn a_busy_path_that_stands_still_again_and_again_is_found_however_many_answers_are_in_time() {
    assert_eq!(found_late(&mut Bench::new(2), [2000, 2000], 4), Some(8));
    assert_eq!(found_late(&mut Bench::new(2), [2000, 2000], 20), None);
}

#[test]
fn a_peer_that_carries_little_says_nothing_of_stalls() {
    assert_eq!(found_late(&mut Bench::new(2), [2000, 400], 4), None);
}

#[test]
fn a_target_that_stands_still_while_one_path_alone_is_asked_is_not_that_paths_fault() {
    let mut bench = Bench::new(2);
    bench.windows(40, &[(100, ms(1)), (100, ms(1))]);
    for window in 0..40 {
        // One request at a time: the other path has its next one when this is answered.
        bench.answers(0, u32::from(window % 4 == 0), &READ, ms(210));
        bench.answers(1, 1000, &READ, ms(1));
        bench.answers(0, 1000, &READ, ms(1));
        assert!(bench.close().is_empty(), "window {window}");
    }
}

#[test]
fn a_command_that_is_late_while_others_of_its_path_are_answered_is_no_stall() {
    let mut bench = Bench::new(2);
    bench.windows(40, &[(2000, ms(1)), (2000, ms(1))]);
    for window in 0..40 {
        bench.answers(1, 2000, &READ, ms(1));
        bench.now += ms(200);
        bench.answers(0, 1999, &READ, ms(1));
        bench.now += ms(10);
        bench.answers(0, 1, &READ, ms(205));
        assert!(bench.close().is_empty(), "window {window}");
    }
}

#[test]
fn stalls_of_all_paths_are_the_targets_matter() {
    let mut bench = Bench::new(2);
    bench.windows(40, &[(2000, ms(1)), (2000, ms(1))]);
    for window in 0..80_usize {
        let stalls = (window % 8 == 0).then_some(window / 8 % 2);
        for path in 0..2 {
            bench.answers(path, u32::from(stalls == Some(path)), &READ, ms(210));
            bench.answers(path, 2000, &READ, ms(1));
        }
        assert!(bench.close().is_empty(), "window {window}");
    }
}
