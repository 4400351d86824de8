//! A session in the full feature phase, as a target keeps it: numbers, tasks, pings, texts.
//!
//! The session does what concerns itself alone. What concerns the disk or other sessions it hands
//! to the target as an [`Action`].

mod talk;

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use iiblockdaemon::ids::Lun as LunAddress;
use iiblockdaemon::iscsi::isid::Isid;
use iiblockdaemon::iscsi::name::IscsiName;
use iiblockdaemon::iscsi::outbox::Outbox;
use iiblockdaemon::iscsi::pdu::text::TextRequest;
use iiblockdaemon::iscsi::pdu::{
    Bhs, DataOut, LogoutRequest, NopOut, Opcode, R2t, RejectReason, ScsiCommand, TargetNumbers,
    TaskManagementRequest,
};
use iiblockdaemon::iscsi::serial::SerialNumber;
use iiblockdaemon::iscsi::tags::{Itt, Ttt};
use iiblockdaemon::payload::Payload;

use super::breach::Breach;
use super::login::{Established, SessionKind};
use super::lun::{NexusId, Response};
use super::parameters::Parameters;
use super::task::Task;

/// What names a session at the target (RFC 7143 4.4.3): a second login with it reinstates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionName {
    /// The initiator.
    pub initiator: IscsiName,
    /// Its part of the name.
    pub isid: Isid,
    /// The target portal group.
    pub group: u16,
    /// The process that keeps it.
    pub process: u16,
}

/// What the target has to do.
#[derive(Debug)]
pub(super) enum Action {
    /// The task's data is complete: execute it.
    Execute(Itt),
    /// A task management function.
    Manage(TaskManagementRequest),
    /// Answer a text request: the value of SendTargets.
    SendTargets(Itt, String),
    /// The session was logged out: close once the response is out.
    LoggedOut,
}

/// A session with its one connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) name: SessionName,
    pub(super) kind: SessionKind,
    pub(super) nexus: NexusId,
    pub(super) parameters: Parameters,
    pub(super) tasks: BTreeMap<Itt, Task>,
    /// Complete tasks, in the order of their execution.
    pub(super) ready: BTreeMap<(Instant, u64), Itt>,
    /// When the last command is carried out that is not late.
    pub(super) in_order: Option<Instant>,
    cid: u16,
    queue_depth: u32,
    status_in_data: bool,
    exp_cmd_sn: SerialNumber,
    max_cmd_sn: SerialNumber,
    stat_sn: SerialNumber,
    next_ttt: u32,
    /// What is left of a text that did not fit one response.
    text: Bytes,
    /// When the initiator's answer to our ping was asked for.
    pub(super) pinged: Option<Instant>,
    pub(super) heard: Instant,
    /// MaxCmdSN does not move.
    pub(super) window_closed: bool,
    /// The unit that is here in the place of unit 0.
    pub(super) impostor: Option<LunAddress>,
    /// Its initiator has asked all that it asks of a new unit, or logs out: it has what it was told before.
    pub(super) settled: bool,
    /// A breach after which the session goes on.
    pub(super) noted: Option<Breach>,
}

impl Session {
    pub(super) fn new(
        now: Instant,
        established: &Established,
        name: SessionName,
        nexus: NexusId,
        queue_depth: u32,
        status_in_data: bool,
    ) -> Self {
        let next = established.cmd_sn;
        Self {
            name,
            kind: established.kind,
            nexus,
            parameters: established.parameters.clone(),
            tasks: BTreeMap::new(),
            ready: BTreeMap::new(),
            in_order: None,
            cid: established.cid,
            queue_depth,
            status_in_data,
            exp_cmd_sn: next,
            max_cmd_sn: next.plus(queue_depth).previous(),
            stat_sn: established.stat_sn,
            next_ttt: 0,
            text: Bytes::new(),
            pinged: None,
            heard: now,
            window_closed: false,
            impostor: None,
            settled: false,
            noted: None,
        }
    }

