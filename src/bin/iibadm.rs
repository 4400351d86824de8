//! The administrator's tool.
//!
//! Exit codes, for scripts and monitoring:
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | done; for `status`: every volume is served over all its paths |
//! | 1 | not done: mistakes in the configuration, no answer from daemon or portal |
//! | 2 | the command line is wrong |
//! | 3 | `status`: every volume is served or about to be, some not over all their paths |
//! | 4 | `status`: a volume has no usable path |

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use iiblockdaemon::config::{Config, defaults};
use iiblockdaemon::control::{StatusReport, VolumeState, render};
use iiblockdaemon::shell::{config_file, control_client};

/// Administers iiblockdaemon, the multipath iSCSI initiator.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, all is well; 1 not done; 2 wrong command line; 3 (status) a volume is not served \
over all its paths; 4 (status) a volume has no usable path.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Work with the configuration file.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show volumes and paths of the running daemon.
    Status(StatusArguments),
    /// Ask a portal for its targets and their LUNs.
    Discover(DiscoverArguments),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Look for mistakes; all of them are shown at once.
    Check {
        /// The configuration file.
        #[arg(value_name = "FILE", default_value = defaults::CONFIG_FILE)]
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct StatusArguments {
    /// Only this volume.
    volume: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// The daemon's control socket.
    #[arg(long, value_name = "PATH", default_value = defaults::CONTROL_SOCKET)]
    socket: PathBuf,
}

#[derive(Debug, clap::Args)]
struct DiscoverArguments {
    /// Address of the portal: 10.0.1.10, 10.0.1.10:3260, [fe80::5%eth3] or a host name.
    portal: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Config(ConfigCommand::Check { file }) => check(&file),
        Command::Status(arguments) => status(&arguments),
        Command::Discover(arguments) => discover(&arguments),
    };
    match done {
        Ok(code) => code,
        // Whoever reads us has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _unheard = writeln!(io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

fn check(file: &Path) -> Result<ExitCode> {
    let config = config_file::load(file)?;
    print(&summary(file, &config))?;
    Ok(ExitCode::SUCCESS)
}

/// What a configuration without mistakes amounts to.
fn summary(file: &Path, config: &Config) -> String {
    let mut text = format!("{}: no mistakes\n", file.display());
    for volume in &config.volumes {
        let exports: Vec<String> = volume.export.nbd.iter().map(ToString::to_string).collect();
        text.push_str(&format!(
            "  {}: {}, {}\n",
            volume.name,
            exports.join(", "),
            volume.policy
        ));
        for path in &volume.paths {
            text.push_str(&format!("    {path}, {} LUN {}\n", path.target, path.lun));
        }
    }
    text
}

fn status(arguments: &StatusArguments) -> Result<ExitCode> {
    let report = control_client::status(&arguments.socket, arguments.volume.as_deref())?;
    let text = if arguments.json {
        render::json(&report)
    } else {
        render::text(&report)
    };
    print(&text)?;
    Ok(health(&report))
}

fn health(report: &StatusReport) -> ExitCode {
    match report.worst() {
        None | Some(VolumeState::Serving) => ExitCode::SUCCESS,
        Some(VolumeState::Degraded | VolumeState::Starting | VolumeState::Stopping) => {
            ExitCode::from(3)
        }
        Some(VolumeState::NoPath | VolumeState::Failing) => ExitCode::from(4),
    }
}

fn discover(arguments: &DiscoverArguments) -> Result<ExitCode> {
    anyhow::bail!(
        "{}: discovery is not part of this build yet",
        arguments.portal
    )
}
