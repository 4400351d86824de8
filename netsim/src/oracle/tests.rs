use super::*;
use crate::rng::Rng;

const SIZE: usize = 512;

fn oracle() -> Oracle {
    Oracle::new(7, 1)
}

fn block(oracle: &Oracle, ticket: &WriteTicket) -> Vec<u8> {
    let mut data = vec![0; SIZE * usize::try_from(ticket.blocks).unwrap()];
    oracle.fill(ticket, SIZE, &mut data);
    data
}

/// A write of block 0 that is acknowledged; returns its data.
fn write(oracle: &mut Oracle) -> Vec<u8> {
    let ticket = oracle.write_begins(0, 0, 1);
    let data = block(oracle, &ticket);
    oracle.write_ends(ticket, true);
    data
}

fn read(oracle: &mut Oracle, data: &[u8]) -> u64 {
    let ticket = oracle.read_begins(0, 1);
    oracle.read_ends(ticket, SIZE, Some(data))
}

#[test]
fn a_read_returns_the_last_acknowledged_write() {
    let mut oracle = oracle();
    let old = write(&mut oracle);
    let new = write(&mut oracle);
    assert_eq!(read(&mut oracle, &new), 0);
    assert_eq!(read(&mut oracle, &old), 1, "a lost write is found");
    let message = oracle.violations()[0].to_string();
    assert!(
        message.contains("returned write 1") && message.contains("write 2 had replaced it"),
        "{message}"
    );
}

#[test]
fn what_was_there_before_is_learned_and_must_stay() {
    let mut oracle = oracle();
    assert_eq!(read(&mut oracle, &[9; SIZE]), 0);
    assert_eq!(read(&mut oracle, &[9; SIZE]), 0);
    assert_eq!(read(&mut oracle, &[8; SIZE]), 1);
    assert_eq!(oracle.violations()[0].rule, Rule::Changed);
    write(&mut oracle);
    assert_eq!(read(&mut oracle, &[9; SIZE]), 1, "the write is gone");
}

#[test]
fn concurrent_writes_may_take_effect_in_any_order_but_not_in_both() {
    let mut oracle = oracle();
    let a = oracle.write_begins(1, 0, 1);
    let b = oracle.write_begins(2, 0, 1);
    let (data_a, data_b) = (block(&oracle, &a), block(&oracle, &b));
    oracle.write_ends(b, true);
    oracle.write_ends(a, true);
    assert_eq!(read(&mut oracle, &data_b), 0);
    assert_eq!(read(&mut oracle, &data_a), 1, "b was seen last");
}

#[test]
fn a_read_beside_a_write_may_return_old_or_new_but_never_old_after_new() {
    let mut oracle = oracle();
    let old = write(&mut oracle);
    let ticket = oracle.write_begins(1, 0, 1);
    let new = block(&oracle, &ticket);
    assert_eq!(read(&mut oracle, &old), 0);
    assert_eq!(read(&mut oracle, &new), 0);
    assert_eq!(read(&mut oracle, &old), 1, "not acknowledged, but seen");
    oracle.write_ends(ticket, true);
}

#[test]
fn a_read_that_began_before_a_write_was_acknowledged_may_return_the_older_value() {
    let mut oracle = oracle();
    let old = write(&mut oracle);
    let slow = oracle.read_begins(0, 1);
    let new = write(&mut oracle);
    assert_eq!(read(&mut oracle, &new), 0);
    assert_eq!(oracle.read_ends(slow, SIZE, Some(&old)), 0);
    assert_eq!(read(&mut oracle, &old), 1);
}

#[test]
fn a_write_of_unknown_outcome_may_appear_late_but_then_it_stays() {
    let mut oracle = oracle();
    let old = write(&mut oracle);
    let failed = oracle.write_begins(1, 0, 1);
    let ghost = block(&oracle, &failed);
    oracle.write_ends(failed, false);
    assert_eq!(read(&mut oracle, &old), 0);
    assert_eq!(read(&mut oracle, &old), 0);
    assert_eq!(read(&mut oracle, &ghost), 0);
    assert_eq!(read(&mut oracle, &old), 1);
}

#[test]
fn a_ghost_that_executes_after_a_newer_write_was_seen_is_found() {
    let mut oracle = oracle();
    let first = oracle.write_begins(1, 0, 1);
    let ghost = block(&oracle, &first);
    oracle.write_ends(first, true);
    let new = write(&mut oracle);
    assert_eq!(read(&mut oracle, &new), 0);
    assert_eq!(read(&mut oracle, &ghost), 1);
    assert!(matches!(
        oracle.violations()[0].rule,
        Rule::Reverted { newer: Some(2) }
    ));
}