    /// Takes one PDU. `needed` tells how many bytes a command's descriptor block calls for.
    pub(super) fn take(
        &mut self,
        now: Instant,
        bhs: &Bhs,
        data: Payload,
        needed: impl Fn(LunAddress, &[u8; 16]) -> u32,
        out: &mut Outbox,
    ) -> Result<Option<Action>, Breach> {
        self.heard = now;
        self.check_acknowledged(bhs);
        if self.is_outside_window(bhs) {
            return Ok(None);
        }
        let opcode = bhs.opcode()?;
        let text_only = matches!(
            opcode,
            Opcode::TextRequest | Opcode::LogoutRequest | Opcode::NopOut
        );
        if self.kind == SessionKind::Discovery && !text_only {
            return Err(Breach::NotInDiscovery(bhs.opcode_value()));
        }
        match opcode {
            Opcode::DataOut => self.take_data(&DataOut::decode(bhs)?, data, out),
            Opcode::NopOut => {
                self.number_and_free(bhs)?;
                self.take_nop(&NopOut::decode(bhs)?, &data, out);
                Ok(None)
            }
            Opcode::ScsiCommand => {
                self.number(bhs)?;
                let mut command = ScsiCommand::decode(bhs)?;
                if let Some(impostor) = self
                    .impostor
                    .filter(|_| command.lun == LunAddress::from_wire([0; 8]))
                {
                    command.lun = impostor;
                }
                let needed = needed(command.lun, &command.cdb);
                self.take_command(bhs, &command, data, needed, out)
            }
            Opcode::TaskManagementRequest => {
                self.number_and_free(bhs)?;
                let request = TaskManagementRequest::decode(bhs)?;
                Ok(Some(Action::Manage(request)))
            }
            Opcode::TextRequest => {
                self.number_and_free(bhs)?;
                self.take_text(&TextRequest::decode(bhs)?, &data, out)
            }
            Opcode::LogoutRequest => {
                self.number_and_free(bhs)?;
                Ok(self.take_logout(&LogoutRequest::decode(bhs)?, out))
            }
            Opcode::SnackRequest => {
                self.reject(bhs, RejectReason::SnackReject, out);
                Ok(None)
            }
            Opcode::LoginRequest
            | Opcode::NopIn
            | Opcode::ScsiResponse
            | Opcode::TaskManagementResponse
            | Opcode::LoginResponse
            | Opcode::TextResponse
            | Opcode::DataIn
            | Opcode::LogoutResponse
            | Opcode::R2t
            | Opcode::AsyncMessage
            | Opcode::Reject => Err(Breach::WrongPhase(bhs.opcode_value())),
        }
    }

    /// An acknowledgement of what was never sent harms nobody at error recovery level 0, and
    /// libiscsi sends them where the first StatSN was above 2^31: it is noted, once.
    fn check_acknowledged(&mut self, bhs: &Bhs) {
        let got = bhs.initiator_numbers().exp_stat_sn;
        if self.stat_sn.precedes(got) && self.noted.is_none() {
            let next = self.stat_sn;
            self.noted = Some(Breach::ExpStatSn { got, next });
        }
    }

    /// Whether a numbered PDU is outside of the window: it is ignored silently, as RFC 7143 4.2.2.1
    /// demands, and noted.
    fn is_outside_window(&mut self, bhs: &Bhs) -> bool {
        let got = bhs.initiator_numbers().cmd_sn;
        let (first, max) = (self.exp_cmd_sn, self.max_cmd_sn);
        let numbered = !bhs.is_immediate() && bhs.opcode_value() != Opcode::DataOut as u8;
        let outside = numbered && (got.precedes(first) || max.precedes(got));
        if outside {
            self.noted
                .get_or_insert(Breach::OutsideWindow { got, first, max });
        }
        outside
    }

    /// Counts CmdSN. Over one connection commands come in order: a gap can never be filled.
    fn number(&mut self, bhs: &Bhs) -> Result<(), Breach> {
        let (got, expected) = (bhs.initiator_numbers().cmd_sn, self.exp_cmd_sn);
        if bhs.is_immediate() {
            return Ok(());
        }
        if got != expected {
            return Err(Breach::CmdSn { got, expected });
        }
        self.exp_cmd_sn = got.next();
        Ok(())
    }

    /// As [`Self::number`], for what holds no place in the window.
    fn number_and_free(&mut self, bhs: &Bhs) -> Result<(), Breach> {
        self.number(bhs)?;
        self.open_window();
        Ok(())
    }

