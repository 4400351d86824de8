//! The daemon.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use iiblockdaemon::config::show::Effective;
use iiblockdaemon::shell::config_file;
use iiblockdaemon::shell::daemon::Daemon;
use iiblockdaemon::shell::log::LogQueue;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Userspace, multipath-aware, high-availability iSCSI initiator: exports each LUN as one NBD device.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/iiblockdaemon/multipath.toml"
    )]
    config: PathBuf,
    /// What is logged: error, warn, info, debug, trace, or `module=level` directives.
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "info",
        env = "IIBLOCKDAEMON_LOG"
    )]
    log: String,
    /// Check the configuration and exit.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = match EnvFilter::builder().parse(&arguments.log) {
        Ok(filter) => filter,
        Err(error) => {
            say(&format!("--log {}: {error}", arguments.log));
            return ExitCode::from(2);
        }
    };
    let log = match LogQueue::start(std::io::stderr()) {
        Ok(log) => log,
        Err(error) => {
            say(&format!("no thread for the log: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let lines = log.clone();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || lines.clone())
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    log.tell_panics();
    let code = serve(&arguments, log.clone());
    log.flush();
    code
}

fn serve(arguments: &Arguments, mut log: LogQueue) -> ExitCode {
    let effective = match config_file::explain(&arguments.config) {
        Ok(effective) => effective,
        Err(errors) => {
            say(&errors.to_string());
            return ExitCode::from(2);
        }
    };
    if arguments.check {
        return ExitCode::SUCCESS;
    }
    match run(effective, arguments.config.clone()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            // After the lines of the log that led to it.
            let _unheard = log.write_all(format!("{error:#}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    // Nobody is left to tell if this fails.
    let _unheard = writeln!(std::io::stderr(), "{text}");
}

/// Runs until SIGTERM or SIGINT, and takes a changed configuration over at SIGHUP; whether everything
/// stopped cleanly.
fn run(effective: Effective, file: PathBuf) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let mut hangup = signal(SignalKind::hangup())?;
        let daemon = Daemon::start(effective, Some(file))?;
        loop {
            tokio::select! {
                biased;
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => daemon.reload_in_background(),
            }
        }
        tracing::info!("stopping: answering, flushing and logging out");
        Ok(daemon.stop().await)
    })
}
