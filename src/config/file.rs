//! The file's mirror: what is written, with its places, and nothing merged or compared.
//!
//! A key's limits stand here, where it is read; its default stands in [`super::defaults`]. To add a
//! key: a field here and its line in `read`, a field of the checked type and its line in the check.

mod tuning;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use super::error::{Place, Problem};
use super::reader::{Field, Given, Item, Report, Section};
use super::{ChapAlgorithm, Listen, Portal, names, values};
use crate::ids::Lun;

pub(super) use tuning::{Detect, Fences, Iscsi, Tuning};

/// Names of the CHAP algorithms.
const ALGORITHMS: [(&str, ChapAlgorithm); 4] = [
    ("sha3-256", ChapAlgorithm::Sha3_256),
    ("sha256", ChapAlgorithm::Sha256),
    ("sha1", ChapAlgorithm::Sha1),
    ("md5", ChapAlgorithm::Md5),
];

/// Everything. A section whose very form is wrong is `None`, and was reported.
#[derive(Debug)]
pub(super) struct File {
    pub(super) daemon: Option<Daemon>,
    pub(super) defaults: Tuning,
    pub(super) profiles: BTreeMap<String, Option<Tuning>>,
    pub(super) auths: BTreeMap<String, Option<Auth>>,
    pub(super) volumes: Option<Vec<Volume>>,
}

impl File {
    pub(super) fn read(mut root: Section<'_>, report: &mut Report<'_>) -> Self {
        let daemon = match root.item("daemon", report) {
            None => Some(Daemon::default()),
            Some(item) => item
                .section(report)
                .map(|section| Daemon::read(section, report)),
        };
        let defaults = root.section("defaults", report);
        let defaults = defaults.map(|section| Tuning::read_alone(section, report));
        let file = Self {
            daemon,
            defaults: defaults.unwrap_or_default(),
            profiles: read_named(&mut root, "profile", report, Tuning::read_alone),
            auths: read_named(&mut root, "auth", report, Auth::read),
            volumes: Self::read_volumes(&mut root, report),
        };
        root.finish(report);
        file
    }

    fn read_volumes(root: &mut Section<'_>, report: &mut Report<'_>) -> Option<Vec<Volume>> {
        let Some(item) = root.item("volume", report) else {
            return Some(Vec::new());
        };
        if item.is_table() {
            let _reported: Field<()> = item.broken(report, Problem::VolumeNotListed);
            return None;
        }
        let items = item.list(report)?.into_iter();
        Some(
            items
                .filter_map(|item| Volume::read(item, report))
                .collect(),
        )
    }
}

/// `[KIND.NAME]` sections.
fn read_named<T>(
    root: &mut Section<'_>,
    kind: &'static str,
    report: &mut Report<'_>,
    read: fn(Section<'_>, &mut Report<'_>) -> T,
) -> BTreeMap<String, Option<T>> {
    let Some(section) = root.section(kind, report) else {
        return BTreeMap::new();
    };
    let items = section.named_items(report).into_iter();
    items
        .map(|(name, item)| {
            (
                name,
                item.section(report).map(|section| read(section, report)),
            )
        })
        .collect()
}

/// `[daemon]`
#[derive(Debug, Default)]
pub(super) struct Daemon {
    pub(super) place: Place,
    pub(super) initiator_name: Field<String>,
    pub(super) initiator_name_file: Field<String>,
    pub(super) state_dir: Field<PathBuf>,
    pub(super) control_socket: Field<PathBuf>,
    pub(super) control_group: Field<String>,
}

impl Daemon {
    fn read(mut section: Section<'_>, report: &mut Report<'_>) -> Self {
        let mut control = section.section("control", report);
        let mut daemon = Self {
            place: section.place.clone(),
            initiator_name: section.parsed("initiator_name", report, names::iscsi_name),
            initiator_name_file: section.text("initiator_name_file", report),
            state_dir: section.parsed("state_dir", report, values::absolute_path),
            ..Self::default()
        };
        if let Some(control) = &mut control {
            daemon.control_socket = control.parsed("socket", report, values::socket_path);
            daemon.control_group = control.parsed("group", report, names::group);
        }
        control
            .into_iter()
            .for_each(|control| control.finish(report));
        section.finish(report);
        daemon
    }
}

/// `[auth.NAME]`
#[derive(Debug)]
pub(super) struct Auth {
    pub(super) place: Place,
    pub(super) username: Field<String>,
    pub(super) secret_file: Field<String>,
    pub(super) target_username: Field<String>,
    pub(super) target_secret_file: Field<String>,
    pub(super) algorithms: Field<Vec<ChapAlgorithm>>,
    pub(super) allow_none: Field<bool>,
}

impl Auth {
    fn read(mut section: Section<'_>, report: &mut Report<'_>) -> Self {
        let auth = Self {
            place: section.place.clone(),
            username: section.parsed("username", report, names::chap_username),
            secret_file: section.text("secret_file", report),
            target_username: section.parsed("target_username", report, names::chap_username),
            target_secret_file: section.text("target_secret_file", report),
            algorithms: read_list(
                &mut section,
                "algorithms",
                report,
                values::choice(&ALGORITHMS),
            ),
            allow_none: section.flag("allow_none", report),
        };
        section.finish(report);
        auth
    }
}

