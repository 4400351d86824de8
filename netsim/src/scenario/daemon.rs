//! The daemon's own keys: `[daemon]` has what may stand in the `[defaults]` of `multipath.toml`, and is
//! checked by the daemon's own code.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use iiblockdaemon::config::{Config, ConfigError, FileContent, Files};

use super::mistake::{Mistake, Problem};

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Place {
    /// The target's name.
    pub target: String,
    /// Address and weight of each path's portal.
    pub portals: Vec<(String, u8)>,
    /// A folder for whatever the daemon needs.
    pub folder: String,
}

/// A key of the volume that stands among those of the defaults here.
const OF_VOLUME: &str = "reservation_key";

/// The file that an administrator would write.
pub(super) fn multipath_toml(keys: &toml::Table, place: &Place) -> String {
    let folder = &place.folder;
    let mut keys = keys.clone();
    // The one key that a volume alone may have.
    let own = keys.remove(OF_VOLUME);
    let own = own.map_or(String::new(), |value| format!("{OF_VOLUME} = {value}\n"));
    let mut defaults = toml::Table::new();
    defaults.insert("defaults".to_owned(), toml::Value::Table(keys));
    let mut text = format!(
        "[daemon]\n\
         initiator_name = \"iqn.2026-11.com.example:netsim\"\n\
         state_dir = \"{folder}/state\"\n\
         control = {{ socket = \"{folder}/control.sock\" }}\n\n\
         {defaults}\n\
         [[volume]]\n\
         name = \"netsim\"\n\
         target = \"{}\"\n\
         lun = 0\n\
         export = {{ nbd = \"unix:{folder}/nbd.sock\" }}\n\
         {own}paths = [\n",
        place.target
    );
    for (portal, weight) in &place.portals {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {{ portal = \"{portal}\", weight = {weight} }},");
    }
    text.push_str("]\n");
    text
}

/// A place for a world without sockets.
pub(super) fn nowhere(weights: impl Iterator<Item = u8>) -> Place {
    let portals = weights
        .enumerate()
        .map(|(path, weight)| (format!("10.0.{path}.1:3260"), weight));
    Place {
        target: "iqn.2026-11.com.example:target".to_owned(),
        portals: portals.collect(),
        folder: "/netsim".to_owned(),
    }
}

/// No file is named.
struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &Path, _: usize) -> Result<FileContent, io::ErrorKind> {
        Err(io::ErrorKind::NotFound)
    }

    fn user(&self) -> u32 {
        0
    }
}

/// The daemon's opinion of its keys. `line` finds the line of a key of the scenario's file.
pub(super) fn check(
    keys: &toml::Table,
    place: &Place,
    line: impl Fn(&str) -> Option<usize>,
) -> Result<Config, Vec<Mistake>> {
    let text = multipath_toml(keys, place);
    let mistake = |error: &ConfigError| {
        let key = &error.place.key;
        // Whatever the defaults do to the volume is written there as well.
        let inside = key
            .strip_prefix("defaults")
            .or_else(|| key.strip_prefix("volume.netsim"))
            .unwrap_or(key);
        let key = format!("daemon{inside}");
        Mistake {
            line: line(&key),
            problem: Problem::Daemon(error.problem.clone()),
            key,
        }
    };
    Config::parse(&text, Path::new("multipath.toml"), &NoFiles)
        .map_err(|errors| errors.errors().iter().map(mistake).collect())
}
