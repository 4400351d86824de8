//! The full feature phase (RFC 7143 4.2.1): tasks, their management, pings, text, logout.
//!
//! Everything that waits for an answer stands in one table under its initiator task tag. A command's
//! PDU is queued in the call that submits it and takes its CmdSN there, so numbers have no holes
//! but those that a Reject makes; these are plugged ([`notices`]).
//!
//! A task resolves exactly once: `Completed`, `Failed` or `Aborted` as an event, or a disposition
//! out of [`super::Session::into_lost`].

mod keepalive;
mod management;
mod marks;
mod notices;
mod task;
mod tasks;
mod text;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::event::{AsyncEvent, Event, LoginSummary, TaskProgress};
use super::negotiated::{LoggedIn, Negotiated};
use super::table::Table;
use super::window::Window;
use crate::deadline::Deadline;
use crate::ids::{Disposition, TaskId};
use crate::iscsi::error::{PeerMisbehaved, SessionError, SessionTimeout};
use crate::iscsi::outbox::Outbox;
use crate::iscsi::pdu::text::TextResponse;
use crate::iscsi::pdu::{
    AsyncMessage, Bhs, InitiatorNumbers, LogoutReason, LogoutRequest, LogoutResponse, NopIn,
    Opcode, R2t, Reject, ScsiResponse, TargetNumbers, TaskManagementResponse,
};
use crate::iscsi::tags::Itt;
use crate::limits;
use crate::payload::Payload;
use keepalive::Keepalive;
use management::{Management, ManagementRequest};
use marks::SendMarks;
use task::TaskState;
use text::TextExchange;

/// A session that is logged in. See the module's documentation.
#[derive(Debug)]
pub struct FullFeature {
    negotiated: Negotiated,
    logout_timeout: Duration,
    outbox: Outbox,
    window: Window,
    table: Table<Exchange>,
    tasks: HashMap<TaskId, Itt>,
    submitted: u64,
    marks: SendMarks,
    management: Management,
    keepalive: Keepalive,
    text: Option<TextExchange>,
    plugs: usize,
    logout: Logout,
    events: VecDeque<Event>,
    asyncs_waiting: usize,
}

/// What a task tag stands for.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are tasks, and a place in the table is recycled"
)]
enum Exchange {
    Task(TaskState),
    Management(ManagementRequest),
    Ping(Instant),
    /// A NOP-Out that fills the hole that a Reject left in the CmdSNs.
    Plug,
    Text,
    Logout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logout {
    NotAsked,
    Waiting { until: Instant },
    Answered,
}

impl FullFeature {
    pub(super) fn new(login: LoggedIn, mut outbox: Outbox, logout_timeout: Duration) -> Self {
        let ours = InitiatorNumbers {
            cmd_sn: login.cmd_sn,
            exp_stat_sn: login.exp_stat_sn,
        };
        let theirs = TargetNumbers {
            stat_sn: login.exp_stat_sn,
            exp_cmd_sn: login.exp_cmd_sn,
            max_cmd_sn: login.max_cmd_sn,
        };
        outbox.set_digests(login.negotiated.digests);
        let summary = LoginSummary {
            portal_group: login.negotiated.target_portal_group_tag,
            tsih: login.negotiated.tsih,
            target_alias: login.negotiated.target_alias.as_deref().map(Into::into),
        };
        Self {
            negotiated: login.negotiated,
            logout_timeout,
            outbox,
            window: Window::new(ours, theirs),
            table: Table::new(),
            tasks: HashMap::new(),
            submitted: 0,
            marks: SendMarks::default(),
            management: Management::default(),
            keepalive: Keepalive::default(),
            text: None,
            plugs: 0,
            logout: Logout::NotAsked,
            events: VecDeque::from([Event::LoggedIn(summary)]),
            asyncs_waiting: 0,
        }
    }

