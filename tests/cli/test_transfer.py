"""`pull` and `push` before a server double."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.commands.transfer import parse_rate
from gateway.cli.failures import CommandFailed
from tests.cli.conftest import Result
from tests.cli.double import Double

STEPS = [{"status": "pulling manifest"}, {"status": "pulling x", "total": 10, "completed": 10}, {"status": "success"}]


def test_pull_sends_its_options_and_shows_progress(server: Double, actorctl: Callable[..., Result]) -> None:
    """Progress goes to standard error; nothing to standard output."""
    server.replies["POST /api/pull"] = (200, STEPS)
    result = actorctl("pull", "hf.co/a/b:Q4", "--insecure", "--limit-rate", "2M")
    assert (result.status, result.out) == (0, "")
    assert result.err.splitlines() == ["pulling manifest", "pulling x 100%", "success"]
    assert server.asked("POST /api/pull") == [{"model": "hf.co/a/b:Q4", "insecure": True, "max_rate": 2_000_000}]


def test_pull_json_passes_the_stream_on(server: Double, actorctl: Callable[..., Result]) -> None:
    """Each object is a line of standard output."""
    server.replies["POST /api/pull"] = (200, STEPS)
    result = actorctl("pull", "m", "--json")
    assert [json.loads(line) for line in result.out.splitlines()] == STEPS


def test_pull_of_a_file_sends_its_absolute_path(
    server: Double, actorctl: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has another working folder."""
    (tmp_path / "x.gguf").touch()
    monkeypatch.chdir(tmp_path)
    server.replies["POST /api/pull"] = (200, STEPS)
    actorctl("pull", "x.gguf", "--as", "mine")
    assert server.asked("POST /api/pull") == [{"model": str(tmp_path / "x.gguf"), "insecure": False, "as": "mine"}]


@pytest.mark.parametrize("command", ["pull", "push"])
def test_failed_transfer_tells_why(command: str, server: Double, actorctl: Callable[..., Result]) -> None:
    """The stream's error is the command's."""
    server.replies[f"POST /api/{command}"] = (200, [{"status": "retrieving manifest"}, {"error": "no such thing"}])
    result = actorctl(command, "m")
    assert result.status == 1
    assert result.err.splitlines()[-1] == "Error: no such thing"


def test_run_of_a_missing_model_pulls_it(server: Double, actorctl: Callable[..., Result]) -> None:
    """As users of Ollama expect."""

    def show(_body: Any) -> tuple[int, list[Any]]:
        return (200, [{}]) if server.asked("POST /api/pull") else (404, [{"error": "model 'm' not found"}])

    server.replies["POST /api/show"] = show
    server.replies["POST /api/pull"] = (200, STEPS)
    server.replies["POST /api/generate"] = (200, [{"response": "hi", "done": True}])
    result = actorctl("run", "m", "hello")
    assert result.out.startswith("hi")
    assert server.asked("POST /api/pull") == [{"model": "m", "insecure": False}]


@pytest.mark.parametrize(("text", "rate"), [("500", 500), ("500K", 500_000), ("10m", 10_000_000), ("1GB", 10**9)])
def test_rate_is_read_with_its_unit(text: str, rate: int) -> None:
    """Decimal units, in either case."""
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "K", "0", "-1", "fast", "1.5M", "1T"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    """The error shows how to write one."""
    with pytest.raises(CommandFailed, match="500K"):
        parse_rate(text)
