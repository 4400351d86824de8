//! Reservation keys against a small unit with registrations of its own.

use super::*;
use crate::path::message::{Enrol, Errand};
use crate::scsi::cdb::{Command as Scsi, ReserveIn, ReserveOut};
use crate::scsi::reservation::{ReservationKey, ReservationType};
use crate::task::TaskAttribute;

const KEY: u64 = 0x1a2b_3c4d_0000_0000;
const FOREIGN: u64 = 7;
const KIND: ReservationType = ReservationType::WriteExclusiveRegistrantsOnly;

/// A unit's registrations, by nexus: (path, session).
#[derive(Default)]
struct Unit {
    generation: u32,
    keys: BTreeMap<(u16, u32), u64>,
    holder: Option<((u16, u32), u8)>,
    /// Each session is a nexus of its own, as at tgt.
    by_session: bool,
    /// REGISTER over this path is refused.
    refuses: Option<u16>,
    /// PREEMPT AND ABORT is not known.
    no_abort: bool,
    /// What was sent, by path.
    log: Vec<(u16, Scsi)>,
}

fn conflict() -> Completion {
    completion(0x18, Bytes::new(), Payload::new())
}

impl Unit {
    #[expect(clippy::wildcard_enum_match_arm, reason = "two commands of many")]
    fn answer(&mut self, path: u16, session: u32, errand: &Errand) -> Completion {
        self.log.push((path, errand.command));
        let nexus = (path, if self.by_session { session } else { 0 });
        match errand.command {
            Scsi::PersistentReserveIn { action, .. } => self.tell(action),
            Scsi::PersistentReserveOut(action) => {
                let DataTransfer::Out(list) = &errand.data else {
                    panic!("a list goes with it");
                };
                let list = list.to_bytes();
                let key = |at: usize| u64::from_be_bytes(list[at..at + 8].try_into().unwrap());
                self.change(nexus, action, (key(0), key(8)))
            }
            _ => completion(0, Bytes::new(), Payload::new()),
        }
    }

    fn tell(&self, action: ReserveIn) -> Completion {
        let body = match action {
            ReserveIn::ReadKeys => self.keys.values().flat_map(|k| k.to_be_bytes()).collect(),
            ReserveIn::ReadReservation => self.holder.map_or(Vec::new(), |(nexus, kind)| {
                let key = self.keys.get(&nexus).copied().unwrap_or(FOREIGN);
                [&key.to_be_bytes()[..], &[0, 0, 0, 0, 0, kind, 0, 0]].concat()
            }),
            ReserveIn::ReportCapabilities => return check(5, 0x24, 0),
        };
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let data = [&self.generation.to_be_bytes()[..], &length, &body].concat();
        completion(0, Bytes::new(), Bytes::from(data).into())
    }

    fn change(
        &mut self,
        nexus: (u16, u32),
        action: ReserveOut,
        (own, other): (u64, u64),
    ) -> Completion {
        let good = completion(0, Bytes::new(), Payload::new());
        let known = self.keys.get(&nexus).copied().unwrap_or(0);
        let ignores = action == ReserveOut::RegisterAndIgnoreExistingKey;
        if !ignores && known != own {
            return conflict();
        }
        match action {
            ReserveOut::Register | ReserveOut::RegisterAndIgnoreExistingKey => {
                if self.refuses == Some(nexus.0) {
                    return check(5, 0x55, 0x04);
                }
                self.generation += 1;
                self.keys.insert(nexus, other);
                if other == 0 {
                    self.keys.remove(&nexus);
                    self.holder.take_if(|(holder, _)| *holder == nexus);
                }
            }
            ReserveOut::Reserve(kind) => {
                let free = self.holder.is_none_or(|held| held == (nexus, kind.wire()));
                if !free {
                    return conflict();
                }
                self.holder = Some((nexus, kind.wire()));
            }
            ReserveOut::Release(_) => {
                self.holder.take_if(|(holder, _)| *holder == nexus);
            }
            ReserveOut::Clear => (self.keys, self.holder) = (BTreeMap::new(), None),
            ReserveOut::PreemptAndAbort(_) if self.no_abort => return check(5, 0x24, 0),
            ReserveOut::Preempt(kind) | ReserveOut::PreemptAndAbort(kind) => {
                if !self.keys.values().any(|key| *key == other) {
                    return conflict();
                }
                let held = self
                    .holder
                    .map(|(holder, _)| self.keys.get(&holder).copied());
                if held.is_some_and(|key| key == Some(other)) {
                    self.holder = Some((nexus, kind.wire()));
                }
                self.keys
                    .retain(|known, key| *known == nexus || *key != other);
                self.generation += 1;
            }
        }
        good
    }

