"""A rate limit that several threads share."""

import threading
import time

from registry.remote.abort import Abort

_BURST_S = 0.25


class Pace:
    """Lets so many bytes through per second, in bursts of a quarter of a second at most. Thread-safe."""

    def __init__(self, bytes_per_s: int = 0) -> None:
        """Take the limit; 0 means none."""
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._paid_until = 0.0
        """When all that was let through is within the limit, in seconds of the monotonic clock."""

    @property
    def piece_bytes(self) -> int:
        """How much to receive at once, so that a slow pace is an even one."""
        return max(4096, min(1 << 20, self._bytes_per_s // 8)) if self._bytes_per_s else 1 << 20

    def spend(self, n_bytes: int, abort: Abort) -> None:
        """Account for bytes that have come, and wait until more may come.

        Raises:
            Aborted: all is to end.
        """
        if not self._bytes_per_s:
            return
        with self._lock:
            now = time.monotonic()
            self._paid_until = max(self._paid_until, now - _BURST_S) + n_bytes / self._bytes_per_s
            wait_s = self._paid_until - now
        if wait_s > 0:
            abort.wait(wait_s)
