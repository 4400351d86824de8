//! The daemon and the target that the knobs describe.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iiblockdaemon::engine::{Change, Engine, ExportConfig};
use iiblockdaemon::ids::Lun as LunAddress;
use iiblockdaemon::iscsi::isid::Isid;
use iiblockdaemon::iscsi::name::{IscsiName, PortalAddr};
use iiblockdaemon::iscsi::session::config::{AuthConfig, SessionConfig, SessionKind};
use iiblockdaemon::path::PathConfig;
use iiblockdaemon::scsi::reservation::ReservationKey;
use iiblockdaemon::volume::{
    Domain, GrayConfig, Pin, RememberedKey, ReservationConfig, VolumeConfig,
};

use super::Knobs;
use super::inflict::Troubled;
use crate::target::lun::{Backing, Lun, LunConfig, PortGroup};
use crate::target::{Behaviour, PortalBehaviour, PortalConfig, Target, TargetConfig};

const TARGET: &str = "iqn.2026-01.test:target";
const INITIATOR: &str = "iqn.2026-01.test:initiator";

/// Of its serial number and identifier; a small one would look like a vendor's default.
const UNIT: u32 = 0x0d15_c0de;

/// The same of the wrong unit.
const IMPOSTOR_UNIT: u32 = 0x0bad_c0de;

/// PERSISTENT RESERVE IN and OUT.
const RESERVATIONS: [u8; 2] = [0x5e, 0x5f];

/// The logical unit number that the wrong unit has in truth.
pub(super) const IMPOSTOR: u16 = 1;

/// The target port group of a path's portal: each has its own, so that access states differ.
pub(super) fn access_group(path: usize) -> u16 {
    relative_port(path)
}

/// The relative target port identifier of a path's portal.
pub(super) fn relative_port(path: usize) -> u16 {
    u16::try_from(path + 1).unwrap_or(u16::MAX)
}

/// The target finds out so that an initiator is gone that nobody told it of.
const TARGET_PING: Duration = Duration::from_secs(5);

/// A logout may take so long.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(5);

fn name(text: &str) -> IscsiName {
    text.parse().expect("a valid name")
}

/// The address of a path's portal.
#[must_use]
pub fn portal(path: usize) -> String {
    format!("10.0.{path}.1:3260")
}

/// How the last run ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastRun {
    pub(super) unclean: bool,
    /// A session of it belongs to no path any more.
    pub(super) orphaned: bool,
    /// Its reservation key, if there was one.
    pub(super) key: Option<RememberedKey>,
}

/// The volume with these paths.
pub(super) fn engine(
    now: Instant,
    knobs: &Knobs,
    configured: &[usize],
    last: LastRun,
    pin: Pin,
) -> Engine {
    let volume = volume(knobs, configured, last, pin);
    Engine::new(now, export(), volume, path_configs(knobs, configured))
}

/// The same, for an engine at work.
pub(super) fn change(knobs: &Knobs, configured: &[usize], policy_changed: bool) -> Change {
    Change {
        export: export(),
        volume: volume(knobs, configured, LastRun::default(), Pin::default()),
        policy_changed,
        paths: path_configs(knobs, configured),
        why: String::new(),
    }
}

fn export() -> ExportConfig {
    ExportConfig {
        name: "world".to_owned(),
        read_only: false,
    }
}

fn volume(knobs: &Knobs, configured: &[usize], last: LastRun, pin: Pin) -> VolumeConfig {
    VolumeConfig {
        weights: numbered(knobs, configured)
            .map(|path| knobs.weights.get(path).copied().unwrap_or(1))
            .collect(),
        tiers: numbered(knobs, configured)
            .map(|path| knobs.tiers.get(path).copied().unwrap_or(0))
            .collect(),
        activate: knobs.activate,
        shared: knobs.shared,
        no_path: knobs.no_path,
        quiesce: knobs.quiesce,
        reinstate: knobs.reinstate,
        grow: knobs.grow,
        pin,
        unclean: last.unclean,
        orphaned: last.orphaned,
        policy: policies::build(knobs.policy, knobs.seed),
        gray: GrayConfig {
            eject: knobs.policy.eject,
            prove: true,
            hedge: u32::from(knobs.policy.hedge.0),
            domains: numbered(knobs, configured).map(domain).collect(),
            jitter: Some(knobs.seed),
        },
        reservation: reservation(knobs, last.key),
    }
}

/// The configured key; what became of it in the last run holds on.
fn reservation(knobs: &Knobs, last: Option<RememberedKey>) -> ReservationConfig {
    let key = (knobs.key != 0).then_some(ReservationKey(knobs.key));
    let key = key.map(|key| RememberedKey::new(key, knobs.preempt_abort));
    ReservationConfig {
        key: last.or(key),
        configured: key.is_some(),
        preempt_abort: knobs.preempt_abort,
    }
}

/// Paths of the world have nothing in common; the sessions of one path have all of it.
fn domain(path: usize) -> Domain {
    let number = u16::try_from(path).expect("a path's number");
    Domain {
        portal: number,
        nic: number,
    }
}

/// The world's path of each path that the daemon has, which has several for each if it has several sessions.
pub(super) fn numbered(knobs: &Knobs, configured: &[usize]) -> impl Iterator<Item = usize> {
    let sessions = usize::from(knobs.sessions);
    configured
        .iter()
        .flat_map(move |path| std::iter::repeat_n(*path, sessions))
}

