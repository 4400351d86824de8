//! The world that a scenario describes.

use iiblockdaemon::config;
use iiblockdaemon::iscsi::session::config::{DigestChoice, Offer};
use iiblockdaemon::path::{Detect, SameBy};
use iiblockdaemon::volume::NoPath;

use super::{Identity, Scenario};
use crate::world::{Allowed, Knobs, Load, Settings};

pub(super) fn knobs(scenario: &Scenario) -> Knobs {
    let mut knobs = Knobs::calm(scenario.seed);
    let Scenario {
        paths,
        unit,
        target,
        workload,
        pass,
        ..
    } = scenario;
    knobs.groups = paths.iter().map(|path| path.group).collect();
    knobs.processes = paths.iter().map(|path| path.process).collect();
    knobs.weights = paths.iter().map(|path| path.weight).collect();
    knobs.asymmetry.initial = paths.iter().map(|path| path.access).collect();
    knobs.asymmetry.explicit = target.explicit;
    knobs.lines = paths.iter().map(|path| path.line.clone()).collect();
    knobs.block_size = unit.block_size;
    knobs.blocks = unit.blocks;
    knobs.transfer_blocks = unit.transfer_blocks;
    knobs.fua = unit.fua;
    knobs.thin = unit.thin;
    knobs.cache = unit.cache;
    knobs.default_identity = unit.identity == Identity::Default;
    knobs.copied = unit.identity == Identity::Copied;
    knobs.reservations = unit.reservations;
    let impostors = paths.iter().enumerate().filter(|(_, path)| path.impostor);
    knobs.impostors = impostors.map(|(path, _)| path).collect();
    knobs.service_time = target.service_time;
    knobs.queue_depth = target.queue_depth;
    knobs.reinstatement = target.reinstatement;
    knobs.orphans = target.orphans;
    knobs.nexuses = target.nexuses;
    knobs.persistent = target.persistent;
    knobs.aborts = target.aborts;
    knobs.resets = target.resets;
    let absent = paths
        .iter()
        .enumerate()
        .filter(|(_, path)| !path.configured);
    knobs.absent = absent.map(|(path, _)| path).collect();
    if let Some(volume) = scenario.daemon.volumes.first() {
        daemon(&mut knobs, volume);
    }
    knobs.load = Load {
        clients: workload.clients,
        depth: workload.depth,
        think: workload.pause,
        blocks_max: workload.blocks_max,
        reads: workload.reads,
        zeroes: workload.zeroes,
    };
    knobs.trouble = workload.lasts;
    knobs.faults = scenario.planned();
    let ready = pass.paths_ready.unwrap_or(paths.len());
    knobs.allowed = Allowed {
        failures: pass.errors_max > 0,
        logged_errors: pass.log_errors,
        paths_lost: paths.len() - ready,
        unmended: !scenario.mend,
    };
    knobs
}

/// What a running daemon takes over of a configuration.
pub(super) fn settings(config: &config::Config) -> Option<Settings> {
    let mut knobs = Knobs::calm(0);
    daemon(&mut knobs, config.volumes.first()?);
    Some(knobs.settings())
}

fn daemon(knobs: &mut Knobs, volume: &config::Volume) {
    let iscsi = &volume.iscsi;
    knobs.policy = volume.policy;
    knobs.tiers = volume.paths.iter().map(|path| path.tier).collect();
    knobs.alua = volume.alua != config::Alua::Ignore;
    knobs.activate = volume.alua == config::Alua::Explicit;
    knobs.shared = volume.shared;
    knobs.grow = volume.resize == config::Resize::Grow;
    knobs.same_by = match volume.same_unit {
        config::SameUnit::Reservation => SameBy::Reservation,
        config::SameUnit::Blocks => SameBy::Blocks,
        config::SameUnit::Identifiers => SameBy::Identifiers,
    };
    let sessions = volume.paths.iter().map(|path| path.session).max();
    knobs.sessions = sessions.unwrap_or(1);
    knobs.reinstate = volume.fence.reinstate;
    knobs.preempt_abort = volume.fence.preempt_abort;
    knobs.key = volume.reservation_key.unwrap_or(0);
    knobs.lun_reset = volume.fence.lun_reset;
    knobs.quiesce = volume.fence.quiesce;
    knobs.commands_per_path = u32::from(iscsi.queue_depth);
    knobs.no_path = match volume.no_path {
        config::NoPath::Fail => NoPath::Fail,
        config::NoPath::Queue(limit) => NoPath::Queue(limit),
        config::NoPath::QueueForever => NoPath::QueueForever,
    };
    knobs.detect = Detect {
        network: volume.detect.network,
        target: volume.detect.target,
        command: volume.detect.command,
    };
    knobs.offer = Offer {
        header_digest: digest(iscsi.header_digest),
        data_digest: digest(iscsi.data_digest),
        max_recv_data_segment_length: iscsi.max_recv_data_segment_length,
        first_burst_length: iscsi.first_burst_length,
        max_burst_length: iscsi.max_burst_length,
        immediate_data: iscsi.immediate_data,
        initial_r2t: iscsi.initial_r2t,
        max_outstanding_r2t: iscsi.max_outstanding_r2t,
        ..Offer::default()
    };
}

fn digest(choice: config::DigestChoice) -> DigestChoice {
    match choice {
        config::DigestChoice::None => DigestChoice::None,
        config::DigestChoice::Crc32c => DigestChoice::Crc32c,
        config::DigestChoice::PreferCrc32c => DigestChoice::PreferCrc32c,
        config::DigestChoice::PreferNone => DigestChoice::PreferNone,
    }
}
