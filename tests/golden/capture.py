#!/usr/bin/env python3
"""Records what foreign iSCSI stacks say to each other, as the golden vectors of tests/golden.rs.

    tests/golden/capture.py [FOLDER]

It starts a private tgtd, lets libiscsi's and qemu's tools (and, for what they never ask, the small initiator
of probe.py) talk to it through a recording proxy, and writes one .pdus file per scenario:

    # a comment
    connection header_digest=crc32c data_digest=none
    I 43870000... 00*12   # Login Request stage 1 to 3
    T 23870000...         # Login Response ...

One line is one PDU as it stood on the wire, sent by the Initiator or the Target; BB*N stands for N times the
byte BB. Needs the packages tgt, libiscsi-bin, qemu-utils, qemu-block-extra.
"""

import contextlib
import os
import pathlib
import re
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time

import wire
from probe import LoginRefused, Probe

TARGET = "iqn.2026-11.test:golden"
CHAP = ("initiator-user", "initiator-secret")
MUTUAL = ("target-user", "target-secret-1")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Tgtd:
    """A tgtd of our own on a loopback port, with a 512-byte LUN 1 and a 4096-byte LUN 2."""

    def __init__(self, folder):
        self.port, self.control = free_port(), str(os.getpid() % 30000 + 1000)
        self.environment = {**os.environ, "TGT_IPC_SOCKET": f"{folder}/ipc"}
        command = ["tgtd", "-f", "-C", self.control, "--iscsi", f"portal=127.0.0.1:{self.port}"]
        self.log = open(f"{folder}/tgtd.log", "wb")
        self.process = subprocess.Popen(command, env=self.environment, stdout=self.log, stderr=self.log)
        while not os.path.exists(f"{folder}/ipc.{self.control}"):
            assert self.process.poll() is None, "tgtd did not start"
            time.sleep(0.05)
        self.admin("target", "new", targetname=TARGET)
        for lun, block in ((1, 512), (2, 4096)):
            with open(f"{folder}/{lun}.img", "wb") as image:
                image.truncate(4 << 20)
            self.admin("logicalunit", "new", lun=lun, backing_store=f"{folder}/{lun}.img", blocksize=block)
        self.admin("target", "bind", initiator_address="ALL")

    def admin(self, mode, op, tid=1, **options):
        command = ["tgtadm", "-C", self.control, "--lld", "iscsi", "--mode", mode, "--op", op]
        command += ["--tid", str(tid)] if tid else []
        for key, value in options.items():
            command += ["--" + key.replace("_", "-")] + ([] if value is True else [str(value)])
        subprocess.run(command, check=True, env=self.environment)

    def set(self, name, value):
        self.admin("target", "update", name=name, value=value)

    @contextlib.contextmanager
    def accounts(self, *, outgoing):
        self.admin("account", "new", tid=None, user=CHAP[0], password=CHAP[1])
        self.admin("account", "bind", user=CHAP[0])
        if outgoing:
            self.admin("account", "new", tid=None, user=MUTUAL[0], password=MUTUAL[1])
            self.admin("account", "bind", user=MUTUAL[0], outgoing=True)
        yield
        for user in [CHAP[0]] + ([MUTUAL[0]] if outgoing else []):
            self.admin("account", "delete", tid=None, user=user)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Recorder:
    """A TCP proxy that keeps what passes, in the order in which it passed."""

    def __init__(self, to):
        self.listener, self.to, self.connections = socket.create_server(("127.0.0.1", 0)), to, []
        self.portal = self.listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            record = []
            self.connections.append(record)
            threading.Thread(target=self._copy, args=(client, record), daemon=True).start()

    def _copy(self, client, record):
        target = socket.create_connection(("127.0.0.1", self.to))
        peers = {client: ("I", target), target: ("T", client)}
        while True:
            for ready in select.select(list(peers), [], [])[0]:
                side, peer = peers[ready]
                with contextlib.suppress(ConnectionError):
                    if data := ready.recv(1 << 16):
                        record.append((side, data))
                        peer.sendall(data)
                        continue
                client.close()
                target.close()
                return


