//! From the file's mirror to the checked types: defaults, precedence, contradictions.
//!
//! A part that has a mistake becomes `None` or takes its default and the check goes on, so that
//! everything else is looked at too; at the end there is a configuration only if nothing was reported.

mod cross;
mod tuning;
mod volume;

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::error::{ConfigErrors, Place, Problem};
use super::file::{self, File};
use super::reader::{Field, Report, Section};
use super::secret::{Directory, Files};
use super::show::{self, Effective};
use super::{Auth, Config, Control, Daemon, SecretText, TargetAuth, defaults, names};
use crate::limits::VOLUMES_MAX;

pub(super) fn explain(
    text: &str,
    file: &FilePath,
    files: &dyn Files,
) -> Result<Effective, ConfigErrors> {
    let mut report = Report::new(text);
    let (table, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let place = report.place(error.span().map_or(0, |span| span.start), "");
        let problem = Problem::Syntax {
            column: place.column.unwrap_or(1),
            message: syntax_message(text, error),
        };
        report.add(&place, problem);
    }
    let config = if syntax.is_empty() {
        let mirror = File::read(Section::root(table.get_ref()), &mut report);
        let path = match file.parent() {
            Some(parent) if parent != FilePath::new("") => parent,
            _ => FilePath::new("."),
        };
        Checker {
            directory: Directory { path, files },
            report: &mut report,
        }
        .effective(&mirror)
    } else {
        None
    };
    report.forget_what_typos_explain();
    match config {
        Some(effective) if report.errors.is_empty() => Ok(effective),
        _ => Err(ConfigErrors::new(file, report.errors)),
    }
}

/// What the parser says, and which key it speaks of. Keys are shown elsewhere as well; a value never is.
fn syntax_message(text: &str, error: &toml::de::Error) -> String {
    let message = error.message();
    let key = error.span().and_then(|span| text.get(span));
    match key {
        Some(key) if message == "duplicate key" => {
            format!("{message} \"{key}\"; remove one of the two")
        }
        _ => message.to_owned(),
    }
}

/// The credentials by name; `None` for those with a mistake.
type Auths = BTreeMap<String, Option<Arc<Auth>>>;

struct Checker<'a, 'r, 't> {
    directory: Directory<'a>,
    report: &'r mut Report<'t>,
}

