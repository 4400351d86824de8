//! The plain relay: what carrying bytes costs when nothing is done with them.
//!
//! `relay read|write SECONDS [KIB]` receives from a TCP socket on loopback and sends to a unix socket
//! (`read`, as data of a disk go) or the other way (`write`). Each byte is copied in once and out once,
//! through one buffer of so many KiB, by blocking calls; nothing is parsed and nobody else is woken.
//! `tests/bench/run` compares the daemon with it. Prints what the relaying thread used as one line of JSON.

#![expect(clippy::print_stdout, reason = "a program that speaks to its user")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// A byte of the source is as fresh as in a target that reads a disk of this size.
const SOURCE_BYTES: usize = 64 << 20;
const CHUNK: usize = 1 << 20;
/// What the daemon asks for, too; the kernel may grant less.
const SOCKET_BUFFER: usize = 4 << 20;

/// Ticks of user and system time of the calling thread, from its line in /proc.
fn ticks() -> anyhow::Result<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/thread-self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("no name in the line")?;
    let mut fields = fields.split_whitespace().skip(11).map(str::parse);
    let mut next = || anyhow::Ok(fields.next().context("a short line")??);
    Ok((next()?, next()?))
}

fn source(mut to: impl Write, stop: &AtomicBool) -> io::Result<()> {
    let data: Vec<u8> = (0..251).cycle().take(SOURCE_BYTES).collect();
    for chunk in data.chunks(CHUNK).cycle() {
        if stop.load(Relaxed) {
            return Ok(());
        }
        to.write_all(chunk)?;
    }
    Ok(())
}

fn sink(mut from: impl Read) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    while from.read(&mut buffer)? > 0 {}
    Ok(())
}

fn relay(mut from: impl Read, mut to: impl Write, buffer: usize) -> anyhow::Result<()> {
    let mut buffer = vec![0; buffer];
    let (mut bytes, mut calls) = (0, 0_u64);
    let (started, before) = (now(), ticks()?);
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        to.write_all(&buffer[..length])?;
        bytes += length as u64;
        calls += 1;
    }
    let (seconds, after) = (started.elapsed().as_secs_f64(), ticks()?);
    let (user, system) = (after.0 - before.0, after.1 - before.1);
    println!(
        "{{\"bytes\": {bytes}, \"reads\": {calls}, \"seconds\": {seconds:.3}, \
         \"user_ticks\": {user}, \"system_ticks\": {system}}}"
    );
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "it measures real time")]
fn now() -> Instant {
    Instant::now()
}

fn sockets() -> anyhow::Result<([TcpStream; 2], [UnixStream; 2])> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    let (one, other) = UnixStream::pair()?;
    for end in [&one, &other] {
        socket2::SockRef::from(end).set_send_buffer_size(SOCKET_BUFFER)?;
    }
    Ok(([near, far], [one, other]))
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (way, seconds, buffer) = match &arguments[..] {
        [way, seconds] => (way.as_str(), seconds, 256),
        [way, seconds, kib] => (way.as_str(), seconds, kib.parse()?),
        _ => bail!("relay read|write SECONDS [KIB]"),
    };
    let time = Duration::from_secs_f64(seconds.parse()?);
    let ([near, far], [one, other]) = sockets()?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let (source, relay, sink) = match way {
        "read" => (
            thread::spawn(move || source(far, &stopped)),
            thread::spawn(move || relay(near, one, buffer << 10)),
            thread::spawn(move || sink(other)),
        ),
        "write" => (
            thread::spawn(move || source(other, &stopped)),
            thread::spawn(move || relay(one, near, buffer << 10)),
            thread::spawn(move || sink(far)),
        ),
        _ => bail!("relay read|write SECONDS [KIB]"),
    };
    thread::park_timeout(time);
    stop.store(true, Relaxed);
    let panicked = |_| anyhow::anyhow!("a thread of the relay panicked");
    source.join().map_err(panicked)??;
    relay.join().map_err(panicked)??;
    sink.join().map_err(panicked)??;
    Ok(())
}
