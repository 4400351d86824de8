//! `netsim proxy`: the faults that a userspace proxy can make.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::{Running, success};
use super::{fresh_address, program, wait_for};

/// One proxied path.
pub(crate) struct Proxy {
    listen: SocketAddrV4,
    control: PathBuf,
    _running: Running,
}

impl Proxy {
    pub(crate) fn start(folder: &Path, to: SocketAddrV4) -> Self {
        let listen = fresh_address();
        let name = format!("proxy-{}", listen.ip());
        let control = folder.join(format!("{name}.sock"));
        let mut command = Command::new(program("netsim"));
        command
            .arg("proxy")
            .args(["--listen", &listen.to_string(), "--to", &to.to_string()]);
        command.arg("--control").arg(&control);
        let running = Running::start(folder, &name, &mut command);
        wait_for(
            "the proxy's control socket",
            Duration::from_secs(10),
            || control.exists().then_some(()),
        );
        Self {
            listen,
            control,
            _running: running,
        }
    }

    /// Where the initiator connects.
    pub(crate) fn portal(&self) -> SocketAddrV4 {
        self.listen
    }

    /// One order, as `netsim fault --help` lists them: `cut`, `blackhole to-target`, `heal drop`, …
    pub(crate) fn fault(&self, order: &str) {
        self.order(order);
    }

    fn order(&self, order: &str) -> String {
        let mut command = Command::new(program("netsim"));
        success(
            command
                .arg("fault")
                .arg(&self.control)
                .args(order.split(' ')),
        )
    }

    /// A counter over both directions, the proof that a fault happened: `cut` (connections), `held`,
    /// `dropped`, `forwarded` (bytes).
    pub(crate) fn count(&self, word: &str) -> u64 {
        let status = self.order("status");
        let counts = status.split([',', ':', '\n']).filter_map(|part| {
            let mut words = part.split_whitespace();
            let number = words.next()?.parse::<u64>().ok()?;
            (words.last() == Some(word)).then_some(number)
        });
        counts.sum()
    }
}
