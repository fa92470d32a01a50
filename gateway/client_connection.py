"""One TCP connection under Hypercorn's protocols: what they parse and frame is read and written here.

Ordinary requests of HTTP/1.1 go past Hypercorn's protocols (`gateway/plain_exchange.py`). Two shorter ways than ASGI's
lead to the socket, because each event of it takes a dozen calls: `hold` and `let_go` send the head of an answer
together with its beginning, and `write_chunk` sends a piece of a streamed one.

One of Hypercorn 0.18's defects is mended here: over HTTP/2 it ends a whole connection when a client is still sending a
body whose request was answered already.
"""

import contextlib

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

from gateway.connection_stream import ConnectionStream
from gateway.idle_connections import IdleConnections
from gateway.plain_exchange import PlainExchange, PlainRequest, plain_request, scope_of
from gateway.request_tasks import RequestTasks

CONNECTION = "llamactor.connection"
"""Key of ASGI's state of a connection, under which its `ClientConnection` stands."""
_MOST_READ_BYTES = 64 << 10
_UNTOUCHED = (b"", False)
"""What h11 holds of a connection whose client has sent nothing beyond its last request."""
_SENDS_PER_CHECKPOINT = 16
_LINGER_S = 2.0
_MOST_LINGERED_BYTES = 1 << 20

Spoken = ConnectionStream | trio.SSLStream[ConnectionStream]


class _Answered:
    """Stands in for an HTTP/2 stream that is over: what still comes for it is dropped."""

    idle = True

    async def handle(self, event: StreamEvent) -> None:
        """Drop it."""


class _Streams(dict[int, object]):
    """Hypercorn's streams of one HTTP/2 connection; one that is not there any more takes anything."""

    def __missing__(self, _stream_id: int) -> _Answered:
        return _Answered()


