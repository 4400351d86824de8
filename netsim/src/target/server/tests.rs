//! The target over real sockets. The bare initiator of these tests knows one exchange: the login.

use std::io::ErrorKind;
use std::net::Ipv4Addr;

use iiblockdaemon::iscsi::isid::Isid;
use iiblockdaemon::iscsi::keys::Text;
use iiblockdaemon::iscsi::pdu::login::{LoginRequest, Stage, StageFlags};
use iiblockdaemon::iscsi::serial::SerialNumber;
use iiblockdaemon::iscsi::tags::Itt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;
use crate::target::lun::{Backing, Lun, LunConfig};
use crate::target::{PortalBehaviour, PortalConfig, TargetConfig};

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(5);

fn target() -> Target {
    let mut config = TargetConfig::new("iqn.2026-11.com.example:netsim".parse().unwrap());
    let address = "127.0.0.1:3260".to_owned();
    config.portals.push(PortalConfig { address, group: 1 });
    let disk = Lun::new(LunConfig::disk(1, 512, 64), Backing::ram());
    Target::new(config, [(0, disk)])
}

async fn serve(target: Target, port: u16) -> TargetServer {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    TargetServer::start(target, vec![listener.unwrap()]).unwrap()
}

fn login() -> Vec<u8> {
    let text = Text::new()
        .with("InitiatorName", "iqn.2026-11.com.example:test")
        .with("TargetName", "iqn.2026-11.com.example:netsim")
        .encode();
    let request = LoginRequest {
        flags: StageFlags {
            stage: Stage::Operational,
            transit: Some(Stage::FullFeature),
            continues: false,
        },
        version_max: 0,
        version_min: 0,
        isid: Isid::from_wire([0x80, 0, 0, 0, 0, 1]),
        tsih: 0,
        itt: Itt::new(1).unwrap(),
        cid: 0,
        cmd_sn: SerialNumber(1),
        exp_stat_sn: SerialNumber(0),
    };
    let mut bhs = request.encode();
    bhs.set_data_len(text.len().try_into().unwrap());
    let mut bytes = [&bhs.wire()[..], &text].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

async fn log_in(server: &TargetServer) -> TcpStream {
    let mut stream = TcpStream::connect(server.addresses()[0]).await.unwrap();
    stream.write_all(&login()).await.unwrap();
    let mut header = [0; 48];
    let read = timeout(LONG, stream.read_exact(&mut header)).await;
    read.expect("a response").unwrap();
    assert_eq!(
        (header[0], header[36]),
        (0x23, 0),
        "a login response, success"
    );
    let rest = usize::from(header[7]).next_multiple_of(4);
    stream.read_exact(&mut vec![0; rest]).await.unwrap();
    stream
}

#[tokio::test]
async fn a_stopped_target_resets_its_connections_and_can_be_started_again() {
    let server = serve(target(), 0).await;
    let port = server.addresses()[0].port();
    let mut stream = log_in(&server).await;
    assert_eq!(server.with(|target| target.sessions().count()), 1);
    let stopped = server.stop().await.expect("the target back");
    assert_eq!(stopped.sessions().count(), 0);
    let end = timeout(LONG, stream.read(&mut [0; 1])).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let server = serve(stopped, port).await;
    log_in(&server).await;
    assert_eq!(server.with(|target| target.statistics().logins), 2);
}

#[tokio::test]
async fn a_frozen_portal_takes_connections_and_answers_them_when_it_thaws() {
    let server = serve(target(), 0).await;
    let frozen = PortalBehaviour {
        frozen: true,
        ..PortalBehaviour::default()
    };
    server.with(|target| target.set_portal(0, frozen));
    let mut stream = TcpStream::connect(server.addresses()[0]).await.unwrap();
    stream.write_all(&login()).await.unwrap();
    let mut header = [0; 48];
    let early = timeout(SHORT, stream.read_exact(&mut header)).await;
    assert!(early.is_err(), "silent while frozen");
    server.with(|target| target.set_portal(0, PortalBehaviour::default()));
    let late = timeout(LONG, stream.read_exact(&mut header)).await;
    late.expect("an answer after the thaw").unwrap();
    assert_eq!(header[0], 0x23);
}

#[tokio::test]
async fn a_second_login_with_the_same_name_resets_the_first_connection() {
    let server = serve(target(), 0).await;
    let mut old = log_in(&server).await;
    let _new = log_in(&server).await;
    let end = timeout(LONG, old.read(&mut [0; 1])).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(server.with(|target| target.statistics().reinstated), 1);
}

#[tokio::test]
async fn garbage_ends_its_connection_and_nothing_else() {
    let server = serve(target(), 0).await;
    let _good = log_in(&server).await;
    let mut bad = TcpStream::connect(server.addresses()[0]).await.unwrap();
    bad.write_all(&[0xee; 4096]).await.unwrap();
    let end = timeout(LONG, bad.read(&mut [0; 1])).await.unwrap();
    assert!(end.is_err());
    assert_eq!(server.with(|target| target.sessions().count()), 1);
    assert_eq!(server.with(|target| target.breaches().len()), 1);
}
