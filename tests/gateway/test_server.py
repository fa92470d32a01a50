"""Connections: when they close, when they stay, and that no client can hold up the server."""

import contextlib
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio
import trio.testing

from actors.settings import Settings
from gateway.client_connection import ClientConnection
from gateway.connection import GatewayRequest
from registry.store import Store
from tests.gateway.conftest import RunningGateway, running_gateway
from tests.support.stub_backend import StubBackend, StubJob, paused

DEADLINE_S = 60.0
VERSION = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n"
PROMPT = b'{"model": "smollm2", "prompt": "x"}'


@pytest.fixture(autouse=True)
async def deadline() -> AsyncIterator[None]:
    """End each test that hangs."""
    with trio.fail_after(DEADLINE_S):
        yield


async def _read_all(stream: trio.SocketStream) -> bytes:
    data = b""
    while chunk := await stream.receive_some():
        data += chunk
    return data


async def _read_answer(stream: trio.SocketStream) -> bytes:
    """Read one answer that has a length."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = await stream.receive_some()
        assert chunk, data
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += await stream.receive_some()
    return head + b"\r\n\r\n" + body


@asynccontextmanager
async def _stuck_client(gateway: RunningGateway, backend: StubBackend) -> AsyncIterator[trio.SocketStream]:
    """A client that asks for a long answer and never reads; the answer fills every buffer on the way."""

    async def pour(job: StubJob) -> None:
        await job.accept()
        for seq in range(1, 100):
            await job.publish(job.delta(seq, "x" * 100_000))
        poured.set()
        await trio.sleep_forever()

    poured = trio.Event()

    backend.plan = pour
    connection = trio.socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await connection.connect(("127.0.0.1", gateway.port))
    stream = trio.SocketStream(connection)
    head = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(PROMPT)
    await stream.send_all(head + PROMPT)
    await poured.wait()
    async with stream:
        yield stream


async def test_http_1_0_closes_after_the_answer(gateway: RunningGateway) -> None:
    """A client of HTTP/1.0 sees the end of the connection."""
    async with await gateway.connect() as stream:
        await stream.send_all(b"GET /api/version HTTP/1.0\r\n\r\n")
        assert b'"version"' in await _read_all(stream)


async def test_http_1_0_stream_closes_after_the_answer(gateway: RunningGateway) -> None:
    """So does one that gets a stream, which has no length."""
    async with await gateway.connect() as stream:
        head = b"POST /api/generate HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(PROMPT)
        await stream.send_all(head + PROMPT)
        assert b'"done":true' in await _read_all(stream)


async def test_connection_close_closes_after_the_answer(gateway: RunningGateway) -> None:
    """`Connection: close` is honoured."""
    async with await gateway.connect() as stream:
        await stream.send_all(VERSION + b"Connection: close\r\n\r\n")
        assert b'"version"' in await _read_all(stream)


async def test_connection_close_closes_after_a_stream(gateway: RunningGateway) -> None:
    """Also after a stream."""
    async with await gateway.send_raw("POST", "/api/generate", PROMPT, "Connection: close") as stream:
        assert (await _read_all(stream)).endswith(b"0\r\n\r\n")


async def test_kept_connection_serves_the_next_request(gateway: RunningGateway) -> None:
    """Without that header a connection stays open, pipelined requests included."""
    async with await gateway.connect() as stream:
        await stream.send_all(VERSION + b"\r\n")
        await _read_answer(stream)
        await stream.send_all((VERSION + b"\r\n") * 2)
        await _read_answer(stream)
    await gateway.wait_for_connections(0)


async def test_idle_connection_closed_by_its_client_is_gone_at_once(gateway: RunningGateway) -> None:
    """Hypercorn alone keeps it until its idle time is over."""
    async with await gateway.connect() as stream:
        await stream.send_all(VERSION + b"\r\n")
        await _read_answer(stream)
    await gateway.wait_for_connections(0)


async def test_connections_beyond_the_bound_wait_for_room(settings: Settings, store: Store) -> None:
    """A connection too many is served when another one closes."""
    async with running_gateway(settings, store, max_connections=1) as gateway:
        first, second = await gateway.connect(), await gateway.connect()
        async with second:
            async with first:
                await second.send_all(VERSION + b"\r\n")
                await first.send_all(VERSION + b"\r\n")
                await _read_answer(first)
                assert gateway.server.n_connections == 1
            assert b'"version"' in await _read_answer(second)


async def test_requests_leave_nothing_to_the_garbage_collector(gateway: RunningGateway) -> None:
    """What served a request is freed with it: looking for circles took a tenth of the gateway's time."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            async with await gateway.connect() as stream:
                for _ in range(2):
                    await stream.send_all(VERSION + b"\r\n")
                    await _read_answer(stream)
        await gateway.wait_for_connections(0)
        await trio.testing.wait_all_tasks_blocked()
        left = [each for each in gc.get_objects() if isinstance(each, GatewayRequest | ClientConnection)]
    finally:
        gc.enable()
    assert left == []


