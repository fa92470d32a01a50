"""Tests of the quick start without a terminal, as a program against a server double."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import model
from deploy.folders import ROOT
from tests.cli.double import Double, serve

_TIMEOUT_S = 60


@pytest.fixture
def server() -> Iterator[Double]:
    """Serve a double that knows how to create and to answer."""
    double = Double()
    http_server = serve(double)
    double.replies["POST /api/show"] = (200, [{"capabilities": ["completion"]}])
    double.replies["POST /api/create"] = (200, [{"status": "success"}])
    double.replies["POST /api/generate"] = (200, [{"response": "Rayleigh."}, {"response": "", "done": True}])
    yield double
    http_server.shutdown()
    http_server.server_close()


def _quickstart(address: str, cache: Path) -> "subprocess.CompletedProcess[str]":
    environ = os.environ | {"OLLAMA_HOST": address, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "deploy.quickstart"]
    return subprocess.run(
        command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=_TIMEOUT_S,
    )  # fmt: skip


def test_quickstart_registers_the_model_and_prints_the_answer(server: Double, tmp_path: Path) -> None:
    """A running server is used; without a terminal the answer ends it all with status 0."""
    server.replies["GET /api/tags"] = (200, [{"models": []}])
    file = tmp_path / "llamactor" / "models" / model.model_file().name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"GGUF")
    done = _quickstart(server.address, tmp_path)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "using the server that is running already")
    assert "Rayleigh." in done.stdout
    assert list(server.blobs.values()) == [b"GGUF"]
    assert server.asked("POST /api/create")[0]["model"] == model.NAME


def test_quickstart_does_not_register_twice(server: Double, tmp_path: Path) -> None:
    """A model that is there is used as it is."""
    server.replies["GET /api/tags"] = (200, [{"models": [{"name": model.NAME}]}])
    assert _quickstart(server.address, tmp_path).returncode == 0
    assert server.asked("POST /api/create") == []


def test_quickstart_with_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    """Why the server did not start stands in the error."""
    done = _quickstart("256.256.256.256:1", tmp_path)
    assert done.returncode == 1
    assert "Error: the server did not start" in done.stderr
