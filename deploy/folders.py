"""Where set-up keeps what outlives a checkout, and the lock that keeps two set-ups apart."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from deploy.report import say

ROOT = Path(__file__).resolve().parents[1]


def cache_folder() -> Path:
    """Give `$XDG_CACHE_HOME/llamactor`, where built wheels and the default model are shared by all checkouts."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "llamactor"


@contextlib.contextmanager
def sole_setup() -> Iterator[None]:
    """Hold the user's set-up lock while the block runs; a second set-up waits for the first, however long it builds."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up of llamactor is running; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