#[test]
fn a_block_of_another_place_volume_or_run_is_misplaced() {
    let mut oracle = oracle();
    let ticket = oracle.write_begins(0, 5, 1);
    let elsewhere = block(&oracle, &ticket);
    oracle.write_ends(ticket, true);
    write(&mut oracle);
    assert_eq!(read(&mut oracle, &elsewhere), 1);
    assert_eq!(oracle.violations()[0].rule, Rule::Misplaced);
    let mut other = Oracle::new(7, 2);
    let foreign = write(&mut other);
    assert_eq!(read(&mut oracle, &foreign), 1);
}

#[test]
fn a_torn_block_is_found() {
    let mut oracle = oracle();
    let old = write(&mut oracle);
    let mut torn = write(&mut oracle);
    torn[SIZE / 2..].copy_from_slice(&old[SIZE / 2..]);
    assert_eq!(read(&mut oracle, &torn), 1);
    assert_eq!(oracle.violations()[0].rule, Rule::Damaged);
}

#[test]
fn memory_stays_small_however_often_a_block_is_written() {
    let mut oracle = oracle();
    for _ in 0..1000 {
        let data = write(&mut oracle);
        read(&mut oracle, &data);
    }
    assert_eq!(oracle.registers[&0].values.len(), 1);
}

/// A register that really is one never breaks a rule, whatever the interleaving; and one that
/// returns an old value now and then is caught.
#[test]
fn real_registers_pass_and_forgetful_ones_are_caught() {
    for seed in 0..200 {
        assert_eq!(run_register(seed, false), 0, "seed {seed}");
    }
    let caught = (0..200)
        .filter(|seed| run_register(*seed, true) > 0)
        .count();
    assert!(caught > 190, "{caught} of 200 forgetful registers caught");
}

enum Op {
    Write(WriteTicket, Vec<u8>, bool),
    Read(ReadTicket, Option<Vec<u8>>),
}

/// Operations begin, take effect at some moment between, and end, in random order.
fn run_register(seed: u64, forgetful: bool) -> u64 {
    let mut rng = Rng::new(seed);
    let mut oracle = oracle();
    let mut memory = vec![0; SIZE];
    let mut history = vec![memory.clone()];
    let mut flying: Vec<Op> = Vec::new();
    for _ in 0..400 {
        let choice = rng.below(4);
        if choice == 0 && flying.len() < 6 {
            let ticket = oracle.write_begins(0, 0, 1);
            let data = block(&oracle, &ticket);
            flying.push(Op::Write(ticket, data, false));
        } else if choice == 1 && flying.len() < 6 {
            flying.push(Op::Read(oracle.read_begins(0, 1), None));
        } else if !flying.is_empty() {
            let index = rng.index(flying.len());
            match flying.swap_remove(index) {
                Op::Write(ticket, data, false) => {
                    memory.clone_from(&data);
                    history.push(data.clone());
                    flying.push(Op::Write(ticket, data, true));
                }
                Op::Write(ticket, _, true) => oracle.write_ends(ticket, true),
                Op::Read(ticket, None) => {
                    let old = forgetful && rng.chance(1, 10) && history.len() > 8;
                    let value = if old {
                        &history[history.len() - 8]
                    } else {
                        &memory
                    };
                    flying.push(Op::Read(ticket, Some(value.clone())));
                }
                Op::Read(ticket, Some(data)) => {
                    oracle.read_ends(ticket, SIZE, Some(&data));
                }
            }
        }
    }
    oracle.violation_count()
}

/// A write of zeroes to block 0 that is acknowledged.
fn zero(oracle: &mut Oracle) {
    let ticket = oracle.zeroes_begin(0, 0, 1);
    oracle.write_ends(ticket, true);
}

#[test]
fn zeroes_are_allowed_where_a_zeroing_write_may_be_the_last() {
    let mut oracle = Oracle::of_zeroed(7, 1);
    let zeroes = vec![0; SIZE];
    assert_eq!(read(&mut oracle, &zeroes), 0, "before the run");
    let data = write(&mut oracle);
    assert_eq!(read(&mut oracle, &zeroes), 1, "the write is lost");
    zero(&mut oracle);
    assert_eq!(read(&mut oracle, &zeroes), 0);
    assert_eq!(read(&mut oracle, &data), 1, "the zeroing is lost");
}

#[test]
fn a_trim_may_do_nothing_and_may_zero() {
    let mut oracle = Oracle::of_zeroed(7, 1);
    let data = write(&mut oracle);
    let trim = oracle.zeroes_begin(0, 0, 1);
    oracle.write_ends(trim, false);
    assert_eq!(read(&mut oracle, &data), 0, "not yet");
    assert_eq!(read(&mut oracle, &vec![0; SIZE]), 0, "now");
    assert_eq!(read(&mut oracle, &data), 1, "and not back");
}

