"""What is measured. A section is a generator of samples: (case, server, figures)."""

import dataclasses

from load import STANDARD, Job, measure, relay, share_of_a_core
from processes import Daemon, Proxy, QemuNbd, SimulatedTarget, Tgt

PORTALS = [(f"127.40.0.{last}", 13260) for last in range(1, 5)]
GIGABIT = "125MB"
# Payload that the daemon lets each client have in flight: NBD_BYTES_MAX of src/limits.rs.
POOL_MIB = 64
ROUND_ROBIN = 'policy = "round-robin"'
OURS, QEMU, RELAY = "iiblockdaemon", "qemu-nbd", "plain relay"


def alternately(bench, servers, measure_one):
    """Each server by turns, the first one another in each round."""
    for turn in range(bench.rounds):
        order = servers if turn % 2 == 0 else servers[::-1]
        for server in order:
            yield from measure_one(server)


def by_jobs(bench, target, servers, jobs):
    """Each job by turns on each of the named servers."""
    for _, server in servers:
        measure(server, target, Job("read", 1 << 20, 8), 1)
    for job in bench.wanted(jobs):
        yield from alternately(bench, servers, lambda named, job=job: [
            (str(job), named[0], measure(named[1], target, job, bench.seconds))])


def peers(bench):
    """The daemon over two paths, qemu-nbd over libiscsi, and the plain relay."""
    target = Tgt(bench, PORTALS[:2])
    policy = f'policy = "{bench.policy}"'
    servers = [(OURS, Daemon(bench, target.portals, tuning=policy))]
    if not bench.ours_only:
        servers.append((QEMU, QemuNbd(bench, target.portals[0])))
    for job in bench.wanted(STANDARD):
        yield from by_jobs(bench, target, servers, [job])
        if job.block == 1 << 20:
            for _ in range(bench.rounds):
                yield str(job), RELAY, relay(job.pattern, bench.seconds)


def digests(bench):
    """With CRC32C header and data digests, and without, both against the simulated target."""
    target = SimulatedTarget(bench, PORTALS[:2])
    policy = f'policy = "{bench.policy}"\n'
    with_digests = policy + 'iscsi = { header_digest = "crc32c", data_digest = "crc32c" }'
    servers = [(name, Daemon(bench, target.portals, (0,), name, tuning))
               for name, tuning in (("without-digests", policy), ("with-digests", with_digests))]
    yield from by_jobs(bench, target, servers, STANDARD)


def bandwidth(bench):
    """Two paths of 1 Gbit/s each against one of them."""
    target = Tgt(bench, PORTALS[:2])
    fronts = [(host, 14260) for host, _ in PORTALS[:2]]
    for number, (front, portal) in enumerate(zip(fronts, target.portals)):
        Proxy(bench, f"proxy{number}", front, portal, [f"bandwidth {GIGABIT}"])
    limited = [f"{host}:{port}" for host, port in fronts]
    servers = [("two-paths", Daemon(bench, limited, (1,), "two-paths", ROUND_ROBIN)),
               ("one-path", Daemon(bench, limited[:1], (1,), "one-path", ROUND_ROBIN))]
    yield from by_jobs(bench, target, servers, [Job("read", 1 << 20, 8), Job("write", 1 << 20, 8)])


def connections(bench):
    """Four NBD connections against one, with as many requests in flight together."""
    target = Tgt(bench, PORTALS[:2])
    server = Daemon(bench, target.portals, tuning=ROUND_ROBIN)
    for job in bench.wanted(STANDARD[1:4]):
        jobs = [("one", job), ("four", dataclasses.replace(job, depth=job.depth // 4, connections=4))]
        yield from alternately(bench, jobs, lambda named, job=job: [
            (str(job), named[0], measure(server, target, named[1], bench.seconds))])


def volumes(bench):
    """Two volumes at once against one; each target process serves one volume."""
    targets = SimulatedTarget(bench, PORTALS[:2], luns=2)
    server = Daemon(bench, targets.portals, (0, 1), tuning=ROUND_ROBIN)
    for job in bench.wanted([Job("randread", 4 << 10, 32), Job("read", 64 << 10, 16)]):
        loads = [("one", server.uris[:1]), ("two", server.uris)]
        yield from alternately(bench, loads, lambda named, job=job: [
            (str(job), named[0], measure(server, targets, job, bench.seconds, named[1]))])


def memory(bench):
    """Resident with one idle volume over four paths, and the most under full load."""
    target = Tgt(bench, PORTALS)
    for _ in range(bench.rounds):
        server = Daemon(bench, target.portals, tuning=ROUND_ROBIN)
        resident, _ = server.memory()
        yield "idle, 1 volume, 4 paths", OURS, {"resident": resident}
        for pattern in ("read", "write"):
            job = Job(pattern, 1 << 20, 64, 4)
            measure(server, target, job, bench.seconds)
            resident, most = server.memory()
            over = most - POOL_MIB * job.connections
            yield str(job), OURS, {"resident": resident, "most": most, "over": over}
        bench.stop(server)


def idle(bench):
    """200 volumes over two paths each, of which nothing is asked."""
    target = SimulatedTarget(bench, PORTALS[:2], luns=200, size="64MiB")
    server = Daemon(bench, target.portals, range(200), tuning=ROUND_ROBIN)
    for _ in range(bench.rounds):
        yield "200 volumes x 2 paths", OURS, {"core": share_of_a_core(server, max(10, bench.seconds))}
    yield "200 volumes x 2 paths", OURS, {"resident": server.memory()[0]}


SECTIONS = {section.__name__: section for section in (
    peers, digests, bandwidth, connections, volumes, memory, idle)}
