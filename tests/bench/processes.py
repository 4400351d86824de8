"""Programs that a measurement starts: targets, servers, proxies; and what the kernel says they used."""

import os
import pathlib
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RELEASE = ROOT / "target/release"
TICK = os.sysconf("SC_CLK_TCK")
TARGET = "iqn.2026-11.test:bench"
DISK_BYTES = 512 << 20


class Program:
    """A running program; `stop` ends it and waits for it."""

    def __init__(self, bench, name, command, environment=None):
        self.name = name
        self.log = bench.folder / f"{name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **(environment or {})})
        bench.running.append(self)

    def wait_until(self, ready, seconds=30):
        """Until `ready` returns something true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            if answer := ready():
                return answer
            time.sleep(0.02)
        raise SystemExit(f"{self.name} did not come up:\n{self.log.read_text(errors='replace')[-4000:]}")

    def cpu(self):
        """Seconds of user and of system time, all its threads."""
        return cpu_of(f"/proc/{self.process.pid}/stat")

    def memory(self):
        """MiB: resident now, and the most that ever was."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines())
        return tuple(int(lines[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def cpu_of(stat):
    fields = pathlib.Path(stat).read_text().rpartition(")")[2].split()
    return int(fields[11]) / TICK, int(fields[12]) / TICK


def machine_time():
    """Seconds that all cores together were busy, and idle, since the machine started."""
    words = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()
    fields = [int(word) / TICK for word in words[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, idle


def listens(address):
    """Whether something accepts on a unix socket's path or a (host, port)."""
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family) as probe:
        try:
            probe.connect(str(address) if family == socket.AF_UNIX else address)
            return True
        except OSError:
            return False


class Tgt(Program):
    """A tgtd of our own with LUNs 1, 2, … over files in memory."""

    def __init__(self, bench, portals, luns=1):
        self.portals = [f"{host}:{port}" for host, port in portals]
        self.environment = {"TGT_IPC_SOCKET": str(bench.folder / "ipc")}
        listen = ",".join(f"portal={portal}" for portal in self.portals)
        super().__init__(bench, "tgtd", ["tgtd", "-f", "-C", "1", "--iscsi", listen], self.environment)
        self.wait_until(lambda: listens(bench.folder / "ipc.1"))
        self.admin(f"--mode target --op new --tid 1 --targetname {TARGET}")
        self.admin("--mode target --op bind --tid 1 --initiator-address ALL")
        for lun in range(1, luns + 1):
            image = bench.folder / f"lun{lun}.img"
            fill(image)
            unit = f"--mode logicalunit --tid 1 --lun {lun}"
            self.admin(f"{unit} --op new --backing-store {image}")
            self.admin(f"{unit} --op update --params scsi_id=bench-{lun},scsi_sn=bench{lun}")

    def admin(self, arguments):
        command = ["tgtadm", "-C", "1", "--lld", "iscsi", *arguments.split()]
        subprocess.run(command, env={**os.environ, **self.environment}, check=True)


def fill(image):
    """A hole would be read from one page of zeros."""
    chunk = os.urandom(1 << 20)
    with open(image, "wb") as file:
        for _ in range(DISK_BYTES >> 20):
            file.write(chunk)


class SimulatedTarget(Program):
    """netsim's target, with its disks in memory."""

    def __init__(self, bench, portals, luns=1, size="512MiB"):
        self.portals = [f"{host}:{port}" for host, port in portals]
        command = [RELEASE / "netsim", "target", "--target", TARGET, "--size", size, "--luns", luns]
        for portal in self.portals:
            command += ["--portal", portal]
        super().__init__(bench, "netsim-target", command)
        self.wait_until(lambda: all(listens(portal) for portal in portals))


class Proxy(Program):
    """netsim's proxy in front of a portal."""

    def __init__(self, bench, name, listen, to, faults):
        command = [RELEASE / "netsim", "proxy", "--listen", f"{listen[0]}:{listen[1]}", "--to", to]
        for fault in faults:
            command += ["--fault", fault]
        super().__init__(bench, name, command)
        self.wait_until(lambda: listens(listen))


class QemuNbd(Program):
    """qemu-nbd over libiscsi: one session, one NBD export."""

    def __init__(self, bench, portal, lun=1):
        path = bench.folder / "qemu.sock"
        url = f"iscsi://{portal}/{TARGET}/{lun}"
        command = ["qemu-nbd", "-t", "-e", "8", "-f", "raw", "--cache=none", "-x", "db", "-k", path, url]
        super().__init__(bench, "qemu-nbd", command)
        self.wait_until(lambda: listens(path))
        self.uris = [f"nbd+unix:///db?socket={path}"]


class Daemon(Program):
    """iiblockdaemon with one volume per LUN, each over all `portals`."""

    def __init__(self, bench, portals, luns=(1,), name="iiblockdaemon", tuning=""):
        folder = bench.folder / name
        folder.mkdir()
        paths = ", ".join(f'{{ portal = "{portal}" }}' for portal in portals)
        text = f"""
[daemon]
initiator_name = "iqn.2026-11.test:{name}"
state_dir = "{folder}/state"
control = {{ socket = "{folder}/control.sock" }}

[defaults]
{tuning}
"""
        sockets = [folder / f"v{lun}.sock" for lun in luns]
        for lun, path in zip(luns, sockets):
            text += f"""
[[volume]]
name = "v{lun}"
target = "{TARGET}"
lun = {lun}
export = {{ nbd = "unix:{path}" }}
paths = [{paths}]
"""
        config = folder / "multipath.toml"
        config.write_text(text, encoding="utf-8")
        super().__init__(bench, name, [RELEASE / "iiblockdaemon", "--config", config],
                         {"IIBLOCKDAEMON_LOG": "warn"})
        self.wait_until(lambda: all(listens(path) for path in sockets), 60)
        self.uris = [f"nbd+unix:///v{lun}?socket={path}" for lun, path in zip(luns, sockets)]
        self.control = folder / "control.sock"
        self.wait_until(lambda: self.all_paths_usable(folder), 60)

    def all_paths_usable(self, folder):
        """iibadm's exit status 0."""
        status = [RELEASE / "iibadm", "status", "--socket", folder / "control.sock"]
        return subprocess.run(status, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
