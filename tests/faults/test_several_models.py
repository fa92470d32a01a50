"""Several models at once: a process each, loading beside streams, expiry and eviction of the idle."""

import json

import pytest

from tests.faults.exchange import answer, asking
from tests.faults.looking import loaded, wait_active, wait_unloaded
from tests.faults.prompts import GREETING, NATIVE, counting, greeting, last_of, text_of
from tests.support.process_tree import title_of
from tests.support.server import Place, RunningServer, running_server, wait_ended
from tests.support.step_gate import StepGate

pytestmark = pytest.mark.processes


async def test_each_model_has_a_process_that_carries_its_name(two_models: Place) -> None:
    """Both are listed, and each runner's title tells which one it is."""
    with running_server(two_models) as server:
        for name in ("tiny", "twin"):
            status, reply = await answer(server.port, NATIVE, greeting(model=name))
            assert (status, reply["response"]) == (200, GREETING)
        assert set(await loaded(server.port)) == {"tiny:latest", "twin:latest"}
        titles = {title_of(server.pid_of(f"runner {name}")) for name in ("tiny", "twin")}
    assert titles == {"llamactor: runner tiny:latest", "llamactor: runner twin:latest"}


async def test_parts_carry_the_titles_that_people_look_for(server: RunningServer) -> None:
    """Each part has its one process."""
    await server.wait_for("renderer")
    for title in ("gateway", "scheduler", "launcher", "forkserver", "renderer", "runner (idle)"):
        assert title_of(server.pid_of(title)) == f"llamactor: {title}"
    assert title_of(server.pid) == "llamactor: serve"


async def test_second_model_loads_while_the_first_streams(two_models: Place, gate: StepGate) -> None:
    """Both answers are complete, and the stream's text is that of an undisturbed one."""
    with running_server(two_models, **gate.environ) as server:
        _, undisturbed = await answer(server.port, NATIVE, counting(1000, stream=False))
        with gate.closing():
            async with (
                asking(server.port, NATIVE, counting(1000)) as exchange,
                asking(server.port, NATIVE, greeting(model="twin")) as second,
            ):
                lines = [await exchange.line() or ""]
                await wait_active(server.port, "twin:latest", 1)
                gate.open()
                lines += await exchange.lines()
                (reply,) = await second.lines()
    assert json.loads(reply)["response"] == GREETING
    assert last_of(lines)["done"]
    assert text_of(lines) == undisturbed["response"]


async def test_preload_list_is_loaded_without_a_request(two_models: Place) -> None:
    """Each of its models has a runner soon; one that is not there is reported and holds up nobody."""
    with running_server(two_models, LLAMACTOR_PRELOAD="twin,absent,tiny") as server:
        for name in ("twin", "tiny"):
            await server.wait_for(f"runner {name}")
        assert "LLAMACTOR_PRELOAD: cannot load absent" in server.log


async def test_limit_of_loaded_models_evicts_the_idle_one(two_models: Place) -> None:
    """With room for one, the second takes the place of the first, whose process ends."""
    with running_server(two_models, OLLAMA_MAX_LOADED_MODELS="1") as server:
        await answer(server.port, NATIVE, greeting())
        evicted = server.pid_of("runner tiny")
        status, reply = await answer(server.port, NATIVE, greeting(model="twin"))
        assert (status, reply["response"]) == (200, GREETING)
        await wait_ended(evicted)
        assert set(await loaded(server.port)) == {"twin:latest"}


async def test_busy_model_is_not_evicted(two_models: Place, gate: StepGate) -> None:
    """With room for one, the second waits until the first's stream has ended."""
    with running_server(two_models, OLLAMA_MAX_LOADED_MODELS="1", **gate.environ) as server, gate.closing():
        async with asking(server.port, NATIVE, counting(1000)) as running:
            lines = [await running.line() or ""]
            async with asking(server.port, NATIVE, greeting(model="twin")) as waiting:
                gate.open()
                lines += await running.lines()
                assert await waiting.head() == 200
    assert last_of(lines)["eval_count"] == 1000


async def test_idle_model_is_unloaded_when_its_keep_alive_is_over(server: RunningServer) -> None:
    """Its process ends and it is listed no more; the next request loads it again."""
    await answer(server.port, NATIVE, greeting(keep_alive="1s"))
    await wait_ended(server.pid_of("runner tiny"))
    await wait_unloaded(server.port, "tiny:latest")
    status, reply = await answer(server.port, NATIVE, greeting())
    assert (status, reply["response"]) == (200, GREETING)


async def test_model_does_not_expire_under_a_stream(server: RunningServer) -> None:
    """A keep-alive shorter than the stream counts from its end."""
    async with asking(server.port, NATIVE, counting(500, keep_alive=0.001)) as exchange:
        lines = await exchange.lines()
    assert last_of(lines)["eval_count"] == 500
    await wait_unloaded(server.port, "tiny:latest")


async def test_keep_alive_of_the_environment_is_the_default(place: Place) -> None:
    """`OLLAMA_KEEP_ALIVE` unloads what no request keeps longer."""
    with running_server(place, OLLAMA_KEEP_ALIVE="1s") as server:
        await answer(server.port, NATIVE, greeting())
        await wait_unloaded(server.port, "tiny:latest")


async def test_wish_for_a_larger_context_loads_the_model_anew(server: RunningServer) -> None:
    """A smaller context fits into the loaded one, a larger one does not."""
    await answer(server.port, NATIVE, greeting())
    first = server.pid_of("runner tiny")
    await answer(server.port, NATIVE, greeting(options={"num_ctx": 512}))
    assert server.pid_of("runner tiny") == first
    status, _ = await answer(server.port, NATIVE, greeting(options={"num_ctx": 8192}))
    assert status == 200
    await wait_ended(first)
    assert (await loaded(server.port))["tiny:latest"]["context_length"] == 8192


async def test_context_of_the_environment_is_the_default(place: Place) -> None:
    """`OLLAMA_CONTEXT_LENGTH` decides where no request does."""
    with running_server(place, OLLAMA_CONTEXT_LENGTH="1024") as server:
        await answer(server.port, NATIVE, greeting())
        assert (await loaded(server.port))["tiny:latest"]["context_length"] == 1024