    /// The keys, each with the path that has it.
    fn registered(&self) -> Vec<(u16, u64)> {
        let all = self.keys.iter();
        all.map(|((path, _), key)| (*path, *key)).collect()
    }
}

/// A volume with its paths' answers to orders.
struct Lab {
    bench: Bench,
    unit: Unit,
    enrol: Vec<Enrol>,
    rejected: Vec<String>,
    rechecks: Vec<u16>,
    /// Paths whose registration must never be missing.
    guarded: Vec<u16>,
}

impl Lab {
    fn new(paths: usize, config: ReservationConfig) -> Self {
        let mut lab = Self {
            bench: Bench::new(paths, |volume| volume.reservation = config),
            unit: Unit::default(),
            enrol: vec![Enrol::NotNeeded; paths],
            rejected: Vec::new(),
            rechecks: Vec::new(),
            guarded: Vec::new(),
        };
        lab.obey();
        lab
    }

    /// With a key from the configuration, both paths up.
    fn registered(per_path: bool) -> Self {
        let mut lab = Self::new(
            2,
            ReservationConfig {
                key: Some(RememberedKey::new(ReservationKey(KEY), per_path)),
                configured: true,
                preempt_abort: per_path,
            },
        );
        lab.up(0);
        lab.up(1);
        lab
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "some orders of many")]
    fn obey(&mut self) {
        while let Some((path, order)) = self.bench.volume.poll_order() {
            let session = self.bench.incarnation(path.0).0;
            match order {
                Order::Carry(errand) => {
                    let answer = Some(self.unit.answer(path.0, session, &errand));
                    let ticket = errand.ticket;
                    let message = Message::Carried { ticket, answer };
                    let now = self.bench.now;
                    self.bench.volume.handle_message(now, path, message);
                    let known = self.unit.registered();
                    for path in &self.guarded {
                        assert!(known.iter().any(|(p, _)| p == path), "{path} lost its key");
                    }
                }
                Order::Enrol(enrol) => self.enrol[usize::from(path.0)] = enrol,
                Order::Reject { why, .. } => self.rejected.push(why),
                Order::Recheck => self.rechecks.push(path.0),
                _ => {}
            }
        }
    }

    /// A session begins and joins; whether it may be used.
    fn up(&mut self, path: u16) -> bool {
        let index = usize::from(path);
        if self.enrol[index] == Enrol::Done {
            self.enrol[index] = Enrol::Needed;
        }
        self.bench.identify(path, unit("S1"));
        if self.enrol[index] == Enrol::Needed {
            let incarnation = self.bench.incarnation(path);
            let message = Message::Joining { incarnation };
            let now = self.bench.now;
            self.bench.volume.handle_message(now, PathId(path), message);
            self.obey();
        }
        let may = self.enrol[index] != Enrol::Needed;
        if may {
            self.bench.stand(path, Standing::Ready);
        }
        self.obey();
        may
    }

    fn lose(&mut self, path: u16) {
        self.bench.lose(path, Disposition::Indeterminate);
        self.obey();
    }

    fn ask(&mut self, ask: ReservationAsk) -> Result<ReservationStatus, String> {
        self.bench.volume.ask_reservation(self.bench.now, 1, ask);
        self.obey();
        let (_, answer) = self.bench.volume.poll_reservation().expect("an answer");
        answer
    }

    fn reserve(&mut self) {
        let reserved = self.ask(ReservationAsk::Reserve { kind: KIND });
        assert!(reserved.is_ok(), "{reserved:?}");
    }

    fn key(&self) -> RememberedKey {
        self.bench.volume.remembered_key().unwrap()
    }

    fn preempt_if_due(&mut self, path: u16) -> bool {
        let now = self.bench.now;
        let begun = self.bench.volume.preempt_if_due(now, PathId(path), false);
        self.obey();
        begun
    }
}

