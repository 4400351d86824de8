//! One session of a tool, beside the daemon's: it is asked one thing at a time, or kept busy by
//! [`super::bench`].
//!
//! It carries an ISID of its own, so it ends no path's session.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;

use crate::ids::{Lun, TaskId};
use crate::iscsi::error::SessionError;
use crate::iscsi::name::PortalAddr;
use crate::iscsi::session::config::{Entropy, SessionConfig};
use crate::iscsi::session::{Event, FullFeature, Session};
use crate::scsi::capacity::{Capacity, ShortCapacity};
use crate::scsi::cdb::{
    Command, DataLength, INQUIRY_ALLOCATION, REPORT_LUNS_FIRST, VPD_ALLOCATION,
};
use crate::scsi::identity::LunIdentity;
use crate::scsi::inquiry::StandardInquiry;
use crate::scsi::luns::LunList;
use crate::scsi::verdict::status;
use crate::scsi::vpd::{self, DeviceIdentification, page};
use crate::task::{Completion, DataTransfer, Task, TaskAttribute};
use crate::units::Geometry;

use super::clock;
use super::dial::{DialError, Source, dial};
use super::stream::Stream;

/// Each connection, login and command may take so long.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Unit attentions and BUSY answers that one command meets before it is given up.
const REPEATS_MAX: u32 = 16;

/// Room that a read is offered.
const READ_ROOM: usize = 256 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke.
    #[error("{portal}: {error}")]
    Socket {
        /// The portal.
        portal: PortalAddr,
        /// The system's error.
        error: io::Error,
    },
    /// The session ended.
    #[error("{portal}: {error}")]
    Session {
        /// The portal.
        portal: PortalAddr,
        /// Why.
        error: SessionError,
    },
    /// Silence.
    #[error(
        "{portal}: no answer within {STEP_TIMEOUT:?}; is it an iSCSI portal, and is no firewall between?"
    )]
    Silent {
        /// The portal.
        portal: PortalAddr,
    },
    /// The portal sends logins elsewhere.
    #[error("{portal}: redirects logins to {to}; ask that one")]
    Redirected {
        /// The portal.
        portal: PortalAddr,
        /// Where to.
        to: PortalAddr,
    },
    /// SendTargets was refused.
    #[error("{portal}: the target refuses SendTargets")]
    Refused {
        /// The portal.
        portal: PortalAddr,
    },
    /// No random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

/// A unit that answered.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundUnit {
    /// Its number.
    pub lun: Lun,
    /// Who it is.
    pub identity: LunIdentity,
    /// Its size.
    pub geometry: Geometry,
}

/// See the module's documentation.
pub(super) struct Talk {
    portal: PortalAddr,
    stream: Stream,
    input: BytesMut,
    session: Session,
    next_task: u64,
}

impl Talk {
    /// Logs in; once more with MD5 alone, if the target fails on a list of CHAP algorithms.
    pub(super) async fn open(
        config: SessionConfig,
        portal: &PortalAddr,
        source: &Source,
    ) -> Result<Self, TalkError> {
        let plainer = config.with_md5_only();
        match (Self::log_in(config, portal, source).await, plainer) {
            (Err(TalkError::Session { error, .. }), Some(plainer))
                if error.retry_with_md5_only() =>
            {
                Self::log_in(plainer, portal, source).await
            }
            (done, _) => done,
        }
    }

    async fn log_in(
        config: SessionConfig,
        portal: &PortalAddr,
        source: &Source,
    ) -> Result<Self, TalkError> {
        let silent = || TalkError::Silent {
            portal: portal.clone(),
        };
        let dialed = tokio::time::timeout(STEP_TIMEOUT, dial(portal, source)).await;
        let stream: TcpStream = dialed.map_err(|_| silent())??;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(TalkError::Random)?;
        let session = Session::new(clock::now(), Arc::new(config), Entropy::new(random));
        let mut talk = Self {
            portal: portal.clone(),
            stream: Stream::Tcp(stream),
            input: BytesMut::new(),
            session,
            next_task: 0,
        };
        loop {
            let event = talk.event().await?;
            if matches!(event, Event::LoggedIn(_)) {
                return Ok(talk);
            }
            if let Event::Redirected { to, .. } = event {
                let portal = portal.clone();
                return Err(TalkError::Redirected { portal, to });
            }
        }
    }

    pub(super) fn session_mut(&mut self, act: impl FnOnce(&mut FullFeature, std::time::Instant)) {
        if let Some(session) = self.session.full_feature() {
            act(session, clock::now());
        }
    }

    /// The next event, within the time of a step.
    pub(super) async fn event(&mut self) -> Result<Event, TalkError> {
        let portal = self.portal.clone();
        match tokio::time::timeout(STEP_TIMEOUT, self.next_event()).await {
            Ok(event) => event,
            Err(_) => Err(TalkError::Silent { portal }),
        }
    }

    async fn next_event(&mut self) -> Result<Event, TalkError> {
        loop {
            if let Some(event) = self.session.poll_event() {
                return Ok(event);
            }
            let socket = |error| TalkError::Socket {
                portal: self.portal.clone(),
                error,
            };
            self.stream
                .write_all(self.session.outgoing())
                .await
                .map_err(socket)?;
            if self.input.capacity() - self.input.len() < READ_ROOM / 4 {
                self.input.reserve(READ_ROOM);
            }
            let read = self.stream.read(&mut self.input).await.map_err(socket)?;
            let ended = match read {
                0 => self.session.on_closed(),
                _ => self
                    .session
                    .handle_bytes(clock::now(), &mut self.input)
                    .err(),
            };
            if let Some(error) = ended {
                return Err(TalkError::Session {
                    portal: self.portal.clone(),
                    error,
                });
            }
            if read == 0 {
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the target");
                return Err(socket(error));
            }
        }
    }

