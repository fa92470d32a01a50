"""A step that hangs: it is reported, its runner is ended, and its answer goes on in another."""

import pytest

from tests.faults.exchange import answer, asking
from tests.faults.prompts import NATIVE, counting, last_of, text_of
from tests.support.server import Place, running_server, wait_ended
from tests.support.step_gate import StepGate

pytestmark = pytest.mark.processes


async def test_watchdog_ends_a_runner_whose_step_hangs(place: Place, gate: StepGate) -> None:
    """The process ends at the step's deadline, the log says why, and the client gets the rest from the next one."""
    with running_server(place, LLAMACTOR_STEP_TIMEOUT="3s", **gate.environ) as server:
        _, undisturbed = await answer(server.port, NATIVE, counting(1000, stream=False))
        with gate.closing():
            async with asking(server.port, NATIVE, counting(1000)) as exchange:
                lines = [await exchange.line() or ""]
                hanging = server.pid_of("runner tiny")
                await wait_ended(hanging)
                gate.open()
                lines += await exchange.lines()
        assert server.pid_of("runner tiny") != hanging
        assert "no step for " in server.log
    assert text_of(lines) == undisturbed["response"]
    assert last_of(lines)["eval_count"] == 1000