fn register(key: u64) -> ReservationAsk {
    ReservationAsk::Register {
        key: ReservationKey(key),
    }
}

#[test]
fn a_key_is_registered_over_every_path_or_over_none() {
    let mut lab = Lab::new(2, ReservationConfig::default());
    (0..2).for_each(|path| assert!(lab.up(path)));
    lab.unit.refuses = Some(1);
    let refused = lab.ask(register(KEY)).unwrap_err();
    assert!(refused.contains("ILLEGAL REQUEST 55/04"), "{refused}");
    assert_eq!(lab.unit.registered(), [], "the first one is undone");
    assert_eq!(lab.bench.volume.remembered_key(), None);
    lab.unit.refuses = None;
    let status = lab.ask(register(KEY)).unwrap();
    assert_eq!(lab.unit.registered(), [(0, KEY), (1, KEY)]);
    let yes = |path: &PathRegistration| path.registered == Registered::Yes;
    assert!(status.paths.iter().all(yes));
    assert_eq!(status.keys, Some(vec![ReservationKey(KEY); 2]));
    assert_eq!(lab.enrol, [Enrol::Done; 2]);
    assert!(lab.bench.volume.take_key_changed());
}

#[test]
fn a_path_is_registered_before_it_is_used_and_never_used_where_that_fails() {
    let mut lab = Lab::registered(false);
    lab.reserve();
    lab.lose(0);
    lab.unit.keys.remove(&(0, 0));
    lab.unit.refuses = Some(0);
    assert!(!lab.up(0), "it is refused");
    assert!(lab.rejected[0].contains("55/04"), "{:?}", lab.rejected);
    lab.unit.refuses = None;
    assert!(lab.up(0));
    assert_eq!(lab.unit.registered(), [(0, KEY), (1, KEY)]);
    assert!(!lab.key().preempted);
    // One that was not among those that were registered is looked at again.
    lab.bench.stand(1, Standing::Suspect);
    lab.ask(ReservationAsk::Unregister).unwrap();
    lab.enrol = vec![Enrol::NotNeeded; 2];
}

#[test]
fn a_target_that_takes_each_session_for_another_nexus_is_registered_with_anew() {
    let mut lab = Lab::new(
        2,
        ReservationConfig {
            key: Some(RememberedKey::new(ReservationKey(KEY), false)),
            ..ReservationConfig::default()
        },
    );
    lab.unit.by_session = true;
    (0..2).for_each(|path| assert!(lab.up(path)));
    lab.lose(0);
    lab.lose(1);
    (0..2).for_each(|path| assert!(lab.up(path)));
    assert_eq!(lab.unit.keys.len(), 4, "two of them are stale");
    assert!(!lab.key().preempted);
}

#[test]
fn a_registration_that_somebody_took_away_is_not_made_again() {
    for how in 0..3 {
        let mut lab = Lab::registered(false);
        lab.reserve();
        lab.unit.keys = BTreeMap::from([((9, 0), FOREIGN)]);
        lab.unit.holder = Some(((9, 0), KIND.wire()));
        lab.unit.generation += 2;
        let (now, path) = (lab.bench.now, PathId(0));
        match how {
            0 => {
                let news = Message::ReservationsChanged;
                lab.bench.volume.handle_message(now, path, news);
            }
            1 => {
                let io = lab.bench.write(0, 8);
                let task = lab.bench.tasks_on(0)[0];
                lab.bench.answer(task, conflict());
                assert_eq!(lab.bench.replies(), [(io, Some(IoErrno::Io))]);
            }
            _ => {
                lab.lose(0);
                lab.up(0);
            }
        }
        lab.obey();
        assert!(lab.key().preempted, "{how}");
        assert_eq!(lab.unit.registered(), [(9, FOREIGN)], "{how}");
        lab.lose(1);
        assert!(lab.up(1), "it is used, as it is");
        assert_eq!(lab.unit.registered(), [(9, FOREIGN)]);
        assert!(lab.ask(ReservationAsk::Release).is_err());
        lab.ask(register(KEY)).unwrap();
        assert_eq!(lab.unit.registered().len(), 3, "an operator may");
        assert!(!lab.key().preempted);
    }
}

