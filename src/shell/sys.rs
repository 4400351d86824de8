//! System calls that no crate wraps safely: the only unsafe code.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::libc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::path::NetworkView;

/// What the kernel knows of a TCP connection; `None` if it does not tell.
///
/// Linux counts acknowledged bytes since 4.1; what an older kernel does not tell is 0.
#[must_use]
pub fn network_view(socket: &impl AsFd) -> Option<NetworkView> {
    let info = tcp_info(socket)?;
    let millis = |millis: u32| Duration::from_millis(u64::from(millis));
    let micros = |micros: u32| Duration::from_micros(u64::from(micros));
    Some(NetworkView {
        in_flight: info.tcpi_unacked,
        sacked: info.tcpi_sacked,
        acked: info.tcpi_bytes_acked,
        since_ack: millis(info.tcpi_last_ack_recv),
        timeouts: u32::from(info.tcpi_retransmits),
        probes: u32::from(info.tcpi_probes),
        retransmissions: u64::from(info.tcpi_total_retrans),
        round_trip: (micros(info.tcpi_rtt), micros(info.tcpi_rttvar)),
    })
}

#[expect(
    unsafe_code,
    reason = "neither nix nor socket2 has TCP_INFO; one call, on a buffer of our own"
)]
fn tcp_info(socket: &impl AsFd) -> Option<libc::tcp_info> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: the kernel writes at most `length` bytes to `info`, which has so many; the descriptor is open
    // as long as `socket` is borrowed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    // SAFETY: all fields are integers, for which zeroes are a value; what the kernel did not write is zero.
    (result == 0).then(|| unsafe { info.assume_init() })
}

/// Has the runtime watch a descriptor for input.
///
/// # Errors
/// If the runtime cannot.
#[expect(
    unsafe_code,
    reason = "tokio asks for a promise that an owned descriptor keeps by itself"
)]
pub fn watch_input(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is returned, open as long as that lives, and never exchanged.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn bytes_are_acknowledged_by_the_peers_kernel_whether_or_not_anybody_reads_them() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        let before = network_view(&ours).unwrap();
        ours.write_all(&[7; 1000]).unwrap();
        // Once it can be read over there it was acknowledged, at the latest with the answer.
        theirs.write_all(&[1]).unwrap();
        ours.read_exact(&mut [0]).unwrap();
        let after = network_view(&ours).unwrap();
        assert_eq!(after.acked - before.acked, 1000);
        assert_eq!((after.in_flight, after.timeouts, after.probes), (0, 0, 0));
    }

    #[test]
    fn what_is_no_connection_has_no_view() {
        let (pair, _) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(network_view(&pair), None);
    }
}
