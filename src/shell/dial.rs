//! TCP connections to portals: over the path's own NIC or from its own source address.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpSocket, TcpStream};

use crate::iscsi::name::PortalAddr;

/// [`Source::patience`], if there is none: far below the kernel's fifteen minutes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a path's connections leave from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Network interface (`SO_BINDTODEVICE`).
    pub nic: Option<String>,
    /// Source address.
    pub address: Option<IpAddr>,
    /// The kernel ends a connection whose bytes are not acknowledged, or whose window stays closed, for so
    /// long (`TCP_USER_TIMEOUT`). Above the detection times: a path that only pauses is ours to judge.
    pub patience: Option<Duration>,
}

/// Why there is no connection; names the portal and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The host name has no address.
    #[error("{host}: cannot resolve: {error}")]
    Resolve {
        /// The portal's host.
        host: String,
        /// The resolver's error.
        error: io::Error,
    },
    /// The scope of a link-local address is no interface.
    #[error("{portal}: no network interface {scope}")]
    Scope {
        /// The portal.
        portal: String,
        /// The scope as written.
        scope: String,
    },
    /// The socket cannot leave through this NIC or address.
    #[error("cannot bind to {what}: {error}; see `ip address`")]
    Bind {
        /// The NIC or address.
        what: String,
        /// The system's error.
        error: io::Error,
    },
    /// The portal does not take the connection.
    #[error("{portal}: {error}{}", advice(error))]
    Connect {
        /// The portal.
        portal: String,
        /// The system's error.
        error: io::Error,
    },
}

/// What an administrator can look at.
fn advice(error: &io::Error) -> &'static str {
    let unreachable = [
        io::ErrorKind::TimedOut,
        io::ErrorKind::HostUnreachable,
        io::ErrorKind::NetworkUnreachable,
    ];
    if error.kind() == io::ErrorKind::ConnectionRefused {
        "; does the target listen there?"
    } else if unreachable.contains(&error.kind()) {
        "; see `ip route get` and the switch's port"
    } else {
        ""
    }
}

/// Connects to `portal` from `source`, with the options of a storage connection set.
///
/// # Errors
/// See [`DialError`]. There is no time-out of its own: drop the future.
pub async fn dial(portal: &PortalAddr, source: &Source) -> Result<TcpStream, DialError> {
    let mut last = None;
    for address in resolve(portal).await? {
        match connect(portal, address, source).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| DialError::Resolve {
        host: portal.host(),
        error: io::Error::new(io::ErrorKind::NotFound, "no address"),
    }))
}

/// The addresses of a portal: a literal one, or whatever the host name resolves to.
async fn resolve(portal: &PortalAddr) -> Result<Vec<SocketAddr>, DialError> {
    let (host, port) = (portal.host(), portal.port());
    if let (Some(IpAddr::V6(address)), Some(scope)) = (portal.ip(), portal.scope()) {
        let index = scope
            .parse::<u32>()
            .ok()
            .or_else(|| nix::net::if_::if_nametoindex(scope).ok())
            .ok_or_else(|| DialError::Scope {
                portal: portal.to_string(),
                scope: scope.to_owned(),
            })?;
        return Ok(vec![SocketAddrV6::new(address, port, 0, index).into()]);
    }
    if let Some(address) = portal.ip() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    Ok(found
        .map_err(|error| DialError::Resolve {
            host: host.clone(),
            error,
        })?
        .collect())
}

async fn connect(
    portal: &PortalAddr,
    address: SocketAddr,
    source: &Source,
) -> Result<TcpStream, DialError> {
    let failed = |error| DialError::Connect {
        portal: portal.to_string(),
        error,
    };
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )
    .map_err(failed)?;
    prepare(&socket, source.patience.unwrap_or(PATIENCE)).map_err(failed)?;
    bind(&socket, source)?;
    let socket = TcpSocket::from_std_stream(socket.into());
    socket.connect(address).await.map_err(failed)
}

fn prepare(socket: &Socket, patience: Duration) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    // However this connection ends, by a crash of ours too: what the target has not acknowledged by then
    // is dropped, not sent again for minutes, when its fence or its quiesce time may be over.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(patience))?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(5));
    socket.set_tcp_keepalive(&keepalive)
}

fn bind(socket: &Socket, source: &Source) -> Result<(), DialError> {
    if let Some(nic) = &source.nic {
        socket
            .bind_device(Some(nic.as_bytes()))
            .map_err(|error| DialError::Bind {
                what: format!("network interface {nic}"),
                error,
            })?;
    }
    if let Some(address) = source.address {
        socket
            .bind(&SocketAddr::new(address, 0).into())
            .map_err(|error| DialError::Bind {
                what: format!("source address {address}"),
                error,
            })?;
    }
    Ok(())
}

/// Makes the coming close of this connection abortive: unsent bytes are dropped and the peer gets a RST,
/// so that nothing of a lost session goes out later.
pub fn close_abortively(stream: TcpStream) {
    if let Err(error) = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "cannot close abortively");
    }
    drop(stream);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_set_to_end_abortively_from_its_beginning() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        prepare(&socket, PATIENCE).unwrap();
        assert_eq!(socket.linger().unwrap(), Some(Duration::ZERO));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(PATIENCE));
    }
}
