"""Fixtures of the command line's tests: a server double, and a way to run a command against it."""

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.cli.app import run
from tests.cli.double import Double, serve


@dataclass(frozen=True)
class Result:
    """What a command printed and how it ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Double]:
    """Serve a double at OLLAMA_HOST."""
    double = Double()
    http_server = serve(double)
    monkeypatch.setenv("OLLAMA_HOST", double.address)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield double
    http_server.shutdown()
    http_server.server_close()


@pytest.fixture
def actorctl(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command in this process; `stdin` is what is piped in."""

    def call(*arguments: str, stdin: str = "") -> Result:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        status = run(arguments)
        captured = capfd.readouterr()
        return Result(status, captured.out, captured.err)

    return call
