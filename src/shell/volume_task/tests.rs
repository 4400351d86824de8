//! The volume task over real sockets of one process.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;
use crate::engine::ExportConfig;
use crate::nbd::{BlockSizes, ExportFlags, ExportInfo};
use crate::shell::stream::UnwatchedStream;
use crate::volume::{GrayConfig, NoPath, Pin, ReservationConfig, VolumeConfig};

/// A hanging test fails after this; one that passes waits for nothing.
const GUARD: Duration = Duration::from_secs(20);

fn export() -> ExportInfo {
    ExportInfo {
        name: "db".into(),
        description: String::new(),
        size: 1 << 20,
        block_sizes: BlockSizes::new(512, 4096).unwrap(),
        flags: ExportFlags::default(),
    }
}

/// An engine without paths: requests that the NBD side refuses are answered nevertheless.
fn engine() -> Engine {
    let volume = VolumeConfig {
        weights: Vec::new(),
        tiers: Vec::new(),
        activate: false,
        shared: false,
        no_path: NoPath::QueueForever,
        quiesce: None,
        reinstate: true,
        grow: true,
        pin: Pin::default(),
        unclean: false,
        orphaned: false,
        policy: policies::build(
            policies::PolicySpec::preset(policies::PolicyKind::Failover),
            1,
        ),
        gray: GrayConfig::default(),
        reservation: ReservationConfig::default(),
    };
    let export = ExportConfig {
        name: "db".into(),
        read_only: false,
    };
    Engine::new(clock::now(), export, volume, Vec::new())
}

/// A request of a type that does not exist.
fn bad_request(cookie: u64) -> [u8; 28] {
    let mut request = [0; 28];
    request[..4].copy_from_slice(&0x2560_9513u32.to_be_bytes());
    request[6..8].copy_from_slice(&99u16.to_be_bytes());
    request[8..16].copy_from_slice(&cookie.to_be_bytes());
    request
}

#[tokio::test]
async fn a_client_that_asked_for_exactly_as_much_as_it_may_is_read_again() {
    let (handle, inbox) = channel();
    let local = tokio::task::LocalSet::new();
    let task = VolumeTask::new(engine(), Vec::new(), inbox, tracing::Span::none());
    local.spawn_local(task.run());
    let (mut client, ours) = UnixStream::pair().unwrap();
    let ready = ReadyClient {
        socket: UnwatchedStream::Unix(ours.into_std().unwrap()),
        leftover: BytesMut::new(),
        export: export(),
        structured_replies: false,
        peer: "test".into(),
    };
    let talk = async {
        assert!(handle.ask(Ask::Attach(Box::new(ready))).await);
        let most = u64::try_from(limits::NBD_REQUESTS_MAX).unwrap();
        let requests: Vec<u8> = (0..most).flat_map(bad_request).collect();
        for round in 0..3 {
            client.write_all(&requests).await.unwrap();
            let mut replies = vec![0; limits::NBD_REQUESTS_MAX * 16];
            let read = tokio::time::timeout(GUARD, client.read_exact(&mut replies));
            read.await
                .unwrap_or_else(|_| panic!("no replies in round {round}"))
                .unwrap();
        }
    };
    local.run_until(talk).await;
}