    fn take_command(
        &mut self,
        header: &Bhs,
        command: &ScsiCommand,
        data: Payload,
        needed: u32,
        out: &mut Outbox,
    ) -> Result<Option<Action>, Breach> {
        if self.tasks.contains_key(&command.itt) {
            return Err(Breach::TagInUse(command.itt));
        }
        let task = Task::new(header, command, data, needed, &self.parameters)?;
        self.tasks.insert(command.itt, task);
        Ok(self.advance(command.itt, out))
    }

    fn take_data(
        &mut self,
        pdu: &DataOut,
        data: Payload,
        out: &mut Outbox,
    ) -> Result<Option<Action>, Breach> {
        // Data for a task that was aborted or answered early is on its way rightfully.
        let Some(task) = self.tasks.get_mut(&pdu.itt) else {
            return Ok(None);
        };
        task.take(pdu, data)?;
        Ok(self.advance(pdu.itt, out))
    }

    /// Asks for more data, or hands the task on once it is complete.
    fn advance(&mut self, itt: Itt, out: &mut Outbox) -> Option<Action> {
        let numbers = self.numbers();
        let task = self.tasks.get_mut(&itt)?;
        while let Some(wanted) = task.next_wanted(&self.parameters) {
            let ttt = next_ttt(&mut self.next_ttt);
            task.asked(wanted, ttt);
            let r2t = R2t {
                lun: task.lun,
                itt,
                ttt,
                numbers,
                r2t_sn: wanted.r2t_sn,
                offset: wanted.offset,
                length: wanted.length,
            };
            out.push(r2t.encode(), &Payload::new());
        }
        task.is_complete().then_some(Action::Execute(itt))
    }

    /// The task is to be executed at `due`; `order` breaks ties.
    pub(super) fn schedule(&mut self, itt: Itt, due: Instant, order: u64) {
        if let Some(task) = self.tasks.get_mut(&itt) {
            task.ready = Some((due, order));
            self.ready.insert((due, order), itt);
        }
    }

    /// Takes a task out of the tables: it is over, one way or the other.
    pub(super) fn remove(&mut self, itt: Itt) -> Option<Task> {
        let task = self.tasks.remove(&itt)?;
        if let Some(key) = task.ready {
            self.ready.remove(&key);
        }
        if task.numbered {
            self.open_window();
        }
        Some(task)
    }

    /// Answers a task that was removed.
    pub(super) fn respond(&mut self, task: &Task, response: Response, out: &mut Outbox) {
        let numbers = self.consume();
        task.respond(
            response,
            numbers,
            &self.parameters,
            self.status_in_data,
            out,
        );
    }

    /// Tasks on `lun`, or all.
    pub(super) fn tasks_on(&self, lun: Option<LunAddress>) -> Vec<Itt> {
        let on = |task: &&Task| lun.is_none_or(|lun| task.lun == lun);
        self.tasks
            .values()
            .filter(on)
            .map(|task| task.itt)
            .collect()
    }

    pub(super) fn numbers(&self) -> TargetNumbers {
        TargetNumbers {
            stat_sn: self.stat_sn,
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn,
        }
    }

    /// Numbers for a PDU that consumes a StatSN.
    pub(super) fn consume(&mut self) -> TargetNumbers {
        let numbers = self.numbers();
        self.stat_sn = self.stat_sn.next();
        numbers
    }

    /// The next status has a number that is not its own.
    pub(super) fn skip_status(&mut self) {
        self.stat_sn = self.stat_sn.plus(3);
    }

    /// A place became free: MaxCmdSN moves, and never back.
    pub(super) fn open_window(&mut self) {
        if self.window_closed {
            return;
        }
        let held = self.tasks.values().filter(|task| task.numbered).count();
        let held = u32::try_from(held).unwrap_or(u32::MAX);
        let room = self.queue_depth.saturating_sub(held);
        let max = self.exp_cmd_sn.plus(room).previous();
        if self.max_cmd_sn.precedes(max) {
            self.max_cmd_sn = max;
        }
    }
}

/// Tags count up and wrap before the reserved value.
fn next_ttt(next: &mut u32) -> Ttt {
    let ttt = Ttt::new(*next).or_else(|| Ttt::new(0));
    *next = next.wrapping_add(1);
    ttt.expect("zero is a tag")
}
