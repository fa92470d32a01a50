"""Small files that are replaced whole."""

from pathlib import Path

import pytest

from actors.errors import StoreUnwritable
from registry.atomic import remove_empty_parents, write_atomically


def test_write_atomically_makes_folders_and_replaces(tmp_path: Path) -> None:
    """The content is there, readable by all, and no temporary file stays."""
    path = tmp_path / "a/b/file"
    for content in (b"one", b"two"):
        write_atomically(path, content, scratch=tmp_path)
        assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_write_atomically_refused_keeps_the_old_content(tmp_path: Path) -> None:
    """A folder that is a file, or a file that is a folder, is one clear error; nothing is left behind."""
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "below", tmp_path / "folder"):
        with pytest.raises(StoreUnwritable):
            write_atomically(path, b"new", scratch=tmp_path)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_remove_empty_parents_stops_at_the_first_that_is_not(tmp_path: Path) -> None:
    """Folders go from the inside out, and never the root itself."""
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/file").touch()
    remove_empty_parents(tmp_path / "a/b/c/gone", below=tmp_path)
    assert sorted(entry.name for entry in (tmp_path / "a").iterdir()) == ["file"]
    (tmp_path / "a/file").unlink()
    remove_empty_parents(tmp_path / "a/file", below=tmp_path)
    assert tmp_path.is_dir()
    assert not any(tmp_path.iterdir())
