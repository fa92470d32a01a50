"""HTTP/1.1 requests from one thread: connections to checked addresses, bounded heads, bodies read as they arrive.

`http.client` does the protocol: its lines and its number of headers are bounded, and reading costs no more than the
`recv` calls. A channel keeps the connection to the origin that it asked last, for the next request. Nothing is
decompressed: every request asks for the bytes as they are, and an answer that is encoded all the same is refused, so
no small answer can become a large one.
"""

import contextlib
import functools
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Self
from urllib.parse import SplitResult, urlsplit, urlunsplit

from actors.errors import RegistryMisbehaved, RegistryUnreachable
from registry.remote.abort import Abort
from registry.remote.address import Address, Reach
from registry.remote.proxy import Proxy, proxy_for

_RECEIVE_BYTES = 1 << 20
_DEFAULT_PORTS = {"http": 80, "https": 443}
_OK = 200
_HEADS_PER_DEADLINE = 2
"""The head of an answer may take as many deadlines, its small body the square of that: each line of it resets one."""

Origin = tuple[str, str, int]
Body = Callable[[], Iterable[bytes]]
"""Gives a request's body; called again for each attempt. Its length is announced in the headers."""


def parse_url(text: str) -> SplitResult:
    """Read an absolute HTTP URL.

    Raises:
        RegistryMisbehaved: it is none, or carries a user name.
    """
    try:
        url = urlsplit(text)
        is_good = url.scheme in _DEFAULT_PORTS and url.hostname and url.username is None and url.port != 0
    except ValueError:
        is_good = False
    if not is_good or any(character <= " " or character > "~" for character in text):
        raise RegistryMisbehaved(f"{text[:200]!r} is no http or https URL")
    return url


def origin_of(url: SplitResult) -> Origin:
    """Give scheme, host and port: what credentials belong to."""
    return url.scheme, (url.hostname or "").lower(), url.port or _DEFAULT_PORTS[url.scheme]


def shown(url: SplitResult) -> str:
    """Give a URL as errors and logs may tell it: its query can hold a signature."""
    return urlunsplit((url.scheme, url.netloc, url.path, "", ""))


@functools.cache
def trusted() -> ssl.SSLContext:
    """Give the context of TLS connections: the system's authorities, or those of `SSL_CERT_FILE`, `SSL_CERT_DIR`."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Reply:
    """An answer whose body is still to be read."""

    def __init__(self, response: http.client.HTTPResponse, *, method: str, url: SplitResult, deadline_s: float) -> None:
        self._response = response
        self._method = method
        self._deadline_s = deadline_s
        self.url = url
        self.status = response.status
        self.headers = response.headers

    @property
    def size_bytes(self) -> int | None:
        """The announced length of the body."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdecimal() else None

    def receive(self, max_bytes: int = _RECEIVE_BYTES) -> bytes:
        """Wait for more of the body and give it; nothing at its end.

        Raises:
            RegistryUnreachable: the connection broke, or nothing came for its deadline.
        """
        try:
            return self._response.read1(max_bytes)
        except (OSError, http.client.HTTPException) as error:
            raise RegistryUnreachable(self._method, shown(self.url), _reason(error)) from error

    def read(self, limit_bytes: int) -> bytes:
        """Read the whole of a small body.

        Raises:
            RegistryMisbehaved: it is longer than the limit.
            RegistryUnreachable: the connection broke, or it came too slowly.
        """
        body = bytearray()
        give_up_at = time.monotonic() + self._deadline_s * _HEADS_PER_DEADLINE**2
        while chunk := self.receive(limit_bytes + 1):
            body += chunk
            if len(body) > limit_bytes:
                raise RegistryMisbehaved(f"{shown(self.url)} answers with more than {limit_bytes} bytes")
            if time.monotonic() > give_up_at:
                raise RegistryUnreachable(self._method, shown(self.url), "i/o timeout")
        if self.size_bytes is not None and self._method != "HEAD" and len(body) < self.size_bytes:
            raise RegistryUnreachable(self._method, shown(self.url), "unexpected EOF")
        return bytes(body)

    def error_text(self) -> str:
        """Read what an error answer says, cut to what people can read."""
        try:
            return self.read(_RECEIVE_BYTES)[:1000].decode(errors="replace").strip()
        except (RegistryMisbehaved, RegistryUnreachable):
            return ""

    def finish(self) -> bool:
        """End reading; true when the connection can be used again."""
        if self._response.length == 0:
            try:
                self._response.read()
            except (OSError, http.client.HTTPException):  # it announced two lengths, and keeps neither
                return False
        return self._response.isclosed() and not self._response.will_close

    def close(self) -> None:
        """Drop what is unread."""
        self._response.close()


