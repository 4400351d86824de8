//! What goes wrong at one portal of the target besides what [`super::PortalBehaviour`] says: commands
//! that are never answered, closed command windows, asynchronous messages, broken protocol, another
//! machine behind the address.

use std::time::Instant;

use bytes::Bytes;
use iiblockdaemon::ids::Lun as LunAddress;
use iiblockdaemon::iscsi::outbox::Outbox;
use iiblockdaemon::iscsi::pdu::{
    Bhs, DataDirection, Opcode, R2t, RawResidual, RejectReason, ScsiResponse, TargetNumbers,
};
use iiblockdaemon::iscsi::tags::{Itt, Ttt};
use iiblockdaemon::payload::Payload;

use super::connection::{Connection, Phase};
use super::lun::{NexusId, Response};
use super::pace::Pace;
use super::session::Session;
use super::task::Task;
use super::{ConnectionId, Target};

/// One broken rule of the protocol, in the answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdeed {
    /// The status has a StatSN that is not the next one.
    StatSn,
    /// The answer is to a task that does not exist; the true one never comes.
    UnknownTag,
    /// The residual count of a transfer that is whole says that bytes are missing.
    Residual,
    /// A read brings more data than was asked for.
    Oversize,
    /// The data of a read begins with DataSN 1.
    DataSn,
    /// A read brings too little, and the answer says that it is all.
    Short,
    /// A PDU with a reserved operation code instead of the answer.
    Opcode,
    /// The answer says "target failure" (response 01h), although the command was carried out.
    TargetFailure,
    /// An R2T for a task that does not exist, before the answer.
    R2t,
    /// The command is rejected and not carried out.
    Reject,
    /// The command is answered twice.
    Twice,
}

impl Misdeed {
    /// All.
    pub const ALL: [Self; 11] = [
        Self::StatSn,
        Self::UnknownTag,
        Self::Residual,
        Self::Oversize,
        Self::DataSn,
        Self::Short,
        Self::Opcode,
        Self::TargetFailure,
        Self::R2t,
        Self::Reject,
        Self::Twice,
    ];

    /// Whether it can be done with the answer to this task.
    fn fits(self, task: &Task) -> bool {
        let reads = matches!(task.direction, DataDirection::Read(length) if length > 0);
        match self {
            Self::Oversize | Self::DataSn | Self::Short => reads,
            Self::Residual => reads || !matches!(task.direction, DataDirection::None),
            Self::StatSn
            | Self::UnknownTag
            | Self::Opcode
            | Self::TargetFailure
            | Self::R2t
            | Self::Reject
            | Self::Twice => true,
        }
    }
}

/// What is wrong at one portal.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// So many further commands are never answered.
    pub(super) hangs: u32,
    /// So many further writes are stuck in the backing store.
    pub(super) jams: u32,
    /// Command windows do not move on.
    pub(super) window_closed: bool,
    /// How fast commands are.
    pub(super) pace: Pace,
    /// Something to be done with the next answer that it fits.
    misdeed: Option<Misdeed>,
    /// Sessions that begin now are of another machine, and see this unit in the place of unit 0.
    pub(super) impostor: Option<LunAddress>,
}

/// Bytes that [`Misdeed::Oversize`] adds and that [`Misdeed::Short`] and [`Misdeed::Residual`] leave out.
const SOME_BYTES: usize = 512;

/// A task tag that initiators which count from 0 do not come to.
const NO_TASK: u32 = 0x7ead_beef;

impl Target {
    /// The next commands that come in at this portal are never carried out and never answered.
    pub fn hang(&mut self, portal: usize, commands: u32) {
        self.trouble[portal].hangs += commands;
    }

    /// The command windows of this portal's sessions do not move on, or do again.
    pub fn close_window(&mut self, portal: usize, closed: bool) {
        self.trouble[portal].window_closed = closed;
        self.each_session(portal, |session, out| {
            session.window_closed = closed;
            if !closed {
                session.open_window();
                session.tell_window(out);
            }
        });
    }

    /// The protocol is broken so, once, with the next answer at this portal that it can be done with.
    pub fn misbehave(&mut self, portal: usize, how: Misdeed) {
        self.trouble[portal].misdeed = Some(how);
    }

    /// Behind this portal is another machine with another unit, for sessions that begin from now on; `None`:
    /// the right one again.
    pub fn set_impostor(&mut self, portal: usize, unit: Option<u16>) {
        self.trouble[portal].impostor = unit.and_then(LunAddress::from_number);
    }

    /// Commands are answered, as they should be.
    pub fn clear_trouble(&mut self, portal: usize) {
        self.trouble[portal].hangs = 0;
        self.trouble[portal].misdeed = None;
    }

    /// Sends an asynchronous message to the sessions of this portal (RFC 7143 11.9); `sense` is data of event
    /// 0. The connections are dropped after events 2 and 3.
    pub fn send_async(
        &mut self,
        now: Instant,
        portal: usize,
        event: u8,
        parameters: [u16; 3],
        sense: &[u8],
    ) {
        self.each_session(portal, |session, out| {
            session.send_async(event, parameters, sense, out);
        });
        if !matches!(event, 2 | 3) {
            return;
        }
        for id in self.connections_of(portal) {
            let Some(mut connection) = self.connections.remove(&id) else {
                continue;
            };
            if matches!(connection.phase, Phase::Full(_))
                && let Some(session) = connection.close()
            {
                self.end_session(now, *session);
            }
            self.connections.insert(id, connection);
        }
    }

