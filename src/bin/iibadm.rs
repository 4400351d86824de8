//! The administrator's tool.
//!
//! Exit codes, for scripts and monitoring:
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | done; for `status`: every volume is served over all its paths |
//! | 1 | not done: mistakes in the configuration, no answer from daemon or portal; `reload`: nothing was changed, or not all; `discover`: a target did not show its LUNs; `bench`: it ended early |
//! | 2 | the command line is wrong |
//! | 3 | `status`: every volume is served or about to be, some not over all their paths |
//! | 4 | `status`: a volume has no usable path |

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use iiblockdaemon::config::{Config, defaults, secret_file};
use iiblockdaemon::control::{StatusReport, VolumeState, render};
use iiblockdaemon::iscsi::chap::Secret;
use iiblockdaemon::iscsi::name::{IscsiName, PortalAddr};
use iiblockdaemon::iscsi::session::config::{AuthConfig, ChapConfig};
use iiblockdaemon::shell::config_file::SystemFiles;
use iiblockdaemon::shell::dial::Source;
use iiblockdaemon::shell::discover::{self, AskedWith, Asker};
use iiblockdaemon::shell::{config_file, control_client};

#[path = "iibadm/bench.rs"]
mod bench;
#[path = "iibadm/reservation.rs"]
mod reservation;

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
    /// Tell what happened to the paths of a volume, and why.
    Why(WhyArguments),
    /// Use the preferred paths of a volume again now, whatever its `failback` says.
    Failback(FailbackArguments),
    /// Have the running daemon read its configuration file again, and take over what has changed.
    Reload(ReloadArguments),
    /// Persistent reservations of a volume's LUN, over all its paths.
    Reservation(reservation::Arguments),
    /// Ask a portal for its targets and their LUNs.
    Discover(DiscoverArguments),
    /// Measure a volume through its export, or each path alone.
    Bench(bench::Arguments),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Look for mistakes; all of them are shown at once.
    Check {
        /// The configuration file.
        #[arg(value_name = "FILE", default_value = defaults::CONFIG_FILE)]
        file: PathBuf,
    },
    /// Show what holds, and where each value comes from: a configuration file with comments.
    Show {
        /// The configuration file.
        #[arg(value_name = "FILE", default_value = defaults::CONFIG_FILE)]
        file: PathBuf,
        /// With the built-in values of everything that is not written.
        #[arg(long)]
        effective: bool,
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
struct ReloadArguments {
    /// Change nothing; show what would be changed.
    #[arg(long)]
    dry_run: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// The daemon's control socket.
    #[arg(long, value_name = "PATH", default_value = defaults::CONTROL_SOCKET)]
    socket: PathBuf,
}

#[derive(Debug, clap::Args)]
struct WhyArguments {
    /// The volume.
    volume: String,
    /// Only paths with this in their name, a portal for instance.
    path: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// The daemon's control socket.
    #[arg(long, value_name = "PATH", default_value = defaults::CONTROL_SOCKET)]
    socket: PathBuf,
}

#[derive(Debug, clap::Args)]
struct FailbackArguments {
    /// The volume.
    volume: String,
    /// The daemon's control socket.
    #[arg(long, value_name = "PATH", default_value = defaults::CONTROL_SOCKET)]
    socket: PathBuf,
}

#[derive(Debug, clap::Args)]
struct DiscoverArguments {
    /// Address of the portal: 10.0.1.10, 10.0.1.10:3260, [fe80::5%eth3] or a host name.
    portal: PortalAddr,
    /// Our iSCSI name; else that of the configuration, else that of open-iscsi.
    #[arg(long, value_name = "IQN")]
    initiator_name: Option<IscsiName>,
    /// CHAP user name.
    #[arg(long, requires = "secret_file")]
    username: Option<String>,
    /// File with the CHAP secret, private to its owner.
    #[arg(long, value_name = "FILE", requires = "username")]
    secret_file: Option<String>,
    /// Name with which the target proves itself (mutual CHAP).
    #[arg(long, requires_all = ["username", "target_secret_file"])]
    target_username: Option<String>,
    /// File with the target's secret.
    #[arg(long, value_name = "FILE", requires = "target_username")]
    target_secret_file: Option<String>,
    /// Network interface to ask through.
    #[arg(long)]
    nic: Option<String>,
    /// Source address to ask from.
    #[arg(long)]
    source: Option<IpAddr>,
    /// The configuration that our iSCSI name is taken from.
    #[arg(long, value_name = "FILE", default_value = defaults::CONFIG_FILE)]
    config: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Config(ConfigCommand::Check { file }) => check(&file),
        Command::Config(ConfigCommand::Show { file, effective }) => show(&file, effective),
        Command::Status(arguments) => status(&arguments),
        Command::Why(arguments) => why(&arguments),
        Command::Failback(arguments) => failback(&arguments),
        Command::Reload(arguments) => reload(&arguments),
        Command::Reservation(arguments) => reservation::run(&arguments),
        Command::Discover(arguments) => discover(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
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

fn show(file: &Path, all: bool) -> Result<ExitCode> {
    let effective = config_file::explain(file)?;
    print(&effective.text(file, all))?;
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

fn why(arguments: &WhyArguments) -> Result<ExitCode> {
    let mut report = control_client::events(&arguments.socket, &arguments.volume)?;
    if let Some(path) = &arguments.path {
        let known: Vec<String> = report.paths.iter().map(|path| path.name.clone()).collect();
        report = report.only(path);
        if report.paths.is_empty() {
            anyhow::bail!("no path \"{path}\"; there are: {}", known.join(", "));
        }
    }
    print(&if arguments.json {
        render::json(&report)
    } else {
        report.text()
    })?;
    Ok(ExitCode::SUCCESS)
}

fn failback(arguments: &FailbackArguments) -> Result<ExitCode> {
    control_client::fail_back(&arguments.socket, &arguments.volume)?;
    Ok(ExitCode::SUCCESS)
}

fn reload(arguments: &ReloadArguments) -> Result<ExitCode> {
    let report = control_client::reload(&arguments.socket, arguments.dry_run)?;
    print(&if arguments.json {
        render::json(&report)
    } else {
        report.text()
    })?;
    Ok(if report.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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

/// Where open-iscsi keeps its name; used so that an array's access list need not be changed for a first look.
const OPEN_ISCSI_NAME: &str = "/etc/iscsi/initiatorname.iscsi";

fn discover(arguments: &DiscoverArguments) -> Result<ExitCode> {
    let asker = Asker {
        initiator_name: initiator_name(arguments)?,
        auth: auth(arguments)?,
        source: Source {
            nic: arguments.nic.clone(),
            address: arguments.source,
            patience: None,
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let found = runtime.block_on(discover::discover(&asker, &arguments.portal));
    let found = found.map_err(|error| anyhow::anyhow!("{error}{}", discover::advice(&error)))?;
    print(&discover::toml(
        &arguments.portal,
        &asked_with(arguments),
        &found,
    ))?;
    // The rest is printed all the same, with the reason.
    let complete = found.iter().all(|target| target.units.is_ok());
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Files with their whole names: the configuration is read elsewhere.
fn asked_with(arguments: &DiscoverArguments) -> AskedWith {
    let pair = |name: &Option<String>, file: &Option<String>| {
        let file = file.as_ref()?;
        let whole = std::path::absolute(file).unwrap_or_else(|_| file.into());
        Some((name.clone()?, whole.display().to_string()))
    };
    AskedWith {
        credentials: pair(&arguments.username, &arguments.secret_file),
        target_credentials: pair(&arguments.target_username, &arguments.target_secret_file),
        nic: arguments.nic.clone(),
        source: arguments.source.map(|source| source.to_string()),
    }
}

fn initiator_name(arguments: &DiscoverArguments) -> Result<IscsiName> {
    if let Some(name) = &arguments.initiator_name {
        return Ok(name.clone());
    }
    if let Ok(config) = config_file::load(&arguments.config) {
        return Ok(config.daemon.initiator_name.parse()?);
    }
    let text = std::fs::read_to_string(OPEN_ISCSI_NAME).unwrap_or_default();
    let mut lines = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("InitiatorName="));
    let name = lines.next().with_context(|| {
        format!(
            "no initiator name: neither {} nor {OPEN_ISCSI_NAME} has one; give one with --initiator-name",
            arguments.config.display()
        )
    })?;
    Ok(name.trim().parse()?)
}

fn auth(arguments: &DiscoverArguments) -> Result<AuthConfig> {
    let secret = |option: &str, file: &String| -> Result<Secret> {
        let text = secret_file(&SystemFiles, file)
            .map_err(|problem| anyhow::anyhow!("{option} {file}: {problem}"))?;
        Ok(Secret::new(text.expose())?)
    };
    let (Some(username), Some(file)) = (&arguments.username, &arguments.secret_file) else {
        return Ok(AuthConfig::None);
    };
    let mut chap = ChapConfig::new(username, secret("--secret-file", file)?)?;
    if let (Some(name), Some(file)) = (&arguments.target_username, &arguments.target_secret_file) {
        chap = chap.mutual(name, secret("--target-secret-file", file)?)?;
    }
    Ok(AuthConfig::Chap(chap))
}
