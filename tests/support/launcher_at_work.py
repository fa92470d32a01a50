"""A launcher as a real process, with stub runners, and a scheduler in the test's hands."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from actors.messages.launcher_to_scheduler import LauncherHello
from actors.messages.runner_to_scheduler import RunnerHello, RunnerReady
from actors.process import Child, Program, python_program
from tests.support.process_tree import find
from tests.support.stub_scheduler import TIMEOUT_S, StubScheduler, start_order


@dataclass(frozen=True)
class LauncherAtWork:
    """A launcher process that has said hello."""

    child: Child
    scheduler: StubScheduler
    launcher_id: str
    hello: LauncherHello
    run_dir: Path

    async def start(self, runner_id: str, name: str = "stub:") -> int:
        """Start a stub runner, wait until it is ready and give its pid."""
        self.order(runner_id, name)
        await self.scheduler.expect(RunnerReady, sender=runner_id)
        await self.scheduler.expect(RunnerHello, sender=runner_id)
        return self.pid_of(f"runner {name}")

    def order(self, runner_id: str, name: str = "stub:") -> None:
        """Order a stub runner."""
        self.scheduler.send(self.launcher_id, start_order(runner_id, name))

    def pid_of(self, title: str) -> int:
        """Give the pid of the one process with this title."""
        (pid,) = find(self.child.pid, title)
        return pid

    async def wait_for(self, title: str, *, other_than: int = 0) -> int:
        """Wait until a process with this title exists, and give its pid."""
        with trio.fail_after(TIMEOUT_S):
            # Nothing announces a new process, so the process table is looked at again and again.
            while not (pids := [pid for pid in find(self.child.pid, title) if pid != other_than]):  # noqa: ASYNC110
                await trio.sleep(0.01)
        return pids[0]

    def interrupt(self) -> None:
        """Do what Ctrl-C does to a command in the foreground: SIGINT to its whole group."""
        os.killpg(self.child.pid, signal.SIGINT)

    async def wait(self) -> int:
        """Wait for the launcher's end and give its exit status."""
        with trio.fail_after(TIMEOUT_S):
            return await self.child.wait()


class LauncherMaker:
    """Starts launchers, one at a time, in one run folder."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.endpoint = f"ipc://{run_dir}/scheduler.sock"

    def program(self, **environ: str) -> Program:
        """Describe a launcher with stub entries; keyword arguments are environment variables."""
        return python_program(
            "actors.launcher",
            environ={
                "LLAMACTOR_RUN_DIR": str(self.run_dir),
                "LLAMACTOR_SCHEDULER": "",
                "LLAMACTOR_RUNNER_ENTRY": "tests.support.stub_runner",
                "LLAMACTOR_RENDERER_ENTRY": "tests.support.stub_renderer",
                **environ,
            },
        )

    @asynccontextmanager
    async def start(self, **environ: str) -> AsyncIterator[LauncherAtWork]:
        """Start a launcher and wait for its hello; kill it at the end if it is still there."""
        with StubScheduler(self.endpoint) as scheduler:
            child = Child(self.program(**environ))
            try:
                launcher_id, hello = await scheduler.expect(LauncherHello)
                yield LauncherAtWork(child, scheduler, launcher_id, hello, self.run_dir)
            finally:
                child.kill()
                with trio.CancelScope(shield=True):
                    await child.wait()
