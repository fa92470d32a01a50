"""SIGTERM to one part, as when it is restarted alone: it ends in peace and is started again."""

import contextlib
import json
import os
import signal

import pytest
import trio

from tests.faults.exchange import answer, asking
from tests.faults.prompts import GREETING, NATIVE, counting, greeting, last_of
from tests.support.server import Place, RunningServer, eventually_answered, running_server, wait_ended
from tests.support.step_gate import StepGate

pytestmark = pytest.mark.processes

N_TOKENS = 1000


@pytest.mark.parametrize("part", ["gateway", "scheduler", "launcher"])
async def test_stream_ends_well_while_a_part_restarts(server: RunningServer, gate: StepGate, part: str) -> None:
    """It gets all of its tokens; a request that comes meanwhile is answered, or told to try again."""
    with gate.closing():
        async with asking(server.port, NATIVE, counting(N_TOKENS)) as exchange:
            lines = [await exchange.line() or ""]
            pid = server.pid_of(part)
            os.kill(pid, signal.SIGTERM)
            # A gateway on its way out may close a connection whose request it has not read whole: try again, too.
            with contextlib.suppress(trio.BrokenResourceError):
                async with asking(server.port, NATIVE, greeting()) as meanwhile:
                    gate.open()
                    assert await meanwhile.head() in {200, 503}
            gate.open()
            lines += await exchange.lines()
    assert last_of(lines)["eval_count"] == N_TOKENS
    await wait_ended(pid)
    await server.wait_for(part, other_than=pid)
    assert await eventually_answered(lambda: _greeting(server)) == GREETING


async def test_runner_that_is_told_to_end_finishes_its_stream(server: RunningServer) -> None:
    """SIGTERM to a runner alone drains it; requests from then on are for another process."""
    async with asking(server.port, NATIVE, counting(N_TOKENS)) as exchange:
        lines = [await exchange.line() or ""]
        runner = server.pid_of("runner tiny")
        os.kill(runner, signal.SIGTERM)
        # A request that reaches the runner together with the signal may still be its own.
        while server.pids("runner tiny") == [runner]:
            assert await eventually_answered(lambda: _greeting(server)) == GREETING
        lines += await exchange.lines()
    assert last_of(lines)["eval_count"] == N_TOKENS
    await wait_ended(runner)
    assert runner not in server.pids("runner tiny")


async def test_workers_of_the_gateway_share_one_port(place: Place) -> None:
    """Requests are answered whichever worker takes them, also after one of two was killed."""
    with running_server(place, LLAMACTOR_GATEWAY_WORKERS="2") as server:
        first, second = server.pids("gateway")
        for _ in range(8):
            assert (await answer(server.port, NATIVE, greeting()))[0] == 200
        os.kill(first, signal.SIGKILL)
        await wait_ended(first)
        for _ in range(8):
            assert (await answer(server.port, NATIVE, greeting()))[0] == 200
        await server.wait_for("gateway", other_than=second)
        assert second in server.pids("gateway")


async def _greeting(server: RunningServer) -> str | None:
    """Ask once, as clients do that heed `Retry-After`; None when it is to be tried again."""
    async with asking(server.port, NATIVE, greeting()) as exchange:
        (line,) = await exchange.lines()
    if exchange.status == 503:
        assert "Retry-After" in exchange.headers
        return None
    assert exchange.status == 200
    return str(json.loads(line)["response"])
