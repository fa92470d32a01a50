"""A loaded server that nobody asks: memory and processor time of each process."""

import dataclasses
import time

from tests.benchmarks.arena import Arena
from tests.benchmarks.effort import Effort
from tests.benchmarks.numbers import mib
from tests.benchmarks.processes import Memory, cpu_times_s, memory_of, short_title
from tests.benchmarks.progress import progress
from tests.benchmarks.results import Section, Table, at_most
from tests.benchmarks.server import Server

NAME = "idle"
_CORE_PERCENT = 0.5
_MEMORY_MIB = 150.0
_SETTLE_S = 2.0
_MEBI = 1 << 20
_COUNTED = ("llamactor: gateway", "llamactor: scheduler")


@dataclasses.dataclass(frozen=True, slots=True)
class Use:
    """What one process of one server took."""

    server: Server
    title: str
    core_percent: float
    memory: Memory


def run(arena: Arena, effort: Effort) -> Section:
    """Wait, and see what it cost."""
    progress(f"{NAME}: {effort.idle_s:g} s")
    uses = _measure([arena.llamactor, arena.default.server], effort.idle_s)
    ours = [use for use in uses if use.server is arena.llamactor]
    counted_bytes = sum(use.memory.rss_bytes for use in ours if use.title in _COUNTED)
    rows = tuple(
        (use.title, mib(use.memory.rss_bytes), mib(use.memory.pss_bytes), f"{use.core_percent:.3f}") for use in uses
    )
    return Section(
        name=NAME,
        title="Memory, and processor time when idle",
        notes=(
            "with a model loaded and after all benchmarks before this one",
            "PSS shares the model file's pages among all processes that have it mapped, the other servers included",
        ),
        tables=(Table(header=("process", "RSS MiB", "PSS MiB", "idle, % of a core"), rows=rows),),
        gates=(
            at_most("memory of gateway and scheduler (RSS)", counted_bytes / _MEBI, _MEMORY_MIB, "MiB"),
            at_most("idle, all our processes", sum(use.core_percent for use in ours), _CORE_PERCENT, "% of a core"),
        ),
        figures=tuple(
            {
                "process": use.title,
                "rss_bytes": use.memory.rss_bytes,
                "pss_bytes": use.memory.pss_bytes,
                "core_percent": use.core_percent,
            }
            for use in uses
        ),
    )


def _measure(servers: list[Server], seconds: float) -> list[Use]:
    time.sleep(_SETTLE_S)
    owners = {pid: server for server in servers for pid in server.pids}
    before = cpu_times_s(list(owners))
    started_at = time.monotonic()
    time.sleep(seconds)
    after = cpu_times_s(list(owners))
    waited_s = time.monotonic() - started_at
    return [
        Use(owners[pid], short_title(pid), 100 * (spent_s - before[pid]) / waited_s, memory_of(pid))
        for pid, spent_s in after.items()
    ]
