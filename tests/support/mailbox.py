"""A datagram socket on which processes tell a test what happens, so that it need not look again and again."""

import socket
from pathlib import Path
from typing import Self

import trio

TIMEOUT_S = 60.0


class Mailbox:
    """Receives texts at a path. Closed by its context."""

    def __init__(self, path: Path) -> None:
        self.path = path
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.bind(str(path))
        self._receiver = trio.socket.from_stdlib_socket(receiver)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._receiver.close()

    async def next(self) -> str:
        """Wait for the next text."""
        with trio.fail_after(TIMEOUT_S):
            return (await self._receiver.recv(4096)).decode()

    async def expect(self, start: str) -> str:
        """Wait for a text that begins so, dropping others, and give its rest."""
        while not (text := await self.next()).startswith(start):
            pass
        return text.removeprefix(start).strip()
