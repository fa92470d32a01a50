"""One connection of a download: takes the next part that lacks bytes, fetches them, retries what goes wrong.

A wrong or short answer costs its own range and nothing else: what had come stays, and the next attempt asks for the
bytes behind it. Attempts are counted from the last new byte, so a bad line that makes progress is not given up.
"""

import os
import threading
import time
from collections import deque

from actors.errors import (
    RegistryError,
    RegistryMisbehaved,
    RegistryUnreachable,
    StoreUnwritable,
)
from registry.download.pace import Pace
from registry.download.parts import Part, PartTable
from registry.download.source import Source
from registry.remote.channel import Channel, Reply, shown
from registry.remote.retry import is_passing, pause_s

_OK = 200
_TRICKLE_BYTES_PER_S = 128


class SharedParts:
    """What the connections of one download share. Thread-safe."""

    def __init__(self, table: PartTable, fd: int, *, validator: str) -> None:
        self.table = table
        self.fd = fd
        self.validator = validator
        self._lock = threading.Lock()
        self._waiting = deque(table.incomplete())
        self.writing = threading.Lock()
        """The kernel lets one thread write to a file at a time, and the others spin: here they sleep."""
        self.is_whole = False
        """True once the server has answered with the whole file: then one connection takes it all."""
        self.first_answer = threading.Event()
        """Set when the first answer has shown whether the server gives ranges: only then more connections pay."""

    def take(self) -> Part | None:
        """Give the next part that lacks bytes, None when there is none left."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def take_all(self) -> None:
        """Leave nothing to the other connections: this one gets the whole file."""
        with self._lock:
            self._waiting.clear()
            self.is_whole = True


class Fetcher:
    """The work of one thread."""

    def __init__(self, source: Source, shared: SharedParts, pace: Pace) -> None:
        self._source = source
        self._shared = shared
        self._pace = pace
        self._abort = source.client.abort
        self._patience = source.client.caller.patience

    def run(self) -> None:
        """Fetch parts until none is left.

        Raises:
            StoreUnwritable: the operating system refused a write.
            RegistryError: the attempts are used up.
            Aborted: all is to end.
        """
        with self._source.client.channel() as channel:
            while (part := self._shared.take()) is not None:
                self._fetch(channel, part)

    def _fetch(self, channel: Channel, part: Part) -> None:
        n_failures = 0
        while missing := self._missing_bytes(part):
            try:
                self._receive(channel, part)
            except RegistryError as error:
                channel.close()
                self._abort.check()
                n_failures = 1 if self._missing_bytes(part) < missing else n_failures + 1
                if n_failures >= self._patience.n_attempts or not _is_worth_a_retry(error):
                    raise
                self._abort.wait(pause_s(self._patience, n_failures, error))

    def _missing_bytes(self, part: Part) -> int:
        table = self._shared.table
        if self._shared.is_whole:
            return table.size_bytes - table.completed_bytes
        return part.size_bytes - table.completed_of(part)

    def _receive(self, channel: Channel, part: Part) -> None:
        """Ask once for what a part lacks, and take what comes.

        Raises:
            RegistryError: less came than was asked for; what came is recorded.
        """
        shared, table = self._shared, self._shared.table
        start, end = part.start + table.completed_of(part), part.start + part.size_bytes
        if shared.is_whole:
            start, end = 0, table.size_bytes
        reply = self._source.open(channel, start, end, table.size_bytes, shared.validator)
        if shared.is_whole or (reply.status == _OK and (start, end) != (0, table.size_bytes)):
            self._receive_whole(reply)
        else:
            shared.first_answer.set()
            self._copy(reply, part, end - start)

    def _copy(self, reply: Reply, part: Part, n_bytes: int) -> None:
        watch = Trickle(self._patience.deadline_s)
        missing = n_bytes
        while missing:
            chunk = reply.receive(min(missing, self._pace.piece_bytes))
            self._abort.check()  # the end of a socket that was shut down looks like the end of the body
            if not chunk:
                raise RegistryUnreachable("GET", shown(reply.url), "unexpected EOF")
            self._write(chunk, part)
            missing -= len(chunk)
            watch.check(len(chunk), reply)
            self._pace.spend(len(chunk), self._abort)

    def _receive_whole(self, reply: Reply) -> None:
        """Take the whole file from one answer, as from a server without ranges; what is there already is passed by."""
        shared, table = self._shared, self._shared.table
        shared.take_all()
        shared.first_answer.set()
        for part in table.parts:
            to_skip = table.completed_of(part)
            while to_skip:
                chunk = reply.receive(min(to_skip, 1 << 20))
                self._abort.check()
                if not chunk:
                    raise RegistryUnreachable("GET", shown(reply.url), "unexpected EOF")
                to_skip -= len(chunk)
            self._copy(reply, part, part.size_bytes - table.completed_of(part))

    def _write(self, chunk: bytes, part: Part) -> None:
        """Append to a part, and record it."""
        table, view = self._shared.table, memoryview(chunk)
        offset = part.start + table.completed_of(part)
        try:
            while view:
                with self._shared.writing:
                    n_written = os.pwrite(self._shared.fd, view, offset)
                view = view[n_written:]
                offset += n_written
            table.advance(part, len(chunk))
        except OSError as error:
            raise StoreUnwritable("blobs", error.strerror or str(error)) from error


class Trickle:
    """Notices a peer that sends a byte now and then, which no socket's deadline does."""

    def __init__(self, window_s: float) -> None:
        """Take over how long it is judged."""
        self._window_s = window_s
        self._began_at = time.monotonic()
        self._n_bytes = 0

    def check(self, n_bytes: int, reply: Reply) -> None:
        """Account for bytes that have come.

        Raises:
            RegistryUnreachable: too few have.
        """
        self._n_bytes += n_bytes
        now = time.monotonic()
        if now - self._began_at < self._window_s:
            return
        if self._n_bytes < _TRICKLE_BYTES_PER_S * self._window_s:
            raise RegistryUnreachable("GET", shown(reply.url), "the download stalls")
        self._began_at, self._n_bytes = now, 0


def _is_worth_a_retry(error: RegistryError) -> bool:
    if isinstance(error, RegistryUnreachable | RegistryMisbehaved):
        return True
    return is_passing(error) or "may_have_expired" in error.fields
