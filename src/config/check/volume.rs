//! One volume and its paths.

use std::sync::Arc;

use super::super::error::{Place, Problem};
use super::super::file::{self, File, Tuning};
use super::super::reader::{Field, Given, nearest};
use super::super::{Auth, Export, Listen, Path, Portal, Volume, defaults, isid};
use super::{Auths, Checker, value_or};
use crate::ids::Lun;
use crate::limits::PATHS_MAX;

/// With the fence preempt-abort these bits of a key carry the path's number.
const PATH_BITS: u64 = 0xffff;

/// What became of a volume. Its paths are there even if something else in it is wrong.
pub(super) struct Built {
    pub(super) volume: Option<Volume>,
    pub(super) paths: Vec<(Place, Path)>,
    pub(super) place: Place,
    /// What was merged from the volume, its profile and the defaults.
    pub(super) tuning: Tuning,
}

impl Checker<'_, '_, '_> {
    pub(super) fn volume(
        &mut self,
        volume: &file::Volume,
        mirror: &File,
        auths: &Auths,
        initiator_name: &str,
    ) -> Built {
        let place = &volume.place;
        let name = self.required(&volume.name, place, "name", "name = \"db\"");
        let auth = self.auth_of(volume, auths);
        let tuning = self.tuning_of(volume, mirror);
        let export = self.export(volume);
        let known_name = name.as_deref().unwrap_or_default();
        let sessions = value_or(&tuning.sessions, defaults::SESSIONS);
        let routes = self.paths(volume, usize::from(sessions));
        let complete = volume.paths.value().map(Vec::len) == Some(routes.len());
        let paths: Vec<(Place, Path)> = routes
            .iter()
            .flat_map(|route| (1..=sessions).map(move |session| (route, session)))
            .map(|((place, route), session)| {
                let mut path = route.clone();
                path.session = session;
                path.isid = isid(initiator_name, known_name, &path);
                (place.clone(), path)
            })
            .collect();
        let settings = self.tuning(&tuning);
        self.key_of_fence(volume, &tuning, settings.fence.preempt_abort);
        let built = || {
            Some(Volume {
                name: name?,
                paths: complete.then(|| paths.iter().map(|(_, path)| path.clone()).collect())?,
                auth: auth?,
                export: export?,
                wwid: volume.wwid.value().cloned(),
                reservation_key: volume.reservation_key.value().copied(),
                shared: settings.shared,
                policy: settings.policy,
                alua: settings.alua,
                no_path: settings.no_path,
                fence: settings.fence,
                detect: settings.detect,
                iscsi: settings.iscsi,
                stop_timeout: settings.stop_timeout,
                resize: settings.resize,
                same_unit: settings.same_unit,
            })
        };
        Built {
            volume: built(),
            paths,
            place: place.clone(),
            tuning,
        }
    }

    /// The fence preempt-abort takes a key, with room for the paths' numbers.
    fn key_of_fence(&mut self, volume: &file::Volume, tuning: &Tuning, wanted: bool) {
        if !wanted {
            return;
        }
        match &volume.reservation_key {
            Field::Absent => {
                let place = tuning.fence.place().cloned().unwrap_or_default();
                self.report.add(&place, Problem::FenceWithoutKey);
            }
            Field::Given(given) if given.value & PATH_BITS != 0 => {
                // What is left may be 0, which is no key.
                let wanted = match given.value & !PATH_BITS {
                    0 => given.value << PATH_BITS.count_ones(),
                    rest => rest,
                };
                let wanted = format!("{wanted:#018x}");
                self.report.add(&given.place, Problem::KeyOfPaths(wanted));
            }
            Field::Given(_) | Field::Broken => {}
        }
    }

    /// `None`: a mistake. `Some(None)`: no authentication.
    fn auth_of(&mut self, volume: &file::Volume, auths: &Auths) -> Option<Option<Arc<Auth>>> {
        match &volume.auth {
            Field::Absent => Some(None),
            Field::Broken => None,
            Field::Given(given) => {
                let names: Vec<String> = auths.keys().cloned().collect();
                let known = auths.get(&given.value);
                if known.is_none() {
                    self.undefined("auth", given, &names);
                }
                known?.clone().map(Some)
            }
        }
    }

    fn tuning_of(&mut self, volume: &file::Volume, mirror: &File) -> Tuning {
        let own = &volume.tuning;
        let Some(given) = volume.profile.given() else {
            return own.over(&mirror.defaults);
        };
        match mirror.profiles.get(&given.value) {
            Some(Some(profile)) => own.over(profile).over(&mirror.defaults),
            Some(None) => own.over(&mirror.defaults),
            None => {
                let names: Vec<String> = mirror.profiles.keys().cloned().collect();
                self.undefined("profile", given, &names);
                own.over(&mirror.defaults)
            }
        }
    }

    fn undefined(&mut self, section: &'static str, name: &Given<String>, known: &[String]) {
        let problem = Problem::Undefined {
            section,
            name: name.value.clone(),
            suggestion: nearest(&name.value, known),
        };
        self.report.add(&name.place, problem);
    }

    fn export(&mut self, volume: &file::Volume) -> Option<Export> {
        let example = "export = { nbd = \"unix:/run/iiblockdaemon/db.sock\" }";
        let nbd = self.required(&volume.nbd, &volume.place, "export", example)?;
        let nbd: Vec<Listen> = nbd.into_iter().map(|given| given.value).collect();
        Some(Export {
            nbd,
            read_only: value_or(&volume.read_only, defaults::READ_ONLY),
        })
    }

    /// The routes, each to be used by so many sessions.
    fn paths(&mut self, volume: &file::Volume, sessions: usize) -> Vec<(Place, Path)> {
        if volume.paths.is_absent() {
            let example = "paths = [{ portal = \"10.0.1.10\", nic = \"eth1\" }]";
            self.missing(&volume.place, "paths", example);
        }
        let Some(given) = volume.paths.given() else {
            return Vec::new();
        };
        let found = given.value.len() * sessions;
        if found > PATHS_MAX {
            let max = PATHS_MAX;
            self.report
                .add(&given.place, Problem::TooManyPaths { found, max });
        }
        let target = self.inherited(volume, &volume.target, |path| &path.target, TARGET);
        let lun = self.inherited(volume, &volume.lun, |path| &path.lun, LUN);
        let mut paths: Vec<(Place, Path)> = Vec::with_capacity(given.value.len());
        for mirrored in &given.value {
            let built = self.path(mirrored, target.as_ref(), lun);
            paths.extend(built.map(|path| (mirrored.place.clone(), path)));
        }
        paths
    }

    /// A key that the volume has for all paths, or every path for itself.
    fn inherited<T: Clone>(
        &mut self,
        volume: &file::Volume,
        own: &Field<T>,
        of_path: fn(&file::Path) -> &Field<T>,
        (name, example): (&str, &'static str),
    ) -> Option<T> {
        let mut paths = volume.paths.value().into_iter().flatten();
        if own.is_absent() && paths.any(|path| of_path(path).is_absent()) {
            self.missing(&volume.place, name, example);
        }
        own.value().cloned()
    }

    fn path(
        &mut self,
        path: &file::Path,
        target: Option<&String>,
        lun: Option<Lun>,
    ) -> Option<Path> {
        let example = "portal = \"10.0.1.10\"";
        let portal = self.required(&path.portal, &path.place, "portal", example);
        let target = inherit(&path.target, target.cloned());
        let lun = inherit(&path.lun, lun);
        let portal = portal?;
        self.route(path, &portal);
        let broken = path.nic.is_broken() || path.source.is_broken();
        (!broken).then_some(())?;
        Some(Path {
            portal,
            nic: path.nic.value().cloned(),
            source: path.source.value().copied(),
            weight: value_or(&path.weight, defaults::WEIGHT),
            tier: value_or(&path.tier, defaults::TIER),
            target: target?,
            lun: lun?,
            session: 1,
            isid: [0; 6],
        })
    }

    /// Whether portal, nic and source can go together.
    fn route(&mut self, path: &file::Path, portal: &Portal) {
        let nic = path.nic.given();
        if let (Some(source), Some(ip)) = (path.source.given(), portal.ip())
            && source.value.is_ipv4() != ip.is_ipv4()
        {
            let problem = Problem::FamilyMismatch {
                source_address: source.value.to_string(),
                portal: portal.to_string(),
            };
            self.report.add(&source.place, problem);
        }
        match (portal.scope(), nic) {
            (Some(scope), Some(nic)) if scope != nic.value && scope.parse::<u32>().is_err() => {
                let problem = Problem::ScopeMismatch {
                    scope: scope.to_owned(),
                    nic: nic.value.clone(),
                };
                self.report.add(&nic.place, problem);
            }
            (None, None) if portal.is_link_local() && path.nic.is_absent() => {
                let place = path.portal.given().map(|given| given.place.clone());
                let place = place.unwrap_or_default();
                self.report.add(&place, Problem::ScopeMissing);
            }
            _ => {}
        }
    }
}

const TARGET: (&str, &str) = ("target", "target = \"iqn.2003-01.com.example:array1\"");
const LUN: (&str, &str) = ("lun", "lun = 1");

/// A path's own value, or the volume's. A broken one is nobody's.
fn inherit<T: Clone>(own: &Field<T>, volume: Option<T>) -> Option<T> {
    match own {
        Field::Given(given) => Some(given.value.clone()),
        Field::Absent => volume,
        Field::Broken => None,
    }
}
