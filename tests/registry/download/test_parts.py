"""The record of a download: counters that survive anything, and a file that claims nonsense is begun anew."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from registry.download.parts import PartTable, part_size_for, read_completed

MEBI = 1 << 20
SIZE_BYTES = 20 * MEBI + 5


def _open(path: Path, *, size_bytes: int = SIZE_BYTES, validator: str = "v", is_fresh: bool = False) -> PartTable:
    return PartTable.open(path, size_bytes=size_bytes, validator=validator, is_fresh=is_fresh)


def test_parts_cover_the_file_once(tmp_path: Path) -> None:
    """In order, without gap or overlap."""
    table = _open(tmp_path / "r")
    ends = [part.start + part.size_bytes for part in table.parts]
    assert [part.start for part in table.parts] == [0, *ends[:-1]]
    assert ends[-1] == SIZE_BYTES
    table.close()


@given(st.integers(1, 1 << 46))
@example((1 << 45) + 1)
@settings(max_examples=100)
def test_part_size_keeps_their_number_bounded(size_bytes: int) -> None:
    """However large the file."""
    assert 1 <= -(-size_bytes // part_size_for(size_bytes)) <= 1 << 14


def test_record_is_read_again_to_the_byte(tmp_path: Path) -> None:
    """By the next owner, and by those who only look."""
    table = _open(tmp_path / "r")
    table.advance(table.parts[0], 8 * MEBI)
    table.advance(table.parts[1], 7)
    table.advance(table.parts[2], 1)
    assert table.contiguous_bytes(0) == 8 * MEBI + 7
    table.close()
    again = _open(tmp_path / "r")
    assert again.completed_bytes == 8 * MEBI + 8 == read_completed(tmp_path / "r", SIZE_BYTES)
    assert [part.number for part in again.incomplete()] == [1, 2]
    again.close()


@pytest.mark.parametrize(
    "change", [{"size_bytes": SIZE_BYTES + 1}, {"validator": "other"}, {"is_fresh": True}], ids=str
)
def test_record_of_another_file_is_begun_anew(change: dict[str, object], tmp_path: Path) -> None:
    """Another size, another version, or a file that was just made."""
    table = _open(tmp_path / "r")
    table.advance(table.parts[0], 5)
    table.close()
    again = _open(tmp_path / "r", **change)  # type: ignore[arg-type]  # one of several keywords
    assert again.completed_bytes == 0
    again.close()


@given(st.binary(max_size=200), st.integers(0, 120))
@settings(max_examples=150)
def test_damaged_record_never_claims_more_than_there_is(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int
) -> None:
    """Any bytes anywhere: the record is used only when it makes sense, and nothing is raised."""
    path = tmp_path_factory.mktemp("r") / "r"
    _open(path).close()
    content = path.read_bytes()
    path.write_bytes(content[:at] + noise + content[at + len(noise) :])
    assert 0 <= read_completed(path, SIZE_BYTES) <= SIZE_BYTES
    table = _open(path)
    assert sum(part.size_bytes for part in table.parts) == SIZE_BYTES
    assert all(0 <= table.completed_of(part) <= part.size_bytes for part in table.parts)
    table.close()
