"""Responses that clients may refer to later: files in a folder that all gateway workers of a host share.

A file holds the conversation up to and including the answer, so a chain of any length needs one look-up. Bounds: the
`MAX_RESPONSES` newest are kept, and no more than `MAX_TOTAL_BYTES`; a conversation of over `MAX_ENTRY_BYTES` is not
kept at all. Nothing outlives the run folder.
"""

import contextlib
import os
import re
import secrets
from pathlib import Path

import msgspec
import trio

from actors.log import get_logger
from actors.messages.job import ChatMessage

MAX_RESPONSES = 1000
MAX_TOTAL_BYTES = 256 << 20
MAX_ENTRY_BYTES = 4 << 20
_ID = re.compile(r"resp_[0-9a-f]{24}")
_SUFFIX = ".msgpack"

log = get_logger(__name__)


class StoredResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response as the API shows it, and the conversation that it ends."""

    messages: tuple[ChatMessage, ...]
    response: bytes
    """The response object, as JSON."""


class StoredResponses:
    """The stored responses of one run folder; every method works in a worker thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._decoder = msgspec.msgpack.Decoder(StoredResponse)

    async def put(self, response_id: str, stored: StoredResponse) -> None:
        """Keep a response; one that is too big, or that the disk does not take, is not kept, which is logged."""
        await trio.to_thread.run_sync(self._put, response_id, stored)

    async def get(self, response_id: str) -> StoredResponse | None:
        """Look a response up; None if it was never kept, or is not any more."""
        return await trio.to_thread.run_sync(self._get, response_id)

    async def delete(self, response_id: str) -> bool:
        """Forget a response; False if there is none."""
        return await trio.to_thread.run_sync(self._delete, response_id)

    def _put(self, response_id: str, stored: StoredResponse) -> None:
        try:
            content = msgspec.msgpack.encode(stored)
        except (OverflowError, RecursionError, UnicodeEncodeError) as error:
            log.warning("response %s is not kept: %s", response_id, error)
            return
        if len(content) > MAX_ENTRY_BYTES:
            log.warning("response %s is not kept: its conversation takes %d bytes", response_id, len(content))
            return
        new = self._folder / f".{secrets.token_hex(8)}"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._make_room(len(content))
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
            new.rename(self._path(response_id))
        except OSError as error:
            log.warning("response %s is not kept: %s", response_id, error)
            with contextlib.suppress(OSError):
                new.unlink()

    def _make_room(self, n_bytes: int) -> None:
        """Remove the oldest, so that one more of `n_bytes` stays within the bounds."""
        kept = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):  # another worker was faster
                status = entry.stat()
                kept.append((status.st_mtime_ns, status.st_size, entry.path))
        total = sum(size for _, size, _ in kept) + n_bytes
        n_left = len(kept) + 1
        for _, size, path in sorted(kept):
            if n_left <= MAX_RESPONSES and total <= MAX_TOTAL_BYTES:
                return
            Path(path).unlink(missing_ok=True)
            n_left, total = n_left - 1, total - size

    def _get(self, response_id: str) -> StoredResponse | None:
        if not _ID.fullmatch(response_id):
            return None
        try:
            return self._decoder.decode(self._path(response_id).read_bytes())
        except (OSError, msgspec.DecodeError):
            return None

    def _delete(self, response_id: str) -> bool:
        if not _ID.fullmatch(response_id):
            return False
        try:
            self._path(response_id).unlink()
        except OSError:
            return False
        return True

    def _path(self, response_id: str) -> Path:
        return self._folder / f"{response_id}{_SUFFIX}"


def new_response_id() -> str:
    """Make the id of a response."""
    return f"resp_{secrets.token_hex(12)}"
