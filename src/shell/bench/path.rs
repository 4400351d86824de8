//! Over one path alone, in a session beside the daemon's.

use std::collections::BTreeMap;

use crate::iscsi::session::Event;
use crate::limits::TRANSFER_MAX;
use crate::scsi::cdb::{Command, Extent};
use crate::scsi::sense::Sense;
use crate::scsi::verdict::status;
use crate::shell::clock;
use crate::shell::talk::Talk;
use crate::task::Completion;

use super::places::Places;
use super::{BenchError, PROGRESS, Route, Tally, check_block, seed};

/// Reads over the path; `progress` is called now and then.
///
/// The daemon's sessions stay as they are: this one's ISID is its own. Before anything is read, the unit's
/// identity is compared with the one that the volume must have. `tally` holds what came of it, after an
/// error too.
///
/// # Errors
/// No session, the wrong unit, a workload that does not fit, or the first command that failed.
///
/// # Panics
/// If the workload writes.
pub async fn over_path(
    route: &Route,
    tally: &mut Tally,
    mut progress: impl FnMut(&Tally),
) -> Result<(), BenchError> {
    let workload = *tally.workload();
    assert!(!workload.write, "a path alone is only read");
    let mut talk = Talk::open(route.session.clone(), &route.portal, &route.source).await?;
    let unit = talk.unit(route.lun).await?;
    let unit = unit.ok_or_else(|| BenchError::NoUnit(route.name.clone()))?;
    if let Some(wanted) = route
        .wwid
        .as_ref()
        .filter(|wwid| !unit.identity.is_named(wwid))
    {
        return Err(BenchError::WrongUnit {
            path: route.name.clone(),
            found: unit.identity.wwid(),
            wanted: wanted.clone(),
        });
    }
    let geometry = unit.geometry;
    let block_size = geometry.block_size();
    let most = u64::from(TRANSFER_MAX).min(geometry.bytes());
    check_block(&workload, block_size, most)?;
    let seed = seed()?;
    let mut places = Places::new(geometry.bytes(), workload.block, workload.sequential, seed);
    let mut asked = BTreeMap::new();
    let began = clock::now();
    let (end, mut next_progress) = (began + workload.time, began + PROGRESS);
    loop {
        let now = clock::now();
        tally.set_elapsed(now - began);
        if now >= next_progress {
            next_progress = now + PROGRESS;
            progress(tally);
        }
        while now < end && asked.len() < workload.depth && talk.free_slots() > 0 {
            let extent = Extent {
                lba: places.next() / u64::from(block_size),
                blocks: workload.block / block_size,
            };
            let command = Command::Read { extent, fua: false };
            asked.insert(talk.submit(route.lun, command, block_size), (extent, now));
        }
        if asked.is_empty() {
            break;
        }
        let due = tokio::time::sleep_until(next_progress.into());
        let event = tokio::select! { biased;
            event = talk.event() => event?,
            () = due => continue,
        };
        let (id, answer) = if let Event::Completed(id, completion) = &event {
            (id, fault(completion, workload.block))
        } else if let Event::Failed(id, failure) = &event {
            (id, Some(format!("{failure:?}")))
        } else {
            continue;
        };
        let Some((extent, sent)) = asked.remove(id) else {
            continue;
        };
        if let Some(answer) = answer {
            let (path, lba) = (route.name.clone(), extent.lba);
            return Err(BenchError::Command { path, lba, answer });
        }
        tally.add(clock::now() - sent);
    }
    talk.close().await;
    Ok(())
}

/// What is wrong with the answer to a read of so many bytes.
fn fault(completion: &Completion, length: u32) -> Option<String> {
    match completion.status {
        status::GOOD if completion.data.len() == length as usize => None,
        status::GOOD => Some(format!(
            "{} bytes instead of {length}",
            completion.data.len()
        )),
        status::CHECK_CONDITION => Some(match Sense::parse(&completion.sense) {
            Some(sense) => format!(
                "{} ({:02x}h/{:02x}h)",
                sense.key.name(),
                sense.asc,
                sense.ascq
            ),
            None => "CHECK CONDITION without sense data".to_owned(),
        }),
        status::RESERVATION_CONFLICT => {
            Some("RESERVATION CONFLICT: somebody reserved the unit".to_owned())
        }
        other => Some(format!("status {other:02x}h")),
    }
}
