//! What is behind this path? Asked before it carries anything, in every session, and again when the unit
//! may have changed.
//!
//! The steps, one command at a time; a unit attention or BUSY repeats a step:
//!
//! 1. TEST UNIT READY until the unit attentions of the login are gone, then one ORDERED: everything that
//!    the path's earlier sessions had running has ended with its answer (`fencer.rs`). That counts once
//!    the unit is known to be the volume's: another machine that took over the address ended nothing.
//! 2. INQUIRY: is it a disk? VPD 00h, 80h, 83h: which one? REPORT TARGET PORT GROUPS, where the unit says
//!    that its ports differ: does this one carry anything now? READ CAPACITY(16), else (10): how large?
//! 3. VPD B0h, B1h, B2h and MODE SENSE: what can it do? Optional, with cautious defaults.

mod findings;

use std::time::{Duration, Instant};

use crate::ids::TaskId;
use crate::iscsi::session::Session;
use crate::scsi::alua::PortGroups;
use crate::scsi::capacity::{Capacity, ShortCapacity};
use crate::scsi::cdb::{Command, DataLength, INQUIRY_ALLOCATION, VPD_ALLOCATION};
use crate::scsi::identity::LunIdentity;
use crate::scsi::inquiry::StandardInquiry;
use crate::scsi::mode::{self, ModeParameters};
use crate::scsi::sense::{Sense, SenseKey};
use crate::scsi::verdict::status;
use crate::scsi::vpd::{self, BlockLimits, DeviceIdentification, Provisioning, Rotation, page};
use crate::task::{Completion, DataTransfer, Task, TaskAttribute};
use crate::units::Geometry;

use super::fencer::{Barrier, BarrierStep, is_settled, turn};
use super::message::Message;
use super::{Path, State, access};
use findings::Findings;

/// All steps together may take so long.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

/// Before a unit that is not ready is asked again.
const NOT_READY_PAUSE: Duration = Duration::from_millis(200);

/// Repeats of one step for unit attentions or BUSY.
const REPEATS_MAX: u32 = 16;

/// Bytes that the last probe of a probation sends as a ping's data, and reads: full-sized segments both ways,
/// which a path MTU black hole swallows. No more, for a target may hang on a connection that takes nothing.
const FULL_SIZE: u64 = 16 << 10;

/// Stands in an identity of which only the names are known.
const UNKNOWN_SIZE: Geometry = Geometry::ONE_BLOCK;

/// Task ids of the path's own commands; the volume's never have this bit.
const OWN: u64 = 1 << 63;

pub(super) fn own_task(number: u64) -> TaskId {
    TaskId(OWN | number)
}

