//! The same bytes on both sides: through our device, and through libiscsi on the same LUN.

use std::path::Path;

use crate::support::config::{Auth, Volume};
use crate::support::daemon::Daemon;
use crate::support::lab::{Lab, scratch};
use crate::support::tgt::{Account, Tgtd};
use crate::support::tools::{
    nbd_uri, nbdcopy, nbdinfo, nbdsh, qemu_img_compare, qemu_img_copy, qemu_io, random_file,
};

const OWN: Account = Account {
    user: "db1",
    secret: "twelve-letters",
};
const TARGET: Account = Account {
    user: "array1",
    secret: "other-letters",
};

/// Writes through NBD and reads through libiscsi and the backing file, then the other way round, on LUNs
/// of both block sizes. `prepare` sets tgt, `lines` our side.
fn both_ways(auth: Option<Auth>, lines: &[&str], prepare: impl Fn(&mut Tgtd)) {
    let folder = scratch();
    let mut tgtd = Tgtd::start(folder.path(), "iqn.2026-11.test:data", 2);
    let images = [tgtd.add_lun(1, 512, 8), tgtd.add_lun(2, 4096, 8)];
    prepare(&mut tgtd);
    let volumes: Vec<Volume> = [1, 2]
        .map(|lun| {
            let mut volume = Volume::of(&tgtd, lun);
            volume.auth = auth;
            lines.iter().fold(volume, |volume, line| volume.with(line))
        })
        .into();
    let mut daemon = Daemon::start(folder.path(), &volumes);
    for (volume, image) in volumes.iter().zip(&images) {
        daemon.wait_ready(volume);
        let uri = nbd_uri(&volume.socket(folder.path()), &volume.name);
        let (one, other) = (
            random_file(folder.path(), 1, 8),
            random_file(folder.path(), 2, 8),
        );
        let text = |path: &Path| path.to_str().expect("a name").to_owned();
        nbdcopy(&text(&one), &uri);
        qemu_img_compare(&text(&one), &text(image));
        let foreign = foreign_url(&tgtd, volume);
        qemu_img_compare(&text(&one), &foreign);
        qemu_img_copy(&text(&other), &foreign);
        qemu_img_compare(&text(&other), &uri);
        let back = folder.path().join("back.img");
        nbdcopy(&uri, &text(&back));
        assert_eq!(
            std::fs::read(&other).expect("the source"),
            std::fs::read(&back).expect("the copy")
        );
    }
    daemon.assert_well();
}

/// The LUN's address for libiscsi, with the secrets that tgt demands.
fn foreign_url(tgtd: &Tgtd, volume: &Volume) -> String {
    let (portal, target, lun) = (tgtd.portals()[0], tgtd.target(), volume.lun);
    match volume.auth {
        None => format!("iscsi://{portal}/{target}/{lun}"),
        // qemu's address has no place for the target's secret; it checks ours only.
        Some(Auth { own, .. }) => format!(
            "iscsi://{}%{}@{portal}/{target}/{lun}",
            own.user, own.secret
        ),
    }
}

#[test]
fn data_is_the_same_on_both_sides() {
    both_ways(None, &[], |_| {});
}

#[test]
fn data_is_the_same_on_both_sides_with_chap() {
    both_ways(
        Some(Auth {
            own: OWN,
            target: None,
        }),
        &[],
        |tgtd| tgtd.require_chap(OWN, None),
    );
}

#[test]
fn data_is_the_same_on_both_sides_with_mutual_chap() {
    let auth = Auth {
        own: OWN,
        target: Some(TARGET),
    };
    both_ways(Some(auth), &[], |tgtd| tgtd.require_chap(OWN, Some(TARGET)));
}

#[test]
fn data_is_the_same_on_both_sides_with_header_digests() {
    both_ways(None, &["iscsi = { header_digest = \"crc32c\" }"], |tgtd| {
        tgtd.set("HeaderDigest", "CRC32C")
    });
}

#[test]
fn data_is_the_same_on_both_sides_with_data_digests() {
    both_ways(None, &["iscsi = { data_digest = \"crc32c\" }"], |tgtd| {
        tgtd.set("DataDigest", "CRC32C")
    });
}

#[test]
fn data_is_the_same_on_both_sides_with_chap_and_both_digests() {
    let lines = ["iscsi = { header_digest = \"crc32c\", data_digest = \"crc32c\" }"];
    both_ways(
        Some(Auth {
            own: OWN,
            target: None,
        }),
        &lines,
        |tgtd| {
            tgtd.require_chap(OWN, None);
            tgtd.set("HeaderDigest", "CRC32C");
            tgtd.set("DataDigest", "CRC32C");
        },
    );
}

