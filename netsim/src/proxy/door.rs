//! The listening socket of a proxy, which can be shut: then the kernel refuses connections.
//!
//! While shut, a bound socket that does not listen keeps the port, so that nobody else gets it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

const BACKLOG: u32 = 1024;
const RETRY: Duration = Duration::from_millis(10);

#[derive(Debug)]
enum Leaf {
    Open(TcpListener),
    Shut(TcpSocket),
    /// The port is being taken again.
    Lost,
}

#[derive(Debug)]
pub(super) struct Door {
    addr: SocketAddr,
    leaf: Leaf,
}

impl Door {
    pub(super) fn open(addr: SocketAddr) -> io::Result<Self> {
        let listener = bind(addr)?.listen(BACKLOG)?;
        Ok(Self {
            addr: listener.local_addr()?,
            leaf: Leaf::Open(listener),
        })
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Shuts or opens the door; nothing happens if it is so already.
    pub(super) async fn shut_if(&mut self, shut: bool) {
        if shut == matches!(self.leaf, Leaf::Shut(_)) {
            return;
        }
        // A listening socket must be gone before another may be bound to its port.
        let keeper = match std::mem::replace(&mut self.leaf, Leaf::Lost) {
            Leaf::Shut(keeper) => Some(keeper),
            Leaf::Open(_) | Leaf::Lost => None,
        };
        self.leaf = match keeper {
            Some(keeper) => match keeper.listen(BACKLOG) {
                Ok(listener) => Leaf::Open(listener),
                Err(_) => self.take_port(shut).await,
            },
            None => self.take_port(shut).await,
        };
    }

    async fn take_port(&self, shut: bool) -> Leaf {
        loop {
            let taken = bind(self.addr).and_then(|socket| {
                Ok(if shut {
                    Leaf::Shut(socket)
                } else {
                    Leaf::Open(socket.listen(BACKLOG)?)
                })
            });
            match taken {
                Ok(leaf) => return leaf,
                Err(error) => {
                    tracing::warn!(addr = %self.addr, %error, "port is taken, trying again")
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// The next connection; waits for ever while the door is shut.
    pub(super) async fn accept(&self) -> TcpStream {
        let Leaf::Open(listener) = &self.leaf else {
            return std::future::pending().await;
        };
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    tracing::warn!(addr = %self.addr, %error, "cannot accept");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}