async def test_head_has_no_body(gateway: RunningGateway) -> None:
    """HEAD answers like GET, without the body."""
    response = await gateway.client.head("/api/tags")
    assert (response.status_code, response.content) == (200, b"")


async def test_garbage_is_answered_with_400(gateway: RunningGateway) -> None:
    """What is no HTTP ends its own connection and nothing else."""
    async with await gateway.connect() as stream:
        await stream.send_all(b"\x16\x03\x01 not http\r\n\r\n")
        assert (await _read_all(stream)).startswith(b"HTTP/1.1 400")
    assert (await gateway.client.get("/")).text == "Ollama is running"


async def test_head_that_trickles_is_cut_off(settings: Settings, store: Store) -> None:
    """The deadline of a request's head does not move with each byte that comes."""
    async with running_gateway(settings, store, idle_connection_s=0.3) as gateway, await gateway.connect() as stream:
        await stream.send_all(VERSION)
        with contextlib.suppress(trio.BrokenResourceError):
            while gateway.server.n_connections:
                await stream.send_all(b"X-More: x\r\n")
                await trio.sleep(0.02)


async def test_huge_head_is_refused(gateway: RunningGateway) -> None:
    """The head of a request is bounded."""
    async with await gateway.connect() as stream:
        await stream.send_all(VERSION + b"X-Big: " + b"x" * 200_000)
        assert (await _read_all(stream)).startswith(b"HTTP/1.1 431")


async def test_big_json_body_is_refused_in_the_family_s_shape(gateway: RunningGateway) -> None:
    """A body over the bound is a 413 that the client gets to see, whether its length was announced or not."""
    big = b'{"model": "' + b"x" * 3_000_000 + b'"}'
    announced = await gateway.client.post("/api/generate", content=big)
    assert (announced.status_code, announced.json()) == (413, {"error": "the request body is too large"})

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 100_000):
            yield big[start : start + 100_000]

    chunked = await gateway.client.post("/v1/completions", content=chunks())
    assert (chunked.status_code, chunked.json()["error"]["message"]) == (413, "the request body is too large")


async def test_refused_upload_is_answered_though_nobody_reads_it(gateway: RunningGateway) -> None:
    """An error comes through even while the client is still sending."""
    response = await gateway.client.post("/nope", content=b"x" * 2_000_000)
    assert (response.status_code, response.text) == (404, "404 page not found")


async def test_drain_refuses_new_connections_and_lets_streams_end(
    gateway: RunningGateway, backend: StubBackend
) -> None:
    """A running stream ends well, an idle connection closes, nobody new gets in."""
    resume = trio.Event()
    backend.plan = paused(resume)
    async with await gateway.connect() as idle, await gateway.send_raw("POST", "/api/generate", PROMPT) as running:
        await idle.send_all(VERSION + b"\r\n")
        await _read_answer(idle)
        while b'"response":"a"' not in await running.receive_some():
            pass
        gateway.server.drain()
        assert await idle.receive_some() == b""
        with pytest.raises(OSError, match="all attempts to connect"):
            await gateway.connect()
        resume.set()
        rest = await _read_all(running)
    assert b'"response":"b"' in rest
    assert b'"done":true' in rest
    await gateway.server.wait_closed()


