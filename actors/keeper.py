"""One program kept running: started, watched, started again when it dies, stopped when told.

Readiness comes as a `READY=1` datagram on a socket of the program's own, the way systemd would get it.
"""

import dataclasses
import os
import socket
from pathlib import Path

import trio

from actors.log import get_logger
from actors.process import Child, Program
from actors.restart import RestartPolicy

_MAX_NOTIFICATION_BYTES = 4096
_COMPLAIN_FROM_DEATH = 3

log = get_logger(__name__)


class Keeper:
    """Keeps one program running until `stop`. Owns its process and its notification socket."""

    def __init__(self, program: Program, *, run_dir: Path) -> None:
        self.name = program.name
        self.ready = trio.Event()
        """Set once the program has been ready for the first time."""
        self._notify_path = run_dir / f"notify-{program.name}.sock"
        environ = {**program.environ, "NOTIFY_SOCKET": str(self._notify_path)}
        self._program = dataclasses.replace(program, environ=environ)
        self._stop_asked = trio.Event()
        self._child: Child | None = None

    async def keep(self) -> None:
        """Keep the program running; returns after `stop`.

        Cancellation: the program is killed and reaped.
        """
        policy = RestartPolicy()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, _bind(self._notify_path))
            while not self._stop_asked.is_set():
                born = trio.current_time()
                reason = await self._run_one()
                if self._stop_asked.is_set():
                    break
                delay_s = policy.delay_s(trio.current_time() - born)
                self._complain(reason, policy.n_deaths, delay_s)
                with trio.move_on_after(delay_s):
                    await self._stop_asked.wait()
            nursery.cancel_scope.cancel()

    async def stop(self, timeout_s: float) -> None:
        """Terminate the program and kill it after `timeout_s`; `keep` then returns."""
        self._stop_asked.set()
        if self._child is None:
            return
        stopped = await self._child.stop(timeout_s)
        if stopped.was_killed:
            log.error("the %s ignored SIGTERM for %g s and was killed", self.name, timeout_s)
        else:
            log.debug("the %s ended with status %d", self.name, stopped.exit_code)

    def kill(self) -> None:
        """Kill the program at once, for good."""
        self._stop_asked.set()
        if self._child is not None:
            self._child.kill()

    async def _run_one(self) -> str:
        """Run the program to its end and say how that was."""
        try:
            child = self._child = Child(self._program)
        except OSError as error:
            return f"cannot start: {error}"
        log.debug("the %s is process %d", self.name, child.pid)
        try:
            exit_code = await child.wait()
        except trio.Cancelled:
            child.kill()
            with trio.CancelScope(shield=True):  # a killed process ends: the wait is short
                await child.wait()
            raise
        return f"signal {-exit_code}" if exit_code < 0 else f"status {exit_code}"

    async def _listen(self, notifications: socket.socket) -> None:
        with trio.socket.from_stdlib_socket(notifications) as receiver:
            while True:
                text = await receiver.recv(_MAX_NOTIFICATION_BYTES)
                if b"READY=1" in text.splitlines():
                    log.info("the %s is ready", self.name)
                    self.ready.set()

    def _complain(self, reason: str, n_deaths: int, delay_s: float) -> None:
        if n_deaths < _COMPLAIN_FROM_DEATH:
            log.warning("the %s ended (%s), starting it again", self.name, reason)
        else:
            log.error(
                "the %s ended %d times in a row (%s), next start in %g s: its own messages above say why",
                self.name,
                n_deaths,
                reason,
                delay_s,
            )


def _bind(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # the run folder is locked: a socket here is from an earlier life
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(os.fspath(path))
    return receiver
