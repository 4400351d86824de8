//! Discovery: which targets and units are behind a portal.
//!
//! One discovery session asks SendTargets; then one short normal session per target asks for its units.
//! These sessions carry an ISID of their own, so they end no path's session.

mod render;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;

use crate::ids::{Lun, TaskId};
use crate::iscsi::discovery::DiscoveredTarget;
use crate::iscsi::error::SessionError;
use crate::iscsi::isid::Isid;
use crate::iscsi::name::{IscsiName, PortalAddr};
use crate::iscsi::session::config::{AuthConfig, Entropy, Offer, SessionConfig, SessionKind};
use crate::iscsi::session::{Event, Session, TargetQuery};
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

pub use render::{AskedWith, toml};

/// Each connection, login and command may take so long.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Unit attentions and BUSY answers that one command meets before it is given up.
const REPEATS_MAX: u32 = 16;

/// Units that are asked per target.
const UNITS_MAX: usize = 256;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
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

/// A target that SendTargets named.
#[derive(Debug)]
pub struct FoundTarget {
    /// Name, portals and groups.
    pub target: DiscoveredTarget,
    /// Its disks, or why they could not be asked for.
    pub units: Result<Vec<FoundUnit>, DiscoverError>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Our iSCSI name.
    pub initiator_name: IscsiName,
    /// Credentials, for discovery and for the targets alike.
    pub auth: AuthConfig,
    /// Where connections leave from.
    pub source: Source,
}

/// The targets behind `portal`, with their units.
///
/// # Errors
/// If the portal does not answer SendTargets. A target that refuses its own login is listed with the reason.
pub async fn discover(
    asker: &Asker,
    portal: &PortalAddr,
) -> Result<Vec<FoundTarget>, DiscoverError> {
    // Many targets demand CHAP of normal sessions only, and then know no credentials here; no secret is
    // at stake.
    let lenient = Asker {
        auth: match asker.auth.clone() {
            AuthConfig::Chap(chap) => AuthConfig::Chap(chap.allow_none(true)),
            AuthConfig::None => AuthConfig::None,
        },
        ..asker.clone()
    };
    let mut talk = Talk::open(&lenient, portal, SessionKind::Discovery).await?;
    talk.session_mut(|session, now| session.send_targets(now, TargetQuery::All));
    let targets = loop {
        let event = talk.event().await?;
        if let Event::Targets(targets) = event {
            break targets;
        }
        if matches!(event, Event::TargetsRefused(_)) {
            let portal = portal.clone();
            return Err(DiscoverError::Refused { portal });
        }
    };
    talk.close().await;
    let mut found = Vec::new();
    for target in targets {
        let units = units(asker, portal, &target).await;
        found.push(FoundTarget { target, units });
    }
    Ok(found)
}

/// The disks of a target, over the portal that was asked.
async fn units(
    asker: &Asker,
    portal: &PortalAddr,
    target: &DiscoveredTarget,
) -> Result<Vec<FoundUnit>, DiscoverError> {
    let kind = SessionKind::Normal {
        target: target.name.clone(),
    };
    let mut talk = Talk::open(asker, portal, kind).await?;
    let mut found = Vec::new();
    for lun in talk.report_luns().await?.into_iter().take(UNITS_MAX) {
        found.extend(talk.unit(lun).await?);
    }
    talk.close().await;
    Ok(found)
}

/// One session that is asked one thing at a time.
struct Talk {
    portal: PortalAddr,
    stream: Stream,
    input: BytesMut,
    session: Session,
    next_task: u64,
}

impl Talk {
    /// Logs in; once more with MD5 alone, if the target fails on a list of CHAP algorithms.
    async fn open(
        asker: &Asker,
        portal: &PortalAddr,
        kind: SessionKind,
    ) -> Result<Self, DiscoverError> {
        let config = SessionConfig {
            initiator_name: asker.initiator_name.clone(),
            kind,
            isid: Isid::derive(&["discover", &std::process::id().to_string()]),
            auth: asker.auth.clone(),
            offer: Offer::default(),
            login_timeout: STEP_TIMEOUT,
            logout_timeout: STEP_TIMEOUT,
        };
        let plainer = config.with_md5_only();
        match (Self::log_in(asker, portal, config).await, plainer) {
            (Err(DiscoverError::Session { error, .. }), Some(plainer))
                if error.retry_with_md5_only() =>
            {
                Self::log_in(asker, portal, plainer).await
            }
            (done, _) => done,
        }
    }

    async fn log_in(
        asker: &Asker,
        portal: &PortalAddr,
        config: SessionConfig,
    ) -> Result<Self, DiscoverError> {
        let silent = || DiscoverError::Silent {
            portal: portal.clone(),
        };
        let dialed = tokio::time::timeout(STEP_TIMEOUT, dial(portal, &asker.source)).await;
        let stream: TcpStream = dialed.map_err(|_| silent())??;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(DiscoverError::Random)?;
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
                return Err(DiscoverError::Redirected { portal, to });
            }
        }
    }

    fn session_mut(
        &mut self,
        act: impl FnOnce(&mut crate::iscsi::session::FullFeature, std::time::Instant),
    ) {
        if let Some(session) = self.session.full_feature() {
            act(session, clock::now());
        }
    }

    /// The next event, within the time of a step.
    async fn event(&mut self) -> Result<Event, DiscoverError> {
        let portal = self.portal.clone();
        match tokio::time::timeout(STEP_TIMEOUT, self.next_event()).await {
            Ok(event) => event,
            Err(_) => Err(DiscoverError::Silent { portal }),
        }
    }

    async fn next_event(&mut self) -> Result<Event, DiscoverError> {
        loop {
            if let Some(event) = self.session.poll_event() {
                return Ok(event);
            }
            let socket = |error| DiscoverError::Socket {
                portal: self.portal.clone(),
                error,
            };
            self.stream
                .write_all(self.session.outgoing())
                .await
                .map_err(socket)?;
            self.input.reserve(64 << 10);
            let read = self.stream.read(&mut self.input).await.map_err(socket)?;
            let ended = match read {
                0 => self.session.on_closed(),
                _ => self
                    .session
                    .handle_bytes(clock::now(), &mut self.input)
                    .err(),
            };
            if let Some(error) = ended {
                return Err(DiscoverError::Session {
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
    async fn command(&mut self, lun: Lun, command: Command) -> Result<Completion, DiscoverError> {
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

    /// `None` if the command failed without a SCSI status.
    async fn command_once(
        &mut self,
        lun: Lun,
        command: Command,
    ) -> Result<Option<Completion>, DiscoverError> {
        let data = match command.data_length(512) {
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

    async fn report_luns(&mut self) -> Result<Vec<Lun>, DiscoverError> {
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
    async fn unit(&mut self, lun: Lun) -> Result<Option<FoundUnit>, DiscoverError> {
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

    async fn page(&mut self, lun: Lun, code: u8) -> Result<bytes::Bytes, DiscoverError> {
        let inquiry = Command::Inquiry {
            page: Some(code),
            allocation: VPD_ALLOCATION,
        };
        Ok(self.command(lun, inquiry).await?.data.to_bytes())
    }

    /// Logs out as far as the target goes along.
    async fn close(mut self) {
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
