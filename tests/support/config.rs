//! Configurations of the daemon, written as an administrator writes them.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::net::SocketAddrV4;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path as FilePath, PathBuf};

use super::tgt::{Account, Tgtd};

/// A `[[volume]]`.
#[derive(Clone)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) lun: u8,
    pub(crate) paths: Vec<Path>,
    pub(crate) auth: Option<Auth>,
    /// Further lines of the volume's table.
    pub(crate) more: Vec<String>,
}

/// An element of `paths`; target and LUN if they are not the volume's.
#[derive(Clone)]
pub(crate) struct Path {
    pub(crate) portal: SocketAddrV4,
    pub(crate) target: Option<String>,
    pub(crate) lun: Option<u8>,
    pub(crate) nic: Option<String>,
}

/// CHAP.
#[derive(Clone, Copy)]
pub(crate) struct Auth {
    pub(crate) own: Account,
    pub(crate) target: Option<Account>,
}

impl Volume {
    /// A LUN of tgtd over all its portals.
    pub(crate) fn of(tgtd: &Tgtd, lun: u8) -> Self {
        Self::over(tgtd, lun, tgtd.portals())
    }

    /// A LUN of tgtd over given addresses, e.g. those of proxies.
    pub(crate) fn over(tgtd: &Tgtd, lun: u8, portals: &[SocketAddrV4]) -> Self {
        Self {
            name: format!("v{lun}"),
            target: tgtd.target().into(),
            lun,
            paths: portals
                .iter()
                .map(|portal| Path {
                    portal: *portal,
                    target: None,
                    lun: None,
                    nic: None,
                })
                .collect(),
            auth: None,
            more: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, line: &str) -> Self {
        self.more.push(line.into());
        self
    }

    pub(crate) fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Where its NBD clients connect.
    pub(crate) fn socket(&self, folder: &FilePath) -> PathBuf {
        folder.join(format!("{}.sock", self.name))
    }

    fn write(&self, folder: &FilePath, text: &mut String) {
        let Self {
            name, target, lun, ..
        } = self;
        let socket = self.socket(folder);
        let _ = write!(
            text,
            "\n[[volume]]\nname = \"{name}\"\ntarget = \"{target}\"\nlun = {lun}\n\
             export = {{ nbd = \"unix:{}\" }}\n",
            socket.display()
        );
        if self.auth.is_some() {
            let _ = writeln!(text, "auth = \"auth-{name}\"");
        }
        for line in &self.more {
            let _ = writeln!(text, "{line}");
        }
        text.push_str("paths = [\n");
        for Path {
            portal,
            target,
            lun,
            nic,
        } in &self.paths
        {
            let target = target
                .as_ref()
                .map_or(String::new(), |name| format!(", target = \"{name}\""));
            let lun = lun.map_or(String::new(), |lun| format!(", lun = {lun}"));
            let nic = nic
                .as_ref()
                .map_or(String::new(), |name| format!(", nic = \"{name}\""));
            let _ = writeln!(text, "  {{ portal = \"{portal}\"{target}{lun}{nic} }},");
        }
        text.push_str("]\n");
        if let Some(Auth { own, target }) = self.auth {
            let _ = writeln!(text, "\n[auth.auth-{name}]");
            let _ = writeln!(text, "username = \"{}\"", own.user);
            let _ = writeln!(
                text,
                "secret_file = \"{}\"",
                secret(folder, name, own).display()
            );
            if let Some(target) = target {
                let file = secret(folder, &format!("{name}-target"), target);
                let _ = writeln!(text, "target_username = \"{}\"", target.user);
                let _ = writeln!(text, "target_secret_file = \"{}\"", file.display());
            }
        }
    }
}

fn secret(folder: &FilePath, name: &str, account: Account) -> PathBuf {
    let file = folder.join(format!("{name}.secret"));
    fs::write(&file, format!("{}\n", account.secret)).expect("the secret's file");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("its permissions");
    file
}

/// Writes `multipath.toml` into the folder and returns its path.
pub(crate) fn write(folder: &FilePath, volumes: &[Volume]) -> PathBuf {
    let mut text = format!(
        "[daemon]\ninitiator_name = \"iqn.2026-11.test:initiator\"\nstate_dir = \"{0}/state\"\n\
         control = {{ socket = \"{0}/control.sock\" }}\n",
        folder.display()
    );
    for volume in volumes {
        volume.write(folder, &mut text);
    }
    let file = folder.join("multipath.toml");
    fs::write(&file, text).expect("multipath.toml");
    file
}
