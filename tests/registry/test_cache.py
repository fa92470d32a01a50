"""The cache of what was read from files."""

import os
from pathlib import Path

import pytest

from registry.cache import FileCache


def test_get_unchanged_file_is_read_once(tmp_path: Path) -> None:
    """The value is kept while inode, size and mtime stay, and read again after a change."""
    path, reads = tmp_path / "file", []
    path.write_text("one")

    def read(path: Path) -> str:
        reads.append(path)
        return path.read_text()

    cache = FileCache(2, read)
    assert [cache.get(path), cache.get(path)] == ["one", "one"]
    assert len(reads) == 1
    path.write_text("two")
    os.utime(path, (1, 1))
    assert cache.get(path) == "two"
    assert len(reads) == 2


def test_get_over_the_bound_forgets_the_least_recently_used(tmp_path: Path) -> None:
    """The oldest entry makes room."""
    reads: list[str] = []
    cache = FileCache(2, lambda path: reads.append(path.name))
    for name in "abc":
        (tmp_path / name).touch()
    for name in "abacab":
        cache.get(tmp_path / name)
    assert reads == ["a", "b", "c", "b"]


def test_get_failed_read_is_not_kept(tmp_path: Path) -> None:
    """A file that could not be read is tried again; an absent one raises."""
    answers = iter([OSError("bad"), None])

    def read(_: Path) -> str:
        if answer := next(answers):
            raise answer
        return "good"

    cache = FileCache(2, read)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="bad"):
        cache.get(tmp_path / "file")
    assert cache.get(tmp_path / "file") == "good"
    with pytest.raises(FileNotFoundError):
        cache.get(tmp_path / "absent")
