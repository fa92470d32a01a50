"""Marks of a prompt's beginnings, by which the scheduler finds the runner whose cache is warm for it.

A mark is a hash of the first 256, 512, 1024 … bytes of the prompt as it was sent, so equal beginnings have equal marks
up to the last length that they share. The order of a chat's messages is part of it.
"""

import hashlib
from collections.abc import Iterator

from actors.messages.job import ChatPrompt, FillPrompt, RawPrompt, TokenPrompt

_FIRST_BYTES = 256
_MARKS = 16  # up to 8 MiB
_MARK_BYTES = 8
_SEPARATOR = b"\0"

Prompt = RawPrompt | ChatPrompt | FillPrompt | TokenPrompt


def prefix_marks(prompt: Prompt) -> tuple[int, ...]:
    """Give the marks, shortest beginning first; a prompt of less than 256 bytes has none."""
    digest, marks = hashlib.blake2b(digest_size=_MARK_BYTES), list[int]()
    n_hashed, due = 0, _FIRST_BYTES
    for piece in _pieces(prompt):
        start = 0
        while n_hashed + len(piece) - start >= due and len(marks) < _MARKS:
            end = start + due - n_hashed
            digest.update(piece[start:end])
            marks.append(int.from_bytes(digest.digest(), "little"))
            start, n_hashed, due = end, due, due * 2
        digest.update(piece[start:])
        n_hashed += len(piece) - start
    return tuple(marks)


def _pieces(prompt: Prompt) -> Iterator[bytes]:
    if isinstance(prompt, RawPrompt):
        yield prompt.text.encode(errors="replace")
    elif isinstance(prompt, ChatPrompt):
        for message in prompt.messages:
            yield message.role.encode(errors="replace") + _SEPARATOR
            yield message.content.encode(errors="replace") + _SEPARATOR
            yield from message.media