pub(super) fn is_ours(task: TaskId) -> bool {
    task.0 & OWN != 0
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Barrier(TaskAttribute),
    Inquiry,
    Pages,
    Serial,
    Identification,
    Groups,
    Capacity16,
    Capacity10,
    Limits,
    Characteristics,
    Provisioning,
    Mode6,
    Mode10,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Probe {
    deadline: Instant,
    step: Step,
    barrier: Barrier,
    repeats: u32,
    findings: Findings,
    /// It has to be made once more.
    outdated: bool,
    /// Its step is to be made again then.
    again_at: Option<Instant>,
    /// The unit is asked for access states.
    alua: bool,
}

/// What a probe wants next.
enum Next {
    Send(Step),
    Fenced(Step),
    /// The unit says that it is not ready here: the step is made again in a while, in this session.
    Wait(String),
    Done,
    Fail(String),
    /// Nothing but an administrator can mend it.
    Hopeless(String),
}

impl Probe {
    pub(super) fn new(now: Instant, alua: bool) -> Self {
        Self {
            alua,
            deadline: now + PROBE_TIMEOUT,
            step: Step::Barrier(Barrier::first()),
            barrier: Barrier::default(),
            repeats: 0,
            findings: Findings::default(),
            outdated: false,
            again_at: None,
        }
    }

    /// A look at the unit within a session: nothing older is to be waited for.
    pub(super) fn again(now: Instant, alua: bool) -> Self {
        Self {
            barrier: Barrier::without_order(),
            ..Self::new(now, alua)
        }
    }

    /// Something may have changed since this probe began: what it finds does not count.
    pub(super) fn ask_again(&mut self) {
        self.outdated = true;
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// When it has to be looked after.
    pub(super) fn next_at(&self) -> Instant {
        self.again_at
            .map_or(self.deadline, |at| at.min(self.deadline))
    }

    fn on_answer(&mut self, completion: Option<&Completion>) -> Next {
        let Some(completion) = completion else {
            return self.repeat("a probe failed without a SCSI status");
        };
        if let Step::Barrier(_) = self.step {
            return match self.barrier.on_answer(turn(completion)) {
                BarrierStep::Send(attribute) => Next::Send(Step::Barrier(attribute)),
                BarrierStep::Open => match not_there(completion) {
                    Some(why) => Next::Hopeless(why),
                    None => Next::Send(Step::Inquiry),
                },
                BarrierStep::Stuck => Next::Fail("only unit attentions or BUSY".to_owned()),
                BarrierStep::Passed => Next::Fenced(Step::Inquiry),
            };
        }
        if !is_settled(completion) {
            return self.repeat("only unit attentions or BUSY");
        }
        if matches!(self.step, Step::Capacity16 | Step::Capacity10)
            && let Some(why) = not_ready(completion)
        {
            return Next::Wait(why);
        }
        // A refusal for the moment says nothing of the cache.
        if matches!(self.step, Step::Mode6 | Step::Mode10)
            && let Some(why) = in_transition(completion)
        {
            return Next::Wait(why);
        }
        self.repeats = 0;
        let good = completion.status == status::GOOD;
        let data = completion.data.to_bytes();
        self.read(good, &data, completion)
    }

    fn repeat(&mut self, why: &str) -> Next {
        self.repeats += 1;
        if self.repeats > REPEATS_MAX {
            return Next::Fail(why.to_owned());
        }
        Next::Send(self.step)
    }

    fn read(&mut self, good: bool, data: &[u8], completion: &Completion) -> Next {
        let found = &mut self.findings;
        match self.step {
            Step::Barrier(_) => Next::Fail("the barrier is not read here".to_owned()),
            Step::Inquiry => match StandardInquiry::parse(data) {
                Ok(inquiry) if good && inquiry.is_disk() => {
                    found.inquiry = Some(inquiry);
                    Next::Send(Step::Pages)
                }
                Ok(inquiry) if good => Next::Hopeless(no_disk(&inquiry)),
                _ => Next::Fail(format!("INQUIRY failed: {}", describe(completion))),
            },
            Step::Pages => {
                found.pages = vpd::supported_pages(data)
                    .ok()
                    .filter(|_| good)
                    .unwrap_or_default();
                self.after(Step::Pages)
            }
            Step::Serial => {
                found.serial = vpd::serial(data).ok().filter(|_| good).flatten();
                self.after(Step::Serial)
            }
            Step::Identification => {
                found.identification = DeviceIdentification::parse(data).ok().filter(|_| good);
                self.after(Step::Identification)
            }
            Step::Groups => {
                found.groups = PortGroups::parse(data).ok().filter(|_| good);
                self.after(Step::Groups)
            }
            Step::Capacity16 => self.read_capacity_16(good, data),
            Step::Capacity10 => self.read_capacity_10(good, data, completion),
            Step::Limits => {
                found.limits = BlockLimits::parse(data)
                    .ok()
                    .filter(|_| good)
                    .unwrap_or_default();
                self.after(Step::Limits)
            }
            Step::Characteristics => {
                found.rotational = good && matches!(Rotation::parse(data), Ok(Rotation::Rpm(_)));
                self.after(Step::Characteristics)
            }
            Step::Provisioning => {
                found.provisioning = Provisioning::parse(data).ok().filter(|_| good);
                self.after(Step::Provisioning)
            }
            Step::Mode6 => match ModeParameters::parse_6(data) {
                Ok(mode) if good => {
                    found.mode = Some(mode);
                    Next::Done
                }
                _ => Next::Send(Step::Mode10),
            },
            Step::Mode10 => {
                found.mode = ModeParameters::parse_10(data).ok().filter(|_| good);
                Next::Done
            }
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.again_at.is_some()
    }

    /// Who the unit is, as far as it told.
    pub(super) fn identity(&self) -> Option<LunIdentity> {
        self.findings.identity(UNKNOWN_SIZE)
    }

    fn read_capacity_16(&mut self, good: bool, data: &[u8]) -> Next {
        match Capacity::parse(data) {
            Ok(capacity) if good => {
                self.findings.capacity = Some(capacity);
                self.after(Step::Capacity16)
            }
            Err(error) if good => Next::Hopeless(error.to_string()),
            _ => Next::Send(Step::Capacity10),
        }
    }

    fn read_capacity_10(&mut self, good: bool, data: &[u8], completion: &Completion) -> Next {
        match ShortCapacity::parse(data) {
            Ok(ShortCapacity::Fits(geometry)) if good => {
                self.findings.capacity = Some(geometry.into());
                self.after(Step::Capacity16)
            }
            Err(error) if good => Next::Hopeless(error.to_string()),
            _ => Next::Fail(format!("READ CAPACITY failed: {}", describe(completion))),
        }
    }

    /// It waits for a unit that is not ready, and there is news: the wait is over.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let Some(at) = &mut self.again_at {
            *at = now;
        }
    }

    fn asks_for_groups(&self) -> bool {
        self.alua && self.findings.port().is_some()
    }

    /// From which step on a unit that was not ready is asked again.
    fn resumed(&self) -> Step {
        match self.asks_for_groups() {
            true => Step::Groups,
            false => self.step,
        }
    }

    /// The next step after `step` that the unit supports.
    fn after(&self, step: Step) -> Next {
        const ORDER: [(Step, Option<u8>); 9] = [
            (Step::Pages, None),
            (Step::Serial, Some(page::SERIAL)),
            (Step::Identification, Some(page::IDENTIFICATION)),
            (Step::Groups, None),
            (Step::Capacity16, None),
            (Step::Limits, Some(page::BLOCK_LIMITS)),
            (Step::Characteristics, Some(page::BLOCK_CHARACTERISTICS)),
            (Step::Provisioning, Some(page::PROVISIONING)),
            (Step::Mode6, None),
        ];
        let supported =
            |needed: Option<u8>| needed.is_none_or(|code| self.findings.pages.contains(&code));
        let next = ORDER
            .iter()
            .skip_while(|(other, _)| *other != step)
            .skip(1)
            .filter(|(other, _)| *other != Step::Groups || self.asks_for_groups())
            .find(|(_, needed)| supported(*needed));
        next.map_or(Next::Done, |&(next, _)| Next::Send(next))
    }
}

fn no_disk(inquiry: &StandardInquiry) -> String {
    if inquiry.qualifier == 0 {
        return format!(
            "the logical unit is no disk: {} {} of device type {:#04x}; correct `lun`",
            inquiry.vendor, inquiry.product, inquiry.device_type
        );
    }
    "no logical unit with this number; correct `lun` (`iibadm discover PORTAL` lists them)"
        .to_owned()
}

/// LOGICAL UNIT NOT SUPPORTED.
fn not_there(completion: &Completion) -> Option<String> {
    let sense =
        Sense::parse(&completion.sense).filter(|_| completion.status == status::CHECK_CONDITION)?;
    (sense.key == SenseKey::IllegalRequest && sense.asc == 0x25).then(|| {
        "no logical unit with this number; correct `lun` (`iibadm discover PORTAL` lists them)"
            .to_owned()
    })
}

/// NOT READY with LOGICAL UNIT NOT READY, in words: an access state in transition, standby or unavailable,
/// or a unit that is starting (SPC-5 annex F).
fn not_ready(completion: &Completion) -> Option<String> {
    let sense =
        Sense::parse(&completion.sense).filter(|_| completion.status == status::CHECK_CONDITION)?;
    (sense.key == SenseKey::NotReady && sense.asc == 0x04).then(|| sense.to_string())
}

/// LOGICAL UNIT NOT ACCESSIBLE, ASYMMETRIC ACCESS STATE TRANSITION, or IN PROCESS OF BECOMING READY.
fn in_transition(completion: &Completion) -> Option<String> {
    let sense = Sense::parse(&completion.sense)?;
    let passing = matches!(sense.ascq, 0x01 | 0x0a);
    not_ready(completion).filter(|_| passing)
}

/// An answer in words, for messages.
pub(super) fn describe(completion: &Completion) -> String {
    match Sense::parse(&completion.sense) {
        Some(sense) if completion.status == status::CHECK_CONDITION => sense.to_string(),
        _ => format!("SCSI status {:#04x}", completion.status),
    }
}

fn command(step: Step) -> Command {
    let vpd = |code| Command::Inquiry {
        page: Some(code),
        allocation: VPD_ALLOCATION,
    };
    match step {
        Step::Barrier(_) => Command::TestUnitReady,
        Step::Inquiry => Command::Inquiry {
            page: None,
            allocation: INQUIRY_ALLOCATION,
        },
        Step::Pages => vpd(page::SUPPORTED),
        Step::Serial => vpd(page::SERIAL),
        Step::Identification => vpd(page::IDENTIFICATION),
        Step::Groups => access::question(),
        Step::Capacity16 => Command::ReadCapacity16,
        Step::Capacity10 => Command::ReadCapacity10,
        Step::Limits => vpd(page::BLOCK_LIMITS),
        Step::Characteristics => vpd(page::BLOCK_CHARACTERISTICS),
        Step::Provisioning => vpd(page::PROVISIONING),
        Step::Mode6 => Command::ModeSense6 {
            page: mode::CACHING_PAGE,
            allocation: 192,
        },
        Step::Mode10 => Command::ModeSense10 {
            page: mode::CACHING_PAGE,
            allocation: 192,
        },
    }
}

/// Pings with data, which not every target may bear.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LargePings {
    sent: bool,
    /// Times in a row that the target closed the connection instead of an answer.
    refused: u32,
}

