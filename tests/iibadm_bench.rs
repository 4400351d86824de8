//! `iibadm bench` as a program, against the daemon and a simulated target.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use iiblockdaemon::shell::config_file;
use iiblockdaemon::shell::daemon::Daemon;
use netsim::target::lun::{Backing, Lun, LunConfig};
use netsim::target::server::TargetServer;
use netsim::target::{PortalConfig, Target, TargetConfig, TargetStatistics};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixStream};
use tokio::process::Command;

const TARGET: &str = "iqn.2026-11.com.example:bench";
const BLOCKS: u64 = 2048;

async fn iibadm(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iibadm"));
    let output = command.arg("bench").args(arguments).output();
    output.await.expect("iibadm runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("iibadm prints UTF-8")
}

/// A target with two portals and a disk of 1 MiB, and the daemon's configuration for it.
struct Site {
    server: TargetServer,
    folder: TempDir,
    portals: Vec<String>,
}

impl Site {
    /// `more` stands among the volume's keys.
    async fn new(more: &str) -> Self {
        let mut listeners = Vec::new();
        let mut config = TargetConfig::new(TARGET.parse().expect("a name"));
        for _ in 0..2 {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
            let address = listener.local_addr().expect("its address").to_string();
            config.portals.push(PortalConfig { address, group: 1 });
            listeners.push(listener);
        }
        let portals = config.portals.iter().map(|portal| portal.address.clone());
        let portals: Vec<String> = portals.collect();
        let disk = Lun::new(LunConfig::disk(0xd15c, 512, BLOCKS), Backing::ram());
        let server = TargetServer::start(Target::new(config, [(0, disk)]), listeners);
        let site = Self {
            server: server.expect("a server"),
            folder: TempDir::new().expect("a folder"),
            portals,
        };
        let folder = site.folder.path().display();
        let (a, b) = (&site.portals[0], &site.portals[1]);
        let config = format!(
            r#"
[daemon]
initiator_name = "iqn.2026-11.com.example:initiator"
state_dir = "{folder}/state"
control = {{ socket = "{folder}/control.sock" }}

[[volume]]
name = "db"
target = "{TARGET}"
lun = 0
policy = "round-robin"
export = {{ nbd = "unix:{folder}/db.sock" }}
paths = [{{ portal = "{a}" }}, {{ portal = "{b}" }}]
{more}
"#
        );
        std::fs::write(site.config(), config).expect("the configuration");
        site
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("multipath.toml")
    }

    fn socket(&self) -> String {
        format!("unix:{}", self.folder.path().join("db.sock").display())
    }

    /// The daemon, serving over both paths.
    async fn daemon(&self) -> Daemon {
        let config = config_file::explain(&self.config()).expect("a configuration");
        let daemon = Daemon::start(config, None).expect("a daemon");
        let socket = self.folder.path().join("control.sock");
        for _ in 0..1000 {
            let reachable = UnixStream::connect(self.folder.path().join("db.sock")).await;
            let mut status = Command::new(env!("CARGO_BIN_EXE_iibadm"));
            let status = status.arg("status").arg("--socket").arg(&socket).output();
            // 0: served over all its paths, which have made their proofs by then.
            if reachable.is_ok() && status.await.is_ok_and(|output| output.status.success()) {
                return daemon;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the volume is not served over both paths");
    }

    fn statistics(&self) -> TargetStatistics {
        self.server.with(|target| target.statistics())
    }

    fn sessions(&self) -> usize {
        self.server.with(|target| target.sessions().count())
    }

    fn untouched(&self) -> bool {
        self.server.with(|target| {
            let unit = target.unit(0).expect("the disk");
            let all = unit.peek(0, u32::try_from(BLOCKS).expect("a length"));
            all.expect("memory").iter().all(|byte| *byte == 0)
        })
    }

    async fn bench(&self, arguments: &[&str]) -> Output {
        let config = self.config();
        let config = config.to_str().expect("a UTF-8 path");
        iibadm(&[arguments, &["--time", "300ms", "--config", config]].concat()).await
    }
}

fn reports(output: &Output) -> Vec<Value> {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_export_and_each_path_are_read_and_no_session_of_the_daemon_ends() {
    let site = Site::new("").await;
    let daemon = site.daemon().await;
    let before = site.statistics();
    let output = site.bench(&["db", "--each-path", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let reports = reports(&output);
    assert_eq!(reports.len(), 3);
    for report in &reports {
        assert_eq!(report["error"], Value::Null, "{report}");
        assert!(report["ios"].as_u64() > Some(10), "{report}");
        assert!(report["elapsed_s"].as_f64() >= Some(0.3), "{report}");
        let rows = report["histogram"].as_array().expect("rows");
        let counted: u64 = rows.iter().filter_map(|row| row["ios"].as_u64()).sum();
        assert_eq!(report["ios"].as_u64(), Some(counted), "{report}");
    }
    assert_eq!(reports[0]["what"], format!("db over {}", site.socket()));
    assert_eq!(
        reports[2]["what"],
        format!("db over path {} alone", site.portals[1])
    );
    let after = site.statistics();
    assert_eq!(after.logins, before.logins + 2, "one for each path");
    assert_eq!(after.reinstated, before.reinstated);
    assert_eq!(site.sessions(), 2, "the daemon's");
    assert!(site.untouched());
    assert!(daemon.stop().await, "a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_need_the_name_twice_and_then_overwrite() {
    let site = Site::new("").await;
    let daemon = site.daemon().await;
    let unconfirmed = site.bench(&["db", "--write"]).await;
    assert_eq!(unconfirmed.status.code(), Some(2));
    let wrong = site.bench(&["db", "--write", "--overwrite", "dbe"]).await;
    assert_eq!(wrong.status.code(), Some(1));
    let said = text(&wrong.stderr);
    assert!(said.contains("to confirm: --overwrite db"), "{said}");
    assert!(site.untouched());
    let socket = site.socket();
    let more = ["--block-size", "64KiB", "--depth", "4", "--sequential"];
    let confirmed = [&[&socket, "--write", "--overwrite", &socket], &more[..]].concat();
    let output = site.bench(&confirmed).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let first = format!("{socket}: sequential writes of 64KiB, 4 in flight\n");
    assert!(said.starts_with(&first), "{said}");
    assert!(said.contains("I/Os per second"), "{said}");
    assert!(!site.untouched());
    assert!(daemon.stop().await, "a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_to_another_unit_is_not_read() {
    let site = Site::new("wwid = \"naa.60000000000000000000000000000bad\"").await;
    let output = site.bench(&["db", "--path", &site.portals[0]]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("ended early"), "{said}");
    assert!(
        said.contains("not naa.60000000000000000000000000000bad"),
        "{said}"
    );
    assert!(said.contains(" 0 I/Os"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_measured_is_said() {
    let site = Site::new("").await;
    let wrong = async |arguments: &[&str], code: i32, words: &str| {
        let output = site.bench(arguments).await;
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    };
    wrong(&[], 2, "VOLUME|EXPORT").await;
    wrong(&["dbe"], 1, "no volume \"dbe\"; there are: db").await;
    wrong(&["db", "--block-size", "4"], 2, "is no size").await;
    wrong(&["db", "--block-size", "1B"], 2, "from 512B to 32MiB").await;
    wrong(&["db", "--depth", "0"], 2, "1..=256").await;
    wrong(
        &["db", "--path", "10.9"],
        1,
        "no path \"10.9\"; there are: 127.0.0.1:",
    )
    .await;
    let (both, socket) = (
        ["--write", "--overwrite", "db", "--each-path"],
        site.socket(),
    );
    wrong(&[&["db"], &both[..]].concat(), 2, "cannot be used with").await;
    wrong(
        &[&socket, "--each-path"],
        1,
        "an export does not tell its paths",
    )
    .await;
    wrong(
        &["db", "--export-name", "x"],
        1,
        "a volume's export has its name",
    )
    .await;
    wrong(&["db"], 1, "cannot reach unix:").await;
    let path = ["db", "--path", &site.portals[1], "--block-size", "1000B"];
    wrong(&path, 1, "multiples of 512").await;
}
