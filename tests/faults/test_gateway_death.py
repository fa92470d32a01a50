"""`kill -9` of the gateway: it is back on the same port, and the jobs of its dead clients do not linger."""

import pytest

from tests.faults.exchange import ConnectionCut, answer, asking
from tests.faults.looking import wait_active
from tests.faults.prompts import GREETING, NATIVE, endless, greeting
from tests.support.server import Place, RunningServer, running_server

pytestmark = pytest.mark.processes


async def test_gateway_is_back_on_its_port(server: RunningServer) -> None:
    """A request right after the death is answered, by the runner that was loaded before."""
    await answer(server.port, NATIVE, greeting())
    runner, gateway = server.pid_of("runner tiny"), server.kill("gateway")
    status, reply = await answer(server.port, NATIVE, greeting())
    assert (status, reply["response"]) == (200, GREETING)
    assert server.pid_of("runner tiny") == runner
    assert server.pid_of("gateway") != gateway


async def test_jobs_of_a_dead_gateway_are_cancelled(roomy_place: Place) -> None:
    """The only slot is given back by a stream that would have taken minutes, and its runner serves the next."""
    with running_server(roomy_place, OLLAMA_NUM_PARALLEL="1") as server:
        async with asking(server.port, NATIVE, endless()) as exchange:
            await exchange.line()
            await wait_active(server.port, "smollm2:latest", 1)
            runner = server.pid_of("runner smollm2")
            server.kill("gateway")
            with pytest.raises(ConnectionCut):
                await exchange.lines()
        await wait_active(server.port, "smollm2:latest", 0)
        status, reply = await answer(server.port, NATIVE, endless(options={"num_predict": 3}, stream=False))
        assert (status, reply["eval_count"]) == (200, 3)
        assert server.pid_of("runner smollm2") == runner
