"""Mending a file that hashes to something else than was announced, by the sums that some registries keep of its ranges.

`GET /v2/<repository>/chunksums/<digest>` lists ranges with their digests, one `sha256:<hex> <first>-<last>` per line.
Ranges of ours that differ are fetched again, and only they. Whether the mended file is the right one still only its
own digest tells: the list needs no trust.
"""

import hashlib
import os
import re
from dataclasses import dataclass

from actors.errors import RegistryError, RegistryUnreachable, StoreUnwritable
from registry.download.fetcher import Trickle
from registry.download.pace import Pace
from registry.download.source import Source
from registry.remote.channel import Channel, Reply, shown
from registry.remote.retry import pause_s

_READ_BYTES = 1 << 20
_LINE = re.compile(r"(sha256:[0-9a-f]{64}) (\d{1,18})-(\d{1,18})")
_LONGEST_LIST_BYTES = 4 << 20
_OK, _PARTIAL = 200, 206


@dataclass(frozen=True, slots=True)
class Chunk:
    """A range and what it must hash to."""

    digest: str
    start: int
    end: int


def repair(fd: int, source: Source, size_bytes: int, digest: str, pace: Pace) -> str | None:
    """Fetch the wrong ranges of a complete file again.

    Returns:
        What the file hashes to then; None when the registry keeps no sums, or gives the same wrong bytes again.

    Raises:
        StoreUnwritable: the operating system refused.
        Aborted: all is to end.
    """
    if source.sums_url is None:
        return None
    try:
        with source.client.channel() as channel:
            reply = source.client.get(channel, source.sums_url._replace(path=f"{source.sums_url.path}/{digest}"), {})
            if reply.status != _OK:
                return None
            chunks = parse_sums(reply.read(_LONGEST_LIST_BYTES), size_bytes)
            for chunk in chunks:
                if not _is_good(fd, chunk, source):
                    _mend(_Mending(fd, source, channel, pace, size_bytes), chunk)
    except RegistryError:
        return None
    except OSError as error:
        raise StoreUnwritable("blobs", error.strerror or str(error)) from error
    return _hash(fd, Chunk("", 0, size_bytes), source) if chunks else None


def parse_sums(content: bytes, size_bytes: int) -> tuple[Chunk, ...]:
    """Read a list of sums; nothing when it is malformed or does not cover the file without gap or overlap."""
    chunks = []
    position = 0
    for line in content.decode(errors="replace").splitlines():
        found = _LINE.fullmatch(line.strip())
        if found is None:
            return ()
        chunk = Chunk(found[1], int(found[2]), int(found[3]) + 1)
        if chunk.start != position or chunk.end <= chunk.start:
            return ()
        position = chunk.end
        chunks.append(chunk)
    return tuple(chunks) if position == size_bytes else ()


@dataclass(frozen=True, slots=True)
class _Mending:
    """What fetching ranges anew takes."""

    fd: int
    source: Source
    channel: Channel
    pace: Pace
    size_bytes: int


def _mend(work: _Mending, chunk: Chunk) -> None:
    """Fetch a range until it has its sum; a line that breaks then must not cost the whole file."""
    patience, abort = work.source.client.caller.patience, work.source.client.abort
    for attempt in range(1, patience.n_attempts + 1):
        try:
            reply = work.source.open(work.channel, chunk.start, chunk.end, work.size_bytes)
            if reply.status != _PARTIAL or _fetched(work, chunk, reply) == chunk.digest:
                return
        except RegistryError as error:
            work.channel.close()
            abort.check()
            if attempt == patience.n_attempts:
                raise
            abort.wait(pause_s(patience, attempt, error))


def _fetched(work: _Mending, chunk: Chunk, reply: Reply) -> str:
    """Put a range in the place of the wrong one as it comes, and give its sum."""
    abort, digest, position = work.source.client.abort, hashlib.sha256(), chunk.start
    watch = Trickle(work.source.client.caller.patience.deadline_s)
    while position < chunk.end:
        piece = reply.receive(min(work.pace.piece_bytes, chunk.end - position))
        abort.check()
        if not piece:
            raise RegistryUnreachable("GET", shown(reply.url), "unexpected EOF")
        digest.update(piece)
        view = memoryview(piece)
        while view:
            n_written = os.pwrite(work.fd, view, position)
            position += n_written
            view = view[n_written:]
        watch.check(len(piece), reply)
        work.pace.spend(len(piece), abort)
    return f"sha256:{digest.hexdigest()}"


def _is_good(fd: int, chunk: Chunk, source: Source) -> bool:
    return _hash(fd, chunk, source) == chunk.digest


def _hash(fd: int, chunk: Chunk, source: Source) -> str:
    digest, position = hashlib.sha256(), chunk.start
    while position < chunk.end:
        source.client.abort.check()
        piece = os.pread(fd, min(_READ_BYTES, chunk.end - position), position)
        if not piece:
            break
        digest.update(piece)
        position += len(piece)
    return f"sha256:{digest.hexdigest()}"
