//! The program `netsim`: the demonstration, a simulated iSCSI target, a fault proxy, and faults for it.

mod cli;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Simulates iSCSI targets and broken networks, for tests and drills.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a daemon that survives a cut and a black-holed path: target, proxies, daemon and workload in one.
    Demo(cli::demo::Arguments),
    /// Serve a simulated iSCSI target.
    Target(Box<cli::target::Arguments>),
    /// Carry TCP connections from one address to another, over a path that can be broken.
    Proxy(cli::proxy::Arguments),
    /// Break or heal the path of a running proxy.
    Fault(cli::fault::Arguments),
    /// Play scenarios from files and judge them.
    Run(cli::run::Arguments),
    /// Play scenarios in virtual time, one per seed.
    Swarm(cli::swarm::SwarmArguments),
    /// Play the same troubles with every policy, in virtual time, and show what each makes of them.
    ComparePolicies(cli::compare::Arguments),
    /// Play one scenario again and show its timeline.
    Replay(cli::swarm::ReplayArguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Arguments::parse().command;
    // These show their course themselves.
    let level = match command {
        Command::Demo(_) | Command::Run(_) | Command::ComparePolicies(_) => "error",
        Command::Target(_)
        | Command::Proxy(_)
        | Command::Fault(_)
        | Command::Swarm(_)
        | Command::Replay(_) => "info",
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into()))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // It would panic where stderr cannot be written.
        .log_internal_errors(false)
        .init();
    let done = match command {
        Command::Demo(arguments) => cli::demo::run(arguments).await,
        Command::Target(arguments) => cli::target::run(*arguments).await,
        Command::Proxy(arguments) => cli::proxy::run(arguments).await,
        Command::Fault(arguments) => cli::fault::run(arguments).await,
        Command::Run(arguments) => cli::run::run(&arguments).await,
        Command::ComparePolicies(arguments) => cli::compare::run(&arguments),
        Command::Swarm(arguments) => cli::swarm::swarm(&arguments),
        Command::Replay(arguments) => cli::swarm::replay(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads us has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
