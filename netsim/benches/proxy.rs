//! What the proxy costs: throughput and round trips over loopback, with it and without it.
//!
//! `cargo bench -p netsim --bench proxy`. It prints figures and judges nothing: on a machine with few
//! cores, the two ends and the proxy share them.

#![expect(clippy::print_stdout, reason = "a program that speaks to its user")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use netsim::clock;
use netsim::fault::Fault;
use netsim::proxy::{ProxyConfig, ProxyHandle};
use tokio::runtime::Runtime;

/// How long each figure is measured.
const TIME: Duration = Duration::from_secs(2);
const CHUNK: usize = 256 << 10;
const MESSAGE: usize = 64;

/// A peer that swallows what the first byte of a connection says is a stream, and echoes messages otherwise.
fn serve() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve_one(stream));
        }
    });
    Ok(address)
}

fn serve_one(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    match kind {
        [b's'] => {
            let mut chunk = vec![0; CHUNK];
            while stream.read(&mut chunk)? > 0 {}
        }
        [b'r'] => loop {
            stream.write_all(&[0; CHUNK])?;
        },
        _ => loop {
            let mut message = [0; MESSAGE];
            stream.read_exact(&mut message)?;
            stream.write_all(&message)?;
        },
    }
    Ok(())
}

fn open(to: SocketAddr, kind: u8) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.write_all(&[kind])?;
    Ok(stream)
}

/// Bytes per second of one stream, sent (`s`) or received (`r`).
fn stream(to: SocketAddr, kind: u8, until: Instant) -> std::io::Result<u64> {
    let mut stream = open(to, kind)?;
    let mut chunk = vec![0; CHUNK];
    let mut bytes = 0;
    while clock::now() < until {
        bytes += if kind == b's' {
            stream.write_all(&chunk)?;
            CHUNK as u64
        } else {
            stream.read(&mut chunk)? as u64
        };
    }
    Ok(bytes)
}

fn throughput(to: SocketAddr, kinds: &[u8]) -> f64 {
    let until = clock::now() + TIME;
    let streams: Vec<JoinHandle<_>> = kinds
        .iter()
        .map(|&kind| thread::spawn(move || stream(to, kind, until)))
        .collect();
    let bytes: u64 = streams
        .into_iter()
        .filter_map(|stream| stream.join().ok()?.ok())
        .sum();
    bytes as f64 / TIME.as_secs_f64() / 1e9
}

fn round_trip(to: SocketAddr) -> std::io::Result<f64> {
    let mut stream = open(to, b'e')?;
    let until = clock::now() + TIME;
    let mut count = 0;
    while clock::now() < until {
        let mut message = [1; MESSAGE];
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        count += 1;
    }
    Ok(TIME.as_secs_f64() * 1e6 / f64::from(count))
}

fn main() -> anyhow::Result<()> {
    let runtime = Runtime::new()?;
    let _inside = runtime.enter();
    let target = serve()?;
    let proxy = |faults: &[&str]| -> anyhow::Result<ProxyHandle> {
        let listen = (Ipv4Addr::LOCALHOST, 0).into();
        let proxy = ProxyHandle::start(ProxyConfig::new(listen, target.to_string()))?;
        for fault in faults {
            proxy.set(&fault.parse::<Fault>()?);
        }
        Ok(proxy)
    };
    let (clear, slow) = (proxy(&[])?, proxy(&["latency 1ms"])?);
    let ways = [
        ("direct", target),
        ("proxy", clear.local_addr()),
        ("proxy, latency 1ms", slow.local_addr()),
    ];
    println!(
        "{:<20} {:>10} {:>10} {:>12} {:>12} {:>12}",
        "", "send", "receive", "both ways", "4 streams", "round trip"
    );
    for (name, to) in ways {
        println!(
            "{name:<20} {:>5.2} GB/s {:>5.2} GB/s {:>7.2} GB/s {:>7.2} GB/s {:>9.1} us",
            throughput(to, b"s"),
            throughput(to, b"r"),
            throughput(to, b"sr"),
            throughput(to, b"ssrr"),
            round_trip(to)?,
        );
    }
    Ok(())
}
