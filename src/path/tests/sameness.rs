//! Is it the same unit? A path is compared with one that is in use, which is a second bench.

use super::*;
use crate::path::health::Peers;
use crate::path::sameness::Basis;
use crate::scsi::reservation::ReservationKey;
use std::cell::RefCell;
use std::rc::Rc;

/// Registered keys of a unit, by nexus, and what it knows of reservations at all.
#[derive(Debug, Default)]
struct Registry {
    keys: BTreeMap<u8, u64>,
    generation: u32,
    refuses: bool,
    /// So many more commands meet a port in transition.
    not_ready: u32,
    /// Another host has reserved the unit by RESERVE(6): everything is a conflict.
    reserved: bool,
    /// READ KEYS commands that came.
    read: u32,
    /// REGISTER commands that were carried out.
    registered: u32,
}

type Shared = Rc<RefCell<Registry>>;

impl Registry {
    fn answer(&mut self, nexus: u8, cdb: &[u8; 16], list: &[u8]) -> Option<Answer> {
        self.read += u32::from(cdb[0] == 0x5e);
        match cdb[0] {
            0x5e | 0x5f if self.reserved => Some(Answer::status(0x18)),
            0x5e | 0x5f if self.not_ready > 0 => {
                self.not_ready -= 1;
                Some(Answer::check(2, 0x04, 0x0a))
            }
            0x5e | 0x5f if self.refuses => Some(Answer::check(5, 0x20, 0)),
            0x5e => {
                let body: Vec<u8> = self.keys.values().flat_map(|k| k.to_be_bytes()).collect();
                let length = u32::try_from(body.len()).unwrap().to_be_bytes();
                let header = [self.generation.to_be_bytes(), length].concat();
                Some(Answer::good([header, body].concat()))
            }
            0x5f => {
                let number = |at: usize| u64::from_be_bytes(list[at..at + 8].try_into().unwrap());
                let (own, new) = (number(0), number(8));
                if self.keys.get(&nexus).copied().unwrap_or(0) != own {
                    return Some(Answer::status(0x18));
                }
                self.generation += 1;
                self.registered += 1;
                match new {
                    0 => self.keys.remove(&nexus),
                    key => self.keys.insert(nexus, key),
                };
                Some(Answer::good(Vec::new()))
            }
            _ => None,
        }
    }
}

/// What blocks hold: one byte, for all of them.
fn content(byte: u8, cdb: &[u8; 16]) -> Option<Answer> {
    let blocks = usize::from(u16::from_be_bytes([cdb[7], cdb[8]]));
    let block: Vec<u8> = (0..512)
        .map(|at| byte.wrapping_add(u8::from(at == 0)))
        .collect();
    (cdb[0] == 0x28).then(|| Answer::good(block.repeat(blocks)))
}

/// Two paths, and what the engine does between them.
struct Pair {
    joins: Bench,
    reference: Bench,
    undisturbed: bool,
}

/// The unit behind a bench.
fn serve(bench: &mut Bench, nexus: u8, unit: &Shared, byte: u8) {
    let unit = Rc::clone(unit);
    bench.disk_with_data = Some(Box::new(move |cdb, data| {
        let registry = unit.borrow_mut().answer(nexus, cdb, data);
        Some(
            registry
                .or_else(|| content(byte, cdb))
                .unwrap_or_else(|| disk(cdb)),
        )
    }));
}

impl Pair {
    fn new(first: &Shared, other: &Shared, same_by: SameBy) -> Self {
        let mut reference = Bench::with(|config| config.same_by = same_by);
        serve(&mut reference, 1, first, 7);
        reference.up();
        let mut joins = Bench::with(|config| config.same_by = same_by);
        let byte = if Rc::ptr_eq(first, other) { 7 } else { 9 };
        serve(&mut joins, 2, other, byte);
        let mut pair = Self {
            joins,
            reference,
            undisturbed: true,
        };
        pair.surround(true);
        pair
    }

