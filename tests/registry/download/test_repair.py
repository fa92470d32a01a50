"""Lists of sums: read when they cover the file, ignored when they are anything else."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from registry.download.repair import parse_sums
from registry.download.sums import sum_lines

DIGEST = "sha256:" + "a" * 64


def test_sums_that_we_give_are_those_that_we_read(tmp_path: Path) -> None:
    """For an empty file, one range and several."""
    for size in (1, 8 << 20, (8 << 20) + 1, 20 << 20):
        path = tmp_path / "f"
        path.write_bytes(b"x" * size)
        chunks = parse_sums(b"".join(sum_lines(path, size)), size)
        assert sum(chunk.end - chunk.start for chunk in chunks) == size


def test_sums_with_gaps_overlaps_or_other_lengths_are_ignored() -> None:
    """Nothing is mended by a list that does not fit the file."""
    for lines in (
        f"{DIGEST} 0-4\n{DIGEST} 6-9",
        f"{DIGEST} 0-5\n{DIGEST} 5-9",
        f"{DIGEST} 0-8",
        f"{DIGEST} 0-10",
        f"{DIGEST} 9-0",
        f"{DIGEST[:-1]} 0-9",
        "",
    ):
        assert parse_sums(lines.encode(), 10) == ()
    assert len(parse_sums(f"{DIGEST} 0-4\n{DIGEST} 5-9\n".encode(), 10)) == 2


@given(st.binary(max_size=300), st.integers(0, 1000))
@settings(max_examples=100)
def test_sums_of_any_bytes_never_raise(content: bytes, size_bytes: int) -> None:
    """Hostile lists give nothing."""
    parse_sums(content, size_bytes)
