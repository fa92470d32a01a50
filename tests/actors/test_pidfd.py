"""Waiting for processes and signalling them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from actors.pidfd import ProcessRef, start_time_of

pytestmark = pytest.mark.usefixtures("no_leak")
NO_SUCH_PID = 2**22 + 1  # above the kernel's largest


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that lives until it is killed."""
    with subprocess.Popen(["/bin/sleep", "1000"]) as process:
        yield process
        process.kill()


async def test_wait_returns_for_every_waiter_when_the_process_ends(sleeper: "subprocess.Popen[bytes]") -> None:
    """Several tasks may wait for one process."""
    ref = ProcessRef(sleeper.pid)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ref.wait)
            await trio.testing.wait_all_tasks_blocked()
            assert not ref.has_ended()
            ref.send(signal.SIGKILL)
    assert ref.has_ended()
    ref.close()


def test_send_to_a_reaped_process_is_nothing() -> None:
    """The descriptor keeps its process, so no stranger with the same pid is hit."""
    with subprocess.Popen(["/bin/true"]) as short:
        ref = ProcessRef(short.pid)
    ref.send(signal.SIGKILL)
    assert ref.has_ended()
    ref.close()
    ref.close()


def test_wait_blocking_with_a_living_process_keeps_its_deadline() -> None:
    """The wait outside of trio is bounded, too."""
    ref = ProcessRef(os.getpid())
    assert not ref.wait_blocking(timeout_s=0.01)
    ref.close()


def test_ref_to_nobody_raises() -> None:
    """There is nothing to hold."""
    with pytest.raises(ProcessLookupError):
        ProcessRef(NO_SUCH_PID)


def test_start_time_of_nobody_is_none() -> None:
    """A process that is gone has none."""
    assert start_time_of(NO_SUCH_PID) is None


def test_start_time_of_a_process_with_a_hostile_name_is_right(tmp_path: Path) -> None:
    """A name with parentheses and blanks does not shift the fields."""
    program = tmp_path / "a) S 1 (b"
    program.symlink_to(Path(sys.executable).resolve())
    with subprocess.Popen([program, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started, ours = start_time_of(child.pid), start_time_of(os.getpid())
        child.kill()
    assert started is not None
    assert ours is not None
    assert started >= ours