impl LargePings {
    /// A ping was answered.
    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }

    /// The target closed the connection.
    pub(super) fn on_closed(&mut self) {
        self.refused += u32::from(std::mem::take(&mut self.sent));
    }

    /// The session is over.
    pub(super) fn on_lost(&mut self) {
        self.sent = false;
    }

    /// Once may be a coincidence.
    fn are_refused(&self) -> bool {
        self.refused > 1
    }
}

impl Path {
    /// Sends the probe's first command, or reads an answer and sends the next.
    pub(super) fn drive_probe(&mut self, now: Instant, answer: Option<Option<Completion>>) {
        let Some(probe) = &mut self.probe else { return };
        let next = match answer {
            None => Next::Send(probe.step),
            Some(completion) => probe.on_answer(completion.as_ref()),
        };
        if let Some(access) = probe.findings.take_access() {
            self.learn_access(now, access);
        }
        let Some(probe) = &mut self.probe else { return };
        match next {
            Next::Send(step) => self.send_step(now, step),
            Next::Fenced(step) => {
                self.passed_barrier = true;
                self.send_step(now, step);
            }
            Next::Wait(why) => {
                probe.again_at = Some(now + NOT_READY_PAUSE);
                // A path that was in use in this session counts as lost after a while, so that I/O
                // which waits for it is not without a limit. Another one may wait where it is.
                if !self.admitted || self.access.is_resting() {
                    probe.deadline = now + PROBE_TIMEOUT;
                }
                if self.why != why {
                    self.enter(now, State::Probing, &why);
                }
                self.on_waiting(now);
            }
            Next::Done => self.on_probed(now),
            Next::Fail(why) => self.lose(now, &why),
            Next::Hopeless(why) => self.give_up(now, &why),
        }
    }

