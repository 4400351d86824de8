use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn pipe() -> (Pipe, Instant) {
    (Pipe::new(Rng::new(1), 1 << 20), crate::clock::now())
}

fn with(change: impl FnOnce(&mut Conditions)) -> Conditions {
    let mut conditions = Conditions::default();
    change(&mut conditions);
    conditions
}

fn data(pipe: &mut Pipe, now: Instant) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(Delivery::Data(bytes)) = pipe.poll_deliver(now) {
        all.extend_from_slice(&bytes);
    }
    all
}

#[test]
fn without_conditions_bytes_come_out_at_once_and_in_order() {
    let (mut pipe, now) = pipe();
    pipe.push(now, Bytes::from_static(b"one"));
    pipe.push(now, Bytes::from_static(b"two"));
    assert_eq!(pipe.poll_timeout(), Some(now));
    assert_eq!(data(&mut pipe, now), b"onetwo");
    assert_eq!(pipe.poll_timeout(), None);
    pipe.push_end(now, End::Fin);
    assert_eq!(pipe.poll_deliver(now), Some(Delivery::End(End::Fin)));
    assert_eq!(pipe.poll_deliver(now), None, "the end comes once");
}

#[test]
fn latency_delays_each_byte_and_jitter_never_reorders() {
    let (mut pipe, now) = pipe();
    let slow = with(|c| {
        c.latency = 20 * MS;
        c.jitter = 10 * MS;
    });
    pipe.set_conditions(now, slow, Held::Release);
    let mut sent = Vec::new();
    for step in 0..50_u8 {
        pipe.push(now + u32::from(step) * MS, Bytes::copy_from_slice(&[step]));
        sent.push(step);
    }
    assert_eq!(data(&mut pipe, now + 19 * MS), b"");
    assert_eq!(data(&mut pipe, now + 80 * MS), sent);
}

#[test]
fn bandwidth_spreads_a_large_piece_over_time() {
    let (mut pipe, now) = pipe();
    let rate = NonZeroU64::new(1_000_000);
    pipe.set_conditions(now, with(|c| c.bandwidth = rate), Held::Release);
    pipe.push(now, Bytes::from(vec![7; 100_000]));
    let half = data(&mut pipe, now + 50 * MS).len();
    assert!((45_000..=50_000).contains(&half), "{half} of 100000 bytes");
    assert_eq!(data(&mut pipe, now + 100 * MS).len(), 100_000 - half);
}

#[test]
fn a_line_that_is_freed_does_not_remember_its_old_speed() {
    let (mut pipe, now) = pipe();
    let rate = NonZeroU64::new(10);
    pipe.set_conditions(now, with(|c| c.bandwidth = rate), Held::Release);
    pipe.push(now, Bytes::from(vec![7; 1000]));
    assert!(data(&mut pipe, now + 1000 * MS).len() <= 10);
    pipe.set_conditions(now + 1000 * MS, Conditions::default(), Held::Release);
    assert!(data(&mut pipe, now + 1100 * MS).len() >= 989);
}

#[test]
fn a_hole_holds_everything_and_the_heal_releases_it_late() {
    let (mut pipe, now) = pipe();
    pipe.push(now, Bytes::from_static(b"before"));
    pipe.set_conditions(now, with(|c| c.hole = Hole::All), Held::Release);
    pipe.push(now, Bytes::from_static(b"inside"));
    pipe.push_end(now, End::Reset);
    assert_eq!(pipe.poll_deliver(now + 10_000 * MS), None);
    assert_eq!(pipe.poll_timeout(), None);
    assert_eq!(pipe.counters().held, 12);
    let later = now + 10_000 * MS;
    pipe.set_conditions(later, Conditions::default(), Held::Release);
    assert_eq!(data(&mut pipe, later), b"beforeinside");
    assert_eq!(pipe.counters().dropped, 0);
}

#[test]
fn a_stream_that_lost_bytes_in_a_hole_is_reset() {
    let (mut pipe, now) = pipe();
    pipe.set_conditions(now, with(|c| c.hole = Hole::All), Held::Drop);
    pipe.push(now, Bytes::from_static(b"lost"));
    pipe.set_conditions(now, Conditions::default(), Held::Drop);
    assert_eq!(pipe.poll_deliver(now), Some(Delivery::End(End::Reset)));
    assert_eq!(pipe.counters().dropped, 4);
}