fn path_configs(knobs: &Knobs, configured: &[usize]) -> Vec<PathConfig> {
    let sessions = |path| (1..=knobs.sessions).map(move |session| (path, session));
    let all = configured.iter().copied().flat_map(sessions);
    all.map(|(path, session)| path_config(path, session, knobs))
        .collect()
}

fn path_config(path: usize, number: u16, knobs: &Knobs) -> PathConfig {
    let portal: PortalAddr = portal(path).parse().expect("a valid portal");
    let session = SessionConfig {
        initiator_name: name(INITIATOR),
        kind: SessionKind::Normal {
            target: name(TARGET),
        },
        isid: match number {
            1 => Isid::derive(&["world", &path.to_string()]),
            more => Isid::derive(&["world", &path.to_string(), &more.to_string()]),
        },
        auth: AuthConfig::None,
        offer: knobs.offer,
        login_timeout: knobs.login_timeout,
        logout_timeout: LOGOUT_TIMEOUT,
    };
    PathConfig {
        name: match number {
            1 => format!("path {path}"),
            more => format!("path {path} #{more}"),
        },
        route: format!("path {path}"),
        portal,
        session: Arc::new(session),
        lun: LunAddress::from_number(0).expect("a LUN"),
        alua: knobs.alua,
        queue_depth: knobs.commands_per_path,
        detect: knobs.detect,
        same_by: knobs.same_by,
        lun_reset: knobs.lun_reset,
        seed: knobs.seed ^ path as u64 ^ u64::from(number - 1) << 32,
    }
}

/// One target with one unit, and a portal for each path.
pub(super) fn target(knobs: &Knobs) -> Target {
    target_at(knobs, (0..knobs.groups.len()).map(portal))
}

/// The target that the knobs describe, with its portals at these addresses.
///
/// # Panics
/// If a knob is not possible.
#[must_use]
pub fn target_at(knobs: &Knobs, addresses: impl Iterator<Item = String>) -> Target {
    let portals = knobs.groups.iter().zip(addresses);
    let config = TargetConfig {
        portals: portals
            .map(|(group, address)| PortalConfig {
                address,
                group: *group,
            })
            .collect(),
        processes: knobs.processes.clone(),
        access_groups: (0..knobs.groups.len()).map(access_group).collect(),
        wishes: knobs.wishes.clone(),
        queue_depth: knobs.queue_depth,
        seed: knobs.seed,
        ..TargetConfig::new(name(TARGET))
    };
    let unit = LunConfig {
        fua: knobs.fua,
        thin: knobs.thin,
        max_transfer_blocks: knobs.transfer_blocks,
        cache: knobs.cache,
        groups: port_groups(knobs),
        explicit: knobs.asymmetry.explicit,
        standby_tells_size: knobs.asymmetry.standby_tells_size,
        persistent: knobs.persistent,
        refuses: match knobs.reservations {
            true => BTreeSet::new(),
            false => BTreeSet::from(RESERVATIONS),
        },
        ..identity(knobs, UNIT)
    };
    let impostor = match knobs.copied {
        true => unit.clone(),
        false => identity(knobs, IMPOSTOR_UNIT),
    };
    let units = [(0, unit), (IMPOSTOR, impostor)];
    let units = units.map(|(number, unit)| (number, Lun::new(unit, Backing::ram())));
    let mut target = Target::new(config, units);
    target.set_behaviour(Behaviour {
        reinstatement: knobs.reinstatement,
        orphans: knobs.orphans,
        nexuses: knobs.nexuses,
        aborts: knobs.aborts,
        resets: knobs.resets,
        refuse_logins: None,
        ping_interval: Some(TARGET_PING),
    });
    for portal in 0..knobs.groups.len() {
        target.set_portal(portal, portal_behaviour(knobs, &Troubled::default()));
    }
    for portal in &knobs.impostors {
        target.set_impostor(*portal, Some(IMPOSTOR));
    }
    target
}

fn port_groups(knobs: &Knobs) -> Vec<PortGroup> {
    if knobs.asymmetry.symmetric {
        return Vec::new();
    }
    let paths = 0..knobs.groups.len();
    paths
        .map(|path| PortGroup {
            id: access_group(path),
            access: knobs.asymmetry.initial(path),
            preferred: false,
            ports: vec![relative_port(path)],
        })
        .collect()
}

/// A disk with a name of its own, or with the one that tgt gives to every first unit of every first target.
fn identity(knobs: &Knobs, number: u32) -> LunConfig {
    let disk = LunConfig::disk(number, knobs.block_size, knobs.blocks);
    if !knobs.default_identity {
        return disk;
    }
    LunConfig {
        vendor: "IET".into(),
        product: "VIRTUAL-DISK".into(),
        serial: "beaf11".into(),
        naa: Some(0x6000_0000_0000_0000_0e00_0000_0001_0001),
        t10: Some("IET     00010001".into()),
        ..disk
    }
}

/// A portal of the target, at work or in trouble.
pub(super) fn portal_behaviour(knobs: &Knobs, troubled: &Troubled) -> PortalBehaviour {
    PortalBehaviour {
        frozen: troubled.frozen,
        service_time: knobs.service_time,
        redirect: troubled.redirect.clone(),
    }
}