class Channel:
    """The connection of one thread; closed at the end of its `with` block."""

    def __init__(self, reach: Reach, abort: Abort, *, deadline_s: float) -> None:
        """Take who may be asked, what ends all waiting, and the longest wait for a peer that says nothing."""
        self._reach = reach
        self._abort = abort
        self._deadline_s = deadline_s
        self._origin: Origin | None = None
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._last: Reply | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; idempotent."""
        if self._last is not None:
            self._last.close()
        if self._connection is not None:
            self._connection.close()
        if self._socket is not None:
            self._abort.release(self._socket)
            self._socket.close()
        self._last = self._connection = self._socket = self._origin = None

    def request(self, method: str, url: SplitResult, headers: Mapping[str, str], body: Body | None = None) -> Reply:
        """Send one request and read the head of its answer; redirects are the caller's business.

        Raises:
            RegistryUnreachable: no connection, or it broke.
            RegistryMisbehaved: the answer is no HTTP, or encoded.
            AddressForbidden: the address may not be asked.
            Aborted: all is to end.
        """
        self._abort.check()
        is_reused = self._keeps(origin_of(url))
        try:
            reply = self._exchange(method, url, headers, body)
        except (ConnectionError, http.client.RemoteDisconnected) as error:
            self.close()
            self._abort.check()
            if not is_reused or body is not None:  # part of a body may have been taken: its sender asks how much
                raise RegistryUnreachable(method, shown(url), _reason(error)) from error
            return self.request(method, url, headers, body)  # it had been closed meanwhile; now there is none to reuse
        except (OSError, http.client.HTTPException) as error:
            self.close()
            self._abort.check()
            raise RegistryUnreachable(method, shown(url), _reason(error)) from error
        encoding = reply.headers.get("Content-Encoding", "identity").lower()
        if encoding not in {"identity", ""}:
            self.close()
            raise RegistryMisbehaved(f"{shown(url)} answers in the encoding {encoding[:20]!r}, which was not asked for")
        return reply

    def _exchange(self, method: str, url: SplitResult, headers: Mapping[str, str], body: Body | None) -> Reply:
        proxy = proxy_for(url)
        if self._connection is None:
            self._connection = self._connect(url, proxy)
            self._origin = origin_of(url)
        target = urlunsplit(("", "", url.path or "/", url.query, ""))
        sent = {"Host": url.netloc, "Accept-Encoding": "identity", **headers}
        if proxy is not None and url.scheme == "http":
            target = urlunsplit((*url[:4], ""))
            sent |= {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
        # A server that refuses a body may close before it has read all; its answer is there all the same.
        with contextlib.suppress(*((ConnectionError,) if body else ())):
            self._connection.request(method, target, body=body() if body else None, headers=sent)
        with self._head_deadline():
            response = self._connection.getresponse()
        self._last = Reply(response, method=method, url=url, deadline_s=self._deadline_s)
        return self._last

    @contextlib.contextmanager
    def _head_deadline(self) -> Iterator[None]:
        """Cut off a peer that sends a head without end: a socket's own deadline starts anew with each byte."""
        assert self._socket is not None  # the connection has just been made or kept  # noqa: S101
        timer = threading.Timer(
            self._deadline_s * _HEADS_PER_DEADLINE, socket.socket.shutdown, (self._socket, socket.SHUT_RDWR)
        )
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _keeps(self, origin: Origin) -> bool:
        """Tell whether the connection at hand will do; drop it if not."""
        is_idle = self._last is None or self._last.finish()
        if self._connection is not None and is_idle and origin == self._origin:
            return True
        self.close()
        return False

    def _connect(self, url: SplitResult, proxy: Proxy | None) -> http.client.HTTPConnection:
        scheme, host, port = origin_of(url)
        connection = http.client.HTTPConnection(host, port, timeout=self._deadline_s)
        connection.auto_open = 0  # it would connect by itself, to an address that nobody has checked
        if proxy is None:
            opened = self._dial(host, port)
        else:
            self._reach.check_unresolved(host)
            opened = self._dial_proxy(proxy)
        try:
            self._abort.hold(opened)
            if proxy is not None and scheme == "https":
                _open_tunnel(opened, host, port, proxy)
            if scheme == "https":
                self._abort.release(opened)
                opened = trusted().wrap_socket(opened, server_hostname=host)
                self._abort.hold(opened)
        except BaseException:
            self._abort.release(opened)
            opened.close()
            raise
        connection.sock = self._socket = opened
        return connection

    def _dial(self, host: str, port: int) -> socket.socket:
        failure: OSError | None = None
        for address in self._addresses(host, port):
            self._abort.check()
            try:
                opened = socket.create_connection((str(address), port), timeout=self._deadline_s)
            except OSError as error:
                failure = DialFailed(f"dial tcp {_joined(address, port)}: connect: {_reason(error)}")
            else:
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return opened
        raise failure or DialFailed(f"dial tcp: lookup {host}: no address")

    def _addresses(self, host: str, port: int) -> list[Address]:
        try:
            return self._reach.resolve(host, port)
        except socket.gaierror as error:
            is_unknown = error.errno == socket.EAI_NONAME
            reason = "no such host" if is_unknown else (error.strerror or "it failed").lower()
            raise DialFailed(f"dial tcp: lookup {host}: {reason}") from error

    def _dial_proxy(self, proxy: Proxy) -> socket.socket:
        try:  # the operator named the proxy, so it may be anywhere
            opened = socket.create_connection((proxy.host, proxy.port), timeout=self._deadline_s)
        except OSError as error:
            raise DialFailed(f"proxyconnect tcp: dial tcp {proxy.host}:{proxy.port}: {_reason(error)}") from error
        if not proxy.is_encrypted:
            return opened
        try:
            return trusted().wrap_socket(opened, server_hostname=proxy.host)
        except BaseException:
            opened.close()
            raise