class ClientConnection:
    """Serves one client until one side closes; owns its stream."""

    def __init__(
        self, app: AppWrapper, config: Config, context: WorkerContext, stream: Spoken, idle: IdleConnections
    ) -> None:
        self._app = app
        self._config = config
        self._context = context
        self._stream = stream
        self._socket_stream = stream if isinstance(stream, ConnectionStream) else None  # asked once: trio's are ABCs
        self._idle = idle
        self._protocol: ProtocolWrapper
        self._turn = trio.Lock()  # of who writes
        self._held: list[bytes] | None = None
        self._n_sends = 0
        self._is_parsing = False
        self._tasks = RequestTasks()
        self._exchange: PlainExchange | None = None
        """The ordinary request that is being served."""

    async def serve(self) -> None:
        """Serve until one side closes.

        Cancellation: closes the connection.
        """
        try:
            alpn = await self._agreed_protocol()
        except (trio.BrokenResourceError, trio.TooSlowError):
            return
        is_tls = isinstance(self._stream, trio.SSLStream)
        transport = self._stream.transport_stream if isinstance(self._stream, trio.SSLStream) else self._stream
        socket = transport.socket
        try:
            client = parse_socket_addr(socket.family, socket.getpeername())
            server = parse_socket_addr(socket.family, socket.getsockname())
            async with self._tasks as tasks:
                self._ends = ("https" if is_tls else "http", client, server)
                state = ConnectionState({CONNECTION: self})
                self._protocol = ProtocolWrapper(
                    self._app,
                    self._config,
                    self._context,
                    tasks,
                    state,
                    is_tls,
                    client,
                    server,
                    self._obey,
                    alpn,
                )
                await self._protocol.initiate()
                self._idle.add(self)
                await self._read()
            del self._protocol  # it refers to us: what is over shall not wait for the garbage collector
        except OSError:
            pass  # the client was gone before we had looked at it
        finally:
            self._idle.discard(self)
            await self._close()

    async def close_idle(self) -> None:
        """Close the connection, because nothing was asked for; its reader tells the protocol."""
        await self._stream.aclose()

    def hold(self) -> None:
        """Keep what is written until `let_go`, where the protocol allows that."""
        if self._exchange is not None or isinstance(self._protocol.protocol, H11Protocol):
            self._held = []

    async def let_go(self) -> None:
        """Write what is held, and hold no more; without any, do nothing."""
        if self._held is not None:
            held, self._held = b"".join(self._held), None
            await self._write(held)

    def writes_chunks(self) -> bool:
        """Tell whether the head of an answer was written whose body is to come in chunks of HTTP/1.1."""
        if self._exchange is not None:
            return self._exchange.writes_chunks
        protocol = self._protocol.protocol
        if not isinstance(protocol, H11Protocol):
            return False
        http = protocol.connection
        return http.our_state is h11.SEND_BODY and http.their_http_version == b"1.1"

    async def write_chunk(self, piece: bytes) -> None:
        """Write a piece of such a body (RFC 9112, section 7.1); of no bytes, which would end it, nothing."""
        if piece:
            await self._write(b"%x\r\n%b\r\n" % (len(piece), piece))

    async def _agreed_protocol(self) -> str | None:
        if not isinstance(self._stream, trio.SSLStream):
            return "http/1.1"
        with trio.fail_after(self._config.ssl_handshake_timeout):
            await self._stream.do_handshake()
        agreed: str | None = self._stream.selected_alpn_protocol()
        return agreed

    async def _read(self) -> None:
        while (data := await self._receive()) is not None:
            exchange = self._exchange
            if exchange is not None:
                if not data:
                    break
                await exchange.over.wait()  # the client has sent ahead; should it leave now, that goes unseen
            is_between = self._is_between_requests()
            if is_between and not data:
                break
            request = plain_request(data) if is_between else None
            if request is not None and request.missing_bytes:
                data += await self._receive() or b""
                request = plain_request(data)
            if request is not None and not request.missing_bytes:
                await self._serve(request)
                continue
            self._is_parsing = True
            await self._protocol.handle(RawData(data))
            self._is_parsing = False
            if not data:
                break
        await self._tell_of_leaving()

    async def _tell_of_leaving(self) -> None:
        """End what is being done for a client that has left."""
        if self._exchange is not None:
            await self._exchange.put({"type": "http.disconnect"})
        await self._protocol.handle(Closed())

    async def _receive(self) -> bytes | None:
        """Give what the client sends next, nothing at its end; None when the connection is closed."""
        try:
            return bytes(await self._stream.receive_some(_MOST_READ_BYTES))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            return None

    def _is_between_requests(self) -> bool:
        protocol = self._protocol.protocol
        if not isinstance(protocol, H11Protocol):
            return False
        http = protocol.connection
        return http.our_state is h11.IDLE and http.trailing_data == _UNTOUCHED

    async def _serve(self, request: PlainRequest) -> None:
        """Start the task of an ordinary request."""
        self._idle.discard(self)
        scheme, client, server = self._ends
        scope = scope_of(request, scheme=scheme, client=client, server=server, state={CONNECTION: self})
        exchange = self._exchange = PlainExchange(scope, self._write, self._go_on)
        exchange.put = await self._tasks.spawn_app(self._app, self._config, scope, exchange.send)
        await exchange.put({"type": "http.request", "body": request.body, "more_body": False})

    async def _go_on(self, *, stays_open: bool) -> None:
        """End an ordinary request: wait for the next one, or close."""
        self._exchange = None
        if stays_open and not self._context.terminated.is_set():
            self._idle.add(self)
        else:
            await self._close()

    async def _obey(self, event: Event) -> None:
        """Do what the protocol wants: write, close or time the idle connection."""
        protocol = self._protocol.protocol
        if isinstance(protocol, H2Protocol) and not isinstance(protocol.streams, _Streams):
            protocol.streams = _Streams(protocol.streams)  # type: ignore[assignment]  # what it is asked for, it has
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            if self._is_parsing:  # what was sent makes no sense, and more of it may be on its way
                await self._linger()
            await self._close()
            await self._protocol.handle(Closed())
        elif isinstance(event, Updated) and event.idle:
            self._idle.add(self)
        else:
            self._idle.discard(self)

    async def _write(self, data: bytes) -> None:
        if self._held is not None:
            self._held.append(data)
            return
        try:
            left = data
            if self._socket_stream is not None and not self._turn.locked():
                left = self._socket_stream.send_now(data)
                self._n_sends += 1
                if self._n_sends % _SENDS_PER_CHECKPOINT == 0:  # a source that never waits must not starve the others
                    await trio.lowlevel.cancel_shielded_checkpoint()
            if left:
                async with self._turn:
                    with trio.CancelScope(shield=True):
                        await self._stream.send_all(left)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await self._tell_of_leaving()

    async def _linger(self) -> None:
        """Let a client end what it is sending: closing before would reset the connection, and our answer be lost."""
        stream = self._socket_stream
        if stream is None:
            return  # TLS cannot end one direction alone
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.send_eof()
            with trio.move_on_after(_LINGER_S):
                n_bytes = 0
                while n_bytes < _MOST_LINGERED_BYTES and (data := await stream.receive_some(_MOST_READ_BYTES)):
                    n_bytes += len(data)

    async def _close(self) -> None:
        await self.let_go()
        await self._stream.aclose()
