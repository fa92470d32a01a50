"""`kill -9` of `serve`: nothing survives, and the next one starts in the same place."""

import os
import signal

import pytest

from tests.faults.exchange import ConnectionCut, answer, asking
from tests.faults.prompts import GREETING, NATIVE, counting, greeting
from tests.support.server import Place, running_server, wait_ended
from tests.support.step_gate import StepGate

pytestmark = pytest.mark.processes


async def test_nothing_survives_a_killed_serve(place: Place, gate: StepGate) -> None:
    """Every process ends by itself; what files they leave does not hinder the next server, which removes them."""
    with running_server(place, **gate.environ) as server, gate.closing():
        async with asking(server.port, NATIVE, counting(4000)) as exchange:
            await exchange.line()
            everything = list(server.titles)
            server.send(signal.SIGKILL)
            await wait_ended(*everything)
            with pytest.raises(ConnectionCut):
                await exchange.lines()
    assert place.run_dir.exists()
    with running_server(place) as server:
        status, reply = await answer(server.port, NATIVE, greeting())
        assert (status, reply["response"]) == (200, GREETING)
    assert not place.run_dir.exists()


async def test_frozen_parts_do_not_survive_a_killed_serve(place: Place) -> None:
    """A part that cannot act itself, because it is stopped, is ended by the kernel."""
    with running_server(place) as server:
        await answer(server.port, NATIVE, greeting())
        everything = list(server.titles)
        for title in ("launcher", "forkserver", "runner tiny", "scheduler", "gateway"):
            os.kill(server.pid_of(title), signal.SIGSTOP)
        server.send(signal.SIGKILL)
        await wait_ended(*everything)
