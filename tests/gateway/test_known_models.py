"""Models that were found before."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.known_models import KnownModels, stamped


def test_model_is_known_until_one_of_its_files_changes(tmp_path: Path) -> None:
    """What was found holds as long as every file stays the same, and is forgotten when one does not."""
    files = [tmp_path / "manifest", tmp_path / "weights"]
    for file in files:
        file.write_text("one")
    known: KnownModels[str] = KnownModels()
    known.put("name", stamped(map(str, files)), "found")
    assert known.get("name") == "found"
    assert known.get("other") is None
    files[1].write_text("another")
    assert known.get("name") is None
    files[1].write_text("one")
    assert known.get("name") is None


def test_model_whose_file_is_gone_is_not_known(tmp_path: Path) -> None:
    """A file that vanished ends what was known, and stamps of a file that is not there cannot be taken."""
    file = tmp_path / "manifest"
    file.write_text("one")
    known: KnownModels[str] = KnownModels()
    known.put("name", stamped([str(file)]), "found")
    file.unlink()
    assert known.get("name") is None
    with pytest.raises(FileNotFoundError):
        stamped([str(file)])


def test_slow_store_is_not_looked_at_for_a_while(tmp_path: Path) -> None:
    """After looks of two milliseconds each nothing is known for half a minute; a single long one does no harm."""
    file = tmp_path / "manifest"
    file.write_text("one")
    times = iter([0.0, 5.0, 10.0, 10.002, 11.0, 11.002, 15.0, 41.0, 41.1, 41.1])
    known: KnownModels[str] = KnownModels(clock=lambda: next(times))
    known.put("name", stamped([str(file)]), "found")
    assert [known.get("name") for _ in range(3)] == ["found"] * 3
    assert known.get("name") is None
    assert known.get("name") is None
    assert known.get("name") == "found"


def test_least_recently_used_models_are_forgotten(tmp_path: Path) -> None:
    """At most 256 names are known; whoever was asked for lately stays."""
    file = tmp_path / "manifest"
    file.write_text("one")
    known: KnownModels[int] = KnownModels()
    names = _names()
    first, second = next(names), next(names)
    known.put(first, stamped([str(file)]), 1)
    known.put(second, stamped([str(file)]), 2)
    for _ in range(255):
        known.get(first)
        known.put(next(names), stamped([str(file)]), 3)
    assert known.get(first) == 1
    assert known.get(second) is None


def _names() -> Iterator[str]:
    number = 0
    while True:
        yield f"model-{number}"
        number += 1
