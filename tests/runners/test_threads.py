"""The number of threads of the steps, between the kernel's counters and the engines."""

import os
from pathlib import Path

import pytest

from runners.core_use import CoreUse
from runners.threads import Threads


class Rig:
    """Threads over counters that a test writes."""

    def __init__(self, folder: Path) -> None:
        self.used: list[int] = []
        self._folder = folder
        self._waited_ns = 0
        self._idle_ticks = 0
        task = folder / "self" / "task" / "1"
        task.mkdir(parents=True)
        (task / "comm").write_text("decode\n")
        (folder / "thread-self").symlink_to(task)
        self.write()
        self.threads = Threads(4, self.used.append, CoreUse(folder))

    def write(self, *, waited_s: float = 0, idle_s: float = 0) -> None:
        """Let time pass in which threads waited and processors were idle."""
        self._waited_ns += int(waited_s * 1e9)
        self._idle_ticks += int(idle_s * os.sysconf("SC_CLK_TCK"))
        (self._folder / "self" / "task" / "1" / "schedstat").write_text(f"1 {self._waited_ns} 1\n")
        ours = min(os.sched_getaffinity(0))
        (self._folder / "stat").write_text(f"cpu 0\ncpu{ours} 0 0 0 {self._idle_ticks} 0 0 0 0 0 0\n")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A budget of four threads, all of them used."""
    return Rig(tmp_path)


def test_threads_fall_when_steps_waited_and_come_back_when_cores_idle(rig: Rig) -> None:
    """The engines hear each change once; nothing is looked at before a window of steps is over."""
    rig.write(waited_s=0.9)
    rig.threads.stepped(0.1)
    assert rig.used == []
    rig.threads.stepped(0.2)
    rig.threads.stepped(0.3)
    assert (rig.used, rig.threads.now) == ([1], 1)
    while rig.threads.now == 1:  # until its patience is over
        rig.write(idle_s=1000)  # more than the cores of any host give in such a moment
        rig.threads.stepped(0.3)
    assert (rig.used, rig.threads.now) == ([1, 4], 4)


def test_threads_of_a_lower_budget_are_not_judged_by_what_more_of_them_waited(rig: Rig) -> None:
    """A window ends with a change of the budget, which the engines hear."""
    rig.write(waited_s=0.9)
    rig.threads.stepped(0.2)
    rig.threads.grant(2)
    rig.threads.stepped(0.3)
    rig.threads.grant(2)
    assert (rig.used, rig.threads.now) == ([2], 2)
