"""A grip on another process by descriptor: waiting for its end and signalling it, never a stranger with its pid.

Where the system has no pidfd (not Linux, or an old sandbox), signals go by pid and waits look every `_POLL_S`.
Source: pidfd_open(2), pidfd_send_signal(2); proc(5) for the start time.
"""

import os
import select
import signal
import sys
from pathlib import Path

import trio

_POLL_S = 0.05
_STARTTIME_FIELD = 22 - 3  # field 22 of /proc/PID/stat, counted from the state, which is field 3


class ProcessRef:
    """One process, child or not; owns one descriptor until `close`."""

    def __init__(self, pid: int) -> None:
        """Open the process.

        Raises:
            ProcessLookupError: there is none with this pid.
        """
        self.pid = pid
        self._fd = _open(pid)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; a process that has ended is left alone."""
        try:
            if self._fd is not None and sys.platform == "linux":
                signal.pidfd_send_signal(self._fd, number)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def has_ended(self) -> bool:
        """Tell whether the process has ended, reaped or not (without pidfd: and was reaped)."""
        if self._fd is not None:
            return _is_readable(self._fd, timeout_s=0)
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    async def wait(self) -> None:
        """Wait for the end of the process; any number of tasks may. Cancellation loses nothing."""
        while not self.has_ended():
            await self.wait_for_news()

    async def wait_for_news(self) -> None:
        """Wait until the process has ended or, without pidfd, until it is time to look again."""
        if self._fd is None:
            await trio.sleep(_POLL_S)
            return
        own_fd = os.dup(self._fd)  # trio lets one task at a time wait on a descriptor
        try:
            await trio.lowlevel.wait_readable(own_fd)
        finally:
            os.close(own_fd)

    def wait_blocking(self, timeout_s: float) -> bool:
        """Wait for the end outside of trio; tells whether it came in time."""
        if self._fd is None:
            return self.has_ended()
        return _is_readable(self._fd, timeout_s=timeout_s)

    def close(self) -> None:
        """Give the descriptor back; idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def start_time_of(pid: int) -> int | None:
    """Give the start time of a process in clock ticks since boot, which tells it from a later one with its pid."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold anything, so the fields are counted from its last closing one.
    return int(stat.rpartition(")")[2].split()[_STARTTIME_FIELD])


def _open(pid: int) -> int | None:
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:  # forbidden or unknown to this kernel
        return None


def _is_readable(descriptor: int, *, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