    fn surroundings(there: bool) -> Surroundings {
        Surroundings {
            references: [there.then_some(PathId(1)), None],
            reference_is_sure: there,
            others: there,
            peers: Peers {
                usable: there,
                any: there,
                ..Peers::default()
            },
            ..Surroundings::default()
        }
    }

    fn surround(&mut self, there: bool) {
        self.joins.path.set_surroundings(Self::surroundings(there));
    }

    /// Goes on until nobody has anything to say.
    fn carry(&mut self) {
        while self.carry_once() {}
        self.joins.turn();
    }

    /// What one of the two paths has to say, if anything.
    fn carry_once(&mut self) -> bool {
        let now = self.joins.now;
        self.joins.serve(Link::Main);
        self.reference.serve(Link::Main);
        if let Some((reference, question)) = self.joins.path.poll_question() {
            assert_eq!(reference, PathId(1));
            self.reference.path.testify(now, PathId(0), question);
        } else if let Some((_, said)) = self.reference.path.poll_testimony() {
            self.joins.path.on_testimony(now, said, self.undisturbed);
            self.joins.turn();
        } else {
            return self.joins.serve_once(Link::Main);
        }
        true
    }

    fn join(&mut self) {
        self.joins.up();
        self.carry();
    }

    fn basis(&self) -> Option<Basis> {
        self.joins.path.status(self.joins.now).same
    }

    fn why(&self) -> String {
        self.joins.path.status(self.joins.now).why
    }

    /// The path that joins was taken for one to another unit, for this reason.
    fn assert_refused(&self, reason: &str) {
        let why = self.why();
        assert_eq!(self.joins.state(), PathState::Disabled, "{why}");
        assert!(why.contains(reason), "{why}");
    }
}

fn registry() -> Shared {
    Shared::default()
}

#[test]
fn a_key_that_is_seen_over_the_other_path_proves_the_unit_and_is_removed_again() {
    let unit = registry();
    let mut pair = Pair::new(&unit, &unit, SameBy::Reservation);
    pair.joins.identify();
    pair.joins.path.order(pair.joins.now, Order::Admit);
    assert_eq!(pair.joins.state(), PathState::Probing, "not used before");
    pair.joins.serve(Link::Main);
    assert_eq!(
        unit.borrow().keys.len(),
        1,
        "registered over the path that joins"
    );
    pair.carry();
    assert_eq!(pair.joins.state(), PathState::Ready);
    assert_eq!(pair.basis(), Some(Basis::Reservation));
    assert!(unit.borrow().keys.is_empty() && unit.borrow().registered == 2);
}

#[test]
fn a_key_that_is_not_seen_shows_another_unit_and_its_path_stays_out_of_use() {
    let (unit, copy) = (registry(), registry());
    let mut pair = Pair::new(&unit, &copy, SameBy::Reservation);
    pair.join();
    assert_eq!(pair.joins.state(), PathState::Disabled);
    let why = pair.why();
    assert!(
        why.contains("different logical unit") && why.contains("naa.6001405f2d3c4b5a"),
        "{why}"
    );
    assert!(copy.borrow().keys.is_empty(), "nothing is left there");
    assert!(pair.joins.path.is_distrusted());
    // Alone, its identifiers count for nothing.
    pair.surround(false);
    pair.joins.pass(ms(2_500));
    pair.joins.up();
    pair.carry();
    assert_eq!(pair.joins.state(), PathState::Disabled, "{}", pair.why());
    // It leads to the unit again, and shows it.
    serve(&mut pair.joins, 2, &unit, 7);
    pair.surround(true);
    pair.joins.pass(ms(5_000));
    pair.join();
    assert_eq!(pair.basis(), Some(Basis::Reservation));
    assert!(!pair.joins.path.is_distrusted());
}

#[test]
fn without_another_path_it_is_used_at_once_and_registers_nothing() {
    let unit = registry();
    let mut pair = Pair::new(&unit, &unit, SameBy::Reservation);
    pair.surround(false);
    pair.joins.up();
    assert_eq!(pair.joins.state(), PathState::Ready);
    assert_eq!(pair.basis(), Some(Basis::First));
    pair.carry();
    assert_eq!(unit.borrow().registered, 0);
}

