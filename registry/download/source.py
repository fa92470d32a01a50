"""Where the bytes of one file come from: a registry's blob or a plain URL, and whatever they redirect to."""

import re
import threading
from dataclasses import dataclass
from urllib.parse import SplitResult

from actors.errors import RegistryError, RegistryMisbehaved, RegistryRefused, RemoteModelNotFound
from registry.remote.channel import Channel, Reply, shown
from registry.remote.client import RegistryClient

_PROBED_BYTES = 4
_OK, _PARTIAL, _NOT_FOUND = 200, 206, 404
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


@dataclass(frozen=True, slots=True)
class Probe:
    """What a server says of a file before it is fetched."""

    size_bytes: int
    validator: str
    """Its strong entity tag, or its date; empty when it has neither."""
    beginning: bytes
    """Its first four bytes, empty when the server does not give ranges."""


class Source:
    """One file at one registry. Thread-safe.

    The address that a redirect led to is asked directly from then on, and forgotten when it fails: such addresses
    often expire.
    """

    def __init__(self, client: RegistryClient, url: SplitResult, *, sums_url: SplitResult | None = None) -> None:
        """Take the registry, the file's URL there, and the one below which sums of its ranges may be had."""
        self.client = client
        self.url = url
        self.sums_url = sums_url
        self._lock = threading.Lock()
        self._direct: SplitResult | None = None

    def open(self, channel: Channel, start: int, end: int, size_bytes: int, validator: str = "") -> Reply:
        """Ask for the bytes from `start` to before `end`.

        Returns:
            The answer: status 206 with exactly these bytes to come, or 200 with the whole file.

        Raises:
            RegistryMisbehaved: other bytes are offered.
            RegistryRefused: an error status.
            RegistryUnreachable, AddressForbidden, Unauthorized: as told there.
        """
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if validator.startswith('"'):
            headers["If-Range"] = validator
        direct = self._direct
        try:
            reply = self.client.get(channel, direct or self.url, headers)
            if reply.status not in {_OK, _PARTIAL}:
                raise refusal(reply)
        except RegistryError as error:
            if direct is not None:  # it may have expired: the next attempt asks the registry for a new one
                error.fields["may_have_expired"] = 1
                with self._lock:
                    self._direct = None
            raise
        _check_range(reply, start, end, size_bytes)
        with self._lock:
            self._direct = reply.url
        return reply

    def probe(self, channel: Channel) -> Probe:
        """Ask for size and identity of a file that no manifest describes.

        Raises:
            RegistryMisbehaved: the size is not told.
            RemoteModelNotFound: there is no such file.
            RegistryRefused, RegistryUnreachable, AddressForbidden, Unauthorized: as told there.
        """
        reply = self.client.get(channel, self.url, {"Range": "bytes=0-3"})
        if reply.status not in {_OK, _PARTIAL}:
            raise refusal(reply)
        size = reply.size_bytes
        if reply.status == _PARTIAL:
            found = _CONTENT_RANGE.fullmatch(reply.headers.get("Content-Range", ""))
            size = int(found[3]) if found and found[3] != "*" else None
        if not size:
            raise RegistryMisbehaved(f"{shown(reply.url)} does not tell how long the file is")
        tag = reply.headers.get("ETag", "")
        validator = tag if tag.startswith('"') else reply.headers.get("Last-Modified", "")
        return Probe(size, validator, reply.read(_PROBED_BYTES) if reply.status == _PARTIAL else b"")


def refusal(reply: Reply) -> RegistryRefused | RemoteModelNotFound:
    """Give the error that an answer with an error status stands for."""
    if reply.status == _NOT_FOUND:
        return RemoteModelNotFound()
    error = RegistryRefused(reply.status, reply.error_text() or reply.headers.get("Content-Type", "no text"))
    wait = reply.headers.get("Retry-After", "")
    if wait.isascii() and wait.isdecimal():
        error.fields["retry_after_s"] = min(int(wait[:6]), 3600)
    return error


def _check_range(reply: Reply, start: int, end: int, size_bytes: int) -> None:
    length = reply.size_bytes
    if reply.status == _OK:
        if length is not None and length != size_bytes:
            raise RegistryMisbehaved(f"{shown(reply.url)} has {length} bytes where {size_bytes} are announced")
        return
    found = _CONTENT_RANGE.fullmatch(reply.headers.get("Content-Range", ""))
    is_asked = found is not None and (int(found[1]), int(found[2]) + 1) == (start, end)
    is_whole = found is not None and found[3] in {"*", str(size_bytes)}
    if not is_asked or not is_whole or length not in {None, end - start}:
        given = reply.headers.get("Content-Range", "no range")[:60]
        raise RegistryMisbehaved(
            f"{shown(reply.url)} answers with {given!r} where bytes {start}-{end - 1}/{size_bytes} were asked for"
        )
