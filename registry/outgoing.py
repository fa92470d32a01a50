"""One blob on its way to a registry: an upload session, continued where an earlier push broke off.

The session's URL and the parts that the registry has taken are kept in the store (`blobs/<name>.outgoing`) until the
blob is committed. Where to go on is asked of the registry itself: after a failed part, and after a restart.
"""

import hashlib
import re
import threading
from collections.abc import Callable, Generator, Iterator
from urllib.parse import urlencode

import msgspec

from actors.errors import InvalidManifest, RegistryError, RegistryMisbehaved, RegistryUnreachable
from registry.atomic import write_atomically
from registry.blobs import Blobs
from registry.digests import parse_digest
from registry.download.download import REPORT_EVERY_S
from registry.download.source import refusal
from registry.manifests import Layer
from registry.remote.channel import Channel, Reply, parse_url, shown
from registry.remote.client import RegistryClient
from registry.remote.retry import is_passing, pause_s
from registry.transfer import Transfer

_PART_BYTES = 64 << 20
_SEND_BYTES = 256 << 10
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})")
_OK, _CREATED, _ACCEPTED, _NO_CONTENT, _REDIRECT = 200, 201, 202, 204, 307
_MISPLACED = 416


class _Sent(msgspec.Struct):
    """What is remembered of a session: its URL, and the MD5 of each part that was taken, with where it ends."""

    session: str = ""
    parts: list[tuple[int, str]] = []


