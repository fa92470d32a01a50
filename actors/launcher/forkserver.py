"""The forkserver and the processes it makes: 10 ms from request to running code, all imports done.

`fork` blocks the main thread for a few milliseconds, the first one for the whole preload. Each process has a pid
file while it lives, by which a later launcher finds leftovers. Leaving `open_forkserver` kills what still lives: no
process survives the launcher's code, however that ends.
"""

import multiprocessing
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import cast

import trio

from actors.launcher.child import run_child
from actors.launcher.leftovers import forget_process, record_process
from actors.pidfd import ProcessRef
from actors.process import PARENT_PID, import_path

_ENVIRON = {
    "OPENBLAS_NUM_THREADS": "1",  # numpy starts its threads at import; threads and fork do not mix
    "GOMP_SPINCOUNT": "100000",  # llama.cpp's threads wait for each other awake, but not while others need the core
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # NVML's order, so that the devices in our facts are the runners' devices
    "GGML_NO_BACKTRACE": "1",  # a failing assertion would start gdb on the runner, which then dies minutes later
}


class ForkedProcess:
    """One process of the forkserver, from fork to reaping. Any number of tasks may wait for it."""

    def __init__(self, process: ForkServerProcess, pipe: "Connection", *, run_dir: Path) -> None:
        self.pid = cast("int", process.pid)  # a started process has one
        self.exit_code: int | None = None
        """Set iff the process is gone; negative for a signal."""
        self._process = process
        self._pipe = pipe
        self._ref = ProcessRef(self.pid)
        self._run_dir = run_dir
        self._gone = trio.Event()
        record_process(run_dir, self.pid)

    def assign(self, message: bytes) -> None:
        """Write the one message of its life into its pipe.

        Raises:
            OSError: it has ended.
        """
        self._pipe.send_bytes(message)

    def has_ended(self) -> bool:
        """Tell whether it has ended, also before it is reaped."""
        return self.exit_code is not None or self._ref.has_ended()

    def terminate(self) -> None:
        """Ask it to end (SIGTERM); a process that is gone is left alone."""
        if self.exit_code is None:
            self._ref.send(signal.SIGTERM)

    def kill(self) -> None:
        """Force it to end (SIGKILL); a process that is gone is left alone."""
        if self.exit_code is None:
            self._ref.send(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait until it is gone, and return its exit status (negative: a signal)."""
        while self.exit_code is None:
            await self._gone.wait()
        return self.exit_code

    async def reap(self) -> None:
        """Wait for the end, then give all of its resources back; the forkserver's owner runs this once."""
        with trio.CancelScope(shield=True):  # lives as long as the process, which dies before its owner
            await trio.lowlevel.wait_readable(self._process.sentinel)
            # The sentinel also speaks when the forkserver has died before the process. A runner's death may be
            # reported only when it is certain.
            self.kill()
            await self._ref.wait()
        self.exit_code = self._process.exitcode
        self._process.close()
        self._pipe.close()
        self._ref.close()
        forget_process(self._run_dir, self.pid)
        self._gone.set()


class Forkserver:
    """Makes processes whose entry modules are imported already, and reaps them. Owns all of them."""

    def __init__(self, *, reapers: trio.Nursery, run_dir: Path) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._reapers = reapers
        self._run_dir = run_dir
        self._made: list[ForkedProcess] = []

    def fork(self, entry: str, *, title: str) -> ForkedProcess:
        """Make a process that runs `entry.main(pipe)`; call it on the main thread.

        Raises:
            OSError: the system refused.
            EOFError: the forkserver ended meanwhile; the next call starts a new one.
        """
        os.environ[PARENT_PID] = str(os.getpid())  # for the forkserver, should this call start one
        ours, theirs = multiprocessing.Pipe()
        process = self._context.Process(target=run_child, args=(entry, title, theirs))
        try:
            process.start()
            forked = ForkedProcess(process, ours, run_dir=self._run_dir)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            del os.environ[PARENT_PID]
        self._made = [made for made in self._made if made.exit_code is None] + [forked]
        self._reapers.start_soon(forked.reap)
        return forked

    def kill_all(self) -> None:
        """Kill every process that lives."""
        for process in self._made:
            process.kill()


@asynccontextmanager
async def open_forkserver(*, entries: tuple[str, ...], run_dir: Path) -> AsyncIterator[Forkserver]:
    """Prepare a forkserver, which the first `fork` starts; at the end kill and reap all of its processes.

    Args:
        entries: modules that the forkserver shall import before it serves.
        run_dir: where pid files and multiprocessing's own sockets go.
    """
    _prepare_environ()
    tempfile.tempdir = str(run_dir)  # multiprocessing's sockets: a killed launcher leaves them where we look
    multiprocessing.get_context("forkserver").set_forkserver_preload(["actors.launcher.preload", *entries])
    async with trio.open_nursery() as reapers:
        forkserver = Forkserver(reapers=reapers, run_dir=run_dir)
        try:
            yield forkserver
        finally:
            forkserver.kill_all()


def _prepare_environ() -> None:
    for name, value in _ENVIRON.items():
        os.environ.setdefault(name, value)
    os.environ["PYTHONPATH"] = import_path()