    /// Makes the step again that met a unit which was not ready.
    pub(super) fn repeat_step(&mut self, now: Instant) {
        if let Some(probe) = &mut self.probe
            && probe.again_at.take_if(|at| *at <= now).is_some()
        {
            let step = probe.resumed();
            self.send_step(now, step);
        }
    }

    fn send_step(&mut self, now: Instant, step: Step) {
        let Some(probe) = &mut self.probe else { return };
        probe.step = step;
        let attribute = if let Step::Barrier(attribute) = step {
            attribute
        } else {
            TaskAttribute::Simple
        };
        self.send_own(now, &command(step), attribute);
    }

    /// A probe of the probation: is the unit there, and do full-sized segments pass?
    pub(super) fn send_probation(&mut self, now: Instant, full_size: bool) {
        let read = self.geometry.and_then(|geometry| {
            let bytes = FULL_SIZE.max(u64::from(geometry.block_size()));
            let bytes = bytes.min(geometry.bytes());
            Some((geometry, geometry.range(0, bytes).ok()?))
        });
        // The barrier of the login may have been refused at the door, by the access state or a reservation.
        let attribute = match self.fence_owed {
            true => TaskAttribute::Ordered,
            false => TaskAttribute::Simple,
        };
        match read {
            Some((geometry, range)) if full_size => {
                self.ping_full_size(now);
                let command = Command::transfer(crate::scsi::cdb::Direction::Read, range, false);
                self.send_sized(now, &command, attribute, geometry.block_size());
            }
            _ => self.send_own(now, &Command::TestUnitReady, attribute),
        }
    }