#[test]
fn a_write_that_is_sent_again_may_come_and_go_until_it_is_answered() {
    let mut oracle = oracle();
    let ticket = oracle.write_begins(0, 0, 1);
    let first = block(&oracle, &ticket);
    assert_eq!(read(&mut oracle, &first), 0);
    oracle.write_repeats(&ticket, false);
    let other = write(&mut oracle);
    assert_eq!(read(&mut oracle, &other), 0);
    assert_eq!(read(&mut oracle, &first), 0, "executed a second time");
    oracle.write_ends(ticket, true);
    let newer = write(&mut oracle);
    assert_eq!(read(&mut oracle, &newer), 0);
    assert_eq!(read(&mut oracle, &first), 1, "a ghost of the first time");
}

// ---- durability

fn flush(oracle: &mut Oracle, good: bool) {
    let ticket = oracle.flush_begins();
    oracle.flush_ends(ticket, good);
}

#[test]
fn a_crash_may_take_what_was_not_flushed_and_nothing_that_was() {
    let mut oracle = Oracle::of_volatile(7, 1);
    let oldest = write(&mut oracle);
    let flushed = write(&mut oracle);
    flush(&mut oracle, true);
    write(&mut oracle);
    oracle.crashes();
    assert_eq!(read(&mut oracle, &flushed), 0, "the last durable one");
    assert_eq!(read(&mut oracle, &oldest), 1, "an older one");
}

#[test]
fn what_was_seen_after_a_crash_stays() {
    let mut oracle = Oracle::of_volatile(7, 1);
    let one = write(&mut oracle);
    let two = write(&mut oracle);
    oracle.crashes();
    assert_eq!(read(&mut oracle, &one), 0, "two is lost");
    assert_eq!(read(&mut oracle, &two), 1, "and does not come back");
}

#[test]
fn without_a_crash_nothing_is_lost() {
    let mut oracle = Oracle::of_volatile(7, 1);
    let one = write(&mut oracle);
    write(&mut oracle);
    assert_eq!(read(&mut oracle, &one), 1);
}

#[test]
fn a_flush_that_succeeds_after_a_crash_promises_that_nothing_was_lost() {
    let mut oracle = Oracle::of_volatile(7, 1);
    let one = write(&mut oracle);
    write(&mut oracle);
    oracle.crashes();
    flush(&mut oracle, true);
    assert_eq!(read(&mut oracle, &one), 1, "a silent loss");
}

#[test]
fn a_flush_that_fails_takes_the_promise_back() {
    let mut oracle = Oracle::of_volatile(7, 1);
    let one = write(&mut oracle);
    write(&mut oracle);
    oracle.crashes();
    flush(&mut oracle, false);
    flush(&mut oracle, true);
    assert_eq!(read(&mut oracle, &one), 0, "the client was told");
}

#[test]
fn a_write_with_fua_survives_a_crash() {
    let mut oracle = Oracle::of_volatile(7, 1);
    let old = write(&mut oracle);
    let ticket = oracle.write_begins(0, 0, 1);
    oracle.durable_write_ends(ticket);
    oracle.crashes();
    assert_eq!(read(&mut oracle, &old), 1);
}

#[test]
fn a_write_that_is_under_way_during_a_crash_may_be_there_before_and_gone_after_until_it_is_acknowledged()
 {
    let mut oracle = Oracle::of_volatile(7, 1);
    let old = write(&mut oracle);
    let ticket = oracle.write_begins(0, 0, 1);
    let new = block(&oracle, &ticket);
    assert_eq!(read(&mut oracle, &new), 0, "carried out");
    oracle.crashes();
    assert_eq!(read(&mut oracle, &old), 0, "lost");
    assert_eq!(read(&mut oracle, &new), 0, "carried out again");
    oracle.write_ends(ticket, true);
    assert_eq!(read(&mut oracle, &old), 1);
}

#[test]
fn a_read_that_was_under_way_during_a_crash_may_tell_of_before_it() {
    let mut oracle = Oracle::of_volatile(7, 1);
    let ticket = oracle.write_begins(0, 0, 1);
    oracle.durable_write_ends(ticket);
    let old = write(&mut oracle);
    flush(&mut oracle, true);
    let ticket = oracle.write_begins(0, 0, 1);
    let new = block(&oracle, &ticket);
    let across = oracle.read_begins(0, 1);
    oracle.crashes();
    assert_eq!(oracle.read_ends(across, 512, Some(&new)), 0, "before it");
    assert_eq!(read(&mut oracle, &old), 0, "lost");
    oracle.write_ends(ticket, true);
    assert_eq!(read(&mut oracle, &new), 0, "carried out again");
    assert_eq!(read(&mut oracle, &old), 1);
}
