//! tgt, Debian's userspace target: a private tgtd per test.
//!
//! Things to know about it (1.0.85): several portals go into one `--iscsi` option; its SendTargets answer
//! names the asked portal only; its control socket answers root only; default identifiers derive from target
//! and LUN number; a negotiable key's own value is what `tgtadm --op update` sets, e.g. digests are `None`
//! until set; it creates nothing at start, so a login in the first moments finds no target; a portal that it
//! cannot bind is a line in its log, nothing more; a text request in a normal session ends the connection.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::process::{Running, failure, success, within};
use super::{fresh_address, wait_for};

/// A CHAP account.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    pub(crate) user: &'static str,
    pub(crate) secret: &'static str,
}

/// 16 hexadecimal digits that stand in every name of a LUN with this identity: tgt makes the end of its NAA
/// designator of the digits of its SCSI id.
pub(crate) fn name_of(identity: &str) -> String {
    let hash = identity
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{hash:016x}")
}

/// A tgtd of our own, listening on one loopback address per portal, with one target of id 1.
pub(crate) struct Tgtd {
    folder: PathBuf,
    running: Option<Running>,
    portals: Vec<SocketAddrV4>,
    target: String,
    /// The network namespace that it runs in.
    namespace: Option<String>,
    /// The tgtadm calls that made it what it is; repeated after a restart.
    setup: Vec<String>,
}

impl Tgtd {
    /// Starts one with an empty target that every initiator may use.
    pub(crate) fn start(folder: &Path, target: &str, portals: usize) -> Self {
        let portals: Vec<SocketAddrV4> = (0..portals).map(|_| fresh_address()).collect();
        Self::start_in(folder, target, &portals, None)
    }

    /// The same on these portals, in a network namespace.
    pub(crate) fn start_in(
        folder: &Path,
        target: &str,
        portals: &[SocketAddrV4],
        namespace: Option<&str>,
    ) -> Self {
        let folder = folder.join(format!(
            "tgt-{}",
            target.rsplit(':').next().unwrap_or("target")
        ));
        std::fs::create_dir_all(&folder).expect("a folder for tgtd");
        let mut tgtd = Self {
            folder,
            running: None,
            portals: portals.to_vec(),
            target: target.into(),
            namespace: namespace.map(str::to_owned),
            setup: Vec::new(),
        };
        tgtd.launch();
        tgtd.admin(&format!(
            "--mode target --op new --tid 1 --targetname {target}"
        ));
        tgtd.admin("--mode target --op bind --tid 1 --initiator-address ALL");
        tgtd
    }

    fn launch(&mut self) {
        let portals: Vec<String> = self
            .portals
            .iter()
            .map(|portal| format!("portal={portal}"))
            .collect();
        let mut command = within(self.namespace.as_deref(), "tgtd");
        command
            .args(["-f", "-C", "1", "--iscsi", &portals.join(",")])
            .env("TGT_IPC_SOCKET", self.ipc());
        let mut running = Running::start(&self.folder, "tgtd", &mut command);
        let started = || {
            let ended = running.ended();
            assert!(
                ended.is_none(),
                "tgtd ended at once: {ended:?}\n{}",
                running.log()
            );
            self.tgtadm("--mode target --op show")
                .output()
                .is_ok_and(|output| output.status.success())
                .then_some(())
        };
        wait_for("an answer of tgtd", Duration::from_secs(10), started);
        let log = running.log();
        assert!(
            !log.contains("unable to bind"),
            "tgtd goes on without a portal:\n{log}"
        );
        self.running = Some(running);
    }

    fn ipc(&self) -> PathBuf {
        self.folder.join("ipc")
    }

    fn tgtadm(&self, arguments: &str) -> Command {
        let mut command = Command::new("tgtadm");
        command
            .args(["-C", "1", "--lld", "iscsi"])
            .args(arguments.split(' '));
        command.env("TGT_IPC_SOCKET", self.ipc());
        command
    }

    /// Runs tgtadm and remembers the call for a restart.
    fn admin(&mut self, arguments: &str) {
        success(&self.tgtadm(arguments));
        self.setup.push(arguments.to_owned());
    }

