"""The HTTP server: Hypercorn's trio connections over our own listening sockets, and draining.

Draining, in this order: the listening sockets close; new requests on connections that are still open are refused with
503; idle connections close; streams run to their end within the drain time; then every socket still open is closed
under its writer, and what waits for a runner is cancelled.
"""

import errno
import ssl
from collections.abc import Callable, Sequence

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework

from actors.log import get_logger
from gateway.access_log import AccessLog
from gateway.client_connection import ClientConnection
from gateway.connection_stream import WRITE_DEADLINE_S, ConnectionStream
from gateway.idle_connections import IdleConnections

IDLE_CONNECTION_S = 75.0
"""How long a connection may stay idle, and how long the head of a request may take; nginx's default."""
HANDSHAKE_S = 10.0
"""For TLS to be agreed on."""
MAX_HEAD_BYTES = 64 << 10
MAX_STREAMS = 100
"""Requests at once on one HTTP/2 connection, as RFC 9113 recommends at least."""
MAX_CONNECTIONS = 4096
"""Of one worker at once; further ones wait in the listening socket's queue."""
_NO_CAPACITY = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
_RETRY_ACCEPT_S = 0.1
_LATE_HEADS_S = 0.3
"""Between closing the listening sockets and closing idle connections."""
_LAST_WORDS_S = 1.0
"""For streams to tell that the drain time is over."""
_UNWIND_S = 1.0
"""For the tasks of closed connections to end; they are cancelled after that."""

log = get_logger(__name__)


def hypercorn_config() -> Config:
    """Configure Hypercorn: nothing of its own on the wire, no limit on requests per connection."""
    config = Config()
    config.logger_class = AccessLog
    config.include_server_header = False
    config.ssl_handshake_timeout = HANDSHAKE_S
    config.keep_alive_max_requests = 1 << 31
    config.h11_max_incomplete_size = MAX_HEAD_BYTES
    config.h2_max_header_list_size = MAX_HEAD_BYTES
    config.h2_max_concurrent_streams = MAX_STREAMS
    return config


class Server:
    """Serves one app on listening sockets until it is told to drain."""

    def __init__(
        self,
        app: ASGIFramework,
        *,
        drain_timeout_s: float,
        write_deadline_s: float = WRITE_DEADLINE_S,
        max_connections: int = MAX_CONNECTIONS,
        idle_connection_s: float = IDLE_CONNECTION_S,
        tls: ssl.SSLContext | None = None,
        on_overtime: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare to serve.

        `on_overtime` is called when the drain time is over: it makes streams end, which have a moment for their last
        words before they are cut off.
        """
        self._on_overtime = on_overtime
        self._app = ASGIWrapper(app)
        self._config = hypercorn_config()
        self._tls = tls
        self._context = WorkerContext(None)
        self._idle = IdleConnections(timeout_s=idle_connection_s, draining=self._context.terminated)
        self._drain_timeout_s = drain_timeout_s
        self._write_deadline_s = write_deadline_s
        self._streams: set[ConnectionStream] = set()
        self._room = trio.Semaphore(max_connections)
        self._drain_wanted = trio.Event()
        self._last_closed = trio.Event()  # set when draining has closed the last connection
        self._cut_off_wanted = trio.Event()  # set when draining shall not wait any longer
        self._closed = trio.Event()  # set when `run` has ended

    @property
    def is_draining(self) -> bool:
        """True iff new requests are to be refused."""
        return self._drain_wanted.is_set()

    @property
    def n_connections(self) -> int:
        """How many connections are open."""
        return len(self._streams)

    def drain(self) -> None:
        """Start draining; idempotent."""
        self._drain_wanted.set()

    def cut_off(self) -> None:
        """End draining now, whatever is still running; idempotent."""
        self._drain_wanted.set()
        self._cut_off_wanted.set()

    async def wait_closed(self) -> None:
        """Wait until the server has drained and closed everything."""
        await self._closed.wait()

    async def run(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until drained.

        Cancellation: closes every connection at once.
        """
        async with trio.open_nursery() as connections, trio.open_nursery() as watching:
            watching.start_soon(self._idle.watch, connections)
            try:
                async with trio.open_nursery() as accepting:
                    for listener in listeners:
                        accepting.start_soon(self._accept, listener, connections)
                    task_status.started()
                    await self._drain_wanted.wait()
                    accepting.cancel_scope.cancel()
                log.info("draining: %d connections are open", len(self._streams))
                if self._streams:  # a request whose head is on its way shall still read that it comes too late
                    with trio.move_on_after(_LATE_HEADS_S):
                        await self._last_closed.wait()
                await self._context.terminated.set()
                await self._wait_until_closed()
            finally:
                self._abort_all()
            watching.cancel_scope.cancel()
            connections.cancel_scope.deadline = trio.current_time() + _UNWIND_S
        self._closed.set()

    async def _accept(self, listener: trio.SocketListener, connections: trio.Nursery) -> None:
        """Accept while there is room; whoever serves a connection gives its room back."""
        async with listener:
            while True:
                await self._room.acquire()
                try:
                    accepted = await listener.accept()
                except BaseException as error:
                    self._room.release()
                    if not isinstance(error, OSError) or error.errno not in _NO_CAPACITY:
                        raise
                    log.error("no connection can be accepted: %s", error)
                    await trio.sleep(_RETRY_ACCEPT_S)
                else:
                    connections.start_soon(self._serve_connection, accepted)

    async def _serve_connection(self, accepted: trio.SocketStream) -> None:
        stream = ConnectionStream(accepted, write_deadline_s=self._write_deadline_s)
        self._streams.add(stream)
        spoken: ConnectionStream | trio.SSLStream[ConnectionStream] = stream
        if self._tls is not None:
            spoken = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        try:  # whatever is wrong with one connection must not end the others
            await ClientConnection(self._app, self._config, self._context, spoken, self._idle).serve()
        except UnicodeDecodeError:
            log.debug("a connection was closed: HTTP/2 with a path that is no ASCII")
        except Exception:
            log.exception("a connection failed by a bug")
        finally:
            stream.abort()  # Hypercorn leaves it open when TLS was not agreed on; one that is closed stays as it is
            self._room.release()
            self._streams.discard(stream)
            if not self._streams and self.is_draining:
                self._last_closed.set()

    async def _wait_until_closed(self) -> None:
        async def stop_waiting() -> None:
            await self._cut_off_wanted.wait()
            nursery.cancel_scope.cancel()

        with trio.move_on_after(self._drain_timeout_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stop_waiting)
                if self._streams:
                    await self._last_closed.wait()
                nursery.cancel_scope.cancel()
        if self._streams:
            log.warning("the drain time is over: closing %d connections", len(self._streams))
            self._on_overtime()
            with trio.move_on_after(_LAST_WORDS_S):
                await self._last_closed.wait()

    def _abort_all(self) -> None:
        for stream in list(self._streams):
            stream.abort()
