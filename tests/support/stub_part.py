"""A part of `serve` that does nothing but tell what happens to it. Run as `python -m tests.support.stub_part`.

Which part it is, it learns from the name of its notification socket. What happens goes as `PART EVENT PID` datagrams
to the socket that STUB_EVENTS names: `started`, `terminated` (SIGTERM came), `interrupted` (SIGINT came).
Switches, each a comma-separated list of parts: STUB_IGNORE ignores SIGTERM, STUB_FAIL fails at start, STUB_SLOW is
never ready. A gateway with an inherited socket answers every connection with its pid, and closes it.
"""

import os
import signal
import socket
import sys
from pathlib import Path

import trio

from actors.listener import LISTEN_FD
from actors.process import die_with_parent, set_title
from actors.sdnotify import notify


async def run(name: str) -> None:
    """Be the part until terminated."""
    async with trio.open_nursery() as nursery:
        if LISTEN_FD in os.environ:
            listener = trio.SocketListener(trio.socket.fromfd(int(os.environ[LISTEN_FD]), -1, -1))
            nursery.start_soon(trio.serve_listeners, _answer, [listener])
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            _tell(name, "started")
            if not _is_in(name, "STUB_SLOW"):
                notify("READY=1")
            async for number in signals:
                _tell(name, "terminated" if number == signal.SIGTERM else "interrupted")
                if not _is_in(name, "STUB_IGNORE"):
                    break
        nursery.cancel_scope.cancel()


async def _answer(stream: trio.SocketStream) -> None:
    async with stream:
        await stream.send_all(str(os.getpid()).encode())


def _is_in(name: str, switch: str) -> bool:
    return name in os.environ.get(switch, "").split(",")


def _tell(name: str, event: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(f"{name} {event} {os.getpid()}".encode(), os.environ["STUB_EVENTS"])


def main() -> None:
    """Run the part that the environment names."""
    die_with_parent()
    name = Path(os.environ["NOTIFY_SOCKET"]).stem.removeprefix("notify-")
    set_title(f"stub {name}")
    if _is_in(name, "STUB_FAIL"):
        sys.exit(3)
    trio.run(run, name)


if __name__ == "__main__":
    main()
