"""Real sockets: what arrives, what is refused, and the traps of edges, high-water marks and stolen paths."""

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
import zmq

from actors import transport
from actors.codec import encode
from actors.errors import AlreadyRunning, Backlogged, FrameTooLarge, PeerUnreachable, RunFolderUnusable
from actors.messages.gateway_to_runner import CancelAtRunner
from actors.process import Child, Program, python_program
from actors.transport import Kind, Socket, lock_folder

TIMEOUT_S = 60.0
MakeSocket = Callable[..., Socket]


@pytest.fixture
def endpoint(run_dir: Path) -> str:
    """Where the sockets of a test meet."""
    return f"ipc://{run_dir}/test.sock"


@pytest.fixture
def make() -> Iterator[MakeSocket]:
    """Make sockets that are closed after the test."""
    made: list[Socket] = []

    def make_socket(kind: Kind, *, identity: str = "", bind: str = "", connect: str = "") -> Socket:
        socket = Socket(kind, identity=identity)
        made.append(socket)
        if bind:
            socket.bind(bind)
        if connect:
            socket.connect(connect)
        return socket

    yield make_socket
    for socket in made:
        socket.close()


async def receive(socket: Socket) -> list[bytes]:
    """Receive within the test's patience."""
    with trio.fail_after(TIMEOUT_S):
        return await socket.receive()


async def meet(router: Socket, dealer: Socket) -> bytes:
    """Let a dealer introduce itself, and give the name that the router knows it by."""
    dealer.send_nowait([b"hello"])
    name, _ = await receive(router)
    return name


async def subscribe(xpub: Socket, xsub: Socket, topic: bytes = b"topic") -> None:
    """Subscribe, and wait until the publisher has seen it."""
    xsub.send_nowait([b"\x01" + topic])
    assert await receive(xpub) == [b"\x01" + topic]


def fill(socket: Socket, first: bytes, sent: list[int] | None = None) -> None:
    """Send numbers until the socket refuses, and note those that it took."""
    for n in range(200_000):
        socket.send_nowait([first, str(n).encode()])
        if sent is not None:
            sent.append(n)


async def test_messages_pass_both_ways(make: MakeSocket, endpoint: str) -> None:
    """Frames stay frames, empty ones too."""
    router = make(Kind.ROUTER, bind=endpoint)
    dealer = make(Kind.DEALER, identity="d", connect=endpoint)
    dealer.send_nowait([b"a", b"", b"c"])
    assert await receive(router) == [b"d", b"a", b"", b"c"]
    router.send_nowait([b"d", b"back"])
    assert await receive(dealer) == [b"back"]


def _news_of(socket: Socket) -> int:
    """Give ZeroMQ's own descriptor of a socket."""
    return int(socket._socket.getsockopt(zmq.FD))


async def test_connect_before_bind_delivers_later(make: MakeSocket, endpoint: str) -> None:
    """Processes start in any order."""
    dealer = make(Kind.DEALER, identity="d", connect=endpoint)
    dealer.send_nowait([b"early"])
    router = make(Kind.ROUTER, bind=endpoint)
    assert await receive(router) == [b"d", b"early"]


async def test_send_that_consumes_the_edge_wakes_the_receiver(make: MakeSocket, endpoint: str) -> None:
    """The descriptor announces a message once, and a send in between takes the announcement away."""
    router = make(Kind.ROUTER, bind=endpoint)
    dealer = make(Kind.DEALER, identity="d", connect=endpoint)
    await meet(router, dealer)
    received: list[list[bytes]] = []

    async def receive_one() -> None:
        received.append(await receive(router))

    for n in range(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive_one)
            await trio.testing.wait_all_tasks_blocked()
            dealer.send_nowait([str(n).encode()])
            select.select([_news_of(router)], [], [], TIMEOUT_S)  # the edge is there, and trio has not looked yet
            router.send_nowait([b"d", b"takes the edge"])
            assert not select.select([_news_of(router)], [], [], 0)[0]
    assert [frames[1] for frames in received] == [str(n).encode() for n in range(20)]


async def test_connect_that_consumes_the_edge_wakes_the_receiver(
    make: MakeSocket, endpoint: str, run_dir: Path
) -> None:
    """Any call may take the announcement, not sends alone."""
    dealer = make(Kind.DEALER, bind=endpoint)
    peer = make(Kind.DEALER, connect=endpoint)
    peer.send_nowait([b"first"])
    await receive(dealer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive, dealer)
        await trio.testing.wait_all_tasks_blocked()
        peer.send_nowait([b"second"])
        select.select([_news_of(dealer)], [], [], TIMEOUT_S)
        dealer.connect(f"ipc://{run_dir}/other.sock")


