"""The store's lock: one process at a time decides which blobs are in use.

Without it, pruning could remove a blob between the moment another process finds it present and the moment that process
writes the manifest which names it. The lock is `flock` on the `manifests` folder itself: it leaves no file behind in a
store that Ollama shares, and the kernel drops it when a process dies. Ollama does not take it; against Ollama the
store is as safe as two Ollama servers are.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from actors.errors import StoreUnwritable

_DEADLINE_S = 30.0  # the work under the lock takes milliseconds
_RETRY_S = 0.01


@contextlib.contextmanager
def store_lock(folder: Path) -> Iterator[None]:
    """Hold the lock on a folder, which is made if need be; blocks, so call it in a worker thread.

    Raises:
        StoreUnwritable: the folder cannot be made, or another process held the lock for 30 s.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StoreUnwritable(str(folder), error.strerror or str(error)) from error
    try:
        _lock(fd, folder)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, folder: Path) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StoreUnwritable(str(folder), "another process has held the lock for 30 s") from None
            time.sleep(_RETRY_S)
        except OSError:
            return  # a network file system without locks: go on as Ollama does
        else:
            return