def split(record):
    """The connection's PDUs in order as (side, bytes), and its digests."""
    streams, pdus, digests = {"I": b"", "T": b""}, [], [False, False]
    for side, data in record:
        streams[side] += data
        while True:
            length = wire.pdu_length(streams[side], *digests)
            if length is None or len(streams[side]) < length:
                break
            pdu, streams[side] = streams[side][:length], streams[side][length:]
            if pdu[0] == 0x23:
                text = wire.data_segment(pdu, False)
                for at, key in enumerate((b"HeaderDigest=CRC32C\0", b"DataDigest=CRC32C\0")):
                    digests[at] = digests[at] or key in text
            pdus.append((side, pdu))
    assert not any(streams.values()), "the connection ended inside a PDU"
    return pdus, digests


def hexadecimal(pdu):
    """The bytes in hexadecimal, runs of 12 and more as BB*N."""
    out = []
    for run in re.finditer(rb"(?s)(.)\1{11,}|(?:(.)(?!\2{11}))+", pdu):
        out.append(f"{run[0][0]:02x}*{len(run[0])}" if run[1] is not None else run[0].hex())
    return " ".join(out)


def write(folder, name, about, connections):
    lines = [f"# {about}"]
    for record in filter(None, connections):
        pdus, digests = split(record)
        header, data = ("crc32c" if digest else "none" for digest in digests)
        lines += ["", f"connection header_digest={header} data_digest={data}"]
        lines += [f"{side} {hexadecimal(pdu)}  # {wire.name(pdu)}" for side, pdu in pdus]
    path = pathlib.Path(folder, name + ".pdus")
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    print(f"{path.name:34} {path.stat().st_size:7} bytes, {sum(l[:2] in ('I ', 'T ') for l in lines)} PDUs")


def tool(*command, fails=False):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    if (done.returncode != 0) != fails:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout.decode()}")


def refused(probe, status, **login):
    try:
        probe.login(**login)
    except LoginRefused as refusal:
        assert str(refusal) == status, refusal
    else:
        sys.exit(f"the target did not refuse with {status}")


# Scenarios: the docstring is the first line of the file; each gets the target and the recorder's portal.


def libiscsi_discovery(tgtd, portal):
    """libiscsi iscsi-ls: a discovery session with SendTargets=All."""
    tool("iscsi-ls", "iscsi://%s:%d" % portal)


def libiscsi_discovery_long(tgtd, portal):
    """libiscsi iscsi-ls and the probe (4096 byte segments): many targets, so that the answer is continued."""
    names = [f"iqn.2026-11.test:golden-{number:02}-" + "long" * 32 for number in range(50)]
    for tid, target in enumerate(names, 2):
        tgtd.admin("target", "new", tid=tid, targetname=target)
        tgtd.admin("target", "bind", tid=tid, initiator_address="ALL")
    probe = Probe(portal)
    probe.login()
    probe.text(SendTargets="All")
    probe.logout()
    for tid in range(2, 2 + len(names)):
        tgtd.admin("target", "delete", tid=tid)


def libiscsi_inquiry(tgtd, portal):
    """libiscsi iscsi-inq: login without authentication, unit attention, INQUIRY standard and VPD pages."""
    url = "iscsi://%s:%d/" % portal + TARGET + "/1"
    tool("iscsi-inq", url)
    for page in (0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2):
        tool("iscsi-inq", "-e", "1", "-c", str(page), url)


def libiscsi_capacity(tgtd, portal):
    """libiscsi iscsi-readcapacity16: 512 and 4096 byte blocks."""
    for lun in (1, 2):
        tool("iscsi-readcapacity16", "iscsi://%s:%d/" % portal + f"{TARGET}/{lun}")


def libiscsi_chap(tgtd, portal):
    """libiscsi iscsi-inq: one-way CHAP with MD5, and with a wrong secret (status 0201)."""
    with tgtd.accounts(outgoing=False):
        tool("iscsi-inq", "iscsi://%s%%%s@%s:%d/" % (*CHAP, *portal) + TARGET + "/1")
        url = "iscsi://%s%%%s@%s:%d/" % (CHAP[0], "not-the-secret", *portal) + TARGET + "/1"
        tool("iscsi-inq", url, fails=True)


