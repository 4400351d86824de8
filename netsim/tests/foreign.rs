//! netsim's own parts against foreign software over loopback: libiscsi's tools and test suite as
//! initiators of the simulated target, qemu-nbd as the server of our NBD client and workload.
//!
//! Needs the Debian packages libiscsi-bin and qemu-utils.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use iiblockdaemon::iscsi::chap::{ChapAlgorithm, Secret};
use netsim::demo::{DemoConfig, Timeline};
use netsim::fault::Fault;
use netsim::link::Held;
use netsim::nbd_client::{Address, Client, ClientConfig};
use netsim::proxy::{ProxyConfig, ProxyHandle};
use netsim::target::lun::{Backing, Lun, LunConfig};
use netsim::target::server::TargetServer;
use netsim::target::{
    Breach, DigestWish, PortalConfig, Target, TargetAuth, TargetConfig, TargetStatistics,
};
use netsim::workload::{Workload, WorkloadConfig};
use tokio::net::TcpListener;

const NAME: &str = "iqn.2026-11.com.example:netsim";
const SIZE: u64 = 32 << 20;

async fn serve(change: impl FnOnce(&mut TargetConfig)) -> TargetServer {
    let mut config = TargetConfig::new(NAME.parse().unwrap());
    let mut listeners = Vec::new();
    for group in [1, 2] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        config.portals.push(PortalConfig { address, group });
        listeners.push(listener);
    }
    change(&mut config);
    let disk = |number| {
        let config = LunConfig::disk(number, 512, SIZE / 512);
        Lun::new(config, Backing::ram())
    };
    let target = Target::new(config, [(0, disk(0)), (7, disk(7))]);
    TargetServer::start(target, listeners).unwrap()
}