    /// The answer to a command; unit attentions and BUSY are met by repeating it.
    async fn command(&mut self, lun: Lun, command: Command) -> Result<Completion, TalkError> {
        let mut answer = self.command_once(lun, command).await?;
        for _ in 0..REPEATS_MAX {
            let again = match answer {
                None => true,
                Some(ref answer) => !is_settled(answer),
            };
            if !again {
                break;
            }
            answer = self.command_once(lun, command).await?;
        }
        Ok(answer.unwrap_or_else(|| Completion {
            status: status::TASK_ABORTED,
            sense: bytes::Bytes::new(),
            data: crate::payload::Payload::new(),
            residual: crate::task::Residual::None,
        }))
    }

    /// Queues a command without data or with data for us, if the session takes one more; it goes out with the
    /// next wait for an event.
    pub(super) fn submit(&mut self, lun: Lun, command: Command, block_size: u32) -> TaskId {
        let data = match command.data_length(block_size) {
            DataLength::In(length) => DataTransfer::In(length),
            DataLength::None | DataLength::Out(_) => DataTransfer::None,
        };
        let id = TaskId(self.next_task);
        self.next_task += 1;
        let task = Task {
            id,
            lun,
            cdb: command.cdb(),
            attribute: TaskAttribute::Simple,
            data,
        };
        self.session_mut(|session, now| {
            if session.free_slots() > 0 {
                session.submit(now, task);
            }
        });
        id
    }

    /// Commands that the session takes now.
    pub(super) fn free_slots(&mut self) -> u32 {
        self.session
            .full_feature()
            .map_or(0, |session| session.free_slots())
    }

    /// `None` if the command failed without a SCSI status.
    async fn command_once(
        &mut self,
        lun: Lun,
        command: Command,
    ) -> Result<Option<Completion>, TalkError> {
        let id = self.submit(lun, command, 512);
        loop {
            let event = self.event().await?;
            if matches!(event, Event::Failed(done, _) if done == id) {
                return Ok(None);
            }
            if let Event::Completed(done, completion) = event
                && done == id
            {
                return Ok(Some(completion));
            }
        }
    }

    pub(super) async fn report_luns(&mut self) -> Result<Vec<Lun>, TalkError> {
        let Some(zero) = Lun::from_number(0) else {
            return Ok(Vec::new());
        };
        let mut allocation = REPORT_LUNS_FIRST;
        loop {
            let answer = self
                .command(zero, Command::ReportLuns { allocation })
                .await?;
            match LunList::parse(&answer.data.to_bytes()) {
                Ok(list) if list.truncated && list.needed > allocation => allocation = list.needed,
                Ok(list) => return Ok(list.luns),
                Err(_) => return Ok(Vec::new()),
            }
        }
    }

    /// The disk with this number; `None` if it is none.
    pub(super) async fn unit(&mut self, lun: Lun) -> Result<Option<FoundUnit>, TalkError> {
        let inquiry = Command::Inquiry {
            page: None,
            allocation: INQUIRY_ALLOCATION,
        };
        let answer = self.command(lun, inquiry).await?;
        let inquiry = StandardInquiry::parse(&answer.data.to_bytes());
        let Some(inquiry) = inquiry.ok().filter(StandardInquiry::is_disk) else {
            return Ok(None);
        };
        let serial = self.page(lun, page::SERIAL).await?;
        let serial = vpd::serial(&serial).ok().flatten();
        let names = self.page(lun, page::IDENTIFICATION).await?;
        let names = DeviceIdentification::parse(&names).map(|page| page.designators);
        let capacity = self.command(lun, Command::ReadCapacity16).await?;
        let geometry = match Capacity::parse(&capacity.data.to_bytes()) {
            Ok(capacity) => capacity.geometry,
            Err(_) => {
                let capacity = self.command(lun, Command::ReadCapacity10).await?;
                match ShortCapacity::parse(&capacity.data.to_bytes()) {
                    Ok(ShortCapacity::Fits(geometry)) => geometry,
                    Ok(ShortCapacity::TooLarge) | Err(_) => return Ok(None),
                }
            }
        };
        let identity = LunIdentity::new(
            &inquiry,
            names.as_deref().unwrap_or_default(),
            serial,
            geometry,
        );
        Ok(Some(FoundUnit {
            lun,
            identity,
            geometry,
        }))
    }

    async fn page(&mut self, lun: Lun, code: u8) -> Result<bytes::Bytes, TalkError> {
        let inquiry = Command::Inquiry {
            page: Some(code),
            allocation: VPD_ALLOCATION,
        };
        Ok(self.command(lun, inquiry).await?.data.to_bytes())
    }

    /// Logs out as far as the target goes along.
    pub(super) async fn close(mut self) {
        self.session_mut(|session, now| session.logout(now));
        while let Ok(event) = self.event().await {
            if matches!(event, Event::LoggedOut { .. }) {
                break;
            }
        }
    }
}

fn is_settled(completion: &Completion) -> bool {
    use crate::scsi::sense::{Sense, SenseKey};
    match completion.status {
        status::BUSY | status::TASK_SET_FULL => false,
        status::CHECK_CONDITION => {
            Sense::parse(&completion.sense).is_none_or(|sense| sense.key != SenseKey::UnitAttention)
        }
        _ => true,
    }
}
