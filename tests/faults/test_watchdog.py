"""A step that hangs: it is reported, its runner is ended, and its answer goes on in another."""

from pathlib import Path

import pytest

from tests.faults.exchange import answer, asking
from tests.faults.prompts import NATIVE, counting, last_of, text_of
from tests.support.hanging_step import build_hang
from tests.support.server import Place, running_server, wait_ended

pytestmark = pytest.mark.processes


async def test_watchdog_ends_a_runner_whose_step_hangs(place: Place, tmp_path: Path) -> None:
    """The process ends at the step's deadline, the log says why, and the client gets the rest from the next one."""
    hang = build_hang(tmp_path)
    with running_server(place, LLAMACTOR_STEP_TIMEOUT="3s", **hang.environ) as server:
        _, undisturbed = await answer(server.port, NATIVE, counting(1000, stream=False))
        async with asking(server.port, NATIVE, counting(1000)) as exchange:
            lines = [await exchange.line() or ""]
            hanging = server.pid_of("runner tiny")
            hang.file.touch()
            await wait_ended(hanging)
            hang.file.unlink()
            lines += await exchange.lines()
        assert server.pid_of("runner tiny") != hanging
        assert "no step for " in server.log
    assert text_of(lines) == undisturbed["response"]
    assert last_of(lines)["eval_count"] == 1000
