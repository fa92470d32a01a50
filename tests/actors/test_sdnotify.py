"""Notifications to the service manager."""

import math
import os
import socket
from pathlib import Path

import pytest

from actors.sdnotify import notify, watchdog_interval_s


@pytest.mark.parametrize("is_abstract", [False, True])
def test_notify_sends_one_datagram(run_dir: Path, is_abstract: bool) -> None:  # noqa: FBT001 - a table column
    """To a path, or to a name in the abstract namespace."""
    name = f"@llamactor-test-{os.getpid()}" if is_abstract else str(run_dir / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if is_abstract else name)
        notify("READY=1", environ={"NOTIFY_SOCKET": name})
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nonexistent/notify"}])
def test_notify_without_a_listener_does_nothing(environ: dict[str, str]) -> None:
    """A process that systemd did not start, or whose manager is gone, goes on."""
    notify("READY=1", environ=environ)


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({}, math.inf),
        ({"WATCHDOG_USEC": "30000000"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, math.inf),
        ({"WATCHDOG_USEC": "0"}, math.inf),
        ({"WATCHDOG_USEC": "soon"}, math.inf),
    ],
)
def test_watchdog_interval_is_a_third_of_the_limit(environ: dict[str, str], interval_s: float) -> None:
    """Only when the watchdog is ours."""
    assert watchdog_interval_s(environ=environ) == interval_s
