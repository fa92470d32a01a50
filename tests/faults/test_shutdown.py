"""Stopping `serve`: streams end within the drain time, new requests are refused, nothing is left."""

import signal
import socket

import pytest

from tests.faults.exchange import ConnectionCut, asking
from tests.faults.looking import wait_queued
from tests.faults.prompts import NATIVE, counting, endless, greeting, last_of
from tests.support.server import Place, RunningServer, eventually, running_server, wait_ended
from tests.support.step_gate import StepGate

pytestmark = pytest.mark.processes


def _is_refused(port: int) -> bool | None:
    with socket.socket() as client:
        return True if client.connect_ex(("127.0.0.1", port)) else None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_stream_ends_well_while_the_server_stops(
    server: RunningServer, gate: StepGate, number: signal.Signals
) -> None:
    """It gets all of its tokens although new clients are refused; `serve` ends with status 0, its children gone."""
    with gate.closing():
        async with asking(server.port, NATIVE, counting(600)) as exchange:
            lines = [await exchange.line() or ""]
            everything = list(server.titles)
            server.send(number)
            await eventually(lambda: _is_refused(server.port))
            assert server.exit_status is None
            gate.open()
            lines += await exchange.lines()
    assert last_of(lines)["eval_count"] == 600
    assert await server.wait_exit() == 0
    await wait_ended(*everything)
    assert not server.place.run_dir.exists()


async def test_stream_that_is_too_long_is_cut_at_the_drain_timeout(roomy_place: Place) -> None:
    """The server does not wait for ever: the last line tells why, and it ends well all the same."""
    with running_server(roomy_place, LLAMACTOR_DRAIN_TIMEOUT="1s") as server:
        async with asking(server.port, NATIVE, endless()) as exchange:
            await exchange.line()
            server.send(signal.SIGTERM)
            lines = await exchange.lines()
            assert "shutting down" in lines[-1]
        assert await server.wait_exit() == 0


async def test_request_in_the_queue_is_answered_while_the_server_stops(place: Place, gate: StepGate) -> None:
    """What was accepted before the signal is served, also when it still waits for a slot."""
    with running_server(place, OLLAMA_NUM_PARALLEL="1", **gate.environ) as server, gate.closing():
        async with asking(server.port, NATIVE, counting(600)) as running:
            await running.line()
            async with asking(server.port, NATIVE, greeting()) as waiting:
                await wait_queued(server.port, "tiny:latest", 1)
                server.send(signal.SIGTERM)
                await server.wait_stopping()
                gate.open()
                await running.lines()
                assert await waiting.head() == 200
        assert await server.wait_exit() == 0


async def test_second_signal_kills_at_once(roomy_place: Place) -> None:
    """Whoever is in a hurry does not wait for the drain."""
    with running_server(roomy_place, LLAMACTOR_DRAIN_TIMEOUT="10m") as server:
        async with asking(server.port, NATIVE, endless()) as exchange:
            await exchange.line()
            server.send(signal.SIGTERM)
            await server.wait_stopping()
            server.send(signal.SIGTERM)
            with pytest.raises(ConnectionCut):
                await exchange.lines()
        await server.wait_exit()
        assert not roomy_place.run_dir.exists()


async def test_idle_connection_does_not_hold_up_the_stop(server: RunningServer) -> None:
    """A client that keeps its connection open is closed at once."""
    async with asking(server.port, "/api/version") as exchange:
        await exchange.lines()
        server.send(signal.SIGTERM)
        assert await server.wait_exit() == 0