async def test_request_on_a_kept_connection_while_draining_is_refused(gateway: RunningGateway) -> None:
    """A request that has begun to arrive when draining starts is told to come back later."""
    async with await gateway.connect() as stream:
        await stream.send_all(b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n")
        await gateway.wait_for_connections(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, b"\r\n{}")
            gateway.server.drain()
        answer = await _read_all(stream)
    assert not answer or b"503" in answer  # its head may have come too late


async def test_drain_cuts_off_what_outlasts_the_drain_time(
    settings: Settings, store: Store, backend: StubBackend
) -> None:
    """A stream that does not end in time is told so by its last line and cut off, and its job cancelled."""

    async def never_end(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.delta(1, "a"))
        await trio.sleep_forever()

    backend.plan = never_end
    hasty = msgspec.structs.replace(settings, drain_timeout_s=0.2)
    async with (
        running_gateway(hasty, store) as gateway,
        await gateway.send_raw("POST", "/api/generate", PROMPT) as stream,
    ):
        await stream.receive_some()
        gateway.server.drain()
        rest = await _read_all(stream)
        await gateway.server.wait_closed()
        assert await backend.cancelled.wait_for(1) == backend.submitted.items[0].job_id
    assert b'{"error":"the server is shutting down' in rest


async def test_drain_answers_a_request_that_is_on_its_way_and_reads_its_body(gateway: RunningGateway) -> None:
    """A head that arrives as draining begins is answered, even while its body is being sent."""
    n_bytes = 512 << 10
    async with await gateway.connect() as stream:
        await stream.send_all(VERSION + b"\r\n")
        await _read_answer(stream)
        gateway.server.drain()
        head = f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {n_bytes}\r\n\r\n"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, head.encode() + b" " * n_bytes)
            answer = await _read_all(stream)
    assert b" 503 " in answer.splitlines()[0]
    assert b"connection: close" in answer.lower()


async def test_bodies_that_are_read_at_once_are_bounded_together(settings: Settings, store: Store) -> None:
    """Over the bound a request is told to come back; what was read makes room for others."""
    small = msgspec.structs.replace(settings, max_body_bytes=100_000)
    async with running_gateway(small, store) as gateway:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(5):
                stream = await stack.enter_async_context(await gateway.connect())
                head = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
                await stream.send_all(head + b" " * 90_000)
                last = stream
            with trio.fail_after(DEADLINE_S):
                refused = await last.receive_some()
        assert b" 503 " in refused.splitlines()[0]
        assert b"retry-after" in refused.lower()
        await gateway.wait_for_connections(0)
        assert (await gateway.post("/api/generate", {"model": "smollm2"})).status_code == 200


async def test_drain_with_a_client_that_never_reads_ends_in_time(
    settings: Settings, store: Store, backend: StubBackend
) -> None:
    """Hypercorn shields its writes, so the socket is closed under a client that takes nothing."""
    hasty = msgspec.structs.replace(settings, drain_timeout_s=0.2)
    async with running_gateway(hasty, store) as gateway, _stuck_client(gateway, backend):
        gateway.server.drain()
        await gateway.server.wait_closed()
    assert await backend.cancelled.wait_for(1) == backend.submitted.items[0].job_id


async def test_client_that_never_reads_is_cut_off_by_the_write_deadline(
    settings: Settings, store: Store, backend: StubBackend
) -> None:
    """A write that finds no room in time closes the connection and frees the slot."""
    async with running_gateway(settings, store, write_deadline_s=0.2) as gateway, _stuck_client(gateway, backend):
        assert await backend.cancelled.wait_for(1) == backend.submitted.items[0].job_id
        await gateway.wait_for_connections(0)


async def test_slow_reader_gets_all_of_a_merged_answer(gateway: RunningGateway, backend: StubBackend) -> None:
    """A client that reads late gets the whole text in fewer, larger lines."""
    n_parts = 3000

    async def pour(job: StubJob) -> None:
        await job.accept()
        for seq in range(1, n_parts + 1):
            await job.publish(job.delta(seq, f"{seq},"))
        await job.publish(job.finished(n_parts + 1))

    backend.plan = pour
    response = await gateway.post("/api/generate", {"model": "smollm2", "prompt": "x"})
    lines = msgspec.json.Decoder().decode_lines(response.content)
    assert "".join(line["response"] for line in lines) == "".join(f"{seq}," for seq in range(1, n_parts + 1))
    assert len(lines) <= n_parts