#[test]
fn a_comparison_does_not_keep_io_waiting_and_is_made_up_for() {
    let unit = registry();
    let mut pair = Pair::new(&unit, &unit, SameBy::Reservation);
    pair.joins.identify();
    // The reference is silent and carries nothing any more.
    let silent = Surroundings {
        references: [None, None],
        others: true,
        ..Surroundings::default()
    };
    pair.joins.path.set_surroundings(silent);
    pair.joins.path.order(pair.joins.now, Order::Admit);
    pair.joins.pass(ms(900));
    assert_eq!(pair.joins.state(), PathState::Probing);
    pair.joins.pass(ms(200));
    assert_eq!(pair.joins.state(), PathState::Ready);
    assert!(matches!(pair.basis(), Some(Basis::Identifiers { .. })));
    pair.reference.now = pair.joins.now;
    pair.surround(true);
    pair.joins.pass(ms(1_100));
    assert_eq!(pair.joins.state(), PathState::Probing, "looked at again");
    pair.joins.path.order(pair.joins.now, Order::Admit);
    pair.carry();
    assert_eq!(pair.basis(), Some(Basis::Reservation));
    assert_eq!(pair.joins.state(), PathState::Ready);
}

#[test]
fn a_key_that_a_lost_session_left_is_replaced_and_removed_in_the_next() {
    let unit = registry();
    let mut pair = Pair::new(&unit, &unit, SameBy::Reservation);
    pair.joins.up();
    pair.joins.serve(Link::Main);
    assert_eq!(unit.borrow().keys.len(), 1);
    pair.joins.close(Link::Main);
    pair.joins.pass(ms(100));
    pair.join();
    assert_eq!(pair.basis(), Some(Basis::Reservation));
    assert!(unit.borrow().keys.is_empty(), "{unit:?}");
}

#[test]
fn a_key_that_a_killed_process_left_is_known_by_its_beginning() {
    let unit = registry();
    let mut before = Pair::new(&unit, &unit, SameBy::Reservation);
    before.joins.up();
    before.joins.serve(Link::Main);
    let left = unit.borrow().keys[&2];
    let mut pair = Pair::new(&unit, &unit, SameBy::Reservation);
    pair.joins.path.sweep_keys();
    pair.join();
    assert_eq!(pair.basis(), Some(Basis::Reservation));
    assert!(unit.borrow().keys.is_empty(), "{:?}", ReservationKey(left));
    // The first path of the next process has nobody to compare with, and looks for it all the same.
    unit.borrow_mut().keys.insert(2, left);
    let mut alone = Pair::new(&unit, &unit, SameBy::Reservation);
    alone.surround(false);
    alone.joins.path.sweep_keys();
    unit.borrow_mut().not_ready = 1;
    alone.join();
    assert_eq!(alone.basis(), Some(Basis::First));
    assert!(!unit.borrow().keys.is_empty(), "not told yet");
    alone.joins.pass(Duration::from_secs(6));
    alone.joins.serve(Link::Main);
    assert!(unit.borrow().keys.is_empty());
}

#[test]
fn a_key_that_is_registered_late_is_found_and_removed() {
    let unit = registry();
    let mut pair = Pair::new(&unit, &unit, SameBy::Reservation);
    pair.joins.up();
    pair.joins.serve(Link::Main);
    let key = unit.borrow().keys[&2];
    let mut pair = Pair::new(&unit, &unit, SameBy::Reservation);
    unit.borrow_mut().keys.clear();
    pair.joins.identify();
    pair.joins.path.order(pair.joins.now, Order::Admit);
    assert!(pair.joins.path.is_comparing());
    pair.joins.close(Link::Main);
    pair.joins.pass(ms(100));
    pair.reference.now = pair.joins.now;
    pair.join();
    assert_eq!(pair.joins.state(), PathState::Ready, "{}", pair.why());
    // What the lost session asked for is carried out only now.
    unit.borrow_mut().keys.insert(2, key);
    pair.joins.pass(ms(9_000));
    pair.joins.serve(Link::Main);
    assert!(!unit.borrow().keys.is_empty());
    pair.joins.pass(ms(1_100));
    pair.carry();
    assert!(unit.borrow().keys.is_empty());
}

