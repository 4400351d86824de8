//! What holds, and where each value comes from: `iibadm config show`.
//!
//! The text is a configuration file itself: profiles and defaults are merged into the volumes, and
//! whoever reads it back gets the same [`Config`]. Every value has its origin as a comment. Secrets are
//! named by their files.
//!
//! To add a key: a line where its section is listed. The lists take the checked types and the mirror
//! apart field by field, so that a key which is forgotten here does not compile.

mod values;

use std::fmt::Write as _;
use std::path::Path as FilePath;

use super::error::Place;
use super::file::{self, Detect, Iscsi, Tuning};
use super::reader::Field;
use super::values::{show_duration, show_size};
use super::{Auth, Config, Control, Daemon, Export, Path, Volume, check, defaults};
use super::{ConfigErrors, Fence, Files};
use values::{
    algorithm, alua, digest, fences, list, listens, lun, no_path, policy, resize, same_unit, text,
    toml,
};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody wrote it.
    BuiltIn,
    /// The place where it is written: in the section itself, in its profile, or in `[defaults]`.
    Written(Place),
}

/// A value that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key, relative to its section: `detect.network`.
    pub key: String,
    /// As the file would have it.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// A section with all that holds in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// `[daemon]`, `[[volume]]`, `[auth.NAME]`.
    pub heading: String,
    /// In the order of the documentation.
    pub settings: Vec<Setting>,
    /// The paths of a volume, a line each: what is written of it, and that with what is built in.
    paths: Vec<(String, String, Place)>,
}

/// Everything that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The same, typed.
    pub config: Config,
    /// The sections.
    pub sections: Vec<Shown>,
}

impl Effective {
    /// Checks the text of a file as [`Config::parse`] does, and keeps where each value comes from.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str, file: &FilePath, files: &dyn Files) -> Result<Self, ConfigErrors> {
        check::explain(text, file, files)
    }

    /// As a file with comments; with the built-in values if `all`.
    #[must_use]
    pub fn text(&self, file: &FilePath, all: bool) -> String {
        let mut out = String::new();
        for section in &self.sections {
            let between = if out.is_empty() { "" } else { "\n" };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{between}{}", section.heading);
            section.write(&mut out, file, all);
        }
        out
    }
}

impl Effective {
    /// `[daemon]`.
    pub(super) fn daemon(&self) -> &Shown {
        &self.sections[0]
    }

    pub(super) fn daemon_mut(&mut self) -> &mut Shown {
        &mut self.sections[0]
    }

    /// A volume's place among the sections: they come last, in the order of the file.
    fn place(&self, volume: usize) -> usize {
        self.sections.len() - self.config.volumes.len() + volume
    }

    pub(super) fn shown(&self, volume: usize) -> &Shown {
        &self.sections[self.place(volume)]
    }

    pub(super) fn shown_mut(&mut self, volume: usize) -> &mut Shown {
        let place = self.place(volume);
        &mut self.sections[place]
    }

    /// A volume as it was before: what was wanted of it could not be had.
    pub fn put_back(&mut self, before: &Self, volume: &str) {
        let mut volumes = self.config.volumes.iter();
        let index = volumes.position(|known| known.name == volume);
        if let Some((index, (config, shown))) = index.zip(before.volume(volume)) {
            self.config.volumes[index] = config.clone();
            *self.shown_mut(index) = shown.clone();
        }
    }

    pub(super) fn volume(&self, name: &str) -> Option<(&Volume, &Shown)> {
        let mut volumes = self.config.volumes.iter();
        let index = volumes.position(|volume| volume.name == name)?;
        Some((&self.config.volumes[index], self.shown(index)))
    }
}

impl Shown {
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.settings.iter().map(|setting| setting.key.as_str())
    }

    fn setting(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.setting(key).map(|setting| setting.value.as_str())
    }

    /// Has of these keys what `before` has.
    pub(super) fn put_back(&mut self, before: &Self, keys: &[&str]) {
        let named = |setting: &Setting| keys.contains(&setting.key.as_str());
        self.settings.retain(|setting| !named(setting));
        let before = before.settings.iter().filter(|setting| named(setting));
        self.settings.extend(before.cloned());
    }

    fn write(&self, out: &mut String, file: &FilePath, all: bool) {
        let shown = |setting: &&Setting| all || setting.origin != Origin::BuiltIn;
        let lines: Vec<(String, String)> = self
            .settings
            .iter()
            .filter(shown)
            .map(|setting| {
                let line = format!("{} = {}", setting.key, setting.value);
                (line, origin(&setting.origin, file))
            })
            .collect();
        columns(out, &lines);
        if self.paths.is_empty() {
            return;
        }
        out.push_str("paths = [\n");
        let lines: Vec<(String, String)> = self
            .paths
            .iter()
            .map(|(written, whole, place)| {
                let path = if all { whole } else { written };
                let origin = origin(&Origin::Written(place.clone()), file);
                (format!("  {path},"), origin)
            })
            .collect();
        columns(out, &lines);
        out.push_str("]\n");
    }
}