/// A list of distinct words, not empty.
fn read_list<T: Clone + PartialEq>(
    section: &mut Section<'_>,
    name: &'static str,
    report: &mut Report<'_>,
    parse: impl Fn(&str) -> Result<T, Problem>,
) -> Field<Vec<T>> {
    let Some(item) = section.item(name, report) else {
        return Field::Absent;
    };
    let Some(elements) = item.list(report) else {
        return Field::Broken;
    };
    if elements.is_empty() {
        return item.broken(
            report,
            Problem::EmptyList("name one at least, or remove the key"),
        );
    }
    let mut values: Vec<T> = Vec::with_capacity(elements.len());
    let mut sound = true;
    for element in elements {
        let place = element.place.clone();
        let mut text = String::new();
        let parsed = element.parsed(report, |word| {
            text = word.to_owned();
            parse(word)
        });
        match parsed {
            Field::Given(given) if values.contains(&given.value) => {
                sound = false;
                report.add(&place, Problem::ListedTwice(text));
            }
            Field::Given(given) => values.push(given.value),
            Field::Absent | Field::Broken => sound = false,
        }
    }
    if sound {
        item.given(values)
    } else {
        Field::Broken
    }
}

/// `[[volume]]`
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) place: Place,
    pub(super) name: Field<String>,
    pub(super) target: Field<String>,
    pub(super) lun: Field<Lun>,
    pub(super) auth: Field<String>,
    pub(super) profile: Field<String>,
    pub(super) wwid: Field<String>,
    pub(super) reservation_key: Field<u64>,
    pub(super) nbd: Field<Vec<Given<Listen>>>,
    pub(super) read_only: Field<bool>,
    pub(super) paths: Field<Vec<Path>>,
    pub(super) tuning: Tuning,
}

impl Volume {
    fn read(item: Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let mut section = item.section(report)?;
        let name = section.parsed("name", report, names::volume_name);
        if let Some(name) = name.value() {
            section.place.key = format!("volume.{name}");
        }
        let (nbd, read_only) = read_export(&mut section, report);
        let volume = Self {
            place: section.place.clone(),
            name,
            target: section.parsed("target", report, names::iscsi_name),
            lun: section.integer("lun", report, lun),
            auth: section.text("auth", report),
            profile: section.text("profile", report),
            wwid: section.parsed("wwid", report, names::wwid),
            reservation_key: section.parsed("reservation_key", report, values::reservation_key),
            nbd,
            read_only,
            paths: read_paths(&mut section, report),
            tuning: Tuning::read(&mut section, report),
        };
        section.finish(report);
        Some(volume)
    }
}

fn lun(value: u64) -> Result<Lun, Problem> {
    Lun::from_config(value).ok_or_else(|| Problem::BadLun(value.to_string()))
}

fn read_export(
    volume: &mut Section<'_>,
    report: &mut Report<'_>,
) -> (Field<Vec<Given<Listen>>>, Field<bool>) {
    let Some(item) = volume.item("export", report) else {
        return (Field::Absent, Field::Absent);
    };
    let Some(mut section) = item.section(report) else {
        return (Field::Broken, Field::Broken);
    };
    let nbd = match section.item("nbd", report) {
        None => {
            let missing = Problem::Missing("nbd = \"unix:/run/iiblockdaemon/db.sock\"");
            report.add(&section.place_of("nbd"), missing);
            Field::Broken
        }
        Some(item) => read_listen(item, report),
    };
    let read_only = section.flag("read_only", report);
    section.finish(report);
    (nbd, read_only)
}

/// One place or a list of places.
fn read_listen(item: Item<'_>, report: &mut Report<'_>) -> Field<Vec<Given<Listen>>> {
    let elements = if item.is_list() {
        item.list(report).unwrap_or_default()
    } else {
        vec![item.clone()]
    };
    if elements.is_empty() {
        return item.broken(report, Problem::EmptyList("name one place at least"));
    }
    let count = elements.len();
    let read = elements
        .into_iter()
        .map(|element| element.parsed(report, values::listen));
    let sound: Vec<_> = read.filter_map(Field::into_given).collect();
    if sound.len() == count {
        item.given(sound)
    } else {
        Field::Broken
    }
}

/// One element of `paths`.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) place: Place,
    pub(super) portal: Field<Portal>,
    pub(super) nic: Field<String>,
    pub(super) source: Field<IpAddr>,
    pub(super) weight: Field<u8>,
    pub(super) tier: Field<u8>,
    pub(super) target: Field<String>,
    pub(super) lun: Field<Lun>,
}

impl Path {
    fn read(mut section: Section<'_>, report: &mut Report<'_>) -> Self {
        let path = Self {
            place: section.place.clone(),
            portal: section.parsed("portal", report, names::portal),
            nic: section.parsed("nic", report, names::nic),
            source: section.parsed("source", report, |text| {
                text.parse()
                    .map_err(|_| Problem::BadSource(text.to_owned()))
            }),
            weight: section.integer("weight", report, values::number_in(1, u8::MAX)),
            tier: section.integer("tier", report, values::number_in(0, u8::MAX)),
            target: section.parsed("target", report, names::iscsi_name),
            lun: section.integer("lun", report, lun),
        };
        section.finish(report);
        path
    }
}

fn read_paths(volume: &mut Section<'_>, report: &mut Report<'_>) -> Field<Vec<Path>> {
    let Some(item) = volume.item("paths", report) else {
        return Field::Absent;
    };
    let Some(mut elements) = item.list(report) else {
        return Field::Broken;
    };
    if elements.is_empty() {
        return item.broken(report, Problem::EmptyList("name one path at least"));
    }
    let count = elements.len();
    let mut paths = Vec::with_capacity(count);
    for (index, element) in elements.iter_mut().enumerate() {
        element.place.key = format!("{}.paths[{index}]", volume.place.key);
        if let Some(section) = element.clone().section(report) {
            paths.push(Path::read(section, report));
        }
    }
    if paths.len() == count {
        item.given(paths)
    } else {
        Field::Broken
    }
}
