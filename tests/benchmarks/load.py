"""The load generator: closed-loop clients over raw sockets, recorded as they come and read only afterwards.

It shares the cores with the server under test, so it does next to nothing per token: one thread, one `recv`, one look
at the clock. `python -m tests.benchmarks.load` takes a `LoadOrder` as msgpack on its standard input and gives a
`LoadRecord` on its standard output; `drive` does the same inside the caller's process, for a single request.

Times are CLOCK_MONOTONIC in seconds, so they can be compared between processes.
"""

import selectors
import socket
import sys
import time

import msgspec

_LAST_CHUNK = b"0\r\n\r\n"  # RFC 9112, section 7.1
_RECEIVE_BYTES = 1 << 16


class LoadOrder(msgspec.Struct, frozen=True):
    """What to send."""

    port: int
    clients: tuple[tuple[bytes, ...], ...]
    """The requests of each client; it sends the next one when the answer to the last one has ended."""
    timeout_s: float
    is_cut: bool = False
    """Whether the timeout ends the load, with what has come until then, instead of failing it."""


class Recording(msgspec.Struct, frozen=True):
    """One request and what came back."""

    started_at: float
    """Before the connection was made."""
    pieces: tuple[tuple[float, bytes], ...]
    """What each `recv` gave, and when."""


class LoadRecord(msgspec.Struct, frozen=True):
    """What a whole load gave."""

    recordings: tuple[Recording, ...]
    cpu_s: float
    """Processor time of the load generator itself."""


class _Exchange:
    """A connection that carries one request; owns its socket."""

    def __init__(self, port: int, requests: tuple[bytes, ...]) -> None:
        self.later = requests[1:]
        self._pieces: list[tuple[float, bytes]] = []
        self._tail = b""
        self._started_at = time.monotonic()
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(requests[0])
        self.socket.settimeout(0)

    def receive(self) -> bool:
        """Take what has come; False when that was the end of the answer."""
        piece = self.socket.recv(_RECEIVE_BYTES)
        self._pieces.append((time.monotonic(), piece))
        self._tail = (self._tail + piece[-len(_LAST_CHUNK) :])[-len(_LAST_CHUNK) :]
        return bool(piece) and self._tail != _LAST_CHUNK

    def close(self) -> Recording:
        """Close the connection and give its record."""
        self.socket.close()
        return Recording(self._started_at, tuple(self._pieces))


def drive(order: LoadOrder) -> LoadRecord:
    """Send everything and record every answer.

    Raises:
        TimeoutError: it took longer than allowed.
        OSError: a connection was refused or broke.
    """
    recordings: list[Recording] = []
    deadline = time.monotonic() + order.timeout_s
    with selectors.DefaultSelector() as selector:
        try:
            for requests in order.clients:
                _begin(selector, order.port, requests)
            while selector.get_map() and not (order.is_cut and time.monotonic() > deadline):
                for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                    exchange: _Exchange = key.data
                    if exchange.receive():
                        continue
                    selector.unregister(exchange.socket)
                    recordings.append(exchange.close())
                    if exchange.later:
                        _begin(selector, order.port, exchange.later)
                if time.monotonic() > deadline and not order.is_cut:
                    raise TimeoutError(f"{len(selector.get_map())} answers did not end within {order.timeout_s:g} s")
        finally:
            recordings += [key.data.close() for key in list(selector.get_map().values())]
    return LoadRecord(tuple(recordings), time.process_time())


def _begin(selector: selectors.BaseSelector, port: int, requests: tuple[bytes, ...]) -> None:
    exchange = _Exchange(port, requests)
    selector.register(exchange.socket, selectors.EVENT_READ, exchange)


def main() -> None:
    """Obey the order on standard input."""
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=LoadOrder)
    sys.stdout.buffer.write(msgspec.msgpack.encode(drive(order)))


if __name__ == "__main__":
    main()
