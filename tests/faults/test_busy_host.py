"""A host whose cores others take: steps use fewer threads, which would wait for each other, and all again after."""

import os
import time
from pathlib import Path

import pytest

from actors.launcher.facts import n_usable_cores
from tests.faults.exchange import answer
from tests.faults.looking import loaded
from tests.faults.prompts import NATIVE, counting
from tests.support.server import DEADLINE_S, RunningServer, eventually_answered
from tests.support.spinners import spinners

_FREE_CORES = 0.5

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(n_usable_cores() < 2, reason="needs cores to give up"),
    pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="needs a kernel that counts waits"),
]


async def test_threads_follow_what_others_leave_free(server: RunningServer) -> None:
    """Beside busy programs one is left, without them the whole budget comes back, as `ps` tells.

    Guards against 1 token/s beside a compiler, where all threads waited for the one that had no core.
    """

    async def n_threads() -> int:
        status, _ = await answer(server.port, NATIVE, counting(1000, stream=False))
        assert status == 200
        threads: int = (await loaded(server.port))["tiny:latest"]["llamactor"]["threads"]
        return threads

    async def is_lowered() -> bool | None:
        return True if await n_threads() == 1 else None

    with spinners(2 * n_usable_cores()):
        await eventually_answered(is_lowered)
    began_s, idle_s = time.monotonic(), _idle_s()
    while await n_threads() < n_usable_cores():
        waited_s = time.monotonic() - began_s
        if waited_s > DEADLINE_S:
            n_idle = (_idle_s() - idle_s) / waited_s
            assert n_idle < _FREE_CORES, f"{n_idle:.2f} cores were idle, and no thread came back"
            pytest.skip("the host's other programs left no core free for a second thread")


def _idle_s() -> float:
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
