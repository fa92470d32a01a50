"""`serve`, which supervises all parts, and the parts alone for systemd, containers and other hosts.

A part replaces this process, so that a service manager watches the part itself.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

import click


@click.command("serve")
def serve() -> None:
    """Start the server: gateway, scheduler and runner (alias: start)."""
    from actors.settings import settings_from  # noqa: PLC0415 - the commands of a client start without these
    from actors.supervisor import serve as supervise  # noqa: PLC0415

    _keep_to_own_modules()
    supervise(settings_from())


@click.command("gateway")
def gateway() -> None:
    """Start the HTTP server alone."""
    _become("gateway")


@click.command("scheduler")
def scheduler() -> None:
    """Start the scheduler alone."""
    _become("actors.scheduler")


@click.command("runner")
def runner() -> None:
    """Start this host's launcher with its runners alone."""
    _become("actors.launcher")


def _become(module: str) -> NoReturn:
    _keep_to_own_modules()
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module])  # noqa: S606 - our own program


def _keep_to_own_modules() -> None:
    """Let child interpreters find our packages first, and nothing in the folder that the user happens to be in.

    `python -m gateway` would otherwise prefer a folder called `gateway` there.
    """
    ours = str(Path(__file__).resolve().parents[3])
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != ours]
    os.environ["PYTHONPATH"] = os.pathsep.join([ours, *others])
    os.environ["PYTHONSAFEPATH"] = "1"