#[test]
fn a_stream_that_was_silent_in_a_hole_goes_on_even_if_held_bytes_are_dropped() {
    let (mut pipe, now) = pipe();
    pipe.set_conditions(now, with(|c| c.hole = Hole::All), Held::Drop);
    pipe.set_conditions(now, Conditions::default(), Held::Drop);
    pipe.push(now, Bytes::from_static(b"more"));
    assert_eq!(data(&mut pipe, now), b"more");
}

#[test]
fn a_hole_for_large_pieces_passes_small_ones_until_the_first_large_one() {
    let (mut pipe, now) = pipe();
    let hole = with(|c| c.hole = Hole::LargerThan(100));
    pipe.set_conditions(now, hole, Held::Release);
    pipe.push(now, Bytes::from_static(b"small"));
    pipe.push(now, Bytes::from(vec![0; 101]));
    pipe.push(now, Bytes::from_static(b"behind"));
    assert_eq!(data(&mut pipe, now), b"small");
    assert_eq!(pipe.poll_timeout(), None);
    pipe.set_conditions(now, Conditions::default(), Held::Release);
    assert_eq!(data(&mut pipe, now).len(), 107);
}

#[test]
fn corruption_flips_single_bits_and_is_counted() {
    let (mut pipe, now) = pipe();
    let often = NonZeroU64::new(2);
    pipe.set_conditions(now, with(|c| c.corrupt_one_in = often), Held::Release);
    for _ in 0..100 {
        pipe.push(now, Bytes::from_static(&[0; 16]));
    }
    let flipped: u32 = data(&mut pipe, now).iter().map(|b| b.count_ones()).sum();
    assert_eq!(u64::from(flipped), pipe.counters().corrupted);
    assert!((20..80).contains(&flipped), "{flipped} of 100");
}

#[test]
fn a_cut_loses_what_is_under_way_in_both_directions() {
    let now = crate::clock::now();
    let mut link = Link::new(&Rng::new(1), 1000);
    link.to_target().push(now, Bytes::from_static(b"write"));
    link.to_initiator().push(now, Bytes::from_static(b"ok"));
    link.cut(now, End::Reset);
    assert_eq!(
        link.to_target().poll_deliver(now),
        Some(Delivery::End(End::Reset))
    );
    assert_eq!(
        link.to_initiator().poll_deliver(now),
        Some(Delivery::End(End::Reset))
    );
    assert_eq!(link.to_target().counters().dropped, 5);
    assert_eq!(link.poll_timeout(), None);
}

#[test]
fn the_end_of_a_stream_flies_as_long_as_its_bytes() {
    let (mut pipe, now) = pipe();
    pipe.set_conditions(now, with(|c| c.latency = 20 * MS), Held::Release);
    pipe.push_end(now, End::Fin);
    assert_eq!(pipe.poll_deliver(now + 19 * MS), None);
    assert_eq!(pipe.poll_timeout(), Some(now + 20 * MS));
    let end = pipe.poll_deliver(now + 20 * MS);
    assert_eq!(end, Some(Delivery::End(End::Fin)));
}

#[test]
fn a_full_pipe_has_no_room() {
    let now = crate::clock::now();
    let mut pipe = Pipe::new(Rng::new(1), 10);
    pipe.set_conditions(now, with(|c| c.hole = Hole::All), Held::Release);
    assert_eq!(pipe.room(), 10);
    pipe.push(now, Bytes::from_static(b"0123456789ab"));
    assert_eq!(pipe.room(), 0);
}

#[test]
fn a_lost_piece_comes_late_and_what_follows_it_waits() {
    let (mut pipe, now) = pipe();
    let always = NonZeroU64::new(1);
    pipe.set_conditions(now, with(|c| c.lose_one_in = always), Held::Release);
    pipe.push(now, Bytes::from_static(b"lost"));
    pipe.set_conditions(now, Conditions::default(), Held::Release);
    pipe.push(now, Bytes::from_static(b"behind"));
    assert_eq!(data(&mut pipe, now + 199 * MS), b"");
    assert_eq!(data(&mut pipe, now + 200 * MS), b"lostbehind");
    assert_eq!(pipe.counters().lost, 1);
}
