"""Digests: `sha256:` and 64 hex digits, the name of stored bytes."""

import hashlib
import re
from pathlib import Path

from actors.errors import InvalidDigest

_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")


def parse_digest(text: str) -> str:
    """Read a digest written with `:` or `-` and give it as `sha256:` with lower-case digits.

    Raises:
        InvalidDigest: the text is no SHA-256 digest.
    """
    match = _DIGEST.fullmatch(text)
    if match is None:
        raise InvalidDigest(text)
    return f"sha256:{match[1].lower()}"


def digest_of(content: bytes) -> str:
    """Compute the digest of bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def digest_of_file(path: Path) -> str:
    """Compute the digest of a file's content; blocks for about a second per gigabyte."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def hex_of(digest: str) -> str:
    """Give the 64 hex digits of a parsed digest."""
    return digest[len("sha256:") :]
