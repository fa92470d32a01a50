"""Child programs, and this process's own place in the tree: its title, and its death with its parent.

Every process of a tree dies with its parent: the kernel's parent-death signal is set by the child itself, which then
checks that the parent it was told of still lives. That signal is bound to the parent's *thread*, so children are
started on the main thread only, where trio runs; `trio.lowlevel.open_process` forks in a worker thread, whose end
would kill the child. Children get sessions of their own, so that Ctrl-C reaches only the command in the foreground,
which then ends its children in order.
Source: prctl(2), PR_SET_PDEATHSIG.
"""

import ctypes
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import setproctitle
import trio

from actors.pidfd import ProcessRef

PARENT_PID = "LLAMACTOR_PARENT_PID"
"""Names the process whose end the receiver shall not survive; set by whoever starts it, for it alone."""

_PR_SET_PDEATHSIG = 1
_COLLECTED_AFTER = (10_000, 20)
"""Objects made beyond those freed until the youngest are looked through, and how often that is until older ones are."""
_SERVICE_MANAGER = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}
"""What systemd told this process alone."""


def set_title(text: str) -> None:
    """Show this process as `llamactor: TEXT` in process lists."""
    setproctitle.setproctitle(f"llamactor: {text.removeprefix('llamactor: ')}")


def spare_collector(*, oldest_after: int = 20) -> None:
    """Have the garbage collector leave alone what there is, and look through the rest less often.

    For a process that has its imports done: what these made stays anyway, and to look through it takes tens of
    milliseconds, in which no request goes on. The oldest are looked through each `oldest_after`th time that older ones
    are.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECTED_AFTER, oldest_after)


def die_with_parent() -> None:
    """Bind this process's life to the parent that the environment names; without one, do nothing.

    The variable is consumed: children of this process have another parent.
    """
    parent_pid = os.environ.pop(PARENT_PID, "")
    if parent_pid.isdecimal():
        die_with(int(parent_pid))


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends; exit at once if that has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), *[ctypes.c_ulong(0)] * 3)
    if os.getppid() != parent_pid:
        sys.exit(f"parent process {parent_pid} has ended")


def import_path() -> str:
    """Give this interpreter's import path as a PYTHONPATH.

    Children run with `-P` and this, so that a folder named like one of our packages in the user's working directory
    is never taken for it.
    """
    return os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109 - a string like its neighbours


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to start: a name for the log, arguments, changes to our environment, descriptors to hand down."""

    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    pass_fds: tuple[int, ...] = ()


def python_program(
    module: str, *, name: str = "", environ: Mapping[str, str] | None = None, pass_fds: tuple[int, ...] = ()
) -> Program:
    """Describe `python -m MODULE` with the same interpreter and import path as ours."""
    return Program(
        name=name or module,
        argv=(sys.executable, "-P", "-m", module),
        environ={**(environ or {}), "PYTHONPATH": import_path()},
        pass_fds=pass_fds,
    )


class Stopped(NamedTuple):
    """How a child ended; `was_killed` is true iff it outlived its deadline after SIGTERM."""

    exit_code: int
    was_killed: bool


class Child:
    """One running program, from start to reaping. Any number of tasks may wait for it."""

    def __init__(self, program: Program) -> None:
        """Start the program; must be called on the main thread.

        Raises:
            OSError: it could not be started.
        """
        inherited = {name: value for name, value in os.environ.items() if name not in _SERVICE_MANAGER}
        environ = {**inherited, **program.environ, PARENT_PID: str(os.getpid())}
        self._popen = subprocess.Popen(
            program.argv, env=environ, pass_fds=program.pass_fds, stdin=subprocess.DEVNULL, start_new_session=True
        )
        self.pid = self._popen.pid
        self._ref = ProcessRef(self.pid)

    @property
    def exit_code(self) -> int | None:
        """The exit status, negative for a signal; None while it runs. Reaps."""
        code = self._popen.poll()
        if code is not None:
            self._ref.close()
        return code

    async def wait(self) -> int:
        """Wait for the end, reap, and return the exit status (negative: a signal). Cancellation loses nothing."""
        while (code := self.exit_code) is None:
            await self._ref.wait_for_news()
        return code

    def terminate(self) -> None:
        """Ask it to end (SIGTERM); an ended one is left alone."""
        self._popen.terminate()

    def kill(self) -> None:
        """Force it to end (SIGKILL); an ended one is left alone."""
        self._popen.kill()

    async def stop(self, timeout_s: float) -> Stopped:
        """Terminate, wait at most `timeout_s`, then kill.

        Cancellation: the child may live on, terminated but not killed.
        """
        self.terminate()
        with trio.move_on_after(timeout_s):
            return Stopped(await self.wait(), was_killed=False)
        self.kill()
        return Stopped(await self.wait(), was_killed=True)
