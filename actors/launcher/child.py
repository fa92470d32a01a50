"""The first code that runs in a process made by the forkserver: its death with its parents, signals, title, entry.

It dies with the forkserver by the kernel's signal and, should that fail it, with the launcher by a watching thread.
"""

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection, wait
from pathlib import Path

from actors.process import die_with, set_title

_OOM_SCORE = "500"
"""Of -1000 to 1000, our other processes being 0: short of memory, the kernel shall take a runner, which is replaced."""


def run_child(entry: str, title: str, pipe: "Connection") -> None:
    """Make this forked process one of ours, then call `main(pipe)` of the module `entry`.

    Args:
        entry: dotted name of a module with `main(pipe)`; the forkserver has imported it.
        title: shown in process lists until the entry sets its own.
        pipe: where the assignment arrives, as one message; its end is the end of the launcher.
    """
    from actors.launcher import preload  # noqa: PLC0415 - see there: importable in the forkserver's children only

    if os.getpid() == preload.FORKSERVER_PID:
        sys.exit("the forkserver has not preloaded actors.launcher.preload")
    die_with(preload.FORKSERVER_PID)
    threading.Thread(target=_end_with_launcher, name="launcher watch", daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
    set_title(title)
    importlib.import_module(entry).main(pipe)


def _end_with_launcher() -> None:
    launcher = multiprocessing.parent_process()
    if launcher is not None:
        wait([launcher.sentinel])
        os._exit(1)