def libiscsi_chap_mutual(tgtd, portal):
    """libiscsi iscsi-inq: mutual CHAP with MD5."""
    with tgtd.accounts(outgoing=True):
        url = "iscsi://%s%%%s@%s:%d/" % (*CHAP, *portal) + TARGET + "/1"
        tool("iscsi-inq", url + "?target_user=%s&target_password=%s" % MUTUAL)


def libiscsi_header_digest(tgtd, portal):
    """libiscsi iscsi-inq: header digests."""
    tgtd.set("HeaderDigest", "CRC32C")
    tool("iscsi-inq", "iscsi://%s:%d/" % portal + TARGET + "/1?header_digest=crc32c")
    tgtd.set("HeaderDigest", "None")


def libiscsi_wrong_target(tgtd, portal):
    """libiscsi iscsi-inq: a target name that does not exist (status 0203)."""
    tool("iscsi-inq", "iscsi://%s:%d/" % portal + TARGET + "-absent/1", fails=True)


def tgt_redirect(tgtd, portal):
    """tgt and the probe: a temporary redirect (0101) and a permanent one (0102)."""
    tgtd.set("RedirectAddress", "127.0.0.2")  # tgt never redirects an initiator to its own address.
    tgtd.set("RedirectPort", "3260")
    for reason, status in (("Temporary", "0101"), ("Permanent", "0102")):
        tgtd.set("RedirectReason", reason)
        refused(Probe(portal, TARGET), status)
    tgtd.set("RedirectAddress", "")


def libiscsi_conformance(tgtd, portal):
    """libiscsi iscsi-test-cu: residuals in both directions, ABORT TASK."""
    url = "iscsi://%s:%d/" % portal + TARGET + "/1"
    for test in ("iSCSIResiduals.Read10Residuals", "iSCSIResiduals.Write10Residuals",
                 "iSCSITMF.AbortTaskSimpleAsync"):
        tool("iscsi-test-cu", "-d", "-t", "ALL." + test, url)


def qemu_io(tgtd, portal):
    """qemu-io over libiscsi: 1 MiB written and read back, flushed, with pings (the block is idle for 6 s)."""
    url = "iscsi://%s:%d/" % portal + TARGET + "/1"
    tool("qemu-io", "-f", "raw", "-c", "write -P 0x5a 1M 1M", "-c", "read -P 0x5a 1M 1M", "-c", "flush",
         "-c", "sleep 6000", url)


def qemu_io_4096(tgtd, portal):
    """qemu-io over libiscsi: 64 KiB on a LUN with 4096 byte blocks."""
    url = "iscsi://%s:%d/" % portal + TARGET + "/2"
    tool("qemu-io", "-f", "raw", "-c", "write -P 0xa5 64k 64k", "-c", "read -P 0xa5 64k 64k", url)


LARGE = b"\x3c" * (24 << 10)
WRITE_LARGE = bytes.fromhex("2a000000001000003000")


def _exercise(probe):
    """Reads and writes as every initiator with these keys does them."""
    probe.read(bytes(6), 0)  # Takes the unit attention.
    probe.write(bytes.fromhex("2a000000000000000100"), bytes(range(256)) * 2)
    probe.read(bytes.fromhex("28000000000000000100"), 512)
    probe.write(WRITE_LARGE, LARGE)
    probe.read(bytes.fromhex("28000000001000003000"), len(LARGE))
    probe.read(bytes.fromhex("28000000001000000100"), 1024)  # Underflow.
    probe.read(bytes.fromhex("28000000001000000200"), 512)  # Overflow.
    probe.read(bytes.fromhex("2800ffffffff00000100"), 512)  # Out of range: CHECK CONDITION.


def tgt_initial_r2t(tgtd, portal):
    """tgt and the probe: no digests, all four ways of sending write data as the keys allow them."""
    for initial_r2t, immediate_data in (("No", "Yes"), ("No", "No"), ("Yes", "Yes"), ("Yes", "No")):
        tgtd.set("InitialR2T", initial_r2t)
        tgtd.set("ImmediateData", immediate_data)
        probe = Probe(portal, TARGET, InitialR2T=initial_r2t, ImmediateData=immediate_data)
        probe.login()
        probe.read(bytes(6), 0)
        probe.write(WRITE_LARGE, LARGE, immediate=8192 if immediate_data == "Yes" else 0,
                    first_burst=8192 if initial_r2t == "No" else 0)
        probe.logout()
    tgtd.set("InitialR2T", "Yes")
    tgtd.set("ImmediateData", "Yes")