/// Lines with their comments in one column.
fn columns(out: &mut String, lines: &[(String, String)]) {
    /// A longer line does not push the others' comments away.
    const WIDEST: usize = 80;
    let widths = lines.iter().map(|(line, _)| line.chars().count());
    let width = widths.filter(|width| *width <= WIDEST).max().unwrap_or(0);
    for (line, comment) in lines {
        let _ = writeln!(out, "{line:width$}  # {comment}");
    }
}

fn origin(origin: &Origin, file: &FilePath) -> String {
    let Origin::Written(place) = origin else {
        return "built-in".to_owned();
    };
    let line = place.line.unwrap_or_default();
    let written = format!("{}:{line}", file.display());
    let mut names = place.key.split('.');
    match (names.next(), names.next()) {
        (Some("defaults"), _) => format!("{written} in [defaults]"),
        (Some("profile"), Some(name)) => format!("{written} in [profile.{name}]"),
        _ => written,
    }
}

/// Settings in the making.
#[derive(Default)]
struct Lines(Vec<Setting>);

impl Lines {
    /// A key that always has a value.
    fn key<T>(&mut self, key: &str, field: &Field<T>, value: String) {
        let place = field.place().cloned();
        self.0.push(Setting {
            key: key.to_owned(),
            value,
            origin: place.map_or(Origin::BuiltIn, Origin::Written),
        });
    }

    /// A key that may be absent.
    fn given<T>(&mut self, key: &str, field: &Field<T>, show: impl FnOnce(&T) -> String) {
        if let Some(value) = field.value() {
            let value = show(value);
            self.key(key, field, value);
        }
    }

    fn section(self, heading: String) -> Shown {
        Shown {
            heading,
            settings: self.0,
            paths: Vec::new(),
        }
    }
}

pub(super) fn daemon(daemon: &Daemon, mirror: &file::Daemon) -> Shown {
    let Daemon {
        initiator_name,
        state_dir,
        control: Control { socket, group },
    } = daemon;
    let mut lines = Lines::default();
    let name = &mirror.initiator_name.over(&mirror.initiator_name_file);
    lines.key("initiator_name", name, text(initiator_name));
    lines.key("state_dir", &mirror.state_dir, toml(state_dir.display()));
    let field = &mirror.control_socket;
    lines.key("control.socket", field, toml(socket.display()));
    if let Some(group) = group {
        lines.key("control.group", &mirror.control_group, text(group));
    }
    lines.section("[daemon]".to_owned())
}

pub(super) fn auth(auth: &Auth, mirror: &file::Auth) -> Shown {
    // The secrets stay where they are; of the other half only the names of files are shown.
    let Auth {
        name,
        username,
        secret: _,
        algorithms,
        target: _,
        allow_none,
    } = auth;
    let mut lines = Lines::default();
    lines.key("username", &mirror.username, text(username));
    // What is no file's name, a secret pasted there for instance, was refused by the check.
    lines.given("secret_file", &mirror.secret_file, |file| text(file));
    lines.given("target_username", &mirror.target_username, |name| {
        text(name)
    });
    lines.given("target_secret_file", &mirror.target_secret_file, |file| {
        text(file)
    });
    let algorithms = list(algorithms.iter().map(|one| algorithm(*one)));
    lines.key("algorithms", &mirror.algorithms, algorithms);
    lines.key("allow_none", &mirror.allow_none, allow_none.to_string());
    lines.section(format!("[auth.{}]", values::name(name)))
}

/// `tuning` is what was merged from volume, profile and defaults.
pub(super) fn volume(volume: &Volume, mirror: &file::Volume, tuning: &Tuning) -> Shown {
    let Volume {
        name,
        paths,
        auth,
        export: Export { nbd, read_only },
        wwid,
        reservation_key,
        shared,
        policy: spec,
        no_path: until,
        fence,
        detect,
        iscsi,
        stop_timeout,
        alua: followed,
        resize: grown,
        same_unit: compared,
    } = volume;
    let mut lines = Lines::default();
    lines.key("name", &mirror.name, text(name));
    lines.given("target", &mirror.target, |name| text(name));
    lines.given("lun", &mirror.lun, |number| lun(*number));
    if let Some(auth) = auth {
        lines.key("auth", &mirror.auth, text(&auth.name));
    }
    lines.unit(wwid.as_deref(), *reservation_key, mirror);
    lines.key("export.nbd", &mirror.nbd, listens(nbd));
    lines.key("export.read_only", &mirror.read_only, read_only.to_string());
    let Tuning {
        shared: shared_field,
        policy: policy_field,
        no_path: no_path_field,
        fence: fence_field,
        quiesce,
        stop_timeout: stop_field,
        alua: alua_field,
        resize: resize_field,
        same_unit: same_unit_field,
        sessions,
        detect: detect_fields,
        iscsi: iscsi_fields,
    } = tuning;
    lines.key("shared", shared_field, shared.to_string());
    lines.key("policy", policy_field, policy(*spec));
    lines.key("no_path", no_path_field, no_path(*until));
    lines.fence(*fence, fence_field, quiesce);
    let time = toml(show_duration(*stop_timeout));
    lines.key("stop_timeout", stop_field, time);
    lines.key("alua", alua_field, alua(*followed));
    lines.key("resize", resize_field, resize(*grown));
    lines.key("same_unit", same_unit_field, same_unit(*compared));
    let per_route = paths.iter().map(|path| path.session).max();
    let per_route = per_route.unwrap_or(defaults::SESSIONS);
    lines.key("sessions", sessions, per_route.to_string());
    lines.detect(detect, detect_fields);
    lines.iscsi(iscsi, iscsi_fields);
    let heading = match mirror.profile.value() {
        Some(profile) => format!("[[volume]]  # with [profile.{profile}]"),
        None => "[[volume]]".to_owned(),
    };
    let mut shown = lines.section(heading);
    let mirrors = mirror.paths.value().into_iter().flatten();
    let routes = paths.iter().filter(|path| path.session == 1);
    let routes = mirrors.zip(routes);
    shown.paths = routes.map(|(mirror, known)| path(known, mirror)).collect();
    shown
}