    /// Unless this target closes the connection on such a ping.
    fn ping_full_size(&mut self, now: Instant) {
        let session = self.session.as_mut().and_then(Session::full_feature);
        if let Some(session) = session.filter(|_| !self.large_pings.are_refused()) {
            session.ping_sized(now, usize::try_from(FULL_SIZE).unwrap_or(usize::MAX));
            self.large_pings.sent = true;
        }
    }

    pub(super) fn send_own(&mut self, now: Instant, command: &Command, attribute: TaskAttribute) {
        self.send_sized(now, command, attribute, 512);
    }

    fn send_sized(
        &mut self,
        now: Instant,
        command: &Command,
        attribute: TaskAttribute,
        block_size: u32,
    ) {
        let id = self.own_task();
        let data = match command.data_length(block_size) {
            DataLength::In(length) => DataTransfer::In(length),
            DataLength::None | DataLength::Out(_) => DataTransfer::None,
        };
        let task = Task {
            id,
            lun: self.config.lun,
            cdb: command.cdb(),
            attribute,
            data,
        };
        self.own = Some(id);
        self.unsent = Some(task);
        self.send_unsent(now);
    }

    /// Sends the path's own commands, which may have waited for a place in the target's command window:
    /// the volume's commands fill it. They go before any further one of theirs.
    pub(super) fn send_unsent(&mut self, now: Instant) {
        while let Some(session) = self.session.as_mut().and_then(Session::full_feature)
            && session.free_slots() > 0
            && let Some(task) = self
                .unsent
                .take()
                .or_else(|| self.access.take_unsent())
                .or_else(|| self.sameness.take_unsent())
                .or_else(|| self.courier.take_unsent())
        {
            session.submit(now, task);
            self.watch_progress(now);
        }
    }

    /// All steps are done: the volume is to judge.
    fn on_probed(&mut self, now: Instant) {
        let Some(session) = self.session.as_mut().and_then(Session::full_feature) else {
            return;
        };
        let portal_group = session.negotiated().target_portal_group_tag;
        let Some(probe) = self.probe.take() else {
            return;
        };
        if probe.outdated {
            self.probe = Some(Probe::again(now, self.config.alua));
            return self.drive_probe(now, None);
        }
        let target = self.target_name();
        let unit = probe.findings.unit(target, portal_group);
        match unit {
            Some(unit) => {
                self.geometry = Some(unit.geometry);
                self.sameness.on_identified(unit.identity.to_string());
                self.access.on_identified();
                let (incarnation, unit) = (self.incarnation, std::sync::Arc::new(unit));
                self.messages
                    .push_back(Message::Identified { incarnation, unit });
                debug_assert!(matches!(self.state, State::Probing));
                self.read_access_if_outdated(now);
            }
            None => self.lose(now, "the unit did not tell who it is"),
        }
    }
}