#[test]
fn what_a_unit_forgot_without_power_is_registered_anew_unless_somebody_reserved_it() {
    for reserved in [false, true] {
        let mut lab = Lab::registered(false);
        (0..2).for_each(|path| lab.lose(path));
        (lab.unit.keys, lab.unit.generation) = (BTreeMap::new(), 0);
        if reserved {
            lab.unit.holder = Some(((9, 0), KIND.wire()));
        }
        (0..2).for_each(|path| assert!(lab.up(path)));
        assert_eq!(lab.key().preempted, reserved);
        assert_eq!(lab.unit.keys.len(), if reserved { 0 } else { 2 });
    }
}

#[test]
fn a_reservation_whose_holder_is_gone_is_released_and_no_path_loses_its_key() {
    for per_path in [false, true] {
        let mut lab = Lab::registered(per_path);
        lab.reserve();
        assert_eq!(lab.unit.holder, Some(((0, 0), KIND.wire())));
        lab.lose(0);
        lab.guarded = vec![1];
        let status = lab.ask(ReservationAsk::Release).unwrap();
        assert_eq!(status.held, None, "{:?}", status.notes);
        assert_eq!((lab.unit.holder, status.notes.len()), (None, 1));
        let own = if per_path { KEY + 2 } else { KEY };
        assert_eq!(lab.unit.registered(), [(1, own)]);
        assert!(lab.up(0), "it is registered anew");
        assert_eq!(lab.unit.keys.len(), 2);
        assert!(!lab.key().preempted && lab.key().reserved.is_none());
    }
}

#[test]
fn a_type_for_one_nexus_is_refused_where_there_are_two_paths() {
    let mut lab = Lab::registered(false);
    let kind = ReservationType::WriteExclusive;
    let refused = lab.ask(ReservationAsk::Reserve { kind }).unwrap_err();
    let use_instead = "use write-exclusive-registrants-only";
    assert!(refused.contains(use_instead), "{refused}");
    assert_eq!(lab.unit.holder, None);
}

#[test]
fn somebody_elses_reservation_is_named_and_can_be_preempted() {
    let mut lab = Lab::registered(false);
    lab.unit.keys.insert((9, 0), FOREIGN);
    lab.unit.holder = Some(((9, 0), KIND.wire()));
    let kind = ReservationType::ExclusiveAccessRegistrantsOnly;
    let refused = lab.ask(ReservationAsk::Reserve { kind }).unwrap_err();
    let by = "reserved by key 0x0000000000000007 (write-exclusive-registrants-only)";
    assert!(refused.contains(by), "{refused}");
    let key = ReservationKey(FOREIGN);
    let status = lab.ask(ReservationAsk::Preempt { key, abort: false });
    assert_eq!(status.unwrap().held, Some((ReservationKey(KEY), 5)));
    assert_eq!(lab.key().reserved, Some(KIND));
    let ours = ReservationKey(KEY);
    let refused = lab.ask(ReservationAsk::Preempt {
        key: ours,
        abort: true,
    });
    assert!(refused.unwrap_err().contains("our own key"));
}

