"""`make run`: a server with the default model, an answer to a first prompt, then a chat. Runs inside the environment.

A server that already listens at OLLAMA_HOST is used and left alone. Otherwise one is started for as long as this
lasts: in a session of its own, so that Ctrl+C in the chat stops an answer and not the server, and tied to this process,
so that it never outlives it. Its log goes to a file. Without a terminal there is no chat: the answer is printed, and
everything stops again.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from deploy import model
from deploy.folders import cache_folder
from deploy.report import SetupFailed, complain
from gateway.cli.client import Client
from gateway.cli.failures import CommandFailed, ServerUnreachable

_PROMPT = "Why is the sky blue? Answer in two sentences."
_READY_TIMEOUT_S = 60.0
_POLL_S = 0.1
_STOP_TIMEOUT_S = 45.0  # a little longer than the server's own drain time
_LOG_TAIL_LINES = 20
_INTERRUPTED = 130
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def main() -> int:
    """Run the quick start and give its exit status."""
    try:
        with _server():
            return _first_answer()
    except (SetupFailed, CommandFailed) as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


def _first_answer() -> int:
    _register_model()
    _say(f"\n>>> {_PROMPT}\n")
    status = _actorctl("run", model.NAME, _PROMPT, stdin=subprocess.DEVNULL)
    if status not in {0, _INTERRUPTED} or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return status
    _say("Now it is your turn; the server stops when you leave.\n")
    return _actorctl("run", model.NAME)


def _register_model() -> None:
    installed = Client().call("GET", "/api/tags").get("models") or []
    if any(entry["name"] == model.NAME for entry in installed):
        return
    _say(f"registering {model.NAME}\n")
    if _actorctl("create", model.NAME, "--from", str(model.model_file())):
        raise SetupFailed(f"{model.NAME} could not be registered")


@contextlib.contextmanager
def _server() -> Iterator[None]:
    if _is_listening():
        _say("using the server that is running already\n")
        yield
        return
    log_path = cache_folder() / "serve.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("wb") as log:
        server = subprocess.Popen(
            _command("serve"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - there is one thread, and the call is a bare system call
        )
    try:
        _say(f"starting the server (its log: {log_path})\n")
        _wait_until_ready(server, log_path)
        yield
    finally:
        _stop(server)


def _is_listening() -> bool:
    try:
        Client().check()
    except ServerUnreachable:
        return False
    return True


def _wait_until_ready(server: "subprocess.Popen[bytes]", log_path: Path) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while not _is_listening():
        if server.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
            raise SetupFailed(f"the server did not start; the end of {log_path}:\n{tail}")
        time.sleep(_POLL_S)


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _actorctl(*arguments: str, stdin: int | None = None) -> int:
    """Run a command and give its exit status; on a terminal it is put in front, as a shell would do.

    Ctrl+C then reaches the command alone. It would otherwise end `make`, too.
    """
    terminal = sys.stdout.fileno() if sys.stdout.isatty() else None
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # else changing the process group in front would stop us
    try:
        command = _command(*arguments)
        return subprocess.run(command, stdin=stdin, check=False, preexec_fn=lambda: _come_to_front(terminal)).returncode
    finally:
        _put_in_front(terminal)
        signal.signal(signal.SIGTTOU, before)


def _come_to_front(terminal: int | None) -> None:
    if terminal is not None:
        os.setpgid(0, 0)
        _put_in_front(terminal)
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)


def _put_in_front(terminal: int | None) -> None:
    if terminal is not None:
        with contextlib.suppress(OSError):  # a terminal, but not the one that controls this session
            os.tcsetpgrp(terminal, os.getpgrp())


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway.cli", *arguments]


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