    /// Adds a LUN over a sparse file of `mebibytes`; returns the file. Each LUN gets names of its own.
    pub(crate) fn add_lun(&mut self, lun: u8, block: u32, mebibytes: u64) -> PathBuf {
        let image = self.folder.join(format!("lun{lun}.img"));
        let file = std::fs::File::create(&image).expect("the backing file");
        file.set_len(mebibytes << 20)
            .expect("room for the backing file");
        self.add_lun_over(&image, lun, block, &self.identity(lun));
        image
    }

    /// What [`Self::add_lun`] calls a LUN.
    fn identity(&self, lun: u8) -> String {
        format!("{}-{lun}", self.folder.display())
    }

    /// The digits in every name of a LUN of [`Self::add_lun`].
    pub(crate) fn name_of(&self, lun: u8) -> String {
        name_of(&self.identity(lun))
    }

    /// Adds a LUN over an existing file, under names that `identity` determines.
    pub(crate) fn add_lun_over(&mut self, image: &Path, lun: u8, block: u32, identity: &str) {
        let name = name_of(identity);
        self.add_nameless_lun_over(image, lun, block);
        let unit = format!("--mode logicalunit --tid 1 --lun {lun}");
        self.admin(&format!(
            "{unit} --op update --params scsi_id=lun-{name},scsi_sn={}",
            &name[..8]
        ));
    }

    /// Adds a LUN over an existing file, under the names that tgt gives to that number by default.
    pub(crate) fn add_nameless_lun_over(&mut self, image: &Path, lun: u8, block: u32) {
        let unit = format!("--mode logicalunit --op new --tid 1 --lun {lun} --blocksize {block}");
        self.admin(&format!("{unit} --backing-store {}", image.display()));
    }

    /// Sets a parameter of a LUN: `thin_provisioning=1`, `readonly=1`, …
    pub(crate) fn set_lun(&mut self, lun: u8, parameter: &str) {
        let unit = format!("--mode logicalunit --op update --tid 1 --lun {lun}");
        self.admin(&format!("{unit} --params {parameter}"));
    }

    pub(crate) fn remove_lun(&mut self, lun: u8) {
        self.admin(&format!(
            "--mode logicalunit --op delete --tid 1 --lun {lun}"
        ));
    }

    /// Sets a parameter of the target: `HeaderDigest`, `InitialR2T`, `nop_interval`, `RedirectAddress`, …
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.admin(&format!(
            "--mode target --op update --tid 1 --name {name} --value {value}"
        ));
    }

    /// Demands CHAP of initiators; with `outgoing`, also proves the target to them.
    pub(crate) fn require_chap(&mut self, incoming: Account, outgoing: Option<Account>) {
        self.account(incoming, "");
        if let Some(outgoing) = outgoing {
            self.account(outgoing, " --outgoing");
        }
    }

    fn account(&mut self, Account { user, secret }: Account, direction: &str) {
        self.admin(&format!(
            "--mode account --op new --user {user} --password {secret}"
        ));
        self.admin(&format!(
            "--mode account --op bind --tid 1 --user {user}{direction}"
        ));
    }

    pub(crate) fn portals(&self) -> &[SocketAddrV4] {
        &self.portals
    }

    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// The address that libiscsi's programs take.
    pub(crate) fn url(&self, lun: u8) -> String {
        format!("iscsi://{}/{}/{lun}", self.portals[0], self.target)
    }

    /// How many sessions it has now.
    pub(crate) fn sessions(&self) -> usize {
        let show = success(&self.tgtadm("--mode target --op show"));
        show.lines()
            .filter(|line| line.trim_start().starts_with("I_T nexus:"))
            .count()
    }

    /// Kills it; connections end with RST or FIN, as the kernel has it.
    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    /// Starts it again as it was; `gap` passes between its listening and its first target.
    pub(crate) fn restart(&mut self, gap: Duration) {
        self.kill();
        self.launch();
        super::pause(gap);
        for arguments in &self.setup {
            success(&self.tgtadm(arguments));
        }
    }

    /// Stops the process without ending it: its kernel goes on acknowledging.
    pub(crate) fn freeze(&self) {
        self.process().signal(Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self) {
        self.process().signal(Signal::SIGCONT);
    }

    fn process(&self) -> &Running {
        self.running.as_ref().expect("tgtd was killed by this test")
    }

    /// Asserts that libiscsi's tool is refused at login.
    pub(crate) fn assert_refuses_strangers(&self) {
        let said = failure(Command::new("iscsi-inq").arg(self.url(1)));
        assert!(said.contains("Login") || said.contains("login"), "{said}");
    }
}