class Outgoing:
    """The upload of one blob to one repository; owned by one thread."""

    def __init__(self, blobs: Blobs, layer: Layer, client: RegistryClient, repository: str, transfer: Transfer) -> None:
        """Take the blob, and the path of the repository at the registry."""
        self._path = blobs.path(layer.digest)
        self._layer = layer
        self._digest = parse_digest(layer.digest)
        self._client = client
        self._repository = repository
        self._transfer = transfer
        place = hashlib.sha256(f"{client.base.geturl()}{repository}".encode()).hexdigest()[:16]
        self._note = blobs.folder / f"{self._path.name}-{place}.outgoing"
        self._sent = _Sent()

    def run(self, channel: Channel, *, mount_from: str = "") -> Generator[int, None, None]:
        """Upload the blob, yielding how many bytes the registry has taken.

        Raises:
            RegistryError: the registry does not take it; what it has taken is remembered.
            InvalidManifest: the blob is not in the store as its manifest tells.
        """
        offset = self._resume(channel)
        if not self._sent.session and not self._begin(channel, mount_from):
            return
        n_failures = 0
        while offset < self._layer.size:
            yield offset
            try:
                end = min(offset + _PART_BYTES, self._layer.size)
                yield from self._send_part(channel, offset, end)
                offset = end
                n_failures = 0
            except RegistryError as error:
                n_failures += 1
                patience = self._client.caller.patience
                is_misplaced = error.fields.get("status") == _MISPLACED  # more or less was taken than we know of
                passes = isinstance(error, RegistryUnreachable) or is_passing(error) or is_misplaced
                if n_failures >= patience.n_attempts or not passes:
                    raise
                channel.close()
                self._client.abort.wait(pause_s(patience, n_failures, error))
                offset = self._taken(channel)
        self._commit(channel)
        self._note.unlink(missing_ok=True)

    def _resume(self, channel: Channel) -> int:
        """Take up a remembered session, if the registry still has it."""
        try:
            self._sent = msgspec.json.decode(self._note.read_bytes(), type=_Sent)
            return self._taken(channel)
        except (OSError, msgspec.MsgspecError, RegistryMisbehaved):
            return self._forget()

    def _forget(self) -> int:
        self._sent = _Sent()
        self._note.unlink(missing_ok=True)
        return 0

    def _taken(self, channel: Channel) -> int:
        """Ask how much the registry has; parts that it does not have in full are forgotten."""
        reply = self._client.ask(channel, "GET", parse_url(self._sent.session), {})
        found = _RANGE.fullmatch(reply.headers.get("Range", ""))
        if reply.status not in {_OK, _ACCEPTED, _NO_CONTENT}:
            raise RegistryMisbehaved(f"the registry has lost the upload of {self._digest}: please push again")
        offset = int(found[1]) + 1 if found and int(found[1]) else 0
        ends = [0, *(end for end, _ in self._sent.parts)]
        if offset not in ends and offset < self._layer.size:
            return self._adopt(offset)
        self._sent.parts = [part for part in self._sent.parts if part[0] <= offset]
        self._follow(reply)
        return min(offset, self._layer.size)

    def _adopt(self, offset: int) -> int:
        """Account for a part of which the registry took only the beginning."""
        start = max((end for end, _ in self._sent.parts if end < offset), default=0)
        self._sent.parts = [part for part in self._sent.parts if part[0] <= start]
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in self._chunks(start, offset):
            digest.update(chunk)
        self._remember(offset, digest.hexdigest())
        return offset

    def _begin(self, channel: Channel, mount_from: str) -> bool:
        """Open a session; false when the registry already had the blob elsewhere and needs none."""
        query = urlencode({"mount": self._digest, "from": mount_from}) if mount_from else ""
        url = self._client.url(f"{self._repository}/blobs/uploads/")._replace(query=query)
        reply = self._client.ask(channel, "POST", url, {"Content-Length": "0"})
        if reply.status == _CREATED:
            return False
        if reply.status not in {_OK, _ACCEPTED}:
            raise refusal(reply)
        if not self._follow(reply):
            raise RegistryMisbehaved(f"{shown(url)} answers without the address of an upload")
        self._save()
        return True

    def _send_part(self, channel: Channel, start: int, end: int) -> Generator[int, None, None]:
        """Send a part, telling meanwhile how much is on its way.

        A request is one call from its first byte to its answer, so a thread makes it, which alone uses the channel.
        """
        part = _Part(self._chunks, start, end)
        sender = _Sender(lambda: self._put_part(channel, part, start, end))
        sender.start()
        try:
            while sender.is_alive():
                sender.join(REPORT_EVERY_S)
                yield start + part.sent_bytes
        finally:
            if sender.is_alive():  # nobody wants the lines any more
                self._client.abort.set()
            sender.join()
        if sender.error is not None:
            raise sender.error

    def _put_part(self, channel: Channel, part: "_Part", start: int, end: int) -> None:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(end - start),
            "Content-Range": f"{start}-{end - 1}",
            "X-Redirect-Uploads": "1",
        }
        session = parse_url(self._sent.session)
        reply = self._client.ask(channel, "PATCH", session, headers, part)
        if reply.status == _REDIRECT:
            self._follow(reply, only_upload=True)
            target = self._client.redirected(session, reply.headers.get("Location", ""))
            reply = channel.request("PUT", target, {"Content-Length": str(end - start)}, part)
        if reply.status not in {_OK, _CREATED, _ACCEPTED, _NO_CONTENT}:
            raise refusal(reply)
        self._follow(reply)
        self._remember(end, part.md5)

    def _commit(self, channel: Channel) -> None:
        sums = [digest for _, digest in self._sent.parts]
        joined = hashlib.md5("".join(sums).encode(), usedforsecurity=False).hexdigest()
        session = parse_url(self._sent.session)
        added = urlencode({"digest": self._digest, "etag": f"{joined}-{len(sums)}"})
        url = session._replace(query=f"{session.query}&{added}" if session.query else added)
        reply = self._client.ask(channel, "PUT", url, {"Content-Length": "0"})
        if reply.status not in {_OK, _CREATED, _ACCEPTED, _NO_CONTENT}:
            self._forget()
            raise refusal(reply)

    def _follow(self, reply: Reply, *, only_upload: bool = False) -> bool:
        """Take the session's next address from an answer, if it tells one."""
        location = reply.headers.get("Docker-Upload-Location", "")
        location = location or ("" if only_upload else reply.headers.get("Location", ""))
        if location:
            self._sent.session = self._client.redirected(reply.url, location).geturl()
        return bool(location)

    def _remember(self, end: int, digest: str) -> None:
        self._sent.parts.append((end, digest))
        self._save()

    def _save(self) -> None:
        write_atomically(self._note, msgspec.json.encode(self._sent), scratch=self._note.parent)

    def _chunks(self, start: int, end: int) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                while start < end:
                    self._client.abort.check()
                    chunk = file.read(min(_SEND_BYTES, end - start))
                    if not chunk:
                        raise InvalidManifest(f"blob {self._digest} is shorter than its manifest tells")
                    start += len(chunk)
                    self._transfer.pace.spend(len(chunk), self._client.abort)
                    yield chunk
        except OSError as error:
            raise InvalidManifest(f"cannot read blob {self._digest}: {error.strerror}") from error


class _Part:
    """The body of one part, which sums itself while it is sent."""

    def __init__(self, chunks: Callable[[int, int], Iterator[bytes]], start: int, end: int) -> None:
        self._chunks = chunks
        self._start = start
        self._end = end
        self.md5 = ""
        self.sent_bytes = 0

    def __call__(self) -> Iterator[bytes]:
        digest = hashlib.md5(usedforsecurity=False)
        self.sent_bytes = 0  # each attempt begins anew
        for chunk in self._chunks(self._start, self._end):
            digest.update(chunk)
            yield chunk
            self.sent_bytes += len(chunk)
        self.md5 = digest.hexdigest()


class _Sender(threading.Thread):
    """One call in a thread of its own; what it raised is kept."""

    def __init__(self, call: Callable[[], None]) -> None:
        super().__init__(name="push", daemon=True)
        self._call = call
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._call()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the transfer's own thread raises it
            self.error = error
