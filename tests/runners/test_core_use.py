"""What the kernel's counters are read as, from files and from the kernel at hand."""

import hashlib
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import setproctitle

from runners.core_use import CoreUse

_DEADLINE_S = 60.0
_MEGABYTES = bytes(4 << 20)


class Proc:
    """A /proc that a test writes; the calling thread has the id 1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.thread("1", "decode", waited_ns=1_000_000_000)
        (folder / "thread-self").symlink_to(folder / "self" / "task" / "1")

    def thread(self, thread: str, name: str, *, waited_ns: int) -> None:
        """Write what there is of a thread."""
        task = self.folder / "self" / "task" / thread
        task.mkdir(parents=True, exist_ok=True)
        (task / "comm").write_text(f"{name}\n")
        (task / "schedstat").write_text(f"5000 {waited_ns} 7\n")

    def end(self, thread: str) -> None:
        """Remove what there is of a thread."""
        task = self.folder / "self" / "task" / thread
        for file in task.iterdir():
            file.unlink()
        task.rmdir()

    def processors(self, *rows: str) -> None:
        """Write the machine's counters."""
        (self.folder / "stat").write_text("\n".join(("cpu  9 9 9 9 9 0 0 0 0 0", *rows, "intr 5 0", "")))


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    """One thread that has waited a second."""
    return Proc(tmp_path)


def test_waits_are_those_of_threads_with_the_callers_name(proc: Proc) -> None:
    """Threads that come count from their beginning, those that go take nothing away, others do not matter."""
    proc.thread("2", "decode", waited_ns=2_000_000_000)
    proc.thread("3", "tokenizer", waited_ns=90_000_000_000)
    use = CoreUse(proc.folder)
    assert use.waited_s() == 3
    proc.thread("1", "decode", waited_ns=1_500_000_000)
    proc.thread("4", "decode", waited_ns=250_000_000)
    proc.end("2")
    assert use.waited_s() == 3.75
    assert use.waited_s() == 3.75


def test_waits_are_none_where_the_system_counts_none(tmp_path: Path) -> None:
    """Then threads stay as many as the budget says."""
    use = CoreUse(tmp_path)
    assert (use.waited_s(), use.available_s()) == (0, None)


@pytest.mark.skipif(sys.platform != "linux", reason="processors are numbered by Linux")
def test_available_is_what_we_had_and_what_nobody_or_the_nice_had(proc: Proc) -> None:
    """Of processors that we may use, whatever happens on others."""
    ours = min(os.sched_getaffinity(0))
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    use = CoreUse(proc.folder)
    proc.processors(f"cpu{ours} 0 0 0 0 0 0 0 0 0 0", "cpu4096 0 0 0 0 0 0 0 0 0 0")
    before = use.available_s()
    proc.processors(f"cpu{ours} 100 10000 100 200000 3000000 0 0 0 0 0", "cpu4096 0 7 0 7 0 0 0 0 0 0")
    after = use.available_s()
    assert before is not None
    assert after is not None
    assert 3_210_000 * tick_s <= after - before < 3_210_000 * tick_s + 1000


@pytest.mark.skipif(not Path("/proc/thread-self/schedstat").exists(), reason="needs a kernel that counts waits")
def test_threads_that_share_one_processor_wait_for_it() -> None:
    """Two busy ones of one name, bound to one processor, wait as the real kernel counts it."""
    with ThreadPoolExecutor(1) as pool:  # on a thread of its own, whose name and processors nobody else shares
        assert pool.submit(_share_one_processor).result() > 0.1


def _share_one_processor() -> float:
    setproctitle.setthreadtitle("sharing")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    use = CoreUse()
    is_over = threading.Event()
    other = threading.Thread(target=_work_until, args=(is_over,))
    other.start()
    try:
        began_s, waited_s = time.monotonic(), use.waited_s()
        while use.waited_s() - waited_s <= 0.1 and time.monotonic() < began_s + _DEADLINE_S:
            _work()
        return use.waited_s() - waited_s
    finally:
        is_over.set()
        other.join()


def _work_until(is_over: threading.Event) -> None:
    while not is_over.is_set():
        _work()


def _work() -> None:
    hashlib.sha256(_MEGABYTES)  # without the interpreter's lock
