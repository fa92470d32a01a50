"""The processes below this one: finding them, and proving that none is left.

`adopt_orphans` makes this process the one that orphans fall to, so that a process which has lost its parent stays
below us, where it is found.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from actors.pidfd import ProcessRef

_PR_SET_CHILD_SUBREAPER = 36
_END_TIMEOUT_S = 60.0


def title_of(pid: int) -> str:
    """Give a process's title; empty for one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def descendants(root: int) -> list[int]:
    """Give the living processes below `root`, zombies left out."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text(errors="replace")
        except OSError:
            continue
        state, parent, *_ = stat.rpartition(")")[2].split()
        children.setdefault(int(parent), []).append(int(folder.name))
        if state == "Z":
            children[int(parent)].pop()
    found: list[int] = []
    frontier = [root]
    while frontier:
        below = [pid for parent in frontier for pid in children.get(parent, [])]
        found += below
        frontier = below
    return found


def find(root: int, title: str) -> list[int]:
    """Give the processes below `root` whose title is, or begins with, `llamactor: TITLE`, parents first.

    A forked process has its parent's title for a moment.
    """
    return [pid for pid in descendants(root) if title_of(pid).startswith(f"llamactor: {title}")]


@contextlib.contextmanager
def no_process_left() -> Iterator[None]:
    """Fail when the block leaves a process behind, orphans included; kill what it left."""
    before = set(descendants(os.getpid()))
    _adopt_orphans(enabled=True)
    try:
        yield
    finally:
        deadline = time.monotonic() + _END_TIMEOUT_S
        left = [pid for pid in descendants(os.getpid()) if pid not in before]
        survivors = [(pid, title_of(pid)) for pid in left if not _ended_before(pid, deadline)]
        for pid, _ in survivors:
            os.kill(pid, signal.SIGKILL)
            _ended_before(pid, time.monotonic() + _END_TIMEOUT_S)
        _adopt_orphans(enabled=False)
        _reap_zombies()
        assert not survivors, f"left behind: {survivors}"


def _ended_before(pid: int, deadline: float) -> bool:
    try:
        ref = ProcessRef(pid)
    except ProcessLookupError:
        return True
    try:
        return ref.wait_blocking(max(0.0, deadline - time.monotonic()))
    finally:
        ref.close()


def _adopt_orphans(*, enabled: bool) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(enabled), 0, 0, 0)


def _reap_zombies() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