    /// Everything that the login settled.
    #[must_use]
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// How many tasks may be submitted now: what the target's window has room for (RFC 7143 4.2.2.1),
    /// bounded by [`limits::SESSION_TASKS_MAX`]; none once a logout was asked for.
    #[must_use]
    pub fn free_slots(&self) -> u32 {
        if self.logout != Logout::NotAsked {
            return 0;
        }
        let left = limits::SESSION_TASKS_MAX.saturating_sub(self.tasks.len());
        self.window
            .room()
            .min(u32::try_from(left).unwrap_or(u32::MAX))
    }

    /// Tasks that were submitted and are not resolved.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.tasks.len()
    }

    /// How far an unresolved task is. Bytes count as taken by the socket at the session's next call
    /// with a time; [`super::Session::handle_sent`] makes that exact.
    #[must_use]
    pub fn progress(&self, id: TaskId) -> Option<TaskProgress> {
        let task = self.task(*self.tasks.get(&id)?)?;
        Some(task.progress(self.outbox.sent()))
    }

    /// Every unresolved task and how far it is, in no particular order.
    pub fn tasks(&self) -> impl Iterator<Item = (TaskId, TaskProgress)> {
        let sent = self.outbox.sent();
        self.table
            .iter()
            .filter_map(move |(_, exchange)| match exchange {
                Exchange::Task(task) => Some((task.id, task.progress(sent))),
                Exchange::Management(_)
                | Exchange::Ping(_)
                | Exchange::Plug
                | Exchange::Text
                | Exchange::Logout => None,
            })
    }

    /// Asks the target to end the session (RFC 7143 11.14): further submissions are refused. At best
    /// nothing is outstanding; what is, is lost with the session.
    pub fn logout(&mut self, now: Instant) {
        if self.logout != Logout::NotAsked {
            return;
        }
        self.note_sent(now);
        let request = LogoutRequest {
            immediate: true,
            reason: LogoutReason::CloseSession,
            itt: self.table.insert(Exchange::Logout),
            cid: 0,
            numbers: self.window.immediate(),
        };
        self.outbox.push(request.encode(), &Payload::new());
        self.logout = Logout::Waiting {
            until: now + self.logout_timeout,
        };
    }

    pub(super) fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if matches!(event, Event::Async(_)) {
            self.asyncs_waiting -= 1;
        }
        Some(event)
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        match self.logout {
            Logout::Waiting { until } => Some(Deadline::new(until, "logout")),
            Logout::NotAsked | Logout::Answered => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        self.note_sent(now);
        match self.logout {
            Logout::Waiting { until } if until <= now => Err(SessionTimeout::Logout.into()),
            Logout::Waiting { .. } | Logout::NotAsked | Logout::Answered => Ok(()),
        }
    }

    /// Whether the target answered the logout: nothing that comes after it matters.
    pub(super) fn is_closed(&self) -> bool {
        self.logout == Logout::Answered
    }

    /// Notes what the socket took since the last call, as progress of the tasks it belongs to.
    pub(super) fn note_sent(&mut self, now: Instant) {
        let table = &mut self.table;
        self.marks.note(self.outbox.sent(), |itt| {
            if let Some(Exchange::Task(task)) = table.get_mut(itt) {
                task.last_progress_at = now;
            }
        });
    }

    /// Every unresolved task in the order of submission, with what is known of it.
    pub(super) fn into_lost(self) -> Vec<(TaskId, Disposition)> {
        let sent = self.outbox.sent();
        let mut lost: Vec<_> = self
            .table
            .iter()
            .filter_map(|(_, exchange)| match exchange {
                Exchange::Task(task) => Some((task.number, task.id, task.disposition(sent))),
                Exchange::Management(_)
                | Exchange::Ping(_)
                | Exchange::Plug
                | Exchange::Text
                | Exchange::Logout => None,
            })
            .collect();
        lost.sort_unstable_by_key(|(number, ..)| *number);
        lost.into_iter()
            .map(|(_, id, disposition)| (id, disposition))
            .collect()
    }

