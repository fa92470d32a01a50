"""`kill -9` of a runner: its answers go on elsewhere, a request that kills two ends, everything else goes on."""

import json

import pytest

from tests.faults.exchange import answer, asking
from tests.faults.looking import wait_active, wait_queued, wait_unloaded
from tests.faults.prompts import CHAT_V1, GREETING, NATIVE, chat_v1, counting, greeting, last_of, text_of
from tests.support.server import Place, RunningServer, running_server, wait_ended
from tests.support.step_gate import StepGate

pytestmark = pytest.mark.processes

TWICE = "two runners have ended"


async def test_stream_of_a_killed_runner_goes_on_with_the_same_text(server: RunningServer, gate: StepGate) -> None:
    """The client sees a pause; text and counts are those of an undisturbed answer."""
    _, undisturbed = await answer(server.port, NATIVE, counting(1000, stream=False))
    with gate.closing():
        async with asking(server.port, NATIVE, counting(1000)) as exchange:
            lines = [await exchange.line() or ""]
            server.kill("runner tiny")
            gate.open()
            lines += await exchange.lines()
    assert text_of(lines) == undisturbed["response"]
    for figure in ("done_reason", "prompt_eval_count", "eval_count"):
        assert last_of(lines)[figure] == undisturbed[figure]


async def test_stream_that_kills_two_runners_ends_with_an_error_line(server: RunningServer, gate: StepGate) -> None:
    """What was generated arrives, then one line with an error alone, and no line that says done."""
    with gate.closing():
        async with asking(server.port, NATIVE, counting(4000)) as exchange:
            first = await exchange.line()
            await _kill_twice(server, "tiny")
            rest = await exchange.lines()
    assert exchange.status == 200
    assert first is not None
    assert json.loads(first)["response"]
    assert list(last_of(rest)) == ["error"]
    assert TWICE in last_of(rest)["error"]
    assert not any(json.loads(line)["done"] for line in rest[:-1])


async def test_whole_answer_that_kills_two_runners_is_a_500(server: RunningServer, gate: StepGate) -> None:
    """Nothing was sent yet, so the status tells."""
    with gate.closing():
        async with asking(server.port, NATIVE, counting(4000, stream=False)) as exchange:
            await wait_active(server.port, "tiny:latest", 1)
            await _kill_twice(server, "tiny")
            (line,) = await exchange.lines()
    assert exchange.status == 500
    assert TWICE in json.loads(line)["error"]


async def _kill_twice(server: RunningServer, name: str) -> None:
    """Kill the runner that has the requests, and the one that goes on with them."""
    killed = server.kill(f"runner {name}")
    await wait_ended(killed)
    await server.wait_for(f"runner {name}", other_than=killed)
    await wait_active(server.port, f"{name}:latest", 1)
    server.kill(f"runner {name}")


async def test_openai_stream_that_kills_two_runners_ends_with_an_error(roomy_place: Place) -> None:
    """An error event in OpenAI's shape, and no `[DONE]`."""
    with running_server(roomy_place) as server:
        async with asking(server.port, CHAT_V1, chat_v1(stream=True)) as stream:
            assert await stream.line()
            await _kill_twice(server, "smollm2")
            events = await stream.lines()
    error = json.loads(events[-1].removeprefix("data: "))["error"]
    assert TWICE in error["message"]
    assert error["type"] == "api_error"


async def test_request_after_a_runners_death_loads_afresh(server: RunningServer) -> None:
    """The answer is the usual one, from another process; of the dead one neither process nor socket is left."""
    await answer(server.port, NATIVE, greeting())
    killed = server.kill("runner tiny")
    status, reply = await answer(server.port, NATIVE, greeting())
    assert (status, reply["response"]) == (200, GREETING)
    assert server.pid_of("runner tiny") != killed
    await wait_ended(killed)
    assert len(list(server.place.run_dir.glob("runner-*.sock"))) == 1


async def test_request_that_waits_is_served_by_the_next_runner(place: Place, gate: StepGate) -> None:
    """What had not begun when its runner died is not lost."""
    with running_server(place, OLLAMA_NUM_PARALLEL="1", **gate.environ) as server, gate.closing():
        async with asking(server.port, NATIVE, counting(4000)) as running:
            await running.line()
            async with asking(server.port, NATIVE, greeting()) as waiting:
                await wait_queued(server.port, "tiny:latest", 1)
                server.kill("runner tiny")
                gate.open()
                (line,) = await waiting.lines()
            assert last_of(await running.lines())["eval_count"] == 4000
    assert json.loads(line)["response"] == GREETING


async def test_runners_death_leaves_other_models_alone(two_models: Place, gate: StepGate) -> None:
    """A stream of another model goes on to its end."""
    with running_server(two_models, **gate.environ) as server, gate.closing():
        async with (
            asking(server.port, NATIVE, counting(4000)) as victim,
            asking(server.port, NATIVE, counting(1000, model="twin")) as survivor,
        ):
            await victim.line()
            lines = [await survivor.line() or ""]
            server.kill("runner tiny")
            gate.open()
            lines += await survivor.lines()
            assert last_of(await victim.lines())["eval_count"] == 4000
    assert last_of(lines)["eval_count"] == 1000


async def test_idle_runners_death_is_noticed_without_a_request(server: RunningServer) -> None:
    """A runner that dies between requests vanishes from the list of what is loaded."""
    await answer(server.port, NATIVE, greeting())
    server.kill("runner tiny")
    await wait_unloaded(server.port, "tiny:latest")


async def test_renderer_and_spare_are_replaced(server: RunningServer) -> None:
    """Killed helpers of a host come back, and chats are rendered again."""
    await server.wait_for("renderer")
    renderer, spare = server.kill("renderer"), server.kill("runner (idle)")
    await server.wait_for("renderer", other_than=renderer)
    await server.wait_for("runner (idle)", other_than=spare)
    status, reply = await answer(server.port, NATIVE, greeting())
    assert (status, reply["response"]) == (200, GREETING)