def _digests(tgtd, portal, header, data):
    tgtd.set("HeaderDigest", header)
    tgtd.set("DataDigest", data)
    tgtd.set("InitialR2T", "No")
    for usual in (True, False):
        probe = Probe(portal, TARGET, HeaderDigest=header, DataDigest=data)
        agreed = probe.login()
        assert (agreed["HeaderDigest"], agreed["DataDigest"]) == (header, data), agreed
        if usual:
            _exercise(probe)
        else:  # Less unsolicited data than the keys allow.
            probe.read(bytes(6), 0)
            probe.write(WRITE_LARGE, LARGE, immediate=4096)
            probe.write(WRITE_LARGE, LARGE, immediate=4096, first_burst=0)
            probe.write(WRITE_LARGE, LARGE, immediate=0, first_burst=0)
            probe.ping(b"odd")
        probe.logout()
    for key, value in (("HeaderDigest", "None"), ("DataDigest", "None"), ("InitialR2T", "Yes")):
        tgtd.set(key, value)


def tgt_data_digest(tgtd, portal):
    """tgt and the probe: data digests only; padding, residuals, every way that write data can take."""
    _digests(tgtd, portal, "None", "CRC32C")


def tgt_both_digests(tgtd, portal):
    """tgt and the probe: header and data digests; padding, residuals, every way of write data."""
    _digests(tgtd, portal, "CRC32C", "CRC32C")


def tgt_chap_sha1(tgtd, portal):
    """tgt and the probe: CHAP with SHA1, one-way, mutual, and a wrong secret (status 0201)."""
    with tgtd.accounts(outgoing=True):
        for mutual in (None, MUTUAL):
            probe = Probe(portal, TARGET)
            probe.login(chap=CHAP, mutual=mutual, algorithm="7")
            probe.logout()
        refused(Probe(portal, TARGET), "0201", chap=(CHAP[0], "wrong"), algorithm="7")
        refused(Probe(portal, TARGET), "0201")


def tgt_nop_in(tgtd, portal):
    """tgt and the probe: pings of the target (NOP-In that asks for an answer)."""
    tgtd.set("nop_interval", "1")
    tgtd.set("nop_count", "3")
    probe = Probe(portal, TARGET)
    probe.login()
    for _ in range(2):
        probe.pong(probe.receive())
    probe.logout()
    tgtd.set("nop_interval", "0")


def tgt_control(tgtd, portal):
    """tgt and the probe: task management (done, not supported, unknown task), pings, logout."""
    probe = Probe(portal, TARGET)
    probe.login()
    probe.read(bytes(6), 0)
    probe.task_management(5, lun=1)  # LOGICAL UNIT RESET.
    probe.read(bytes(6), 0)  # Takes the unit attention of the reset.
    probe.task_management(6)  # TARGET WARM RESET.
    probe.ping(b"")
    probe.logout()
    probe = Probe(portal, TARGET)
    probe.login()
    probe.task_management(1, lun=1, referenced=0x99)  # ABORT TASK of a task that does not exist.
    probe.ping(b"\x11" * 100)
    probe.logout()


SCENARIOS = [
    libiscsi_discovery, libiscsi_discovery_long, libiscsi_inquiry, libiscsi_capacity, libiscsi_chap,
    libiscsi_chap_mutual, libiscsi_header_digest, libiscsi_wrong_target, tgt_redirect,
    libiscsi_conformance, qemu_io, qemu_io_4096, tgt_initial_r2t, tgt_data_digest, tgt_both_digests,
    tgt_chap_sha1, tgt_nop_in, tgt_control,
]


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    with tempfile.TemporaryDirectory() as scratch:
        tgtd = Tgtd(scratch)
        try:
            for scenario in SCENARIOS:
                recorder = Recorder(tgtd.port)
                scenario(tgtd, recorder.portal)
                time.sleep(0.2)  # The last bytes of a connection that the tool closed first.
                write(folder, scenario.__name__, scenario.__doc__, recorder.connections)
        finally:
            tgtd.stop()


if __name__ == "__main__":
    main()
