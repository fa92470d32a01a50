"""This host's runners: assigning spares, killing, reaping, remembering how each ended."""

import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import trio

from actors.codec import encode
from actors.errors import Draining, LlamactorError, LoadFailed
from actors.launcher.facts import memory
from actors.launcher.forkserver import ForkedProcess
from actors.launcher.spare import Spare
from actors.log import get_logger
from actors.messages.launcher_to_runner import Assignment, KvTier
from actors.messages.launcher_to_scheduler import RunnerExited
from actors.messages.scheduler_to_launcher import StartRunner
from actors.settings import Settings

_MAX_REMEMBERED = 1000
_KV_MEMORY_PART = 32
"""Each runner keeps conversations in so large a part of the host's memory at most."""
_RUNNER_ID = re.compile(r"[A-Za-z0-9_-]{1,27}")  # part of a socket's path, which the settings leave so much room for
_NO_PROCESS = -1
"""Exit status of a runner that never was a process."""

log = get_logger(__name__)


class Runners:
    """Owns the runner processes. Each `StartRunner` ends in exactly one `RunnerExited`, whatever happens.

    Args:
        settings: of this launcher.
        spare: where processes come from.
        renderer_endpoint: told to each runner.
        report: called with each `RunnerExited`.
        nursery: one task per runner watches for its end.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        spare: Spare,
        renderer_endpoint: str,
        report: Callable[[RunnerExited], None],
        nursery: trio.Nursery,
    ) -> None:
        self._settings = settings
        self._spare = spare
        self._renderer_endpoint = renderer_endpoint
        self._report = report
        self._nursery = nursery
        self._running: dict[str, ForkedProcess] = {}
        self._ended: OrderedDict[str, RunnerExited] = OrderedDict()  # the last _MAX_REMEMBERED
        self._one_ended = trio.Event()
        self._is_draining = False

    @property
    def ids(self) -> tuple[str, ...]:
        """The runners that have a process."""
        return tuple(self._running)

    def start(self, order: StartRunner) -> None:
        """Give a process its assignment; an id that runs already is left alone, one that has ended is told so."""
        runner_id = order.runner_id
        if runner_id in self._running:
            return
        if runner_id in self._ended:
            self._report(self._ended[runner_id])
            return
        try:
            process = self._assign(order)
        except LlamactorError as error:
            log.error("cannot start runner %s: %s", runner_id, error)
            self._end(RunnerExited(runner_id=runner_id, exit_code=_NO_PROCESS, failure=error.as_failure()))
            return
        log.info("runner %s is process %d: %s", runner_id, process.pid, order.model.name)
        self._running[runner_id] = process
        self._nursery.start_soon(self._watch, runner_id, process)

    def kill(self, runner_id: str, reason: str) -> None:
        """Kill a runner; its `RunnerExited` follows, also for an unknown id."""
        process = self._running.get(runner_id)
        if process is not None:
            log.warning("killing runner %s (process %d): %s", runner_id, process.pid, reason)
            process.kill()
        else:
            self._report(self._ended.get(runner_id) or RunnerExited(runner_id=runner_id, exit_code=_NO_PROCESS))

    async def drain(self, timeout_s: float) -> None:
        """Refuse new runners, terminate all, and kill what is left after `timeout_s`.

        Cancellation: the runners live on, terminated but not killed.
        """
        self._is_draining = True
        for process in self._running.values():
            process.terminate()
        with trio.move_on_after(timeout_s) as bound:
            await self._wait_until_none()
        if bound.cancelled_caught:
            self.kill_all(f"still busy {timeout_s:g} s after SIGTERM")
            await self._wait_until_none()

    def kill_all(self, reason: str) -> None:
        """Kill every runner."""
        for runner_id in self._running:
            self.kill(runner_id, reason)

    def _assign(self, order: StartRunner) -> ForkedProcess:
        if self._is_draining:
            raise Draining
        if not _RUNNER_ID.fullmatch(order.runner_id):
            raise LoadFailed(f"not a runner id: {order.runner_id!r}")
        assignment = Assignment(
            runner_id=order.runner_id,
            model=order.model,
            plan=order.plan,
            scheduler_endpoint=self._settings.scheduler_endpoint,
            endpoint=f"ipc://{self._socket_path(order.runner_id)}",
            renderer_endpoint=self._renderer_endpoint,
            drain_timeout_s=self._settings.drain_timeout_s,
            kv_tier=_kv_tier(self._settings),
            debug=self._settings.debug,
        )
        try:
            process = self._spare.take()
            try:
                process.assign(encode(assignment))
            except OSError:  # the spare died in this moment; a fresh process has no such history
                process = self._spare.take()
                process.assign(encode(assignment))
        except (OSError, EOFError) as error:
            raise LoadFailed(f"the host cannot start a runner process: {error}") from error
        return process

    async def _watch(self, runner_id: str, process: ForkedProcess) -> None:
        exit_code = await process.wait()
        log.info("runner %s (process %d) ended with status %d", runner_id, process.pid, exit_code)
        del self._running[runner_id]
        self._socket_path(runner_id).unlink(missing_ok=True)
        self._end(RunnerExited(runner_id=runner_id, exit_code=exit_code))
        self._one_ended.set()
        self._one_ended = trio.Event()

    def _end(self, exited: RunnerExited) -> None:
        self._ended[exited.runner_id] = exited
        if len(self._ended) > _MAX_REMEMBERED:
            self._ended.popitem(last=False)
        self._report(exited)

    async def _wait_until_none(self) -> None:
        while self._running:
            await self._one_ended.wait()

    def _socket_path(self, runner_id: str) -> Path:
        return self._settings.run_dir / f"runner-{runner_id}.sock"


def _kv_tier(settings: Settings) -> KvTier:
    share_bytes = memory()[0] // _KV_MEMORY_PART if settings.kv_memory_bytes is None else settings.kv_memory_bytes
    folder = None if settings.kv_dir is None or not settings.kv_disk_bytes else str(settings.kv_dir)
    return KvTier(memory_bytes=share_bytes, disk_bytes=settings.kv_disk_bytes, folder=folder)
