"""What an earlier launcher left in the run folder: processes, by their pid files, and sockets.

A pid file `PID.pid` holds the process's start time, so that a later process with the same pid is never killed.
The parent-death signal leaves no process behind on Linux; this is for where, or when, it fails.
"""

import shutil
import signal
from pathlib import Path

from actors.log import get_logger
from actors.pidfd import ProcessRef, start_time_of

_KILL_TIMEOUT_S = 5.0
_SOCKETS = ("runner-*.sock", "renderer.sock")
_FORKSERVER_FOLDERS = "pymp-*"

log = get_logger(__name__)


def record_process(run_dir: Path, pid: int) -> None:
    """Write the pid file of a child; without start times on this system, write none."""
    started = start_time_of(pid)
    if started is not None:
        (run_dir / f"{pid}.pid").write_text(str(started), encoding="ascii")


def forget_process(run_dir: Path, pid: int) -> None:
    """Remove the pid file of a child that was reaped."""
    (run_dir / f"{pid}.pid").unlink(missing_ok=True)


def reap_leftovers(run_dir: Path) -> int:
    """Kill the processes of an earlier launcher and remove their files; the run folder's lock must be held.

    Blocks for at most `_KILL_TIMEOUT_S` per process.

    Returns:
        How many processes were killed.
    """
    n_killed = 0
    for path in run_dir.glob("*.pid"):
        n_killed += _kill_recorded(path)
        path.unlink(missing_ok=True)
    remove_sockets(run_dir)
    for folder in run_dir.glob(_FORKSERVER_FOLDERS):
        shutil.rmtree(folder, ignore_errors=True)
    return n_killed


def remove_sockets(run_dir: Path) -> None:
    """Remove the sockets of processes that are gone."""
    for pattern in _SOCKETS:
        for path in run_dir.glob(pattern):
            path.unlink(missing_ok=True)


def _kill_recorded(path: Path) -> bool:
    started = path.read_text(encoding="ascii", errors="replace").strip()
    if not (path.stem.isdecimal() and started.isdecimal()):
        return False
    try:
        ref = ProcessRef(int(path.stem))
    except (OSError, OverflowError):
        return False
    try:
        # Held by descriptor first, compared second: the process that is killed is the one that was compared.
        if start_time_of(ref.pid) != int(started) or ref.has_ended():
            return False
        log.warning("killing process %d, which an earlier launcher left behind", ref.pid)
        ref.send(signal.SIGKILL)
        if not ref.wait_blocking(_KILL_TIMEOUT_S):
            log.error("process %d did not end within %g s of SIGKILL", ref.pid, _KILL_TIMEOUT_S)
        return True
    finally:
        ref.close()
