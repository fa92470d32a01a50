"""`kill -9` of the scheduler: running streams do not notice, new requests wait for the next one."""

import pytest

from tests.faults.exchange import answer, asking
from tests.faults.looking import loaded, wait_queued
from tests.faults.prompts import GREETING, NATIVE, counting, greeting, last_of, text_of
from tests.support.server import Place, RunningServer, running_server
from tests.support.step_gate import StepGate

pytestmark = pytest.mark.processes

N_TOKENS = 1500


async def test_running_stream_goes_on_to_its_end_with_every_token(server: RunningServer, gate: StepGate) -> None:
    """Its text is that of an undisturbed one, and its runner is loaded as before, not anew."""
    _, undisturbed = await answer(server.port, NATIVE, counting(N_TOKENS, stream=False))
    with gate.closing():
        async with asking(server.port, NATIVE, counting(N_TOKENS)) as exchange:
            lines = [await exchange.line() or ""]
            runner, scheduler = server.pid_of("runner tiny"), server.kill("scheduler")
            gate.open()
            lines += await exchange.lines()
    assert last_of(lines)["eval_count"] == N_TOKENS
    assert text_of(lines) == undisturbed["response"]
    await server.wait_for("scheduler", other_than=scheduler)
    assert "tiny:latest" in await loaded(server.port)
    assert server.pid_of("runner tiny") == runner


async def test_request_without_a_scheduler_waits_for_the_next_one(server: RunningServer) -> None:
    """It is answered by the runner that was there before, once the new scheduler has learnt of it."""
    await answer(server.port, NATIVE, greeting())
    runner = server.pid_of("runner tiny")
    server.kill("scheduler")
    status, reply = await answer(server.port, NATIVE, greeting())
    assert (status, reply["response"]) == (200, GREETING)
    assert server.pid_of("runner tiny") == runner


async def test_first_request_ever_survives_a_scheduler_that_dies_under_it(server: RunningServer) -> None:
    """With nothing loaded the next scheduler loads the model."""
    async with asking(server.port, NATIVE, greeting()) as exchange:
        server.kill("scheduler")
        assert await exchange.head() == 200


async def test_queue_survives_the_scheduler(place: Place, gate: StepGate) -> None:
    """Requests that wait for a slot are offered to the next scheduler, and none runs twice or is lost."""
    with running_server(place, OLLAMA_NUM_PARALLEL="1", **gate.environ) as server, gate.closing():
        async with asking(server.port, NATIVE, counting(N_TOKENS)) as running:
            lines = [await running.line() or ""]
            async with (
                asking(server.port, NATIVE, greeting()) as second,
                asking(server.port, NATIVE, greeting()) as third,
            ):
                await wait_queued(server.port, "tiny:latest", 2)
                runner = server.pid_of("runner tiny")
                server.kill("scheduler")
                gate.open()
                assert [await second.head(), await third.head()] == [200, 200]
            lines += await running.lines()
        assert last_of(lines)["eval_count"] == N_TOKENS
        assert server.pid_of("runner tiny") == runner


async def test_schedulers_that_die_one_after_the_other_lose_nothing(server: RunningServer, gate: StepGate) -> None:
    """A stream runs through three schedulers."""
    with gate.closing():
        async with asking(server.port, NATIVE, counting(N_TOKENS)) as exchange:
            lines = [await exchange.line() or ""]
            scheduler = server.kill("scheduler")
            for _ in range(2):
                await server.wait_for("scheduler", other_than=scheduler)
                scheduler = server.kill("scheduler")
            gate.open()
            lines += await exchange.lines()
    assert last_of(lines)["eval_count"] == N_TOKENS
    status, reply = await answer(server.port, NATIVE, greeting())
    assert (status, reply["response"]) == (200, GREETING)
