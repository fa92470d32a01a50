"""What the processes of a running server are like: no thread where processes are forked, and good ends."""

from pathlib import Path

import pytest

from tests.faults.exchange import answer
from tests.faults.prompts import NATIVE, greeting
from tests.support.server import RunningServer

pytestmark = pytest.mark.processes


async def test_forkserver_has_no_thread_beside_its_own(server: RunningServer) -> None:
    """OpenBLAS starts threads as numpy is imported, unless it is told not to; a fork beside threads may hang."""
    await server.wait_for("renderer")
    assert _n_threads(server.pid_of("forkserver")) == 1


async def test_idle_runner_ends_well_when_the_server_stops(server: RunningServer) -> None:
    """It drains and exits with status 0; it is not ended by the launcher's signal."""
    await answer(server.port, NATIVE, greeting())
    runner = server.pid_of("runner tiny")
    server.finish()
    assert f"(process {runner}) ended with status 0" in server.log


def _n_threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))
