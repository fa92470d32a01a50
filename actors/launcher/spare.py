"""The idle spare: a process that has all imports done and waits for its assignment."""

import trio

from actors.launcher.forkserver import ForkedProcess, Forkserver
from actors.log import get_logger
from actors.restart import RestartPolicy

_CALM_S = 1.0
"""Forking right after a spare was taken would slow that runner's load; most loads are over after this."""

log = get_logger(__name__)


class Spare:
    """Keeps one idle process. `take` may be called at any time, and gives another when there is none."""

    def __init__(self, forkserver: Forkserver, *, entry: str) -> None:
        self._forkserver = forkserver
        self._entry = entry
        self._process: ForkedProcess | None = None
        self._watch = trio.CancelScope()

    def take(self) -> ForkedProcess:
        """Give the idle process to the caller, who owns it from now on; without one, make one.

        Raises:
            OSError: the system refused a new process.
            EOFError: the forkserver died meanwhile.
        """
        process, self._process = self._process, None
        if process is None:
            return self._fork()
        self._watch.cancel()
        return self._fork() if process.has_ended() else process

    async def keep(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Have an idle process at all times but a while after `take`; started once the first one is there.

        Cancellation: the idle process lives on; the forkserver's owner ends it.
        """
        policy = RestartPolicy()
        has_started = False
        while True:
            delay_s = await self._keep_one(policy, None if has_started else task_status)
            has_started = True
            await trio.sleep(delay_s)

    async def _keep_one(self, policy: RestartPolicy, task_status: "trio.TaskStatus[None] | None") -> float:
        """Make one and watch it until it is taken or dies; give the delay before the next."""
        born = trio.current_time()
        try:
            process = self._process = self._fork()
        except (OSError, EOFError) as error:
            log.error("cannot start an idle runner: %s", error)
            return policy.delay_s(0)
        finally:
            if task_status is not None:
                task_status.started()
        with trio.CancelScope() as self._watch:
            await process.wait()
        if self._process is not process:
            return _CALM_S
        self._process = None
        delay_s = policy.delay_s(trio.current_time() - born)
        log.error("the idle runner ended with status %s, next start in %g s", process.exit_code, delay_s)
        return delay_s

    def _fork(self) -> ForkedProcess:
        return self._forkserver.fork(self._entry, title="runner (idle)")