impl Lines {
    fn unit(&mut self, wwid: Option<&str>, key: Option<u64>, mirror: &file::Volume) {
        if let Some(wwid) = wwid {
            self.key("wwid", &mirror.wwid, text(wwid));
        }
        if let Some(key) = key {
            let value = text(&format!("{key:#018x}"));
            self.key("reservation_key", &mirror.reservation_key, value);
        }
    }

    fn fence<T, U>(&mut self, fence: Fence, field: &Field<T>, quiesce: &Field<U>) {
        let Fence {
            reinstate: _,
            preempt_abort: _,
            lun_reset: _,
            quiesce: time,
        } = fence;
        self.key("fence", field, fences(fence));
        if let Some(time) = time {
            self.key("quiesce", quiesce, toml(show_duration(time)));
        }
    }

    fn detect(&mut self, detect: &super::Detect, fields: &Detect) {
        let super::Detect {
            network,
            target,
            command,
        } = detect;
        let mut time = |key: &str, field, value| {
            self.key(key, field, toml(show_duration(value)));
        };
        time("detect.network", &fields.network, *network);
        time("detect.target", &fields.target, *target);
        time("detect.command", &fields.command, *command);
    }

    fn iscsi(&mut self, iscsi: &super::Iscsi, fields: &Iscsi) {
        let super::Iscsi {
            header_digest,
            data_digest,
            max_recv_data_segment_length: segment,
            first_burst_length,
            max_burst_length,
            immediate_data,
            initial_r2t,
            max_outstanding_r2t,
            queue_depth,
        } = iscsi;
        let size = |bytes: u32| toml(show_size(bytes));
        let f = fields;
        self.key(
            "iscsi.header_digest",
            &f.header_digest,
            digest(*header_digest),
        );
        self.key("iscsi.data_digest", &f.data_digest, digest(*data_digest));
        let field = &f.max_recv_data_segment_length;
        self.key("iscsi.max_recv_data_segment_length", field, size(*segment));
        let field = &f.first_burst_length;
        self.key("iscsi.first_burst_length", field, size(*first_burst_length));
        let field = &f.max_burst_length;
        self.key("iscsi.max_burst_length", field, size(*max_burst_length));
        let field = &f.immediate_data;
        self.key("iscsi.immediate_data", field, immediate_data.to_string());
        self.key("iscsi.initial_r2t", &f.initial_r2t, initial_r2t.to_string());
        let field = &f.max_outstanding_r2t;
        self.key(
            "iscsi.max_outstanding_r2t",
            field,
            max_outstanding_r2t.to_string(),
        );
        self.key("iscsi.queue_depth", &f.queue_depth, queue_depth.to_string());
    }
}

/// An element of `paths`: as it is written, with what is built in, and where it stands.
fn path(path: &Path, mirror: &file::Path) -> (String, String, Place) {
    let Path {
        portal,
        nic,
        source,
        weight,
        tier,
        target,
        lun: unit,
        session: _,
        isid: _,
    } = path;
    let mut parts = vec![format!("portal = {}", toml(portal))];
    parts.extend(nic.iter().map(|nic| format!("nic = {}", text(nic))));
    let source = source.iter();
    parts.extend(source.map(|source| format!("source = {}", toml(source))));
    if !mirror.target.is_absent() {
        parts.push(format!("target = {}", text(target)));
    }
    if !mirror.lun.is_absent() {
        parts.push(format!("lun = {}", lun(*unit)));
    }
    let table = |parts: &[String]| format!("{{ {} }}", parts.join(", "));
    let mut written = parts.clone();
    let ranks = [
        ("weight", *weight, defaults::WEIGHT, &mirror.weight),
        ("tier", *tier, defaults::TIER, &mirror.tier),
    ];
    for (key, value, built_in, field) in ranks {
        let part = format!("{key} = {value}");
        if value != built_in || !field.is_absent() {
            written.push(part.clone());
        }
        parts.push(part);
    }
    (table(&written), table(&parts), mirror.place.clone())
}

#[cfg(test)]
mod tests;
