"""FROM arguments: local files or model names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from actors.errors import InvalidModelfile, NotAvailable
from registry.sources import local_files

WriteGguf = Callable[..., Path]


def test_local_files_existing_path_wins_over_a_model_name(tmp_path: Path, write_gguf: WriteGguf) -> None:
    """Relative to the Modelfile's folder or absolute; what does not exist is a model name."""
    path = write_gguf("m.gguf")
    assert local_files("m.gguf", tmp_path) == {"m.gguf": path}
    assert local_files("./m.gguf", tmp_path) == {"m.gguf": path}
    assert local_files(str(path), Path("/elsewhere")) == {"m.gguf": path}
    assert local_files("smollm2:135m", tmp_path) is None


def test_local_files_blob_without_ending_gets_one(tmp_path: Path, write_gguf: WriteGguf) -> None:
    """The path that `show --modelfile` prints can be used again."""
    path = write_gguf("sha256-abc")
    assert local_files("sha256-abc", tmp_path) == {"sha256-abc.gguf": path}


def test_local_files_home_is_expanded(tmp_path: Path, write_gguf: WriteGguf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tilde is the user's home; another user's that does not exist is an error."""
    path = write_gguf("m.gguf")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_files("~/m.gguf", Path("/")) == {"m.gguf": path}
    with pytest.raises(InvalidModelfile, match="cannot expand"):
        local_files("~no-such-user/m.gguf", Path("/"))


def test_local_files_folder_gives_its_gguf_files(tmp_path: Path, write_gguf: WriteGguf) -> None:
    """All of them, in order; other files are left out."""
    for name in ("b.gguf", "a.gguf", "notes.txt"):
        write_gguf(name)
    assert list(local_files(".", tmp_path) or ()) == ["a.gguf", "b.gguf"]


def test_local_files_useless_or_dangerous_folder_raises(tmp_path: Path) -> None:
    """Empty folders, safetensors, and links that lead out are each named."""
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(InvalidModelfile, match="no Modelfile or safetensors files found"):
        local_files("inside", tmp_path)
    (tmp_path / "secret").touch()
    (inside / "link.gguf").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidModelfile, match="insecure path"):
        local_files("inside", tmp_path)
    (inside / "model.safetensors").touch()
    with pytest.raises(NotAvailable, match="safetensors"):
        local_files("inside", tmp_path)