class DialFailed(OSError):
    """A connection could not be made; the text says so in full."""


def _open_tunnel(opened: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    lines = [f"CONNECT {_joined(host, port)} HTTP/1.1", f"Host: {_joined(host, port)}"]
    lines += [f"Proxy-Authorization: {proxy.authorization}"] if proxy.authorization else []
    opened.sendall("\r\n".join([*lines, "", ""]).encode())
    with contextlib.closing(http.client.HTTPResponse(opened, method="CONNECT")) as answer:
        answer.begin()
        if answer.status != _OK:
            raise DialFailed(f"the proxy {proxy.host}:{proxy.port} refuses with {answer.status} {answer.reason}")


def _joined(host: object, port: int) -> str:
    text = str(host)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return _tls_reason(error)
    if isinstance(error, TimeoutError):
        return "i/o timeout"
    if isinstance(error, http.client.RemoteDisconnected):
        return "EOF"
    if isinstance(error, http.client.HTTPException):
        return f"malformed HTTP response ({type(error).__name__})"
    text = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
    return text or type(error).__name__


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"tls: failed to verify certificate: {error.verify_message}; name the certificate of its authority with "
            "SSL_CERT_FILE"
        )
    if isinstance(error, ssl.SSLEOFError):
        return "unexpected EOF"
    return f"tls: {error.reason or error}: a registry without TLS is asked with --insecure"
