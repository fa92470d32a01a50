"""Processor time and memory of a server's processes, as the kernel counts them."""

import ctypes
import dataclasses
import os
import time
from collections.abc import Mapping
from pathlib import Path

from tests.support.process_tree import descendants, title_of

_libc = ctypes.CDLL(None, use_errno=True)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_IDLE_FIELDS = (3, 4)  # idle and iowait of /proc/stat's first line (proc_stat(5))


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """What a process occupies."""

    rss_bytes: int
    pss_bytes: int
    """As RSS, but pages that several processes share count in part for each."""


def tree_of(root: int) -> list[int]:
    """List a process and those below it."""
    return [root, *descendants(root)]


def short_title(pid: int) -> str:
    """Give our process title, or a foreign program's name."""
    title = title_of(pid)
    return title if title.startswith("llamactor: ") else Path(title.partition(" ")[0]).name


def cpu_times_s(pids: list[int]) -> dict[int, float]:
    """Give user and system time of each process that lives, all its threads together.

    Read from each process's own CPU clock, whose unit is a nanosecond; /proc counts in hundredths of a second, too
    coarse for processes that idle.
    """
    times = {}
    for pid in pids:
        clock = ctypes.c_int()
        if _libc.clock_getcpuclockid(pid, ctypes.byref(clock)) == 0:
            times[pid] = time.clock_gettime(clock.value)
    return times


def cpu_spent_s(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """Sum what was spent between two readings; a process that ended meanwhile is left out."""
    return sum(spent - before.get(pid, 0.0) for pid, spent in after.items())


def machine_busy_s() -> float:
    """Give the processor time that all processes together, or another machine on our cores, have taken so far."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks for index, ticks in enumerate(fields) if index not in _IDLE_FIELDS) / _TICKS_PER_S


def memory_of(pid: int) -> Memory:
    """Read what a process occupies."""
    kib = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        label, _, value = line.partition(":")
        kib[label] = int(value.split()[0])
    return Memory(rss_bytes=kib["Rss"] << 10, pss_bytes=kib["Pss"] << 10)
