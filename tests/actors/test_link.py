"""The link to the scheduler, over real sockets and a clock that the test sets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from actors.codec import Codec, encode
from actors.link import HEARTBEAT_S, IDLE_HEARTBEAT_S, MISSED_BEATS, SchedulerLink
from actors.messages.gateway_to_scheduler import CancelJob, FromGateway, GatewayBeat, GatewayHello
from actors.messages.scheduler_to_gateway import RunnerGone, ToGateway, Welcome, WhoAreYou
from actors.transport import Kind, Socket

TIMEOUT_S = 60.0


class Peer:
    """A gateway's end of a link, and a scheduler at the other."""

    def __init__(self, endpoint: str) -> None:
        self.router = Socket(Kind.ROUTER)
        self.endpoint = endpoint
        self.codec: Codec[FromGateway] = Codec(FromGateway)
        self.heard: list[tuple[Any, list[bytes]]] = []
        self.n_new_schedulers = 0
        self.is_idle = False
        self.link: SchedulerLink[ToGateway] = SchedulerLink(
            endpoint=endpoint,
            identity="gw",
            codec=Codec(ToGateway),
            hello=GatewayHello,
            beat=GatewayBeat,
            on_message=lambda message, payload: self.heard.append((message, payload)),
            on_new_scheduler=self._count,
            is_idle=lambda: self.is_idle,
        )

    def _count(self) -> None:
        self.n_new_schedulers += 1

    async def receive(self) -> FromGateway:
        """Receive at the scheduler."""
        with trio.fail_after(TIMEOUT_S):
            name, frame, *_ = await self.router.receive()
        assert name == b"gw"
        return self.codec.decode(frame)

    def say(self, *frames: bytes) -> None:
        """Send from the scheduler."""
        self.router.send_nowait([b"gw", *frames])

    async def settle(self, epoch: str = "e-1") -> None:
        """Wait until everything said so far has been heard: hellos answer to the last question, too."""
        self.say(encode(WhoAreYou(epoch=epoch)))
        assert await self.receive() == GatewayHello()


@pytest.fixture
async def peer(run_dir: Path) -> AsyncIterator[Peer]:
    """A running link that has said hello."""
    peer = Peer(f"ipc://{run_dir}/scheduler.sock")
    peer.router.bind(peer.endpoint)
    async with running(peer):
        assert await peer.receive() == GatewayHello()
        yield peer


@asynccontextmanager
async def running(peer: Peer) -> AsyncIterator[None]:
    """Run a link, and cancel it at the end."""
    with peer.router:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.link.run)
            yield
            nursery.cancel_scope.cancel()


async def test_link_says_hello_to_whoever_asks(peer: Peer) -> None:
    """A scheduler that lost its memory learns who is there."""
    peer.say(encode(WhoAreYou(epoch="e-1")))
    assert await peer.receive() == GatewayHello()
    assert peer.link.epoch == "e-1"
    assert peer.n_new_schedulers == 0


@pytest.mark.parametrize("kind", [Welcome, WhoAreYou])
async def test_link_notices_a_new_scheduler_once(peer: Peer, kind: type[Welcome | WhoAreYou]) -> None:
    """The first epoch is no change; the same one again is none either."""
    for epoch in ("e-1", "e-1", "e-2", "e-2"):
        peer.say(encode(kind(epoch=epoch)))
        if kind is WhoAreYou:
            assert await peer.receive() == GatewayHello()
    await peer.settle("e-2")
    assert peer.n_new_schedulers == 1
    assert peer.link.epoch == "e-2"


async def test_link_hands_messages_on_in_order(peer: Peer) -> None:
    """With their payload, and without its own messages."""
    peer.say(encode(RunnerGone(runner_id="a")), b"payload")
    peer.say(encode(Welcome(epoch="e-1")))
    peer.say(encode(RunnerGone(runner_id="b")))
    await peer.settle()
    assert peer.heard == [(RunnerGone(runner_id="a"), [b"payload"]), (RunnerGone(runner_id="b"), [])]


@pytest.mark.parametrize(
    "frame",
    [b"", b"\x00", encode(CancelJob(job_id="not for us")), bytes([encode(Welcome(epoch="e"))[0] + 1, 0x90])],
    ids=["empty", "noise", "direction", "version"],
)
async def test_link_survives_what_it_cannot_decode(peer: Peer, frame: bytes) -> None:
    """A faulty or newer scheduler must not end a runner in mid-answer."""
    peer.say(frame)
    await peer.settle()
    assert peer.heard == []


async def test_link_beats_every_second(peer: Peer, mock_clock: trio.testing.MockClock) -> None:
    """And nothing else makes it speak."""
    for _ in range(3):
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(HEARTBEAT_S)
        assert await peer.receive() == GatewayBeat()


async def test_link_beats_less_often_when_idle(peer: Peer, mock_clock: trio.testing.MockClock) -> None:
    """Until it is stirred: then a second later, and each second for as long as it is not idle."""
    peer.is_idle = True
    mock_clock.jump(HEARTBEAT_S)
    await peer.receive()  # what it waited for before
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(IDLE_HEARTBEAT_S)
    assert await peer.receive() == GatewayBeat()
    peer.is_idle = False
    peer.link.stir()
    for _ in range(2):
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(HEARTBEAT_S)
        assert await peer.receive() == GatewayBeat()


async def test_link_is_connected_until_beats_are_missed(peer: Peer, mock_clock: trio.testing.MockClock) -> None:
    """Silence of three beats means dead; one word means alive."""
    await peer.settle()
    before = peer.link.is_connected
    mock_clock.jump(MISSED_BEATS * HEARTBEAT_S)
    assert (before, peer.link.is_connected) == (True, False)


async def test_link_finds_a_scheduler_that_starts_later(run_dir: Path) -> None:
    """What it said before waits in the socket, the hello first."""
    peer = Peer(f"ipc://{run_dir}/scheduler.sock")
    async with running(peer):
        await trio.testing.wait_all_tasks_blocked()
        peer.link.send(CancelJob(job_id="j"))
        peer.router.bind(peer.endpoint)
        assert await peer.receive() == GatewayHello()
        assert await peer.receive() == CancelJob(job_id="j")
