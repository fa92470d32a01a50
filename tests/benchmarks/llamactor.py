"""Our server under test: `actorctl serve` with a store and a run folder of its own."""

import os
import subprocess
import sys
import time
from pathlib import Path

from deploy.folders import ROOT
from tests.benchmarks.errors import NotMeasured
from tests.benchmarks.processes import short_title
from tests.benchmarks.server import Server, free_port

MODEL = "bench"
_COMMAND = [sys.executable, "-m", "gateway.cli"]
_CREATE_TIMEOUT_S = 120.0
_UNLOAD_TIMEOUT_S = 60.0
_POLL_S = 0.05
_OK = 200
_MOST_COMPLAINTS = 20


class Llamactor(Server):
    """The whole tree of processes below `serve`; models stay loaded until they are unloaded."""

    def __init__(self, workspace: Path) -> None:
        port = free_port()
        ours = {
            "OLLAMA_HOST": f"127.0.0.1:{port}",
            "OLLAMA_MODELS": str(workspace / "store"),
            "LLAMACTOR_KV_DIR": str(workspace / "kv"),
            "OLLAMA_KEEP_ALIVE": "-1",
            "LLAMACTOR_RUN_DIR": str(workspace / "run"),
            "PYTHONPATH": str(ROOT),
        }
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("OLLAMA_", "LLAMACTOR_"))
        }
        environ = inherited | ours
        self._client_environ = environ
        super().__init__([*_COMMAND, "serve"], port=port, log_path=workspace / "llamactor.log", environ=environ)

    def create(self, name: str, model_file: Path) -> None:
        """Register a GGUF file.

        Raises:
            NotMeasured: it was refused.
        """
        done = subprocess.run(
            [*_COMMAND, "create", name, "--from", str(model_file)],
            env=self._client_environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_CREATE_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise NotMeasured(f"{name} could not be created: {done.stdout}{done.stderr}")

    def load(self, name: str) -> None:
        """Load a model; returns when it is there.

        Raises:
            NotMeasured: it was refused.
        """
        self._generate({"model": name})

    def unload(self, name: str) -> None:
        """Unload a model; returns when its process has ended and the idle spare is back.

        Raises:
            NotMeasured: that takes too long.
        """
        self._generate({"model": name, "keep_alive": 0})
        deadline = time.monotonic() + _UNLOAD_TIMEOUT_S
        while not self._is_settled_without(name):
            if time.monotonic() > deadline:
                raise NotMeasured(f"{name} was not unloaded; the end of the log:\n{self.log_tail()}")
            time.sleep(_POLL_S)

    def complaints(self) -> list[str]:
        """Give the last warnings and errors in the server's log; a good run has none."""
        lines = self.log_lines()
        return [line for line in lines if "level=WARN" in line or "level=ERROR" in line][-_MOST_COMPLAINTS:]

    def _is_settled_without(self, name: str) -> bool:
        titles = [short_title(pid) for pid in self.pids]
        is_gone = not any(title.startswith(f"llamactor: runner {name}:") for title in titles)
        return is_gone and "llamactor: runner (idle)" in titles

    def _generate(self, body: dict[str, str | int]) -> None:
        status, answer = self.call("POST", "/api/generate", body)
        if status != _OK:
            raise NotMeasured(f"{body} was answered with {status}: {answer.decode(errors='replace')}")
