//! Where NBD clients connect: addresses, and sockets that listen on them.

use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// Connections that wait to be accepted; the kernel refuses or delays further ones.
const BACKLOG: i32 = 128;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A unix socket file with these permission bits.
    Unix {
        /// Where it is made. Its directory must exist.
        path: PathBuf,
        /// For example `0o600`.
        mode: u32,
    },
    /// TCP. Nothing is encrypted and nobody is asked who he is.
    Tcp(SocketAddr),
}

impl ListenAddress {
    /// The TCP address of a host, be it a name; its first, if it has several.
    ///
    /// # Errors
    /// If the name cannot be resolved.
    pub fn resolve(host: &str, port: u16) -> Result<Self, BindError> {
        let failed = |source| BindError::Resolve {
            host: host.to_owned(),
            source,
        };
        let mut found = (host, port).to_socket_addrs().map_err(failed)?;
        let none = || failed(io::Error::new(io::ErrorKind::NotFound, "no address"));
        found.next().map(Self::Tcp).ok_or_else(none)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The host name has no address.
    #[error("tcp:{host}: cannot resolve: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// The directory of a unix socket is not there.
    #[error("unix:{}: directory {} does not exist; create it first", path.display(), directory.display())]
    NoDirectory {
        /// The socket.
        path: PathBuf,
        /// What is missing.
        directory: PathBuf,
    },
    /// The directory of a unix socket may not be written.
    #[error(
        "unix:{}: no permission to make a socket in {}; run as another user or change the directory's \
         permissions",
        path.display(), directory.display()
    )]
    DirectoryDenied {
        /// The socket.
        path: PathBuf,
        /// Where we may not write.
        directory: PathBuf,
    },
    /// Socket addresses have room for a short path only.
    #[error("unix:{}: path is longer than the 107 bytes that a unix socket may have", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// Somebody answers there.
    #[error("unix:{}: another process is listening on it; is the daemon already running?", path.display())]
    Occupied {
        /// The socket.
        path: PathBuf,
    },
    /// We remove stale sockets only.
    #[error("unix:{}: exists and is not a socket; it was left alone, move it away", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The port is taken.
    #[error("tcp:{address}: another process is listening on it; is the daemon already running?")]
    AddressInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The machine does not have the address.
    #[error("tcp:{address}: no interface of this machine has the address {}", address.ip())]
    AddressNotLocal {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("{address}: cannot {doing}: {source}")]
    Io {
        /// The address.
        address: ListenAddress,
        /// The step that failed.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// A socket that listens; not yet watched by a runtime. A unix socket's file goes with it.
#[derive(Debug)]
pub struct BoundListener {
    pub(super) address: ListenAddress,
    // Goes before the socket: as long as we listen, nobody takes the file's place.
    pub(super) file: Option<SocketFile>,
    pub(super) socket: Socket,
}

impl BoundListener {
    /// Listens on `address`. A socket file on which nobody answers is replaced.
    ///
    /// # Errors
    /// Names what stands in the way.
    pub fn bind(address: &ListenAddress) -> Result<Self, BindError> {
        let failed = |doing| {
            let address = address.clone();
            move |source| BindError::Io {
                address,
                doing,
                source,
            }
        };
        let (socket, file) = match address {
            ListenAddress::Unix { path, mode } => bind_unix(address, path, *mode)?,
            ListenAddress::Tcp(tcp) => (bind_tcp(address, *tcp)?, None),
        };
        socket.set_nonblocking(true).map_err(failed("set up"))?;
        socket.listen(BACKLOG).map_err(failed("listen"))?;
        let address = match socket.local_addr().map(|bound| bound.as_socket()) {
            Ok(Some(bound)) => ListenAddress::Tcp(bound),
            Ok(None) | Err(_) => address.clone(),
        };
        Ok(Self {
            address,
            file,
            socket,
        })
    }

    /// Where it listens: with the port that the system chose if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }
}

fn bind_tcp(address: &ListenAddress, tcp: SocketAddr) -> Result<Socket, BindError> {
    let failed = |source: io::Error| {
        if source.kind() == io::ErrorKind::AddrInUse {
            return BindError::AddressInUse { address: tcp };
        }
        if source.kind() == io::ErrorKind::AddrNotAvailable {
            return BindError::AddressNotLocal { address: tcp };
        }
        BindError::Io {
            address: address.clone(),
            doing: "bind",
            source,
        }
    };
    let socket = Socket::new(Domain::for_address(tcp), Type::STREAM, None).map_err(failed)?;
    socket.set_reuse_address(true).map_err(failed)?;
    socket.bind(&tcp.into()).map_err(failed)?;
    Ok(socket)
}

fn bind_unix(
    address: &ListenAddress,
    path: &Path,
    mode: u32,
) -> Result<(Socket, Option<SocketFile>), BindError> {
    let failed = |doing| {
        move |source: io::Error| BindError::Io {
            address: address.clone(),
            doing,
            source,
        }
    };
    let Ok(bare) = SockAddr::unix(path) else {
        let path = path.to_owned();
        return Err(BindError::PathTooLong { path });
    };
    let directory = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    };
    remove_stale(address, path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed("make a socket"))?;
    socket.bind(&bare).map_err(|source| {
        let (path, directory) = (path.to_owned(), directory.to_owned());
        let kind = source.kind();
        if kind == io::ErrorKind::NotFound || kind == io::ErrorKind::NotADirectory {
            BindError::NoDirectory { path, directory }
        } else if kind == io::ErrorKind::PermissionDenied {
            BindError::DirectoryDenied { path, directory }
        } else {
            failed("bind")(source)
        }
    })?;
    // Nobody can connect before `listen`, so there is no moment with the wrong permissions.
    let file = SocketFile::of(path).map_err(failed("look at the new socket"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("set the mode"))?;
    Ok((socket, Some(file)))
}

fn remove_stale(address: &ListenAddress, path: &Path) -> Result<(), BindError> {
    let failed = |doing| {
        move |source| BindError::Io {
            address: address.clone(),
            doing,
            source,
        }
    };
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        let path = path.to_owned();
        return Err(BindError::NotASocket { path });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("remove the stale socket"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(failed("ask whether somebody listens")(error))
        }
        Ok(_) | Err(_) => Err(BindError::Occupied {
            path: path.to_owned(),
        }),
    }
}

/// The file of a listening unix socket; removed with this, unless somebody else's stands there by then.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let identity = Self::identity(path)?;
        let path = path.to_owned();
        Ok(Self { path, identity })
    }

    fn identity(path: &Path) -> io::Result<(u64, u64)> {
        let found = fs::symlink_metadata(path)?;
        Ok((found.dev(), found.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if Self::identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests;
