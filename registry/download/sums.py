"""The sums of a file's ranges, as we give them to those who mend a download (`registry/download/repair.py`)."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

_RANGE_BYTES = 8 << 20
_MAX_LINES = 1 << 15


def sum_lines(path: Path, size_bytes: int) -> Iterator[bytes]:
    """Give one line per range; larger ranges for a file of hundreds of gigabytes."""
    range_bytes = max(_RANGE_BYTES, -(-size_bytes // _MAX_LINES))
    start = 0
    with path.open("rb") as file:
        while content := file.read(range_bytes):
            digest = hashlib.sha256(content).hexdigest()
            yield f"sha256:{digest} {start}-{start + len(content) - 1}\n".encode()
            start += len(content)