impl Checker<'_, '_, '_> {
    fn effective(&mut self, mirror: &File) -> Option<Effective> {
        let daemon = mirror
            .daemon
            .as_ref()
            .and_then(|daemon| self.daemon(daemon));
        let auths: Auths = mirror
            .auths
            .iter()
            .map(|(name, auth)| {
                let auth = auth.as_ref().and_then(|auth| self.auth(name, auth));
                (name.clone(), auth.map(Arc::new))
            })
            .collect();
        let initiator_name = daemon.as_ref().map(|daemon| daemon.initiator_name.as_str());
        let mut volumes = Vec::new();
        for volume in mirror.volumes.iter().flatten() {
            volumes.push(self.volume(volume, mirror, &auths, initiator_name.unwrap_or_default()));
        }
        if let Some(mirrored) = &mirror.volumes {
            self.count_volumes(mirrored.len());
            let control = daemon
                .as_ref()
                .map(|daemon| daemon.control.socket.as_path());
            cross::check(mirrored, &volumes, control, self.report);
        }
        let (daemon, mirrored) = (daemon?, mirror.daemon.as_ref()?);
        let mut sections = vec![show::daemon(&daemon, mirrored)];
        let auths = auths
            .values()
            .flatten()
            .zip(mirror.auths.values().flatten());
        sections.extend(auths.map(|(auth, mirrored)| show::auth(auth, mirrored)));
        let mut complete = Vec::new();
        for (built, mirrored) in volumes.into_iter().zip(mirror.volumes.iter().flatten()) {
            let volume = built.volume?;
            sections.push(show::volume(&volume, mirrored, &built.tuning));
            complete.push(volume);
        }
        let config = Config {
            daemon,
            volumes: complete,
        };
        Some(Effective { config, sections })
    }

    fn count_volumes(&mut self, found: usize) {
        let place = Place {
            key: "volume".to_owned(),
            ..Place::default()
        };
        if found == 0 {
            self.report.add(&place, Problem::Missing("[[volume]]"));
        } else if found > VOLUMES_MAX {
            let max = VOLUMES_MAX;
            self.report
                .add(&place, Problem::TooManyVolumes { found, max });
        }
    }

    fn daemon(&mut self, daemon: &file::Daemon) -> Option<Daemon> {
        Some(Daemon {
            initiator_name: self.initiator_name(daemon)?,
            state_dir: value_or(&daemon.state_dir, PathBuf::from(defaults::STATE_DIR)),
            control: Control {
                socket: value_or(
                    &daemon.control_socket,
                    PathBuf::from(defaults::CONTROL_SOCKET),
                ),
                group: daemon.control_group.value().cloned(),
            },
        })
    }

    fn initiator_name(&mut self, daemon: &file::Daemon) -> Option<String> {
        match (&daemon.initiator_name, &daemon.initiator_name_file) {
            (Field::Absent, Field::Absent) => {
                let example = "initiator_name = \"iqn.2026-11.com.example:host1\"";
                self.missing(&daemon.place, "initiator_name", example);
                None
            }
            (Field::Absent, Field::Given(file)) => {
                let loaded = self
                    .directory
                    .initiator_name(&file.value)
                    .and_then(|name| names::iscsi_name(&name));
                self.accept(&file.place, loaded)
            }
            (Field::Given(_) | Field::Broken, Field::Given(file)) => {
                self.report
                    .add(&file.place, Problem::GivenTwice("initiator_name"));
                None
            }
            (name, Field::Absent | Field::Broken) => name.value().cloned(),
        }
    }

    fn auth(&mut self, name: &str, auth: &file::Auth) -> Option<Auth> {
        let username = self.required(
            &auth.username,
            &auth.place,
            "username",
            "username = \"db1\"",
        );
        let example = "secret_file = \"/etc/iiblockdaemon/array1.secret\"";
        let file = self.required(&auth.secret_file, &auth.place, "secret_file", example);
        let secret = file.and_then(|_| self.secret(&auth.secret_file));
        let target = self.target_auth(auth, secret.as_ref());
        Some(Auth {
            name: name.to_owned(),
            username: username?,
            secret: secret?,
            algorithms: value_or(&auth.algorithms, defaults::ALGORITHMS.to_vec()),
            target: target?,
            allow_none: value_or(&auth.allow_none, defaults::ALLOW_NONE),
        })
    }

    /// `None`: a mistake. `Some(None)`: no mutual authentication.
    fn target_auth(
        &mut self,
        auth: &file::Auth,
        ours: Option<&SecretText>,
    ) -> Option<Option<TargetAuth>> {
        match (&auth.target_username, &auth.target_secret_file) {
            (Field::Absent, Field::Absent) => return Some(None),
            (Field::Absent, Field::Given(given)) => {
                let place = sibling(&given.place, "target_username");
                let problem = Problem::MutualIncomplete("target_secret_file");
                self.report.add(&place, problem);
            }
            (Field::Given(given), Field::Absent) => {
                let place = sibling(&given.place, "target_secret_file");
                let problem = Problem::MutualIncomplete("target_username");
                self.report.add(&place, problem);
            }
            _ => {}
        }
        let secret = self.secret(&auth.target_secret_file)?;
        if ours == Some(&secret) {
            let given = auth.target_secret_file.given()?;
            self.report.add(&given.place, Problem::EqualSecrets);
            return None;
        }
        Some(Some(TargetAuth {
            username: auth.target_username.value()?.clone(),
            secret,
        }))
    }

    fn secret(&mut self, file: &Field<String>) -> Option<SecretText> {
        let given = file.given()?;
        let loaded = self.directory.secret(&given.value);
        self.accept(&given.place, loaded)
    }

    fn accept<T>(&mut self, place: &Place, result: Result<T, Problem>) -> Option<T> {
        result
            .map_err(|problem| self.report.add(place, problem))
            .ok()
    }

    fn missing(&mut self, section: &Place, name: &str, example: &'static str) {
        let place = child(section, name);
        self.report.add(&place, Problem::Missing(example));
    }

    /// The value of a key that must be there; reported if it is not.
    fn required<T: Clone>(
        &mut self,
        field: &Field<T>,
        section: &Place,
        name: &str,
        example: &'static str,
    ) -> Option<T> {
        if field.is_absent() {
            self.missing(section, name, example);
        }
        field.value().cloned()
    }
}

/// What the file says, or else the default.
fn value_or<T: Clone>(field: &Field<T>, default: T) -> T {
    field.value().cloned().unwrap_or(default)
}

/// The place of a key that is missing in the section at `section`.
fn child(section: &Place, name: &str) -> Place {
    let key = match section.key.as_str() {
        "" => format!("daemon.{name}"),
        key => format!("{key}.{name}"),
    };
    Place {
        key,
        ..section.clone()
    }
}

/// The place of a key that is missing beside the one at `place`.
fn sibling(place: &Place, name: &str) -> Place {
    let section = place
        .key
        .rsplit_once('.')
        .map_or("", |(section, _)| section);
    Place {
        key: format!("{section}.{name}"),
        ..place.clone()
    }
}
