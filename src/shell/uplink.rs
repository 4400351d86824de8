//! The host's own end of the paths' network: NICs, addresses, routes, and when they change.
//!
//! The kernel's routing socket (rtnetlink(7)) says *that* something has changed. *What* holds now is read
//! anew each time, so that a message which got lost, or which a newer kernel words differently, leaves no
//! wrong picture behind:
//!
//! - the interfaces with their flags: is the NIC there, is it up, does it have a carrier?
//! - for each path, a datagram socket that is bound as the path's connections are, and connected to the
//!   portal: that sends nothing, and fails if the address is gone or no route leads to the portal. It takes
//!   every routing rule into account, as the connection itself would.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use nix::errno::Errno;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, watch};

use crate::path::Uplink;

use super::sys;

/// Multicast groups of rtnetlink(7): links, addresses and routes, both IP versions.
const GROUPS: u32 = (nix::libc::RTMGRP_LINK
    | nix::libc::RTMGRP_IPV4_IFADDR
    | nix::libc::RTMGRP_IPV6_IFADDR
    | nix::libc::RTMGRP_IPV4_ROUTE
    | nix::libc::RTMGRP_IPV6_ROUTE)
    .cast_unsigned();

/// After a change is looked at, further ones wait so long and are looked at together: a host whose routes
/// come from a routing daemon sees thousands a second.
const QUIET: Duration = Duration::from_millis(20);

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Interface {
    name: String,
    up: bool,
    carrier: bool,
    addresses: Vec<IpAddr>,
}

/// The host's network interfaces at one time.
#[derive(Clone, Debug, Default)]
pub struct Interfaces {
    all: Vec<Interface>,
    doubts: Arc<Notify>,
}

/// Where a path's packets leave, as far as is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Way<'a> {
    /// The NIC that its connections are bound to.
    pub nic: Option<&'a str>,
    /// The address that its last connection had here, or that it is to have.
    pub local: Option<SocketAddr>,
    /// The portal.
    pub portal: Option<SocketAddr>,
}

impl Interfaces {
    /// Reads them.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn read() -> io::Result<Self> {
        let mut interfaces: Vec<Interface> = Vec::new();
        for entry in nix::ifaddrs::getifaddrs()? {
            let name = entry.interface_name;
            let known = interfaces.iter().position(|known| known.name == name);
            let index = known.unwrap_or_else(|| {
                interfaces.push(Interface {
                    name,
                    up: entry.flags.contains(InterfaceFlags::IFF_UP),
                    carrier: entry.flags.contains(InterfaceFlags::IFF_LOWER_UP),
                    addresses: Vec::new(),
                });
                interfaces.len() - 1
            });
            let address = entry.address.as_ref().and_then(|address| {
                let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
            });
            interfaces[index].addresses.extend(address);
        }
        Ok(Self {
            all: interfaces,
            doubts: Arc::default(),
        })
    }

    /// Something does not look well: they are read anew, without waiting for the system to tell. Linux tells
    /// of a carrier once a second if other links of the host change as well.
    pub fn doubt(&self) {
        self.doubts.notify_one();
    }

    /// Whether anything is in the way of packets that leave there.
    #[must_use]
    pub fn judge(&self, way: Way<'_>) -> Uplink {
        let nic = match way.nic {
            Some(name) => match self.all.iter().find(|known| known.name == name) {
                Some(nic) => Some(nic),
                None => return Uplink::Down("its NIC is gone"),
            },
            None => way.local.and_then(|local| {
                let has = |known: &&Interface| known.addresses.contains(&local.ip());
                self.all.iter().find(has)
            }),
        };
        match nic {
            Some(nic) if !nic.up => return Uplink::Down("its NIC is switched off"),
            Some(nic) if !nic.carrier => return Uplink::Down("its NIC has no carrier"),
            Some(_) | None => {}
        }
        match try_way(way) {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                Uplink::Down("its source address is gone")
            }
            Err(error) if is_unreachable(&error) => Uplink::Down("no route to the portal"),
            // What else may fail says nothing about the network.
            Ok(()) | Err(_) => Uplink::Up,
        }
    }
}

fn is_unreachable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable
    )
}

/// What a connection would meet before its first packet.
fn try_way(way: Way<'_>) -> io::Result<()> {
    let Some(any) = way.local.or(way.portal) else {
        return Ok(());
    };
    let socket = Socket::new(Domain::for_address(any), Type::DGRAM, Some(Protocol::UDP))?;
    if let Some(nic) = way.nic {
        socket.bind_device(Some(nic.as_bytes()))?;
    }
    if let Some(mut local) = way.local {
        local.set_port(0);
        socket.bind(&local.into())?;
    }
    match way.portal {
        Some(portal) => socket.connect(&portal.into()),
        None => Ok(()),
    }
}

