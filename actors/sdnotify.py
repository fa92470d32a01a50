"""Telling the service manager how this process is: READY=1, WATCHDOG=1, STOPPING=1.

Source: sd_notify(3) and sd_watchdog_enabled(3): a datagram to the socket that NOTIFY_SOCKET names, `@` standing for
the abstract namespace; WATCHDOG_USEC is the longest time between two pings, WATCHDOG_PID whom it concerns.
"""

import contextlib
import math
import os
import socket
from collections.abc import Mapping

_PINGS_PER_INTERVAL = 3  # systemd advises at least two, so that one late ping is no death


def notify(text: str, *, environ: Mapping[str, str] = os.environ) -> None:
    """Send one notification; without a service manager, or one that does not listen, do nothing. Never blocks."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(text.encode(), socket.MSG_DONTWAIT, address)


def watchdog_interval_s(*, environ: Mapping[str, str] = os.environ) -> float:
    """Give the time between two `WATCHDOG=1` notifications, infinity when nobody waits for them."""
    limit_us, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not limit_us.isdecimal() or int(limit_us) == 0 or (pid and pid != str(os.getpid())):
        return math.inf
    return int(limit_us) / 1e6 / _PINGS_PER_INTERVAL
