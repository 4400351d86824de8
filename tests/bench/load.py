"""One measurement: fio on NBD exports, and what it cost the programs under it."""

import dataclasses
import json
import re
import subprocess
import time

from processes import DISK_BYTES, RELEASE, TICK, machine_time


@dataclasses.dataclass(frozen=True)
class Job:
    """What fio does: an access pattern, bytes per request, requests in flight, connections."""

    pattern: str
    block: int
    depth: int
    connections: int = 1

    def __str__(self):
        size = f"{self.block >> 10} KiB" if self.block < 1 << 20 else f"{self.block >> 20} MiB"
        clients = f" x {self.connections} connections" if self.connections > 1 else ""
        return f"{self.pattern} {size} depth {self.depth}{clients}"


STANDARD = (
    Job("randread", 4 << 10, 1),
    Job("randread", 4 << 10, 32),
    Job("randwrite", 4 << 10, 32),
    Job("read", 64 << 10, 16),
    Job("write", 64 << 10, 16),
    Job("read", 1 << 20, 8),
    Job("write", 1 << 20, 8),
)


def start_fio(uri, job, seconds):
    command = [
        "fio", "--name=bench", "--ioengine=nbd", f"--uri={uri}", f"--rw={job.pattern}", f"--bs={job.block}",
        f"--iodepth={job.depth}", f"--numjobs={job.connections}", "--group_reporting", "--randrepeat=0",
        f"--size={DISK_BYTES}", "--time_based", f"--runtime={seconds}", "--lat_percentiles=1",
        "--clat_percentiles=0", "--percentile_list=50:99:99.9", "--output-format=json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish_fio(process):
    """What fio counted of its one side; it may say things before its report."""
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"fio failed:\n{output}")
    report = json.loads(output[output.index("{\n"):])["jobs"][0]
    return report["read"] if report["read"]["total_ios"] else report["write"]


def measure(server, target, job, seconds, uris=None):
    """Runs the job on each of `uris` (the server's first one unless given), at the same time, and returns its
    figures: times in microseconds, rates per second over all exports."""
    before = server.cpu(), target.cpu(), machine_time()
    running = [start_fio(uri, job, seconds) for uri in uris or server.uris[:1]]
    sides = [finish_fio(process) for process in running]
    after = server.cpu(), target.cpu(), machine_time()
    (user, system), (*served,), (busy, idle) = (
        [late - early for early, late in zip(*pair)] for pair in zip(before, after))
    ios = sum(side["total_ios"] for side in sides)
    mebibytes = sum(side["io_bytes"] for side in sides) / (1 << 20)
    latency = {key: max(side["lat_ns"]["percentile"][at] for side in sides) / 1e3
               for key, at in (("p50", "50.000000"), ("p99", "99.000000"), ("p999", "99.900000"))}
    return {
        "iops": sum(side["iops"] for side in sides),
        "mbps": sum(side["bw_bytes"] for side in sides) / 1e6,
        "mean": sum(side["lat_ns"]["mean"] * side["total_ios"] for side in sides) / ios / 1e3,
        **latency,
        "cpu": (user + system) / ios * 1e6,
        "user": user / ios * 1e6,
        "system": system / ios * 1e6,
        "cpu_mib": (user + system) / mebibytes * 1e6,
        "target_cpu": sum(served) / ios * 1e6,
        "idle": idle / (busy + idle) * 100,
    }


def relay(way, seconds):
    """The plain relay's figures; way is `read` or `write`."""
    command = [RELEASE / "examples/relay", way, str(seconds)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures = json.loads(output)
    mebibytes = figures["bytes"] / (1 << 20)
    user, system = figures["user_ticks"] / TICK * 1e6, figures["system_ticks"] / TICK * 1e6
    return {"mbps": figures["bytes"] / figures["seconds"] / 1e6, "cpu_mib": (user + system) / mebibytes,
            "user_mib": user / mebibytes, "system_mib": system / mebibytes}


def share_of_a_core(program, seconds):
    """Percent of one core that a program uses while nothing is asked of it."""
    before, started = program.cpu(), time.monotonic()
    time.sleep(seconds)
    return (sum(program.cpu()) - sum(before)) / (time.monotonic() - started) * 100


def version(command):
    """The first number with dots that a program says of itself."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)*", done.stdout)
    return found.group() if found else "unknown"