/// The kernel's messages about links, addresses and routes.
struct Changes(AsyncFd<OwnedFd>);

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Changes")
    }
}

impl Changes {
    fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket::socket(
            AddressFamily::Netlink,
            SockType::Raw,
            flags,
            SockProtocol::NetlinkRoute,
        )?;
        socket::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        Ok(Self(sys::watch_input(socket)?))
    }

    /// Waits for a change and takes all that are there.
    async fn next(&self) -> io::Result<()> {
        let mut guard = self.0.readable().await?;
        // Longer messages are cut off; their content is of no interest.
        let mut message = [0; 64];
        loop {
            let socket = self.0.get_ref().as_raw_fd();
            match socket::recv(socket, &mut message, MsgFlags::MSG_TRUNC) {
                // Some were lost: a change as well.
                Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        guard.clear_ready();
        Ok(())
    }
}

/// Publishes the interfaces at the start and after every change, for ever. Where the system tells nothing it
/// says so in the log, and ends: silence on the paths remains as a sign.
pub async fn watch(news: watch::Sender<Option<Arc<Interfaces>>>) {
    if let Err(error) = publish(&news).await {
        tracing::warn!(%error, "no news of NICs, addresses and routes: their loss is noticed by silence only");
    }
}

async fn publish(news: &watch::Sender<Option<Arc<Interfaces>>>) -> io::Result<()> {
    // First the messages, then the picture: what changes meanwhile is not missed.
    let changes = Changes::open()?;
    let doubts = Arc::<Notify>::default();
    loop {
        read(news, &doubts).await?;
        tokio::select! {
            biased;
            changed = changes.next() => changed?,
            () = doubts.notified() => {}
        }
        read(news, &doubts).await?;
        tokio::time::sleep(QUIET).await;
    }
}

async fn read(
    news: &watch::Sender<Option<Arc<Interfaces>>>,
    doubts: &Arc<Notify>,
) -> io::Result<()> {
    // The kernel may let it wait for its lock on the network's configuration.
    let interfaces = tokio::task::spawn_blocking(Interfaces::read).await??;
    news.send_replace(Some(Arc::new(Interfaces {
        all: interfaces.all,
        doubts: Arc::clone(doubts),
    })));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nic(name: &str, up: bool, carrier: bool, address: &str) -> Interface {
        Interface {
            name: name.to_owned(),
            up,
            carrier,
            addresses: vec![address.parse().unwrap()],
        }
    }

    fn from(local: &str) -> Way<'static> {
        Way {
            local: Some(local.parse().unwrap()),
            ..Way::default()
        }
    }

    #[test]
    fn what_is_down_is_named() {
        let all = vec![
            nic("well", true, true, "127.0.0.1"),
            nic("off", false, false, "127.0.0.2"),
            nic("unplugged", true, false, "127.0.0.3"),
        ];
        let host = Interfaces {
            all,
            ..Interfaces::default()
        };
        for (name, expected) in [
            ("gone", "its NIC is gone"),
            ("off", "its NIC is switched off"),
            ("unplugged", "its NIC has no carrier"),
        ] {
            let way = Way {
                nic: Some(name),
                ..Way::default()
            };
            assert_eq!(host.judge(way), Uplink::Down(expected));
        }
        assert_eq!(host.judge(from("127.0.0.1:5")), Uplink::Up);
        let unplugged = host.judge(from("127.0.0.3:5"));
        assert_eq!(unplugged, Uplink::Down("its NIC has no carrier"));
        assert_eq!(host.judge(Way::default()), Uplink::Up, "nothing is known");
    }

    #[test]
    fn an_address_that_this_host_does_not_have_is_gone() {
        // TEST-NET-1 (RFC 5737).
        let host = Interfaces::default();
        let gone = host.judge(from("192.0.2.1:5"));
        assert_eq!(gone, Uplink::Down("its source address is gone"));
    }

    #[test]
    fn this_host_has_a_loopback_interface_that_is_up() {
        let host = Interfaces::read().unwrap();
        let way = Way {
            nic: Some("lo"),
            local: Some("127.0.0.1:5".parse().unwrap()),
            portal: Some("127.0.0.1:3260".parse().unwrap()),
        };
        assert_eq!(host.judge(way), Uplink::Up, "{host:?}");
    }

    #[tokio::test]
    async fn the_picture_is_there_at_once() {
        let (news, mut seen) = watch::channel(None);
        let watching = tokio::spawn(watch(news));
        let limit = Duration::from_secs(20);
        let seen = tokio::time::timeout(limit, seen.wait_for(Option::is_some)).await;
        assert!(seen.is_ok_and(|seen| seen.is_ok()));
        watching.abort();
    }
}