    /// A PDU other than Data-In, complete.
    pub(super) fn handle_pdu(
        &mut self,
        now: Instant,
        bhs: &Bhs,
        data: &Payload,
    ) -> Result<(), SessionError> {
        self.window.update(bhs.target_numbers());
        match bhs.opcode()? {
            Opcode::NopIn => self.on_nop_in(now, NopIn::decode(bhs)),
            Opcode::ScsiResponse => self.on_scsi_response(ScsiResponse::decode(bhs)?, data),
            Opcode::TaskManagementResponse => {
                self.on_management_response(TaskManagementResponse::decode(bhs)?)
            }
            Opcode::TextResponse => self.on_text_response(TextResponse::decode(bhs)?, data),
            Opcode::LogoutResponse => self.on_logout_response(LogoutResponse::decode(bhs)?),
            Opcode::R2t => self.on_r2t(now, R2t::decode(bhs)?),
            Opcode::AsyncMessage => self.on_async(AsyncMessage::decode(bhs), data),
            Opcode::Reject => self.on_reject(now, Reject::decode(bhs), data),
            Opcode::DataIn
            | Opcode::NopOut
            | Opcode::ScsiCommand
            | Opcode::TaskManagementRequest
            | Opcode::LoginRequest
            | Opcode::LoginResponse
            | Opcode::TextRequest
            | Opcode::DataOut
            | Opcode::LogoutRequest
            | Opcode::SnackRequest => Err(PeerMisbehaved::UnexpectedPdu(bhs.opcode_value()).into()),
        }
    }

    fn on_logout_response(&mut self, pdu: LogoutResponse) -> Result<(), SessionError> {
        self.window.consume(pdu.numbers.stat_sn);
        match self.find(pdu.itt)? {
            Some(Exchange::Logout) => {}
            Some(_) => return Err(PeerMisbehaved::Mismatch("Initiator Task Tag").into()),
            None => return Ok(()),
        }
        self.table.remove(pdu.itt);
        self.logout = Logout::Answered;
        self.events.push_back(Event::LoggedOut {
            time2wait: Duration::from_secs(pdu.time2wait.into()),
        });
        Ok(())
    }

    /// What a tag of the target's stands for; `None` if it ended already.
    fn find(&mut self, itt: Itt) -> Result<Option<&mut Exchange>, PeerMisbehaved> {
        if self.table.was_issued(itt) {
            Ok(self.table.get_mut(itt))
        } else {
            Err(PeerMisbehaved::UnknownTag(itt))
        }
    }

    /// The task that a tag of the target's stands for; `None` if it ended already.
    fn task_of(&mut self, itt: Itt) -> Result<Option<&mut TaskState>, PeerMisbehaved> {
        match self.find(itt)? {
            Some(Exchange::Task(task)) => Ok(Some(task)),
            Some(_) => Err(PeerMisbehaved::Mismatch("Initiator Task Tag")),
            None => Ok(None),
        }
    }

    fn task(&self, itt: Itt) -> Option<&TaskState> {
        match self.table.get(itt) {
            Some(Exchange::Task(task)) => Some(task),
            Some(
                Exchange::Management(_)
                | Exchange::Ping(_)
                | Exchange::Plug
                | Exchange::Text
                | Exchange::Logout,
            )
            | None => None,
        }
    }

    /// Takes a task out of the books; exactly one event must follow.
    fn release(&mut self, itt: Itt) -> Option<TaskState> {
        match self.table.remove(itt) {
            Some(Exchange::Task(task)) => {
                self.tasks.remove(&task.id);
                Some(task)
            }
            Some(_) | None => None,
        }
    }

    fn push_async(&mut self, event: AsyncEvent) -> Result<(), PeerMisbehaved> {
        if matches!(self.events.back(), Some(Event::Async(last)) if *last == event) {
            return Ok(());
        }
        if self.asyncs_waiting == limits::ASYNC_EVENTS_MAX {
            return Err(PeerMisbehaved::Flood("asynchronous messages"));
        }
        self.asyncs_waiting += 1;
        self.events.push_back(Event::Async(event));
        Ok(())
    }
}
