//! From checked configuration to the cores' own settings.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config;
use crate::engine::{Change, Engine, ExportConfig};
use crate::ids::PathId;
use crate::iscsi::chap::{ChapAlgorithm, Secret, SecretError};
use crate::iscsi::isid::Isid;
use crate::iscsi::name::{IscsiName, NameError, PortalAddr, PortalAddrError};
use crate::iscsi::session::config::{
    AuthConfig, ChapConfig, ChapConfigError, DigestChoice, Offer, SessionConfig, SessionKind,
};
use crate::path::{Detect, PathConfig, SameBy};
use crate::scsi::reservation::ReservationKey;
use crate::units::Geometry;
use crate::volume::{
    Domain, GrayConfig, NoPath, Pin, RememberedKey, ReservationConfig, VolumeConfig,
};

use crate::shell::state::{KeyState, VolumeState};

/// A login may take so long: reinstatement on some targets waits for the old session's commands.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);

/// A logout may take so long.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(5);

/// A setting that the check let pass and the protocol layer refuses.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// An iSCSI name.
    #[error("{name}: {error}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong.
        error: NameError,
    },
    /// A portal.
    #[error("portal {portal}: {error}")]
    Portal {
        /// The portal.
        portal: String,
        /// What is wrong.
        error: PortalAddrError,
    },
    /// A secret.
    #[error("auth.{auth}: {error}")]
    Secret {
        /// The section.
        auth: String,
        /// What is wrong.
        error: SecretError,
    },
    /// Credentials.
    #[error("auth.{auth}: {error}")]
    Chap {
        /// The section.
        auth: String,
        /// What is wrong.
        error: ChapConfigError,
    },
}

/// Everything that an engine is made of.
pub(super) struct Assembled {
    export: ExportConfig,
    volume: VolumeConfig,
    paths: Vec<PathConfig>,
}

impl Assembled {
    pub(super) fn engine(self, now: Instant) -> Engine {
        Engine::new(now, self.export, self.volume, self.paths)
    }

    /// The same for an engine at work: whether it has another policy, and what is different in words.
    pub(super) fn change(self, policy_changed: bool, why: String) -> Change {
        let Self {
            export,
            volume,
            paths,
        } = self;
        Change {
            export,
            volume,
            policy_changed,
            paths,
            why,
        }
    }
}

pub(super) fn assemble(
    daemon: &config::Daemon,
    volume: &config::Volume,
    state: &VolumeState,
    unclean: bool,
    orphaned: bool,
) -> Result<Assembled, AssembleError> {
    let initiator = name(&daemon.initiator_name)?;
    let auth = match &volume.auth {
        None => AuthConfig::None,
        Some(auth) => AuthConfig::Chap(chap(auth)?),
    };
    let paths = volume
        .paths
        .iter()
        .map(|path| path_config(volume, path, &initiator, &auth))
        .collect::<Result<_, _>>()?;
    let remembered = state
        .wwid
        .clone()
        .zip(Geometry::new(state.block_size, state.blocks));
    Ok(Assembled {
        export: ExportConfig {
            name: volume.name.clone(),
            read_only: volume.export.read_only,
        },
        volume: VolumeConfig {
            weights: volume.paths.iter().map(|path| path.weight).collect(),
            tiers: volume.paths.iter().map(|path| path.tier).collect(),
            activate: volume.alua == config::Alua::Explicit,
            shared: volume.shared,
            no_path: match volume.no_path {
                config::NoPath::Fail => NoPath::Fail,
                config::NoPath::Queue(limit) => NoPath::Queue(limit),
                config::NoPath::QueueForever => NoPath::QueueForever,
            },
            quiesce: volume.fence.quiesce,
            reinstate: volume.fence.reinstate,
            grow: volume.resize == config::Resize::Grow,
            pin: Pin {
                configured: volume.wwid.clone(),
                remembered,
                remembered_paths: (!state.places.is_empty())
                    .then(|| paths_of(volume, &state.places)),
                distrusted: paths_of(volume, &state.distrusted),
            },
            unclean,
            orphaned,
            policy: policies::build(volume.policy, seed(&volume.name)),
            gray: GrayConfig {
                eject: volume.policy.eject,
                prove: true,
                hedge: u32::from(volume.policy.hedge.0),
                domains: domains(&volume.paths),
                jitter: Some(seed(&volume.name)),
            },
            reservation: reservation(volume, state),
        },
        paths,
    })
}

/// The key of the configuration; else the one that an administrator registered.
fn reservation(volume: &config::Volume, state: &VolumeState) -> ReservationConfig {
    let kept = state.reservation.as_ref().and_then(KeyState::remembered);
    let preempt_abort = volume.fence.preempt_abort;
    let configured = volume.reservation_key.map(|key| {
        let new = RememberedKey::new(ReservationKey(key), preempt_abort);
        // What became of it in earlier runs holds on.
        kept.filter(|kept| (kept.key, kept.per_path) == (new.key, new.per_path))
            .unwrap_or(new)
    });
    ReservationConfig {
        key: configured.or(kept),
        configured: configured.is_some(),
        preempt_abort,
    }
}

