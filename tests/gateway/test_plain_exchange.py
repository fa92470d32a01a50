"""Ordinary requests: what is taken for one means the same to h11, and everything else is left to it."""

import re
from collections.abc import AsyncIterator

import h11
import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.plain_exchange import plain_request
from tests.gateway.conftest import RunningGateway
from tests.support.stub_backend import StubBackend, StubJob, paused

DEADLINE_S = 60.0
PIECES = (
    *(
        "GET ",
        "POST ",
        "PUT ",
        "/",
        "/api/tags",
        "*",
        "?q=%20",
        "#",
        " HTTP/1.1",
        " HTTP/1.0",
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
    ),
    *(
        "Host: localhost\r\n",
        "Host:\r\n",
        "host : a\r\n",
        "X-A: b\r\n",
        "X-A:\tb \r\n",
        " folded\r\n",
        "\x00",
        "\x7f",
        "ä",
    ),
    *(
        "Content-Length: 2\r\n",
        "Content-Length: 02\r\n",
        "content-length: +2\r\n",
        "Content-Length: 2, 2\r\n",
        "{}",
        "{}x",
    ),
    *("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n", "Connection: close\r\n", "Connection: Keep-Alive\r\n"),
    *("Expect: 100-continue\r\n", "Upgrade: h2c\r\n", "\r\n\r\n"),
)
ORDINARY = b"POST /api/embed?x=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nX-A: \tb \r\n\r\n{}"
VERSION = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n"
PROMPT = b'{"model": "smollm2", "prompt": "x"}'


@pytest.fixture
async def deadline() -> AsyncIterator[None]:
    """End a test that hangs."""
    with trio.fail_after(DEADLINE_S):
        yield


def _requests() -> st.SearchStrategy[bytes]:
    soup = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
    headers = st.lists(st.sampled_from(PIECES[13:]), max_size=5).map("".join)
    likely = st.builds(
        "{}{} HTTP/1.1\r\nHost: localhost\r\n{}\r\n{}".format,
        st.sampled_from(PIECES[:3]),
        st.sampled_from(PIECES[3:8]),
        headers,
        st.sampled_from(("", "{}", "{", "{}{}")),
    )
    return st.one_of(soup, likely).map(lambda text: text.encode("latin-1"))


@given(_requests())
@example(ORDINARY)
@example(VERSION)
def test_plain_request_is_what_h11_reads(data: bytes) -> None:
    """A request that is taken as ordinary has the method, target, headers and body that h11 finds, and no more."""
    request = plain_request(data)
    if request is None:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    head = server.next_event()
    assert isinstance(head, h11.Request)
    assert (request.method.encode(), request.target, request.headers) == (head.method, head.target, list(head.headers))
    body, event = b"", server.next_event()
    while isinstance(event, h11.Data):
        body += bytes(event.data)
        event = server.next_event()
    assert (body, event is h11.NEED_DATA) == (request.body, bool(request.missing_bytes))
    assert server.trailing_data == (b"", False)


def test_plain_request_knows_the_usual_clients() -> None:
    """A request with a body, one without, and one whose body follows its head are ordinary."""
    whole, bare = plain_request(ORDINARY), plain_request(VERSION)
    assert whole is not None
    assert bare is not None
    assert (whole.method, whole.target, whole.body) == ("POST", b"/api/embed?x=1", b"{}")
    assert (bare.method, bare.body, bare.missing_bytes) == ("GET", b"", 0)
    begun = plain_request(ORDINARY[:-2])
    assert begun is not None
    assert begun.missing_bytes == len(b"{}")


@pytest.mark.parametrize(
    "header",
    ["Connection: close", "Transfer-Encoding: chunked", "Expect: 100-continue", "Upgrade: h2c", "Host: b", "X: \x00"],
)
def test_plain_request_leaves_the_rest_to_h11(header: str) -> None:
    """What asks for more than an answer, or is malformed, is not ordinary."""
    assert plain_request(VERSION[:-2] + header.encode() + b"\r\n\r\n") is None
    assert plain_request(VERSION * 2) is None


@pytest.mark.usefixtures("deadline")
async def test_plain_and_other_requests_share_a_connection(gateway: RunningGateway) -> None:
    """Ordinary requests, chunked ones and pipelined ones are answered in their order on one connection."""
    chunked = b"POST /api/show HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    slow = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(PROMPT)
    async with await gateway.connect() as stream:
        received = b""
        for request, ends in (
            (VERSION, b'"}'),
            (chunked, b'"}'),
            (VERSION * 2, b'"}'),
            (slow + PROMPT, b"0\r\n\r\n"),
            (VERSION, b'"}'),
        ):
            await stream.send_all(request)
            answer = b""
            while answer.count(b"HTTP/1.1 ") < request.count(b" HTTP/1.1\r\n") or not answer.endswith(ends):
                answer += await stream.receive_some()
            received += answer
    assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [b"200", b"400", b"200", b"200", b"200", b"200"]


@pytest.mark.usefixtures("deadline")
async def test_plain_request_sent_ahead_waits_for_the_answer_before(
    gateway: RunningGateway, backend: StubBackend
) -> None:
    """A request that comes during a stream is answered behind its end."""
    resume = trio.Event()
    backend.plan = paused(resume)
    async with await gateway.send_raw("POST", "/api/generate", PROMPT) as stream:
        received = b""
        while b'"response":"a"' not in received:
            received += await stream.receive_some()
        await stream.send_all(VERSION)
        resume.set()
        while b'"version"' not in received:
            received += await stream.receive_some()
    assert received.index(b"0\r\n\r\n") < received.index(b'"version"')


@pytest.mark.usefixtures("deadline")
async def test_plain_request_whose_client_leaves_is_cancelled(gateway: RunningGateway, backend: StubBackend) -> None:
    """The job of a client that closed its connection is cancelled, though nothing was written to it."""
    accepted = trio.Event()

    async def never_end(job: StubJob) -> None:
        await job.accept()
        accepted.set()
        await trio.sleep_forever()

    backend.plan = never_end
    async with await gateway.send_raw("POST", "/api/generate", PROMPT):
        await accepted.wait()
    assert await backend.cancelled.wait_for(1) == backend.submitted.items[0].job_id
    await gateway.wait_for_connections(0)