#[test]
fn a_unit_that_another_host_has_reserved_is_not_asked_for_keys_all_the_time() {
    let unit = registry();
    unit.borrow_mut().reserved = true;
    let mut alone = Pair::new(&unit, &unit, SameBy::Reservation);
    alone.surround(false);
    alone.joins.path.sweep_keys();
    alone.joins.up();
    for _ in 0..20 {
        alone.joins.serve_once(Link::Main);
        alone.joins.turn();
    }
    assert_eq!(unit.borrow().read, 1, "and again after a pause");
    unit.borrow_mut().reserved = false;
    alone.joins.pass(Duration::from_secs(6));
    alone.joins.serve(Link::Main);
    assert_eq!(unit.borrow().read, 2);
}

#[test]
fn where_somebody_uses_reservations_over_the_path_their_lists_and_blocks_are_compared() {
    let unit = registry();
    unit.borrow_mut().keys.insert(2, 0x1234);
    let mut pair = Pair::new(&unit, &unit, SameBy::Reservation);
    pair.join();
    assert!(matches!(pair.basis(), Some(Basis::Blocks { alike, .. }) if alike > 32));
    assert_eq!(unit.borrow().keys[&2], 0x1234, "it is not ours to remove");
    // Another unit, with the same key, which cluster software registers everywhere.
    let copy = registry();
    copy.borrow_mut().keys.insert(2, 0x1234);
    let mut pair = Pair::new(&unit, &copy, SameBy::Reservation);
    pair.join();
    pair.assert_refused("do not hold the same");
    // And one where the lists differ.
    copy.borrow_mut().generation += 1;
    let mut pair = Pair::new(&unit, &copy, SameBy::Reservation);
    pair.join();
    pair.assert_refused("registered reservation keys");
}

#[test]
fn without_reservations_blocks_tell_a_copy_that_was_written_to() {
    let (unit, copy) = (registry(), registry());
    unit.borrow_mut().refuses = true;
    copy.borrow_mut().refuses = true;
    let mut pair = Pair::new(&unit, &unit, SameBy::Reservation);
    pair.join();
    let expected = Basis::Blocks {
        alike: 64,
        blank: 0,
    };
    assert_eq!(pair.basis(), Some(expected));
    let mut pair = Pair::new(&unit, &copy, SameBy::Reservation);
    pair.join();
    pair.assert_refused("do not hold the same");
}

#[test]
fn blocks_that_are_written_meanwhile_are_no_evidence() {
    let (unit, other) = (registry(), registry());
    let mut pair = Pair::new(&unit, &other, SameBy::Blocks);
    pair.undisturbed = false;
    pair.join();
    assert_eq!(pair.joins.state(), PathState::Ready);
    assert!(matches!(pair.basis(), Some(Basis::Identifiers { .. })));
    assert_eq!(unit.borrow().registered + other.borrow().registered, 0);
}

#[test]
fn a_unit_attention_starts_the_look_at_the_unit_anew() {
    let unit = registry();
    let mut pair = Pair::new(&unit, &unit, SameBy::Reservation);
    let mut told = false;
    let shared = Rc::clone(&unit);
    pair.joins.disk_with_data = Some(Box::new(move |cdb, data| {
        if cdb[0] == 0x5f && !std::mem::replace(&mut told, true) {
            return Some(Answer::check(6, 0x3f, 0x0e));
        }
        let registry = shared.borrow_mut().answer(2, cdb, data);
        Some(registry.unwrap_or_else(|| disk(cdb)))
    }));
    pair.joins.up();
    pair.joins.messages.clear();
    pair.joins.serve(Link::Main);
    let identified = |message: &Message| matches!(message, Message::Identified { .. });
    assert!(pair.joins.messages.iter().any(identified));
    pair.joins.path.order(pair.joins.now, Order::Admit);
    pair.carry();
    assert_eq!(pair.basis(), Some(Basis::Reservation));
    assert!(unit.borrow().keys.is_empty());
}

