//! Network namespaces, virtual NICs, and what can be broken there.

use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::support::process::{output, success};

/// One end of a pair of virtual NICs.
#[derive(Clone, Copy)]
pub(crate) struct Nic {
    pub(crate) name: &'static str,
    /// With the length of its network.
    pub(crate) address: &'static str,
}

/// A network namespace. Dropping it removes it, and its NICs with it.
pub(crate) struct Namespace {
    name: String,
}

/// What a receiver drops, as classic BPF on the whole Ethernet frame: `ret #2` drops, `ret #0` lets pass.
#[derive(Clone, Copy)]
pub(crate) enum Drops {
    /// Everything.
    All,
    /// Everything but ARP: the other direction still finds its way.
    AllButArp,
    /// IPv4 packets above 1400 bytes.
    Large,
}

impl Drops {
    fn bytecode(self) -> &'static str {
        match self {
            Self::All => "1,6 0 0 2",
            // ldh [12]; jeq #0x806, pass; drop: ret #2; pass: ret #0
            Self::AllButArp => "4,40 0 0 12,21 1 0 2054,6 0 0 2,6 0 0 0",
            // ldh [12]; jne #0x800, pass; ldh [16]; jle #1400, pass; drop: ret #2; pass: ret #0
            Self::Large => "6,40 0 0 12,21 0 3 2048,40 0 0 16,37 0 1 1400,6 0 0 2,6 0 0 0",
        }
    }
}

/// Why namespaces cannot be made here; `None` if they can.
pub(crate) fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    let name = fresh_name("try");
    for command in [
        format!("ip netns add {name}"),
        format!("ip -n {name} link add a0 type veth peer name a1"),
        format!("tc -n {name} qdisc add dev a0 ingress"),
        format!("tc -n {name} filter add dev a0 ingress bpf da bytecode 1,6_0_0_2"),
    ] {
        let output = output(&split(&command));
        if !output.status.success() {
            remove(&name);
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            return Some(format!("{command}: {}", why.trim()));
        }
    }
    remove(&name);
    None
}

fn fresh_name(what: &str) -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("iib-{}-{number}-{what}", std::process::id())
}

/// Words are split at blanks; an underscore stands for a blank within a word.
fn split(command: &str) -> Command {
    let mut words = command.split(' ').map(|word| word.replace('_', " "));
    let mut split = Command::new(words.next().expect("a program"));
    split.args(words);
    split
}

fn remove(name: &str) {
    // Of no consequence where there is none.
    let _ = output(&split(&format!("ip netns del {name}")));
}

impl Namespace {
    pub(crate) fn new(what: &str) -> Self {
        let name = fresh_name(what);
        success(&split(&format!("ip netns add {name}")));
        let namespace = Self { name };
        namespace.ip("link set lo up");
        namespace
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Two NICs joined by a cable, up, with their addresses.
    pub(crate) fn join(&self, nic: Nic, other: &Self, peer: Nic) {
        let (one, two) = (nic.name, peer.name);
        // A NIC whose index is its peer's passes for one that stands alone, and Linux tells of its carrier up
        // to a second late (`linkwatch_urgent_event`): the peer's indices count from 1.
        let index = 100 + one.bytes().last().map_or(0, u32::from);
        self.ip(&format!(
            "link add {one} index {index} type veth peer name {two} netns {}",
            other.name
        ));
        self.configure(nic);
        other.configure(peer);
    }

    fn configure(&self, nic: Nic) {
        self.add_address(nic);
        self.ip(&format!("link set {} up", nic.name));
    }

    pub(crate) fn add_address(&self, nic: Nic) {
        self.ip(&format!("addr add {} dev {}", nic.address, nic.name));
    }

    /// `ip` within the namespace.
    pub(crate) fn ip(&self, arguments: &str) {
        success(&split(&format!("ip -n {} {arguments}", self.name)));
    }

    fn tc(&self, arguments: &str) -> String {
        success(&split(&format!("tc -n {} {arguments}", self.name)))
    }

    /// The NIC drops what it receives, before anything sees it.
    pub(crate) fn drop_at(&self, nic: Nic, what: Drops) {
        let name = nic.name;
        self.tc(&format!("qdisc add dev {name} ingress"));
        let bytecode = what.bytecode().replace(' ', "_");
        self.tc(&format!(
            "filter add dev {name} ingress bpf da bytecode {bytecode}"
        ));
    }

    /// Packets that it dropped: the proof that something was lost.
    pub(crate) fn dropped(&self, nic: Nic) -> u64 {
        let said = self.tc(&format!("-s qdisc show dev {} ingress", nic.name));
        let counts = said.split("dropped ").skip(1);
        counts
            .filter_map(|rest| {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                digits.parse::<u64>().ok()
            })
            .sum()
    }

    /// It drops nothing any more.
    pub(crate) fn heal(&self, nic: Nic) {
        self.tc(&format!("qdisc del dev {} ingress", nic.name));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}