/// What the paths share, by numbers.
fn domains(paths: &[config::Path]) -> Vec<Domain> {
    let first = |same: &dyn Fn(&config::Path) -> bool| {
        let place = paths.iter().position(same).unwrap_or_default();
        u16::try_from(place).unwrap_or(u16::MAX)
    };
    let domain = |path: &config::Path| Domain {
        portal: first(&|other| other.portal == path.portal),
        nic: first(&|other| (&other.nic, other.source) == (&path.nic, path.source)),
    };
    paths.iter().map(domain).collect()
}

/// What leads to a unit, whatever it is called here.
pub(super) fn place(path: &config::Path) -> String {
    format!("{} {} {}", path.target, path.portal, path.lun)
}

fn paths_of(volume: &config::Volume, places: &[String]) -> Vec<PathId> {
    let paths = (0..).map(PathId).zip(&volume.paths);
    paths
        .filter(|(_, path)| places.contains(&place(path)))
        .map(|(id, _)| id)
        .collect()
}

fn name(text: &str) -> Result<IscsiName, AssembleError> {
    text.parse().map_err(|error| AssembleError::Name {
        name: text.to_owned(),
        error,
    })
}

/// The same in every run, different for every volume and path.
fn seed(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn path_config(
    volume: &config::Volume,
    path: &config::Path,
    initiator: &IscsiName,
    auth: &AuthConfig,
) -> Result<PathConfig, AssembleError> {
    let portal = path.portal.to_string();
    let portal: PortalAddr = portal
        .parse()
        .map_err(|error| AssembleError::Portal { portal, error })?;
    let iscsi = &volume.iscsi;
    let session = SessionConfig {
        initiator_name: initiator.clone(),
        kind: SessionKind::Normal {
            target: name(&path.target)?,
        },
        isid: Isid::from_wire(path.isid),
        auth: auth.clone(),
        offer: Offer {
            header_digest: digest(iscsi.header_digest),
            data_digest: digest(iscsi.data_digest),
            max_recv_data_segment_length: iscsi.max_recv_data_segment_length,
            first_burst_length: iscsi.first_burst_length,
            max_burst_length: iscsi.max_burst_length,
            immediate_data: iscsi.immediate_data,
            initial_r2t: iscsi.initial_r2t,
            max_outstanding_r2t: iscsi.max_outstanding_r2t,
            ..Offer::default()
        },
        login_timeout: LOGIN_TIMEOUT,
        logout_timeout: LOGOUT_TIMEOUT,
    };
    Ok(PathConfig {
        name: path.to_string(),
        route: config::Path {
            session: 1,
            ..path.clone()
        }
        .to_string(),
        portal,
        session: Arc::new(session),
        lun: path.lun,
        alua: volume.alua != config::Alua::Ignore,
        queue_depth: u32::from(iscsi.queue_depth),
        detect: Detect {
            network: volume.detect.network,
            target: volume.detect.target,
            command: volume.detect.command,
        },
        same_by: match volume.same_unit {
            config::SameUnit::Reservation => SameBy::Reservation,
            config::SameUnit::Blocks => SameBy::Blocks,
            config::SameUnit::Identifiers => SameBy::Identifiers,
        },
        lun_reset: volume.fence.lun_reset,
        seed: seed(&path.isid),
    })
}

/// The session of one path, as the daemon opens it.
///
/// # Errors
/// A setting that the protocol layer refuses.
pub fn session_config(
    daemon: &config::Daemon,
    volume: &config::Volume,
    path: &config::Path,
) -> Result<SessionConfig, AssembleError> {
    let initiator = name(&daemon.initiator_name)?;
    let auth = match &volume.auth {
        None => AuthConfig::None,
        Some(auth) => AuthConfig::Chap(chap(auth)?),
    };
    let path = path_config(volume, path, &initiator, &auth)?;
    Ok(SessionConfig::clone(&path.session))
}

fn digest(choice: config::DigestChoice) -> DigestChoice {
    match choice {
        config::DigestChoice::None => DigestChoice::None,
        config::DigestChoice::Crc32c => DigestChoice::Crc32c,
        config::DigestChoice::PreferCrc32c => DigestChoice::PreferCrc32c,
        config::DigestChoice::PreferNone => DigestChoice::PreferNone,
    }
}

/// Credentials as the protocol layer wants them.
///
/// # Errors
/// What the protocol forbids.
pub(crate) fn chap(auth: &config::Auth) -> Result<ChapConfig, AssembleError> {
    let secret = |text: &config::SecretText| {
        Secret::new(text.expose()).map_err(|error| AssembleError::Secret {
            auth: auth.name.clone(),
            error,
        })
    };
    let failed = |error| AssembleError::Chap {
        auth: auth.name.clone(),
        error,
    };
    let algorithms: Vec<ChapAlgorithm> = auth
        .algorithms
        .iter()
        .map(|algorithm| match algorithm {
            config::ChapAlgorithm::Sha3_256 => ChapAlgorithm::Sha3_256,
            config::ChapAlgorithm::Sha256 => ChapAlgorithm::Sha256,
            config::ChapAlgorithm::Sha1 => ChapAlgorithm::Sha1,
            config::ChapAlgorithm::Md5 => ChapAlgorithm::Md5,
        })
        .collect();
    let mut chap = ChapConfig::new(&auth.username, secret(&auth.secret)?)
        .and_then(|chap| chap.algorithms(&algorithms))
        .map_err(failed)?
        .allow_none(auth.allow_none);
    if let Some(target) = &auth.target {
        chap = chap
            .mutual(&target.username, secret(&target.secret)?)
            .map_err(failed)?;
    }
    Ok(chap)
}
