"""A llama-server beside which our own answers are compared: the program that LLAMA_SERVER names."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

_DEADLINE_S = 60.0
_LOOK_EVERY_S = 0.05
_OK = 200


@contextlib.contextmanager
def llama_server(model: Path, *options: str, log: Path) -> Iterator[httpx.Client]:
    """Run llama-server with a model for the time of a block; without one the test is skipped."""
    binary = os.environ.get("LLAMA_SERVER")
    if not binary:
        pytest.skip("LLAMA_SERVER names no llama-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [binary, "-m", str(model), "-t", "1", "--host", "127.0.0.1", "--port", str(port), *options]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_DEADLINE_S, trust_env=False) as client:
            _wait_ready(client, process)
            yield client
    finally:
        process.terminate()
        process.wait()


def _wait_ready(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if client.get("/health").status_code == _OK:
                return
        time.sleep(_LOOK_EVERY_S)  # it tells nobody when it is ready
    pytest.fail("llama-server did not become ready")
