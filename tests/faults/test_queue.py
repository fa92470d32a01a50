"""The queue: in order, bounded, and never in the way of other models."""

import contextlib
import json

import pytest

from tests.faults.exchange import answer, asking
from tests.faults.looking import wait_queued
from tests.faults.prompts import CHAT_V1, GREETING, NATIVE, counting, endless, greeting
from tests.support.server import Place, running_server
from tests.support.step_gate import StepGate

pytestmark = pytest.mark.processes

BUSY = "server busy, please try again.  maximum pending requests exceeded"


async def test_one_slot_serves_its_queue_in_order(place: Place, gate: StepGate) -> None:
    """Requests that wait for one slot are all answered, first come, first served."""
    finished_at = []
    with running_server(place, OLLAMA_NUM_PARALLEL="1", **gate.environ) as server, gate.closing():
        async with contextlib.AsyncExitStack() as clients:
            waiting = []
            async with asking(server.port, NATIVE, counting(4000)) as running:
                await running.line()
                for n_queued in range(1, 6):
                    client = asking(server.port, NATIVE, counting(300, stream=False))
                    waiting.append(await clients.enter_async_context(client))
                    await wait_queued(server.port, "tiny:latest", n_queued)
            gate.open()
            for exchange in waiting:
                (line,) = await exchange.lines()
                assert json.loads(line)["eval_count"] == 300
                finished_at.append(json.loads(line)["created_at"])
    assert finished_at == sorted(finished_at)


async def test_surplus_over_the_queues_bound_is_refused_with_a_time_to_retry(roomy_place: Place) -> None:
    """Both API families say 503 with `Retry-After`; who waits already is served."""
    short = endless(options={"num_predict": 3}, stream=False)
    with running_server(roomy_place, OLLAMA_NUM_PARALLEL="1", OLLAMA_MAX_QUEUE="2") as server:
        async with asking(server.port, NATIVE, endless()) as running:
            await running.line()
            async with asking(server.port, NATIVE, short) as second, asking(server.port, NATIVE, short) as third:
                await wait_queued(server.port, "smollm2:latest", 2)
                async with asking(server.port, NATIVE, short) as native:
                    assert json.loads((await native.lines())[0]) == {"error": BUSY}
                v1_request = {"model": "smollm2", "messages": [{"role": "user", "content": "Hi"}]}
                async with asking(server.port, CHAT_V1, v1_request) as openai:
                    assert json.loads((await openai.lines())[0])["error"]["message"] == BUSY
                assert [native.status, openai.status] == [503, 503]
                assert int(native.headers["Retry-After"]) >= 1
                assert int(openai.headers["Retry-After"]) >= 1
                await running.leave()
                assert [await second.head(), await third.head()] == [200, 200]


async def test_full_queue_of_one_model_does_not_stop_another(roomy_place: Place) -> None:
    """A model with a free slot answers although the other's queue is long."""
    with running_server(roomy_place, OLLAMA_NUM_PARALLEL="1") as server:
        async with asking(server.port, NATIVE, endless()) as running:
            await running.line()
            async with asking(server.port, NATIVE, endless()):
                await wait_queued(server.port, "smollm2:latest", 1)
                status, reply = await answer(server.port, NATIVE, greeting())
    assert (status, reply["response"]) == (200, GREETING)