#[test]
fn a_lost_path_is_fenced_by_its_own_key_after_the_ordered_command() {
    let mut lab = Lab::registered(true);
    lab.reserve();
    assert_eq!(lab.unit.registered(), [(0, KEY + 1), (1, KEY + 2)]);
    lab.bench.write(0, 8);
    lab.lose(0);
    let overlapping = lab.bench.write(0, 8);
    lab.bench.all_good(1);
    lab.bench.replies();
    assert_eq!(lab.bench.volume.status(lab.bench.now).waiting, 1);
    lab.unit.log.clear();
    assert!(lab.preempt_if_due(0));
    let sent: Vec<_> = lab.unit.log.iter().map(|(_, command)| *command).collect();
    let abort = Scsi::PersistentReserveOut(ReserveOut::PreemptAndAbort(KIND));
    assert_eq!((sent[0], sent[2]), (abort, Scsi::TestUnitReady));
    assert!(matches!(sent[1], Scsi::PersistentReserveIn { .. }));
    assert_eq!(lab.bench.volume.status(lab.bench.now).ghosts, 0);
    lab.bench.turn();
    lab.bench.all_good(1);
    assert_eq!(lab.bench.replies(), [(overlapping, None)]);
    assert_eq!(lab.unit.registered(), [(1, KEY + 2)]);
    assert!(lab.up(0), "we removed its key ourselves");
    assert_eq!(lab.unit.registered().len(), 2);
    assert!(!lab.key().preempted);
}

#[test]
fn nothing_is_fenced_by_a_key_where_that_proves_nothing() {
    let lose_a_write = |lab: &mut Lab| {
        lab.bench.write(0, 8);
        lab.lose(0);
    };
    // Nothing is reserved: what is in the network would still be carried out.
    let mut lab = Lab::registered(true);
    lose_a_write(&mut lab);
    assert!(!lab.preempt_if_due(0));
    // The reservation is gone, and nobody has told us.
    let mut lab = Lab::registered(true);
    lab.reserve();
    lab.unit.holder = None;
    lose_a_write(&mut lab);
    assert!(lab.preempt_if_due(0));
    assert!(lab.bench.volume.status(lab.bench.now).ghosts > 0);
    // The target does not know it; it is not asked again.
    let mut lab = Lab::registered(true);
    lab.reserve();
    lab.unit.no_abort = true;
    lose_a_write(&mut lab);
    assert!(lab.preempt_if_due(0) && !lab.preempt_if_due(0));
    assert!(lab.bench.volume.status(lab.bench.now).ghosts > 0);
    // All paths have one key: it would cut off both.
    let mut lab = Lab::registered(false);
    lab.reserve();
    lose_a_write(&mut lab);
    assert!(!lab.preempt_if_due(0));
}

#[test]
fn an_answer_that_does_not_come_undoes_what_was_done() {
    let mut lab = Lab::new(2, ReservationConfig::default());
    (0..2).for_each(|path| assert!(lab.up(path)));
    let now = lab.bench.now;
    lab.bench.volume.ask_reservation(now, 1, register(KEY));
    let mut carried = 0;
    while let Some((path, order)) = lab.bench.volume.poll_order() {
        let Order::Carry(errand) = order else {
            continue;
        };
        carried += 1;
        // The third is REGISTER over the second path.
        if carried < 3 {
            let answer = Some(lab.unit.answer(path.0, 1, &errand));
            let ticket = errand.ticket;
            let message = Message::Carried { ticket, answer };
            lab.bench.volume.handle_message(now, path, message);
        }
    }
    assert_eq!(lab.unit.registered(), [(0, KEY)]);
    lab.bench.pass(Duration::from_secs(9));
    lab.obey();
    let (_, answer) = lab.bench.volume.poll_reservation().unwrap();
    assert!(answer.unwrap_err().contains("no answer to REGISTER"));
    assert_eq!(lab.unit.registered(), []);
    assert!(lab.ask(ReservationAsk::Show).is_ok(), "and life goes on");
}

#[test]
fn errands_are_ordered_only_where_they_are_a_barrier() {
    let mut lab = Lab::registered(true);
    lab.reserve();
    lab.bench.write(0, 8);
    lab.bench.lose(0, Disposition::Indeterminate);
    let now = lab.bench.now;
    lab.bench.volume.preempt_if_due(now, PathId(0), false);
    let mut ordered = Vec::new();
    while let Some((path, order)) = lab.bench.volume.poll_order() {
        let Order::Carry(errand) = order else {
            continue;
        };
        ordered.push(errand.attribute == TaskAttribute::Ordered);
        let answer = Some(lab.unit.answer(path.0, 1, &errand));
        let ticket = errand.ticket;
        let message = Message::Carried { ticket, answer };
        lab.bench.volume.handle_message(now, path, message);
    }
    assert_eq!(ordered, [false, false, true]);
}
