"""Tests of the command tree: usage errors, versions, an absent server and a reader that goes away."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from gateway.cli import client
from tests.cli.conftest import Result
from tests.cli.double import Double

Actorctl = Callable[..., Result]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("wibble",), 'unknown command "wibble" for "actorctl"'),
        (("help", "wibble"), 'unknown command "wibble" for "actorctl"'),
        (("run",), "requires at least 1 arg(s), only received 0"),
        (("rm",), "requires at least 1 arg(s), only received 0"),
        (("show",), "accepts 1 arg(s), received 0"),
        (("create",), "accepts 1 arg(s), received 0"),
        (("stop", "a", "b"), "accepts 1 arg(s), received 2"),
        (("cp", "a"), "accepts 2 arg(s), received 1"),
        (("list", "--wibble"), "unknown flag: --wibble"),
        (("list", "-x"), "unknown shorthand flag: 'x' in -x"),
        (("create", "m", "--file"), "flag needs an argument: --file"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_status_one(actorctl: Actorctl, arguments: tuple[str, ...], error: str) -> None:
    """Texts of usage errors are those that people and scripts know."""
    assert actorctl(*arguments) == Result(1, "", f"Error: {error}\n")


@pytest.mark.parametrize(
    "arguments", [("list",), ("ps",), ("show", "m"), ("run", "m", "hi"), ("rm", "m"), ("load", "m"), ("stop", "m")]
)
def test_absent_server_is_named_with_the_way_to_start_it(
    monkeypatch: pytest.MonkeyPatch, actorctl: Actorctl, arguments: tuple[str, ...]
) -> None:
    """Every client command says the same when nothing listens."""
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    error = "Error: could not connect to llamactor server, run 'actorctl serve' to start it\n"
    assert actorctl(*arguments) == Result(1, "", error)


def test_no_command_prints_help(actorctl: Actorctl) -> None:
    """`actorctl` alone helps, and so does `help COMMAND`."""
    assert "Commands:" in actorctl().out
    assert "--keepalive" in actorctl("help", "run").out


def test_version_of_a_running_server_comes_first(server: Double, actorctl: Actorctl) -> None:
    """The server's version is told, and ours where it differs."""
    server.replies["GET /api/version"] = (200, [{"version": "0.33.0", "llamactor": "7.7.7"}])
    result = actorctl("--version")
    assert result.out.startswith("actorctl version is 7.7.7\nWarning: client version is ")


def test_version_without_server_is_a_warning(monkeypatch: pytest.MonkeyPatch, actorctl: Actorctl) -> None:
    """No server is no error here."""
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    result = actorctl("-v")
    assert result.status == 0
    assert result.out.startswith("Warning: could not connect to a running llamactor instance\n")


def test_server_that_says_nothing_counts_as_none(monkeypatch: pytest.MonkeyPatch, actorctl: Actorctl) -> None:
    """What accepts a connection and never answers holds no command up for ever."""
    monkeypatch.setattr(client, "_CHECK_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{mute.getsockname()[1]}")
        result = actorctl("create", "m", "--from", "smollm2")
    assert result.status == 1
    assert result.err == "Error: could not connect to llamactor server, run 'actorctl serve' to start it\n"


def test_reader_that_goes_away_is_no_traceback(server: Double) -> None:
    """`actorctl list | head -1` ends quietly."""
    model = {"name": "m" * 60, "digest": "0" * 64, "size": 1, "modified_at": "2026-11-23T07:54:27Z"}
    server.replies["GET /api/tags"] = (200, [{"models": [model] * 20_000}])
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stdout:
        command = [sys.executable, "-m", "gateway.cli", "list"]
        done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.stderr == b""
    assert done.returncode == 1


def test_client_commands_import_no_server_parts() -> None:
    """Start-up stays fast: no trio, no Quart, no numpy, no ZeroMQ for a client command."""
    program = (
        "import sys; from gateway.cli.app import run; run(['list']); "
        "print(sorted({'trio', 'quart', 'numpy', 'zmq', 'httpx', 'llama_cpp'} & set(sys.modules)))"
    )
    environ = os.environ | {"OLLAMA_HOST": "127.0.0.1:9"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "[]\n"