async def test_traffic_in_both_directions_at_once_loses_nothing(make: MakeSocket, endpoint: str) -> None:
    """Two busy ends, each sending and receiving on one socket."""
    left = make(Kind.DEALER, bind=endpoint)
    right = make(Kind.DEALER, connect=endpoint)
    right.send_nowait([b"here I am"])  # until then the bound end has nobody to send to
    await receive(left)
    n_messages = 3000

    async def send_all(socket: Socket) -> None:
        for n in range(n_messages):
            socket.send_nowait([str(n).encode()])
            if n % 7 == 0:
                await trio.lowlevel.checkpoint()

    async def receive_all(socket: Socket) -> None:
        for n in range(n_messages):
            assert await receive(socket) == [str(n).encode()]

    async with trio.open_nursery() as nursery:
        for socket in (left, right):
            nursery.start_soon(send_all, socket)
            nursery.start_soon(receive_all, socket)


async def test_receive_that_was_cancelled_loses_nothing(make: MakeSocket, endpoint: str) -> None:
    """The message that comes next is for the next receiver."""
    router = make(Kind.ROUTER, bind=endpoint)
    dealer = make(Kind.DEALER, identity="d", connect=endpoint)
    await meet(router, dealer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(router.receive)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    dealer.send_nowait([b"next"])
    assert await receive(router) == [b"d", b"next"]


async def test_receive_of_an_endless_stream_lets_others_run(make: MakeSocket) -> None:
    """A peer that never pauses must not take the whole loop."""
    router = make(Kind.ROUTER, bind="inproc://endless")
    dealer = make(Kind.DEALER, identity="d", connect="inproc://endless")
    for _ in range(1000):
        dealer.send_nowait([b"x"])
    n_turns = 0

    async def take_turns() -> None:
        nonlocal n_turns
        while True:
            await trio.lowlevel.checkpoint()
            n_turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        for _ in range(1000):
            await receive(router)
        nursery.cancel_scope.cancel()
    assert n_turns >= 10


async def test_router_refuses_an_unknown_peer(make: MakeSocket, endpoint: str) -> None:
    """Left alone, a ROUTER drops such a message in silence."""
    router = make(Kind.ROUTER, bind=endpoint)
    with pytest.raises(PeerUnreachable):
        router.send_nowait([b"nobody", b"x"])


async def test_router_hands_a_name_over_to_its_new_owner(make: MakeSocket, endpoint: str) -> None:
    """A peer that comes back under its name, before the router has noticed its end, is heard."""
    router = make(Kind.ROUTER, bind=endpoint)
    old = make(Kind.DEALER, identity="d", connect=endpoint)
    await meet(router, old)
    new = make(Kind.DEALER, identity="d", connect=endpoint)
    await meet(router, new)
    router.send_nowait([b"d", b"for the new one"])
    assert await receive(new) == [b"for the new one"]


async def test_router_with_a_peer_that_does_not_read_is_backlogged(make: MakeSocket, endpoint: str) -> None:
    """The queue is bounded, and the bound is an error; other peers are served."""
    router = make(Kind.ROUTER, bind=endpoint)
    deaf = make(Kind.DEALER, identity="deaf", connect=endpoint)
    await meet(router, deaf)
    with pytest.raises(Backlogged, match="ROUTER"):
        fill(router, b"deaf")
    other = make(Kind.DEALER, identity="other", connect=endpoint)
    await meet(router, other)
    router.send_nowait([b"other", b"x"])
    assert await receive(other) == [b"x"]


async def test_dealer_without_peer_is_backlogged_in_the_end(make: MakeSocket, endpoint: str) -> None:
    """What waits for a peer that never comes is bounded, too."""
    dealer = make(Kind.DEALER, connect=endpoint)
    with pytest.raises(Backlogged, match="DEALER"):
        fill(dealer, b"x")


async def test_xpub_at_its_mark_refuses_and_drops_nothing(make: MakeSocket, endpoint: str) -> None:
    """By default it would drop in silence, and an answer would have a hole."""
    xpub = make(Kind.XPUB, bind=endpoint)
    xsub = make(Kind.XSUB, connect=endpoint)
    await subscribe(xpub, xsub)
    sent: list[int] = []
    with pytest.raises(Backlogged, match="XPUB"):
        fill(xpub, b"topic", sent)
    for n in sent:
        assert await receive(xsub) == [b"topic"]
        assert await receive(xsub) == [str(n).encode()]
    xpub.send_nowait([b"topic and on"])
    assert await receive(xsub) == [b"topic and on"]


async def test_xpub_sees_cancels_beside_subscriptions(make: MakeSocket, endpoint: str) -> None:
    """A frame of ours never begins like a subscription, and changes none."""
    xpub = make(Kind.XPUB, bind=endpoint)
    xsub = make(Kind.XSUB, connect=endpoint)
    await subscribe(xpub, xsub)
    cancel = encode(CancelAtRunner(job_id="j"))
    xsub.send_nowait([cancel])
    assert await receive(xpub) == [cancel]
    xpub.send_nowait([b"topic still here"])
    assert await receive(xsub) == [b"topic still here"]
    xsub.send_nowait([b"\x00topic"])
    assert await receive(xpub) == [b"\x00topic"]


async def test_xpub_sees_the_end_of_a_subscriber(make: MakeSocket, endpoint: str) -> None:
    """A gateway that is gone cancels its jobs by that alone."""
    xpub = make(Kind.XPUB, bind=endpoint)
    xsub = make(Kind.XSUB, connect=endpoint)
    await subscribe(xpub, xsub)
    xsub.close()
    assert await receive(xpub) == [b"\x00topic"]


def test_send_of_an_oversized_frame_is_refused_here(
    make: MakeSocket, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent, it would cost the connection, and the peer could not say why."""
    monkeypatch.setattr(transport, "MAX_FRAME_BYTES", 1000)  # the real bound would need as much memory
    dealer = make(Kind.DEALER, connect=endpoint)
    dealer.send_nowait([bytes(1000)])
    with pytest.raises(FrameTooLarge):
        dealer.send_nowait([b"head", bytes(1001)])


async def test_receive_of_an_oversized_frame_drops_its_sender_alone(
    make: MakeSocket, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hostile peer cannot make us hold more than the bound."""
    raw: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    with monkeypatch.context() as patch, raw:
        patch.setattr(transport, "MAX_FRAME_BYTES", 1000)
        router = make(Kind.ROUTER, bind=endpoint)
        good = make(Kind.DEALER, identity="good", connect=endpoint)
        await meet(router, good)
        raw.setsockopt(zmq.LINGER, 0)
        raw.setsockopt(zmq.IDENTITY, b"bad")
        raw.connect(endpoint)
        raw.send(bytes(100_000))
        raw.send(b"after")  # on the next connection
        assert await receive(router) == [b"bad", b"after"]
        good.send_nowait([b"fine"])
        assert await receive(router) == [b"good", b"fine"]


async def test_flush_gets_the_last_words_out(make: MakeSocket, endpoint: str) -> None:
    """Without it a message sent just before `os._exit` is lost."""
    router = make(Kind.ROUTER, bind=endpoint)
    code = (
        "import os; from actors.transport import Kind, Socket, flush;"
        f"dealer = Socket(Kind.DEALER, identity='d'); dealer.connect({endpoint!r});"
        "dealer.send_nowait([b'farewell']); flush(); os._exit(0)"
    )
    child = Child(Program(name="d", argv=(sys.executable, "-c", code), environ=python_program("x").environ))
    assert await receive(router) == [b"d", b"farewell"]
    assert await child.wait() == 0


def test_lock_folder_makes_a_private_folder(tmp_path: Path) -> None:
    """Whoever can open the sockets can do everything."""
    (tmp_path / "run").mkdir(mode=0o755)
    with lock_folder(tmp_path / "run", "a"):
        assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700


def test_lock_folder_twice_is_refused(tmp_path: Path) -> None:
    """A second bind on an ipc path would steal it in silence."""
    with lock_folder(tmp_path, "a"), lock_folder(tmp_path, "b"), pytest.raises(AlreadyRunning):  # noqa: SIM117
        with lock_folder(tmp_path, "a"):
            pass
    with lock_folder(tmp_path, "a"):
        pass


def test_lock_folder_survives_the_removal_of_its_file(tmp_path: Path) -> None:
    """The last holder removes the file on its way out; whoever locks the old file holds nothing."""
    with lock_folder(tmp_path, "a"):
        (tmp_path / "a.lock").unlink()
        with lock_folder(tmp_path, "a"), pytest.raises(AlreadyRunning), lock_folder(tmp_path, "a"):
            pass


async def test_lock_folder_is_free_after_its_holder_was_killed(run_dir: Path) -> None:
    """A crash leaves a file, not a lock."""
    code = (
        "import pathlib, signal; from actors.transport import lock_folder;"
        f"lock = lock_folder(pathlib.Path({str(run_dir)!r}), 'a'); lock.__enter__();"
        f"pathlib.Path({str(run_dir / 'locked')!r}).touch(); signal.pause()"
    )
    child = Child(Program(name="holder", argv=(sys.executable, "-c", code), environ=python_program("x").environ))
    with trio.fail_after(TIMEOUT_S):
        while not (run_dir / "locked").exists():
            await trio.lowlevel.checkpoint()
    with pytest.raises(AlreadyRunning), lock_folder(run_dir, "a"):
        pass
    child.kill()
    assert await child.wait() == -signal.SIGKILL
    with lock_folder(run_dir, "a"):
        pass


def test_lock_folder_under_a_file_names_the_remedy(tmp_path: Path) -> None:
    """The error says which variable to set."""
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderUnusable, match="LLAMACTOR_RUN_DIR"), lock_folder(tmp_path / "file" / "run", "a"):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_lock_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    """In a shared /tmp somebody else may have made the folder first."""
    (tmp_path / "run").mkdir()
    os.chown(tmp_path / "run", 12345, 12345)
    with pytest.raises(RunFolderUnusable, match="12345"), lock_folder(tmp_path / "run", "a"):
        pass
