"""A server under test: one child process and those below it, listening on a port of its own."""

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.benchmarks.errors import NotMeasured
from tests.benchmarks.processes import tree_of

_READY_TIMEOUT_S = 60.0
_CALL_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 45.0
_POLL_S = 0.02
_LOG_TAIL_LINES = 20
_OK = 200


class Server:
    """Starts on entry, is stopped on exit; owns its process."""

    def __init__(self, command: list[str], *, port: int, log_path: Path, environ: Mapping[str, str]) -> None:
        self.port = port
        self._command = command
        self._environ = environ
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, and wait for nothing."""
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process; idempotent."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def pids(self) -> list[int]:
        """The processes of this server that live now."""
        assert self._process is not None
        return tree_of(self._process.pid)

    def check_alive(self) -> None:
        """Check that the process has not ended by itself.

        Raises:
            NotMeasured: it has; the text ends with its log's last lines.
        """
        if self._process is None or self._process.poll() is not None:
            raise NotMeasured(f"{self._command[0]} ended early; the end of its log:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """Give the last lines that the server wrote."""
        return "\n".join(self.log_lines()[-_LOG_TAIL_LINES:])

    def log_lines(self) -> list[str]:
        """Give all lines that the server wrote."""
        return self._log_path.read_text(errors="replace").splitlines()

    def wait_until_ready(self, path: str) -> None:
        """Wait until a GET of `path` succeeds.

        Raises:
            NotMeasured: it does not come up in time.
        """
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while True:
            self.check_alive()
            try:
                status, _ = self.call("GET", path)
            except OSError:
                status = 0
            if status == _OK:
                return
            if time.monotonic() > deadline:
                raise NotMeasured(f"no server on port {self.port} yet; the end of its log:\n{self.log_tail()}")
            time.sleep(_POLL_S)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, bytes]:
        """Send one request and give status and body of the answer.

        Raises:
            OSError: nothing listens, or it broke off.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_CALL_TIMEOUT_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path}: {error}") from error
        finally:
            connection.close()


def free_port() -> int:
    """Give a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
