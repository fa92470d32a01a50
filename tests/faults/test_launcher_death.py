"""`kill -9` of the launcher: its children die with it, it is started again, the next request is answered."""

import pytest

from tests.faults.exchange import answer, asking
from tests.faults.looking import wait_unloaded
from tests.faults.prompts import GREETING, NATIVE, counting, greeting, last_of
from tests.support.process_tree import descendants, title_of
from tests.support.server import RunningServer, wait_ended
from tests.support.step_gate import StepGate

pytestmark = pytest.mark.processes


async def test_launchers_death_takes_its_processes_along(server: RunningServer, gate: StepGate) -> None:
    """Forkserver, renderer, spare and runner end by themselves; a stream goes on under the next launcher."""
    with gate.closing():
        async with asking(server.port, NATIVE, counting(4000)) as exchange:
            await exchange.line()
            await server.wait_for("renderer")
            await server.wait_for("runner (idle)")
            launcher = server.pid_of("launcher")
            below = descendants(launcher)
            titles = {title_of(pid) for pid in below}
            server.kill("launcher")
            await wait_ended(*below)
            gate.open()
            rest = await exchange.lines()
    assert titles >= {
        "llamactor: forkserver",
        "llamactor: renderer",
        "llamactor: runner (idle)",
        "llamactor: runner tiny:latest",
    }
    assert last_of(rest)["eval_count"] == 4000


async def test_request_after_the_launchers_death_is_answered_by_the_next_one(server: RunningServer) -> None:
    """The model is loaded afresh, and the dead runner's socket is gone."""
    await answer(server.port, NATIVE, greeting())
    launcher, runner = server.pid_of("launcher"), server.pid_of("runner tiny")
    server.kill("launcher")
    status, reply = await answer(server.port, NATIVE, greeting())
    assert (status, reply["response"]) == (200, GREETING)
    assert server.pid_of("launcher") != launcher
    assert server.pid_of("runner tiny") != runner
    assert len(list(server.place.run_dir.glob("runner-*.sock"))) == 1


async def test_dead_launchers_models_are_not_listed(server: RunningServer) -> None:
    """What went down with it is forgotten without a request."""
    await answer(server.port, NATIVE, greeting())
    server.kill("launcher")
    await wait_unloaded(server.port, "tiny:latest")
