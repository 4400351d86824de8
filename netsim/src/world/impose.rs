//! What faults do to a target and its unit, whoever drives it.

use std::time::{Duration, Instant};

use super::{Fault, Notice, setup};
use crate::target::Target;
use crate::target::lun::{Injection, Refusal, sense};

/// Does to the target what the fault says, if it concerns nothing else: neither the network nor what a portal
/// is like while a fault lasts.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "faults of the unit are looked at next"
)]
pub fn impose(target: &mut Target, now: Instant, fault: &Fault) {
    match *fault {
        Fault::Hang { path, times } => target.hang(path, times),
        Fault::Jam { path, times } => target.jam(path, times),
        Fault::EndJams => target.end_jams(now),
        Fault::Pace { path, pace } => target.set_pace(path, pace),
        Fault::Window { path, closed } => target.close_window(path, closed),
        Fault::Notice { path, notice } => give_notice(target, now, path, notice),
        Fault::Misbehave { path, how } => target.misbehave(path, how),
        Fault::Reset => target.reset_units(now),
        Fault::Grow { blocks } => {
            if let Some(unit) = target.unit(0) {
                unit.resize(blocks);
            }
        }
        Fault::Impostor { path, on } => {
            target.set_impostor(path, on.then_some(setup::IMPOSTOR));
        }
        _ => impose_on_unit(target, fault),
    }
}

fn give_notice(target: &mut Target, now: Instant, path: usize, notice: Notice) {
    let seconds = |duration: Duration| u16::try_from(duration.as_secs()).unwrap_or(u16::MAX);
    match notice {
        Notice::Logout { within } => {
            target.send_async(now, path, 1, [0, 0, seconds(within)], &[]);
        }
        Notice::DropConnection { wait } => {
            target.send_async(now, path, 2, [0, seconds(wait), 0], &[]);
        }
        Notice::DropSession { wait } => {
            target.send_async(now, path, 3, [0, seconds(wait), 0], &[]);
        }
        Notice::Scsi { asc, ascq } => {
            let sense = sense::fixed(sense::UNIT_ATTENTION, asc, ascq);
            target.send_async(now, path, 0, [0; 3], &sense);
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "other faults are not the target's"
)]
fn impose_on_unit(target: &mut Target, fault: &Fault) {
    let Some(unit) = target.unit(0) else {
        return;
    };
    match *fault {
        Fault::Status { status, times } => unit.inject(Injection {
            nexus: None,
            opcode: None,
            times,
            refusal: Refusal::Status(status),
            carried_out: false,
        }),
        Fault::Attention { asc, ascq } => unit.attention(None, asc, ascq),
        Fault::Preempted => unit.preempt_elsewhere(),
        Fault::Reserve { exclusive, on } => unit.reserve_elsewhere(on.then_some(exclusive)),
        Fault::Access { path, access } => unit.set_access(setup::access_group(path), access),
        Fault::Capacity { path, blocks } => {
            unit.pretend_size(setup::relative_port(path), blocks);
        }
        Fault::Vanish { path, on } => unit.vanish(setup::relative_port(path), on),
        _ => {}
    }
}