#[test]
fn a_reference_that_does_not_answer_leaves_it_open_and_nothing_behind() {
    let unit = registry();
    let mut pair = Pair::new(&unit, &unit, SameBy::Reservation);
    pair.joins.up();
    for _ in 0..3 {
        pair.joins.serve(Link::Main);
        let (_, question) = pair.joins.path.poll_question().expect("asks again");
        let said = Testimony {
            number: question.number,
            answer: Err("its session is lost".to_owned()),
        };
        pair.joins.path.on_testimony(pair.joins.now, said, true);
    }
    pair.joins.serve(Link::Main);
    assert!(unit.borrow().keys.is_empty(), "the key is removed");
    assert_eq!(pair.joins.state(), PathState::Probing, "blocks are next");
}

#[test]
fn with_identifiers_only_nothing_is_compared() {
    let (unit, copy) = (registry(), registry());
    let mut pair = Pair::new(&unit, &copy, SameBy::Identifiers);
    pair.joins.up();
    assert_eq!(pair.joins.state(), PathState::Ready);
    assert!(matches!(pair.basis(), Some(Basis::Identifiers { .. })));
}

#[test]
fn another_units_login_is_no_fence() {
    let (unit, copy) = (registry(), registry());
    let mut pair = Pair::new(&unit, &unit, SameBy::Reservation);
    pair.join();
    pair.joins.messages.clear();
    pair.joins.close(Link::Main);
    serve(&mut pair.joins, 2, &copy, 9);
    pair.joins.pass(ms(100));
    pair.join();
    assert_eq!(pair.joins.state(), PathState::Disabled);
    assert!(pair.joins.fences().is_empty());
}

#[test]
fn blocks_that_are_read_slowly_are_compared_for_three_seconds_and_no_longer() {
    let unit = registry();
    unit.borrow_mut().refuses = true;
    let mut pair = Pair::new(&unit, &unit, SameBy::Reservation);
    pair.joins.identify();
    pair.joins.path.order(pair.joins.now, Order::Admit);
    // Each look at a place takes 100 ms.
    let mut looks = 0;
    while pair.joins.state() == PathState::Probing {
        pair.joins.now += ms(100);
        pair.reference.now = pair.joins.now;
        pair.carry_once();
        looks += 1;
        assert!(looks < 40, "{}", pair.why());
    }
    assert!(looks >= 30, "{looks}");
    let basis = pair.basis();
    assert!(
        matches!(basis, Some(Basis::Blocks { alike, .. }) if (8..64).contains(&alike)),
        "{basis:?}"
    );
}

#[test]
fn a_comparison_is_nothing_that_hangs_at_the_target() {
    let unit = registry();
    let mut pair = Pair::new(&unit, &unit, SameBy::Reservation);
    pair.joins = Bench::with(|config| config.lun_reset = true);
    serve(&mut pair.joins, 2, &unit, 7);
    let mut surroundings = Pair::surroundings(true);
    (surroundings.wants_fence, surroundings.holds_writes) = (true, true);
    pair.joins.path.set_surroundings(surroundings);
    let later = pair.joins.now + ms(2_100);
    pair.joins.connect(Link::Main);
    assert!(!pair.joins.path.is_held_up(pair.joins.now));
    assert!(pair.joins.path.is_held_up(later), "logging in");
    pair.joins.serve(Link::Main);
    pair.joins.path.order(pair.joins.now, Order::Admit);
    assert!(pair.joins.path.is_comparing());
    assert!(!pair.joins.path.is_held_up(later));
}