    fn connections_of(&self, portal: usize) -> Vec<ConnectionId> {
        let of_portal = self.connections.iter().filter(|(_, c)| c.portal == portal);
        of_portal.map(|(id, _)| *id).collect()
    }

    fn each_session(&mut self, portal: usize, mut act: impl FnMut(&mut Session, &mut Outbox)) {
        for (id, connection) in &mut self.connections {
            if connection.portal == portal
                && let Phase::Full(session) = &mut connection.phase
            {
                act(session, &mut connection.out);
                self.woken.insert(*id);
            }
        }
    }

    /// The nexuses of a portal's sessions that live.
    pub fn nexuses_of(&self, portal: usize) -> Vec<NexusId> {
        let connections = self.connections.values().filter(|c| c.portal == portal);
        let nexuses = connections.filter_map(|connection| match &connection.phase {
            Phase::Full(session) => Some(session.nexus),
            Phase::Login(_) | Phase::Waiting(_) | Phase::Closing => None,
        });
        nexuses.collect()
    }

    /// Whether a command that came in at this portal is one of those that are never answered.
    pub(super) fn takes_hang(&mut self, portal: usize) -> bool {
        let hangs = &mut self.trouble[portal].hangs;
        let hang = *hangs > 0;
        *hangs = hangs.saturating_sub(1);
        self.statistics.hung += u64::from(hang);
        hang
    }

    /// What is to be done with the answer to this task.
    pub(super) fn take_misdeed(&mut self, portal: usize, task: &Task) -> Option<Misdeed> {
        let misdeed = self.trouble[portal].misdeed.take_if(|how| how.fits(task))?;
        self.statistics.misdeeds += 1;
        Some(misdeed)
    }

    /// Answers a task that was carried out, or not, in a way that breaks the protocol.
    pub(super) fn answer_badly(
        connection: &mut Connection,
        task: &mut Task,
        mut response: Response,
        how: Misdeed,
    ) {
        let Phase::Full(session) = &mut connection.phase else {
            return;
        };
        let out = &mut connection.out;
        match how {
            Misdeed::StatSn => {
                session.skip_status();
                session.respond(task, response, out);
            }
            Misdeed::UnknownTag => {
                if let Some(itt) = Itt::new(NO_TASK) {
                    task.itt = itt;
                }
                session.respond(task, response, out);
            }
            Misdeed::Residual => {
                task.lies = true;
                session.respond(task, response, out);
            }
            Misdeed::Oversize => {
                let more = [&response.data_in[..], &[0x5a; SOME_BYTES]].concat();
                response.data_in = more.into();
                if let DataDirection::Read(length) = &mut task.direction {
                    *length = u32::try_from(response.data_in.len()).unwrap_or(u32::MAX);
                }
                session.respond(task, response, out);
            }
            Misdeed::DataSn => {
                task.first_data_sn = 1;
                session.respond(task, response, out);
            }
            Misdeed::Short => {
                let left = response.data_in.len().saturating_sub(SOME_BYTES);
                response.data_in.truncate(left);
                if let DataDirection::Read(length) = &mut task.direction {
                    *length = u32::try_from(left).unwrap_or(u32::MAX);
                }
                session.respond(task, response, out);
            }
            Misdeed::Opcode => {
                let mut bhs = Bhs::new(Opcode::ScsiResponse);
                bhs.set_byte::<0>(0x2e);
                out.push(bhs, &Payload::new());
            }
            Misdeed::TargetFailure => {
                let numbers = session.consume();
                out.push(target_failure(task.itt, numbers).encode(), &Payload::new());
            }
            Misdeed::R2t => {
                out.push(unasked(task, session.numbers()).encode(), &Payload::new());
                session.respond(task, response, out);
            }
            Misdeed::Reject => {
                session.reject(&task.header, RejectReason::ProtocolError, out);
            }
            Misdeed::Twice => {
                session.respond(task, response.clone(), out);
                session.respond(task, response, out);
            }
        }
    }
}

fn target_failure(itt: Itt, numbers: TargetNumbers) -> ScsiResponse {
    ScsiResponse {
        itt,
        response: ScsiResponse::TARGET_FAILURE,
        status: 0,
        residual: RawResidual::default(),
        numbers,
        exp_data_sn: 0,
    }
}

/// An R2T that no task waits for.
fn unasked(task: &Task, numbers: TargetNumbers) -> R2t {
    R2t {
        lun: task.lun,
        itt: Itt::new(NO_TASK).unwrap_or(task.itt),
        ttt: Ttt::new(NO_TASK).expect("not the reserved tag"),
        numbers,
        r2t_sn: 0,
        offset: 0,
        length: 512,
    }
}

/// Sense data as an asynchronous message carries it: behind its length.
pub(super) fn async_data(sense: &[u8]) -> Payload {
    if sense.is_empty() {
        return Payload::new();
    }
    let length = u16::try_from(sense.len()).unwrap_or(u16::MAX);
    Bytes::from([&length.to_be_bytes(), sense].concat()).into()
}
