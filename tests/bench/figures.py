"""Samples to medians, medians to goals, and both to text or Markdown."""

import statistics

from load import STANDARD
from sections import OURS, QEMU, RELAY

# Heading, figure, digits after the point.
COLUMNS = (
    ("IO/s", "iops", 0), ("MB/s", "mbps", 0),
    ("mean us", "mean", 0), ("p50", "p50", 0), ("p99", "p99", 0), ("p99.9", "p999", 0),
    ("CPU us/IO", "cpu", 1), ("user", "user", 1), ("system", "system", 1),
    ("us/MiB", "cpu_mib", 0), ("target us/IO", "target_cpu", 1), ("idle %", "idle", 0),
    ("core %", "core", 2), ("resident MiB", "resident", 1), ("most MiB", "most", 1),
    ("over payload MiB", "over", 1),
)
TITLES = {
    "peers": "Against qemu-nbd and the plain relay (tgt, two paths)",
    "digests": "CRC32C header and data digests (simulated target, two paths)",
    "bandwidth": "Paths of 1 Gbit/s",
    "connections": "NBD connections, with as many requests in flight together",
    "volumes": "Volumes at once",
    "memory": "Memory of the daemon",
    "idle": "Nothing to do",
}


class Samples:
    """Every sample of one or more runs: dictionaries with section, case, server and figures."""

    def __init__(self, rows):
        self.rows = rows

    def sections(self):
        return [name for name in TITLES if any(row["section"] == name for row in self.rows)]

    def cases(self, section):
        """(case, server) in the order in which they were first measured."""
        return list(dict.fromkeys(
            (row["case"], row["server"]) for row in sorted(
                (row for row in self.rows if row["section"] == section), key=order_of)))

    def values(self, section, case, server, figure):
        return [row["figures"][figure] for row in self.rows
                if (row["section"], row["case"], row["server"]) == (section, case, server)
                and figure in row["figures"]]


def order_of(row):
    """Jobs as in the list of standard jobs, whatever the order of the runs."""
    cases = [str(job) for job in STANDARD]
    return cases.index(row["case"]) if row["case"] in cases else len(cases)


class Goal:
    """A figure of one server over the same figure of another (or alone), and its bound."""

    def __init__(self, what, section, case, server, figure, bound, *, over=None, least=False):
        self.what, self.section, self.case, self.server = what, section, case, server
        self.figure, self.bound, self.over, self.least = figure, bound, over, least

    def evaluate(self, samples):
        """(median, least, most, met), or None where it was not measured."""
        values = samples.values(self.section, self.case, self.server, self.figure)
        if self.over:
            others = samples.values(self.section, self.case, self.over, self.figure)
            if not values or not others:
                return None
            ratios = [mine / other for mine, other in zip(values, others)]
            value = statistics.median(values) / statistics.median(others)
            low, high = min(ratios + [value]), max(ratios + [value])
        elif values:
            value, low, high = statistics.median(values), min(values), max(values)
        else:
            return None
        met = value >= self.bound if self.least else value <= self.bound
        return value, low, high, met


def peer_goals():
    first, *others = map(str, STANDARD)
    cpu = dict(zip(map(str, STANDARD), (0.5, 0.35, 0.35, 0.5, 0.3, 0.5, 0.25)))
    for case, bound in cpu.items():
        yield Goal("CPU per I/O / qemu-nbd's", "peers", case, OURS, "cpu", bound, over=QEMU)
    yield Goal("mean latency / qemu-nbd's", "peers", first, OURS, "mean", 0.7, over=QEMU)
    for case in others:
        yield Goal("throughput / qemu-nbd's", "peers", case, OURS, "iops", 1.8, over=QEMU, least=True)
    for case in others[-2:]:
        yield Goal("CPU per MiB / plain relay's", "peers", case, OURS, "cpu_mib", 1.3, over=RELAY)
    for case in cpu:
        yield Goal("CPU per I/O / without digests", "digests", case, "with-digests", "cpu", 1.3,
                   over="without-digests")


def goals(samples):
    """Every goal of which there are figures, with its outcome."""
    found = list(peer_goals())
    against_itself = (
        ("bandwidth", "throughput of two paths / of one", "two-paths", "one-path", 1.9),
        ("connections", "throughput of four connections / of one", "four", "one", 1.0),
        ("volumes", "throughput of two volumes / of one", "two", "one", 1.6))
    for section, what, server, over, bound in against_itself:
        for case in dict.fromkeys(case for case, _ in samples.cases(section)):
            found.append(Goal(what, section, case, server, "iops", bound, over=over, least=True))
    for case, _ in samples.cases("memory"):
        if case.startswith("idle"):
            found.append(Goal("resident, MiB", "memory", case, OURS, "resident", 20))
        else:
            found.append(Goal("most resident over payload in flight, MiB", "memory", case, OURS, "over", 64))
    for case, _ in samples.cases("idle"):
        found.append(Goal("share of one core, %", "idle", case, OURS, "core", 3))
    outcomes = ((goal, goal.evaluate(samples)) for goal in found)
    return [(goal, outcome) for goal, outcome in outcomes if outcome]


def spread(values, digits):
    """Median, and how far the farthest sample is from it."""
    middle = statistics.median(values)
    farthest = max(abs(value - middle) for value in values)
    if len(values) == 1 or not middle:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ±{farthest / middle * 100:.0f}%"


def measured_table(samples, section):
    """Headers and rows of one section; columns that nothing was measured for are left out."""
    cases = samples.cases(section)
    columns = [column for column in COLUMNS
               if any(samples.values(section, *case, column[1]) for case in cases)]
    rows = []
    for case, server in cases:
        cells = [samples.values(section, case, server, figure) for _, figure, _ in columns]
        rows.append([case, server] + [
            spread(values, digits) if values else "" for values, (_, _, digits) in zip(cells, columns)])
    return ["workload", "server"] + [title for title, _, _ in columns], rows


def goal_table(samples):
    rows = []
    for goal, (value, low, high, met) in goals(samples):
        bound = f"{'≥' if goal.least else '≤'} {goal.bound:g}"
        rows.append([goal.case, goal.what, bound, f"{value:.2f}", f"{low:.2f} to {high:.2f}",
                     "met" if met else "missed"])
    return ["workload", "figure", "goal", "median", "rounds", ""], rows


def text(samples):
    out = []
    for section in samples.sections():
        out += [TITLES[section], "", *aligned(*measured_table(samples, section)), ""]
    headers, rows = goal_table(samples)
    if rows:
        out += ["Goals", "", *aligned(headers, rows), ""]
    return "\n".join(out)


def aligned(headers, rows):
    widths = [max(len(row[at]) for row in [headers, *rows]) for at in range(len(headers))]
    for row in [headers, *rows]:
        cells = [cell.ljust(width) if at < 2 else cell.rjust(width)
                 for at, (cell, width) in enumerate(zip(row, widths))]
        yield "  ".join(cells).rstrip()


def markdown(samples, about):
    out = [about, ""]
    headers, rows = goal_table(samples)
    if rows:
        out += ["### Goals", "", *piped(headers, rows), ""]
    for section in samples.sections():
        out += [f"### {TITLES[section]}", "", *piped(*measured_table(samples, section)), ""]
    return "\n".join(out)


def piped(headers, rows):
    yield f"| {' | '.join(headers)} |"
    yield f"|{' --- |' * len(headers)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