#[test]
fn data_is_the_same_on_both_sides_for_every_way_of_sending_write_data() {
    for (initial_r2t, immediate_data) in
        [("No", "Yes"), ("No", "No"), ("Yes", "Yes"), ("Yes", "No")]
    {
        let flag = |value: &str| value == "Yes";
        let line = format!(
            "iscsi = {{ initial_r2t = {}, immediate_data = {}, first_burst_length = \"16KiB\", \
             max_burst_length = \"64KiB\" }}",
            flag(initial_r2t),
            flag(immediate_data)
        );
        both_ways(None, &[&line], |tgtd| {
            tgtd.set("InitialR2T", initial_r2t);
            tgtd.set("ImmediateData", immediate_data);
            tgtd.set("MaxRecvDataSegmentLength", "8192");
        });
    }
}

#[test]
fn the_export_says_what_the_lun_can_do() {
    for block in [512, 4096] {
        let lab = Lab::two_paths(block, &[]);
        let info = nbdinfo(&lab.uri());
        assert_eq!(info["export-size"], 64 << 20, "{info:#}");
        assert_eq!(info["block_size_minimum"], block, "{info:#}");
        assert_eq!(info["can_flush"], true, "{info:#}");
        assert_eq!(info["can_fua"], true, "{info:#}");
        assert_eq!(info["can_multi_conn"], true, "{info:#}");
        assert_eq!(info["is_read_only"], false, "{info:#}");
    }
}

#[test]
fn a_request_that_is_not_aligned_to_the_block_size_is_refused_with_einval() {
    let mut lab = Lab::two_paths(4096, &[]);
    let script = "
h.set_strict_mode(0)
for request in (lambda: h.pread(512, 0), lambda: h.pread(4096, 512), lambda: h.pwrite(bytes(512), 4096)):
    try:
        request()
    except nbd.Error as error:
        assert error.errno == 'EINVAL', error
    else:
        raise SystemExit('an unaligned request was carried out')
assert h.pread(4096, 4096) == bytes(4096)
";
    nbdsh(&lab.uri(), script);
    lab.daemon.assert_well();
}

#[test]
fn every_request_of_the_protocol_works_against_tgt() {
    let mut lab = Lab::two_paths(512, &[]);
    assert_eq!(
        nbdinfo(&lab.uri())["can_trim"],
        false,
        "tgt's LUN is not thin"
    );
    let script = "
h.pwrite(b'a' * 65536, 0, nbd.CMD_FLAG_FUA)
h.flush()
h.zero(4096, 4096)
h.zero(512, 1024, nbd.CMD_FLAG_NO_HOLE)
data = h.pread(65536, 0)
assert data[:1024] == b'a' * 1024 and data[1024:1536] == bytes(512) and data[4096:8192] == bytes(4096)
assert data[8192:] == b'a' * (65536 - 8192)
h.pwrite(b'b' * (4 << 20), 8 << 20)
assert h.pread(4 << 20, 8 << 20) == b'b' * (4 << 20)
h.set_strict_mode(0)
for beyond in (64 << 20, (64 << 20) - 512):
    try:
        h.pread(1024, beyond)
    except nbd.Error as error:
        assert error.errno in ('EINVAL', 'ENOSPC'), error
    else:
        raise SystemExit('a read beyond the end was carried out')
";
    nbdsh(&lab.uri(), script);
    qemu_io(
        &lab.uri(),
        &[
            "write -f -P 7 1M 1M",
            "write -z 1M 64k",
            "read -P 0 1M 64k",
            "read -P 7 1088k 512k",
        ],
    );
    lab.daemon.assert_well();
}

#[test]
fn a_thin_lun_is_trimmed() {
    let folder = scratch();
    let mut tgtd = Tgtd::start(folder.path(), "iqn.2026-11.test:thin", 1);
    let image = tgtd.add_lun(1, 512, 8);
    tgtd.set_lun(1, "thin_provisioning=1");
    let volume = Volume::of(&tgtd, 1);
    let mut daemon = Daemon::start(folder.path(), std::slice::from_ref(&volume));
    let uri = nbd_uri(&volume.socket(folder.path()), &volume.name);
    assert_eq!(nbdinfo(&uri)["can_trim"], true);
    qemu_io(&uri, &["write -P 7 0 8M", "flush"]);
    let full = allocated(&image);
    nbdsh(
        &uri,
        "h.trim(4 << 20, 4 << 20)\nh.zero(1 << 20, 0)\nh.flush()",
    );
    assert!(
        allocated(&image) <= full - (4 << 20),
        "{} of {full} bytes are still there",
        allocated(&image)
    );
    qemu_io(
        &uri,
        &["read -P 0 0 1M", "read -P 7 1M 3M", "read -P 0 4M 4M"],
    );
    daemon.assert_well();
}

/// Bytes of a file that take room on the disk.
fn allocated(file: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(file).expect("the backing file").blocks() * 512
}
