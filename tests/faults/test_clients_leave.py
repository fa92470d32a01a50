"""Clients that leave early, or stop reading, cost the others nothing."""

from pathlib import Path

import pytest

from tests.faults.exchange import Exchange, answer, asking
from tests.faults.looking import wait_active, wait_queued
from tests.faults.prompts import GREETING, NATIVE, counting, endless, greeting
from tests.support.server import Place, RunningServer, eventually, running_server

pytestmark = pytest.mark.processes

SMALL_BUFFER_BYTES = 2048
STUCK_BYTES = 10_000
"""What waits in the server's send buffer when a client with a small buffer does not read."""


async def test_client_that_leaves_gives_its_slot_back(roomy_place: Place) -> None:
    """The only slot is free again long before the stream would have ended, and the next in the queue gets it."""
    with running_server(roomy_place, OLLAMA_NUM_PARALLEL="1") as server:
        async with asking(server.port, NATIVE, endless()) as leaving:
            await leaving.line()
            async with asking(server.port, NATIVE, endless(options={"num_predict": 3}, stream=False)) as waiting:
                await wait_queued(server.port, "smollm2:latest", 1)
                await leaving.leave()
                assert await waiting.head() == 200
        await wait_active(server.port, "smollm2:latest", 0)


async def test_client_that_leaves_while_its_prompt_is_read_gives_its_slot_back(roomy_place: Place) -> None:
    """Reading a prompt of thousands of tokens stops as well; nothing was answered by then."""
    prompt = "The ship sailed on and the sea was grey and wide and cold. " * 400
    with running_server(roomy_place, OLLAMA_NUM_PARALLEL="1") as server:
        async with asking(server.port, NATIVE, endless(prompt=prompt)) as leaving:
            await wait_active(server.port, "smollm2:latest", 1)
            async with asking(server.port, NATIVE, endless(options={"num_predict": 3}, stream=False)) as waiting:
                await wait_queued(server.port, "smollm2:latest", 1)
                await leaving.leave()
                assert await waiting.head() == 200


async def test_client_that_leaves_the_queue_is_not_served(roomy_place: Place) -> None:
    """Its place is free at once, also for the count of those who wait."""
    with running_server(roomy_place, OLLAMA_NUM_PARALLEL="1") as server:
        async with asking(server.port, NATIVE, endless()) as running:
            await running.line()
            async with asking(server.port, NATIVE, endless()):
                await wait_queued(server.port, "smollm2:latest", 1)
            await wait_queued(server.port, "smollm2:latest", 0)


async def test_client_of_a_whole_answer_that_leaves_gives_its_slot_back(roomy_place: Place) -> None:
    """Without a stream nothing is written that could fail; the closed connection itself is noticed."""
    with running_server(roomy_place, OLLAMA_NUM_PARALLEL="1") as server:
        async with asking(server.port, NATIVE, endless(stream=False)):
            await wait_active(server.port, "smollm2:latest", 1)
        await wait_active(server.port, "smollm2:latest", 0)


async def test_clients_that_leave_cost_the_gateway_nothing(server: RunningServer) -> None:
    """After many of them it has as few descriptors open as before."""
    await answer(server.port, NATIVE, greeting())
    gateway = server.pid_of("gateway")
    n_before = _n_descriptors(gateway)
    for _ in range(20):
        async with asking(server.port, NATIVE, counting(4000)) as leaving:
            await leaving.line()
    await eventually(lambda: True if _n_descriptors(gateway) <= n_before else None)


async def test_client_that_does_not_read_hinders_neither_others_nor_the_stop(place: Place) -> None:
    """Another client is answered meanwhile, and the server stops although that one never reads."""
    with running_server(place, LLAMACTOR_DRAIN_TIMEOUT="1s") as server:
        async with asking(server.port, NATIVE, counting(1_000_000), buffer_bytes=SMALL_BUFFER_BYTES) as mute:
            await eventually(lambda: _is_stuck(server, mute))
            status, reply = await answer(server.port, NATIVE, greeting())
            assert (status, reply["response"]) == (200, GREETING)
            server.finish()


def _is_stuck(server: RunningServer, mute: Exchange) -> bool | None:
    """Tell whether the server's end of a connection holds data that it cannot get rid of."""
    wanted = (server.port, mute.local_port)
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if (_port_in(local), _port_in(remote)) == wanted and int(queues.partition(":")[0], 16) > STUCK_BYTES:
            return True
    return None


def _n_descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _port_in(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
