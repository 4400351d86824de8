//! The subcommands of the program.

use std::fmt::Display;
use std::io::{self, Write};

use tokio::signal::unix::{SignalKind, signal};

pub(crate) mod compare;
pub(crate) mod demo;
pub(crate) mod fault;
pub(crate) mod folder;
pub(crate) mod proxy;
pub(crate) mod run;
pub(crate) mod swarm;
pub(crate) mod target;

/// A line for the user. `println!` would panic when nobody reads any more.
pub(crate) fn say(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Ends with Ctrl-C or SIGTERM, for what has to tidy up after itself then.
pub(crate) async fn asked_to_end() -> io::Result<()> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::select! { biased;
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
