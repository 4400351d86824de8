//! `iibadm reservation`: persistent reservations of a volume's LUN.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use iiblockdaemon::config::defaults;
use iiblockdaemon::control::render;
use iiblockdaemon::control::reservation::ReservationDeed;
use iiblockdaemon::shell::control_client;

const TYPES: [&str; 6] = [
    "write-exclusive",
    "exclusive-access",
    "write-exclusive-registrants-only",
    "exclusive-access-registrants-only",
    "write-exclusive-all-registrants",
    "exclusive-access-all-registrants",
];

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The volume.
    volume: String,
    #[command(subcommand)]
    action: Action,
    /// Print the state after it as JSON.
    #[arg(long, global = true)]
    json: bool,
    /// The daemon's control socket.
    #[arg(long, global = true, value_name = "PATH", default_value = defaults::CONTROL_SOCKET)]
    socket: PathBuf,
}

/// Keys are `0x` and up to 16 hexadecimal digits.
#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Show our key, the reservation, all registered keys, and what each path is registered with.
    Show,
    /// Register a key over every path that is up, or over none; the others before they are used again.
    Register {
        /// The key.
        key: String,
    },
    /// Remove our registrations; the reservation goes with its holder's.
    Unregister,
    /// Reserve the LUN.
    Reserve {
        /// The type; those for one nexus alone only where the volume has one path.
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(TYPES))]
        kind: String,
    },
    /// Release our reservation, even if the path that held it is gone.
    Release,
    /// Remove another host's registrations, and take over its reservation.
    Preempt {
        /// The other host's key.
        key: String,
        /// Abort its commands as well (PREEMPT AND ABORT).
        #[arg(long)]
        abort: bool,
    },
    /// Remove everybody's registrations, and the reservation.
    Clear,
}

impl From<Action> for ReservationDeed {
    fn from(action: Action) -> Self {
        match action {
            Action::Show => Self::Show,
            Action::Register { key } => Self::Register { key },
            Action::Unregister => Self::Unregister,
            Action::Reserve { kind } => Self::Reserve { kind },
            Action::Release => Self::Release,
            Action::Preempt { key, abort } => Self::Preempt { key, abort },
            Action::Clear => Self::Clear,
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let deed = arguments.action.clone().into();
    let report = control_client::reservation(&arguments.socket, &arguments.volume, deed)?;
    super::print(&if arguments.json {
        render::json(&report)
    } else {
        report.text()
    })?;
    Ok(ExitCode::SUCCESS)
}
