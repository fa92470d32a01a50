"""One file into the store, by whoever is first: progress for everybody, the finished blob for all."""

import threading
import time
from collections.abc import Callable, Generator

from actors.errors import DigestMismatch, InvalidDigest, RegistryMisbehaved, StoreUnwritable
from registry.atomic import write_atomically
from registry.blobs import Blobs
from registry.digests import parse_digest
from registry.download.fetcher import Fetcher, SharedParts
from registry.download.hasher import Hasher
from registry.download.incoming import Incoming, claim, incoming_path, progress_of
from registry.download.pace import Pace
from registry.download.parts import PartTable
from registry.download.repair import repair
from registry.download.source import Source
from registry.remote.abort import Aborted

REPORT_EVERY_S = 0.06
_N_CONNECTIONS = 4
_JOIN_S = 10.0
_LOOK_EVERY_S = 0.005
_NOTE_SUFFIX = ".incoming.digest"


class Download:
    """A file that is wanted in the store.

    `run` yields how many bytes are there, about every 60 ms, and returns the blob's digest. Closing the generator ends
    our part in it; what has come stays for whoever wants it next, at once if somebody follows already.
    """

    def __init__(
        self,
        blobs: Blobs,
        source: Source,
        *,
        size_bytes: int,
        digest: str = "",
        validator: str = "",
        key: str = "",
        pace: Pace,
    ) -> None:
        """Describe the file.

        Args:
            blobs: where it goes.
            source: where it comes from; its client's `abort` must be this download's own.
            size_bytes: its length.
            digest: what it must hash to; without one, whatever it hashes to is its name.
            validator: for a file without a digest, what tells that the source has not changed.
            key: for a file without a digest, a name for its bytes in transit.
            pace: the rate limit.
        """
        self._blobs = blobs
        self._source = source
        self._size_bytes = size_bytes
        self._digest = digest
        self._validator = validator
        self._pace = pace
        name = digest.replace(":", "-") or key
        self._path = incoming_path(blobs.folder, name)
        self._note = blobs.folder / f"{name}{_NOTE_SUFFIX}"
        """What a file without a digest turned out to hash to, for those who followed its download."""
        self.is_own = False
        """True once bytes were fetched here, rather than by somebody else."""

    def run(self) -> Generator[int, None, str]:
        """Bring the file into the store.

        Raises:
            DigestMismatch: it is not what was announced; its bytes are dropped.
            StoreUnwritable: the operating system refused, for example because the disk is full; what came stays.
            RegistryError: the source does not give it.
        """
        while True:
            if self._digest and self._blobs.touch(self._digest):
                return self._digest
            incoming = claim(self._path)
            if incoming is not None:
                with incoming:
                    if done := self._finished_before():
                        incoming.discard()
                        return done
                    return (yield from self._fetch(incoming))
            yield progress_of(self._path, self._size_bytes)
            self._source.client.abort.wait(REPORT_EVERY_S)

    def _finished_before(self) -> str:
        """Give the digest of the blob if somebody has finished it before we got the lock."""
        digest = self._digest
        if not digest:
            try:
                digest = parse_digest(self._note.read_text(encoding="ascii"))
            except (OSError, ValueError, InvalidDigest):
                return ""
        return digest if self._blobs.touch(digest) else ""

    def _fetch(self, incoming: Incoming) -> Generator[int, None, str]:
        self.is_own = True
        table = incoming.table(self._size_bytes, validator=self._validator)
        hasher = Hasher(incoming.fd, table, self._source.client.abort)
        team = _Team(self._source, SharedParts(table, incoming.fd, validator=self._validator), self._pace)
        try:
            hasher.start()
            team.start()
            yield from self._watch(table, lambda: not team.is_over)
            team.check()
            yield from self._watch(table, hasher.is_alive)
            if hasher.error is not None:
                raise StoreUnwritable(str(incoming.path), hasher.error.strerror or str(hasher.error))
        finally:
            hasher.stop()
            team.stop()
            hasher.join(_JOIN_S)
        self._source.client.abort.check()
        return self._accept(incoming, hasher.digest)

    def _watch(self, table: PartTable, goes_on: Callable[[], bool]) -> Generator[int, None, None]:
        report_at = 0.0
        while goes_on():
            self._source.client.abort.check()
            if (now := time.monotonic()) >= report_at:
                report_at = now + REPORT_EVERY_S
                yield table.completed_bytes
            time.sleep(_LOOK_EVERY_S)

    def _accept(self, incoming: Incoming, digest: str) -> str:
        if self._digest and digest != self._digest:
            digest = repair(incoming.fd, self._source, self._size_bytes, self._digest, self._pace) or digest
        if self._digest and digest != self._digest:
            incoming.discard()
            raise DigestMismatch(expected=self._digest, actual=digest)
        if not self._digest:
            write_atomically(self._note, digest.encode(), scratch=self._blobs.folder)
        incoming.become(self._blobs.path(digest))
        return digest


class _Team:
    """The threads of one download. The first asks alone; the others join when the server has shown to give ranges."""

    def __init__(self, source: Source, shared: SharedParts, pace: Pace) -> None:
        self._source = source
        self._shared = shared
        self._pace = pace
        self._abort = source.client.abort
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        n_threads = min(_N_CONNECTIONS, len(shared.table.incomplete()))
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"pull {number}", daemon=True)
            for number in range(n_threads)
        ]

    @property
    def is_over(self) -> bool:
        """True once no thread works any more, or one has failed."""
        return self._error is not None or not any(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def check(self) -> None:
        """Raise what a thread has failed with."""
        if self._error is not None:
            raise self._error
        if self._shared.table.incomplete():
            raise RegistryMisbehaved("the download ended before the file was complete: please try again")

    def stop(self) -> None:
        """End the threads and wait for them; a thread that hangs in a name server's deadline is left to end alone."""
        if not self.is_over or self._error is not None:
            self._abort.set()
        self._shared.first_answer.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(_JOIN_S)

    def _work(self, number: int) -> None:
        try:
            if number:
                while not self._shared.first_answer.wait(REPORT_EVERY_S):
                    self._abort.check()
            Fetcher(self._source, self._shared, self._pace).run()
        except Aborted:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever it is, the transfer's own thread raises it
            with self._lock:
                self._error = self._error or error
            self._shared.first_answer.set()
