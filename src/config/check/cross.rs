//! What volumes and paths must not share.

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use super::super::error::{Place, Problem};
use super::super::file;
use super::super::reader::Report;
use super::super::{Listen, Path, Volume};
use super::volume::Built;

pub(super) fn check(
    mirrored: &[file::Volume],
    built: &[Built],
    control: Option<&FilePath>,
    report: &mut Report<'_>,
) {
    names(mirrored, report);
    listens(mirrored, control, report);
    for volume in built {
        paths(volume, report);
    }
    units(built, report);
    let all = built.iter().flat_map(|volume| &volume.paths);
    let isids: Vec<_> = all.map(|(place, path)| (place, path.isid)).collect();
    // Equal paths have equal ISIDs and were reported as equal paths.
    if report.errors.is_empty() {
        isid_collisions(&isids, report);
    }
}

fn names(mirrored: &[file::Volume], report: &mut Report<'_>) {
    let mut seen = BTreeMap::new();
    for given in mirrored.iter().filter_map(|volume| volume.name.given()) {
        if seen.insert(&given.value, ()).is_some() {
            let problem = Problem::DuplicateVolume(given.value.clone());
            report.add(&given.place, problem);
        }
    }
}

fn listens(mirrored: &[file::Volume], control: Option<&FilePath>, report: &mut Report<'_>) {
    let mut users: BTreeMap<Listen, String> = BTreeMap::new();
    if let Some(socket) = control {
        users.insert(Listen::Unix(socket.to_owned()), "daemon.control".to_owned());
    }
    for volume in mirrored {
        for given in volume.nbd.value().into_iter().flatten() {
            let user = volume.place.key.clone();
            if let Some(other) = users.insert(given.value.clone(), user) {
                let problem = Problem::DuplicateListen {
                    listen: given.value.to_string(),
                    other,
                };
                report.add(&given.place, problem);
            }
        }
    }
}

/// Paths of one volume differ in more than weight and tier.
fn paths(volume: &Built, report: &mut Report<'_>) {
    let first = |(_, path): &&(Place, Path)| path.session == 1;
    for (index, (place, path)) in volume.paths.iter().enumerate() {
        let mut earlier = volume.paths.iter().take(index).filter(first);
        if let Some((other, _)) = earlier.find(|(_, other)| same_route(other, path)) {
            let other = other.key.clone();
            report.add(place, Problem::DuplicatePath { other });
        }
    }
}

fn same_route(a: &Path, b: &Path) -> bool {
    a.portal == b.portal
        && a.nic == b.nic
        && a.source == b.source
        && a.target.eq_ignore_ascii_case(&b.target)
        && a.lun == b.lun
        && a.session == b.session
}

/// Two volumes over one logical unit know nothing of each other's unfinished writes.
fn units(built: &[Built], report: &mut Report<'_>) {
    for (index, second) in built.iter().enumerate() {
        let first = built.iter().take(index).find(|first| {
            let harmless = |built: &Built| {
                let volume = built.volume.as_ref();
                volume.is_none_or(|volume| volume.shared || volume.export.read_only)
            };
            share_a_unit(first, second) && !(harmless(first) && harmless(second))
        });
        if let Some(first) = first {
            let other = first.place.key.clone();
            report.add(&second.place, Problem::DuplicateLun { other });
        }
    }
}

fn share_a_unit(a: &Built, b: &Built) -> bool {
    let wwid = |built: &Built| -> Option<String> {
        let volume: &Volume = built.volume.as_ref()?;
        volume.wwid.clone()
    };
    let same_path = a.paths.iter().any(|(_, a)| {
        let mut others = b.paths.iter();
        others.any(|(_, b)| a.lun == b.lun && a.target.eq_ignore_ascii_case(&b.target))
    });
    same_path || wwid(a).is_some_and(|a| Some(a) == wwid(b))
}

/// Different paths whose hashes agree.
fn isid_collisions(isids: &[(&Place, [u8; 6])], report: &mut Report<'_>) {
    let mut seen: BTreeMap<[u8; 6], &Place> = BTreeMap::new();
    for (place, isid) in isids {
        if let Some(other) = seen.insert(*isid, place) {
            let other = other.key.clone();
            report.add(place, Problem::IsidCollision { other });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_paths_whose_identifiers_collide_are_refused() {
        let place = |key: &str| Place {
            key: key.to_owned(),
            ..Place::default()
        };
        let (a, b, c) = (
            place("volume.a.paths[0]"),
            place("volume.b.paths[0]"),
            place("c"),
        );
        let mut report = Report::new("");
        isid_collisions(&[(&a, [1; 6]), (&b, [1; 6]), (&c, [2; 6])], &mut report);
        let [error] = report.errors.as_slice() else {
            panic!("{:?}", report.errors);
        };
        assert_eq!(
            error.to_string(),
            "volume.b.paths[0]: the session identifiers of this path and of volume.a.paths[0] \
             collide by chance; rename the volume"
        );
    }
}