/// Runs a program to its end; gives what it said and whether it succeeded.
async fn run(program: &str, arguments: &[&str]) -> (String, bool) {
    let mut command = tokio::process::Command::new(program);
    let output = command.args(arguments).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(120), output)
        .await
        .unwrap_or_else(|_| panic!("{program} does not end"))
        .unwrap_or_else(|error| panic!("{program} (package libiscsi-bin or qemu-utils): {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (said, output.status.success())
}

fn url(addr: SocketAddr, user: &str, lun: u16) -> String {
    format!("iscsi://{user}{addr}/{NAME}/{lun}")
}

/// libiscsi never acknowledges a StatSN if the first one was above 2^31, and one too many after an
/// R2T: both known, both harmless.
fn real_breaches(server: &TargetServer) -> Vec<Breach> {
    let mut breaches = server.with(|target| target.breaches());
    breaches.retain(|breach| !matches!(breach, Breach::ExpStatSn { .. }));
    breaches
}

#[tokio::test(flavor = "multi_thread")]
async fn libiscsi_discovers_all_portals_and_units() {
    let server = serve(|_| {}).await;
    let [a, b] = server.addresses() else {
        panic!("two portals")
    };
    let (said, ok) = run("iscsi-ls", &["-s", &format!("iscsi://{a}")]).await;
    assert!(ok, "{said}");
    for expected in [
        format!("Portal:{a},1"),
        format!("Portal:{b},2"),
        "Lun:0 ".to_owned(),
        "Lun:7 ".to_owned(),
    ] {
        assert!(said.contains(&expected), "{expected} in:\n{said}");
    }
    let (said, ok) = run("iscsi-inq", &[&url(*b, "", 7)]).await;
    assert!(ok && said.contains("Vendor:NETSIM"), "{said}");
    let (said, ok) = run("iscsi-readcapacity16", &["-s", &url(*b, "", 7)]).await;
    assert!(ok && said.trim() == SIZE.to_string(), "{said}");
    assert_eq!(real_breaches(&server), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn libiscsi_passes_chap_both_ways_and_is_refused_with_a_wrong_secret() {
    let server = serve(|config| {
        config.auth = Some(TargetAuth {
            user: "bob".to_owned(),
            secret: Secret::new(b"secretsecret12").unwrap(),
            algorithms: ChapAlgorithm::ALL.to_vec(),
            mutual: Some(("array".to_owned(), Secret::new(b"othersecret123").unwrap())),
        });
    })
    .await;
    let addr = server.addresses()[0];
    let right = url(addr, "bob%secretsecret12@", 0);
    let (said, ok) = run("iscsi-readcapacity16", &[&right]).await;
    assert!(ok, "{said}");
    let mutual = format!("{right}?target_user=array&target_password=othersecret123");
    let (said, ok) = run("iscsi-readcapacity16", &[&mutual]).await;
    assert!(ok, "{said}");
    let false_target = format!("{right}?target_user=array&target_password=othersecret124");
    let (said, ok) = run("iscsi-readcapacity16", &[&false_target]).await;
    assert!(!ok && said.contains("CHAP_R"), "{said}");
    for user in ["bob%wrongsecret123@", ""] {
        let (said, ok) = run("iscsi-readcapacity16", &[&url(addr, user, 0)]).await;
        assert!(!ok && said.contains("Authentication failure"), "{said}");
    }
}

async fn conformance(server: &TargetServer, suites: &[&str]) -> TargetStatistics {
    let url = url(server.addresses()[0], "", 0);
    for suite in suites {
        let arguments = ["--dataloss", "--normal", "--test", suite, &url];
        let (said, ok) = run("iscsi-test-cu", &arguments).await;
        let failed = said.lines().find(|line| line.trim().starts_with("tests "));
        let counts: Vec<u64> = failed
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let [_total, ran, passed, failed, ..] = counts[..] else {
            panic!("{suite}:\n{said}")
        };
        assert!(
            ok && ran > 0 && failed == 0,
            "{suite}: {passed} of {ran}\n{said}"
        );
    }
    server.with(|target| target.statistics())
}

#[tokio::test(flavor = "multi_thread")]
async fn libiscsis_conformance_suites_pass_with_data_of_every_kind() {
    let suites = [
        "ALL.Read10",
        "ALL.Read16",
        "ALL.Write10",
        "ALL.Write16",
        "ALL.WriteSame16",
        "ALL.Unmap",
        "ALL.TestUnitReady",
        "ALL.MultipathIO",
        "ALL.iSCSIcmdsn",
        "ALL.iSCSITMF",
    ];
    let server = serve(|_| {}).await;
    let statistics = conformance(&server, &suites).await;
    assert!(statistics.executed > 1000, "{statistics:?}");
    // The same commands, all data asked for in small bursts.
    let server = serve(|config| {
        let wishes = &mut config.wishes;
        wishes.initial_r2t = true;
        wishes.immediate_data = false;
        wishes.max_burst_length = 4096;
        wishes.max_recv_data_segment_length = 1024;
        wishes.header_digest = DigestWish::Crc32c;
        config.status_in_data = false;
    })
    .await;
    conformance(&server, &["ALL.Read16", "ALL.Write16", "ALL.Unmap"]).await;
    assert_eq!(real_breaches(&server), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn libiscsi_works_through_a_proxy_and_is_cut_off_by_it() {
    let server = serve(|_| {}).await;
    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    let to = server.addresses()[0].to_string();
    let proxy = ProxyHandle::start(ProxyConfig::new(listen, to)).unwrap();
    let url = url(proxy.local_addr(), "", 0);
    let (said, ok) = run("iscsi-readcapacity16", &[&url]).await;
    assert!(ok, "{said}");
    proxy.set(&Fault::Cut);
    let (said, ok) = run("iscsi-readcapacity16", &[&url]).await;
    assert!(!ok, "{said}");
    proxy.heal(Held::Release);
    while tokio::net::TcpStream::connect(proxy.local_addr())
        .await
        .is_err()
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (said, ok) = run("iscsi-readcapacity16", &[&url]).await;
    assert!(ok, "{said}");
    assert!(proxy.statistics().to_initiator.forwarded > 0);
}

/// A qemu-nbd over a file, until it is dropped.
struct QemuNbd {
    child: Child,
    address: Address,
    _folder: tempfile::TempDir,
}

impl QemuNbd {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("demo.sock");
        let child = Self::launch(folder.path());
        let address = Address::Unix(socket);
        wait_for(&address).await;
        Self {
            child,
            address,
            _folder: folder,
        }
    }

    fn launch(folder: &std::path::Path) -> Child {
        let image = folder.join("image");
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(SIZE).unwrap();
        let mut command = Command::new("qemu-nbd");
        command
            .args(["--persistent", "--shared=4", "--format=raw", "--socket"])
            .arg(folder.join("demo.sock"))
            .arg(&image)
            .stdin(Stdio::null());
        command.spawn().expect("qemu-nbd (package qemu-utils)")
    }
}

impl Drop for QemuNbd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn wait_for(address: &Address) {
    for _ in 0..200 {
        if Client::connect(ClientConfig::new(address.clone()))
            .await
            .is_ok()
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{address} does not come up");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workload_finds_nothing_wrong_with_qemu_nbd() {
    let server = QemuNbd::start().await;
    for (seed, structured_replies) in [(5, true), (6, false)] {
        let mut config = ClientConfig::new(server.address.clone());
        config.structured_replies = structured_replies;
        let client = Client::connect(config.clone()).await.unwrap();
        assert_eq!(client.export().structured_replies, structured_replies);
        assert_eq!(client.export().size, SIZE);
        let clients = [client, Client::connect(config).await.unwrap()];
        let load = WorkloadConfig::mixed(seed, 512, SIZE);
        let workload = Workload::start(&clients, load, "all");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let report = workload.finish().await;
        assert!(report.is_clean(), "{report:?}");
        assert!(report.ios() > 100, "{report:?}");
        assert!(report.blocks_checked > SIZE / 512, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workload_sees_data_that_somebody_else_changed() {
    let server = QemuNbd::start().await;
    let client = Client::connect(ClientConfig::new(server.address.clone()));
    let client = client.await.unwrap();
    let load = WorkloadConfig::mixed(5, 512, 1 << 20);
    let workload = Workload::start(std::slice::from_ref(&client), load, "all");
    tokio::time::sleep(Duration::from_millis(300)).await;
    client.write_zeroes(0, 1 << 20, false).await.unwrap();
    let report = workload.finish().await;
    assert!(report.mismatches > 0);
    assert!(!report.violations.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_prints_its_table_for_whatever_serves_the_export() {
    let folder = tempfile::tempdir().unwrap();
    let config = DemoConfig {
        timeline: Timeline::standard(Duration::from_millis(200)),
        size: SIZE,
        ..DemoConfig::default()
    };
    let mut out = Vec::new();
    let start = async |site: &netsim::demo::Site| Ok(QemuNbd::launch(&site.folder));
    let demo = netsim::demo::run(&config, folder.path(), start, &mut out).await;
    let said = String::from_utf8(out).unwrap();
    let mut demo = demo.unwrap_or_else(|error| panic!("{error:#}\n{said}"));
    demo.daemon.kill().unwrap();
    demo.daemon.wait().unwrap();
    for word in [
        "cut path A",
        "black-hole path A",
        "0 errors",
        "0 mismatches",
    ] {
        assert!(said.contains(word), "{word} in:\n{said}");
    }
    assert_eq!(demo.report.phases.len(), 6);
    assert!(demo.proxies[0].path().is_clear());
}
