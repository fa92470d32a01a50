"""A loaded server that nobody asks: memory and processor time of each process."""

import time

from tests.benchmarks.arena import Arena
from tests.benchmarks.effort import Effort
from tests.benchmarks.numbers import mib
from tests.benchmarks.processes import Memory, cpu_times_s, memory_of, short_title
from tests.benchmarks.progress import progress
from tests.benchmarks.results import Section, Table, at_most

NAME = "idle"
_CORE_PERCENT = 0.5
_MEMORY_MIB = 150.0
_SETTLE_S = 2.0
_MEBI = 1 << 20
_COUNTED = ("llamactor: gateway", "llamactor: scheduler")


def run(arena: Arena, effort: Effort) -> Section:
    """Wait, and see what it cost."""
    progress(f"{NAME}: {effort.idle_s:g} s")
    time.sleep(_SETTLE_S)
    servers = {"llamactor": arena.llamactor, "llama-server": arena.default.server}
    pids = {name: server.pids for name, server in servers.items()}
    before = {name: cpu_times_s(found) for name, found in pids.items()}
    started_at = time.monotonic()
    time.sleep(effort.idle_s)
    waited_s = time.monotonic() - started_at
    rows: list[tuple[str, str, float, Memory]] = []
    for name, found in pids.items():
        after = cpu_times_s(found)
        rows += [
            (name, short_title(pid), 100 * (after[pid] - before[name][pid]) / waited_s, memory_of(pid)) for pid in after
        ]
    ours = [row for row in rows if row[0] == "llamactor"]
    counted_bytes = sum(memory.rss_bytes for _, title, _, memory in ours if title in _COUNTED)
    return Section(
        name=NAME,
        title="Memory, and processor time when idle",
        notes=(
            "with a model loaded and after all benchmarks before this one",
            "PSS shares the model file's pages among all processes that have it mapped, the other servers included",
        ),
        tables=(
            Table(
                header=("process", "RSS MiB", "PSS MiB", "idle, % of a core"),
                rows=tuple(
                    (title, mib(memory.rss_bytes), mib(memory.pss_bytes), f"{percent:.3f}")
                    for _, title, percent, memory in rows
                ),
            ),
        ),
        gates=(
            at_most("memory of gateway and scheduler (RSS)", counted_bytes / _MEBI, _MEMORY_MIB, "MiB"),
            at_most("idle, all our processes", sum(percent for _, _, percent, _ in ours), _CORE_PERCENT, "% of a core"),
        ),
        figures=tuple(
            {"process": title, "rss_bytes": memory.rss_bytes, "pss_bytes": memory.pss_bytes, "core_percent": percent}
            for _, title, percent, memory in rows
        ),
    )
