"""`serve`, which supervises all parts, and the parts alone for systemd, containers and other hosts.

A part replaces this process, so that a service manager watches the part itself.
"""

import os
import sys
from typing import NoReturn

import click


@click.command("serve")
def serve() -> None:
    """Start the server: gateway, scheduler and runner (alias: start)."""
    from actors.settings import settings_from  # noqa: PLC0415 - the commands of a client start without these
    from actors.supervisor import serve as supervise  # noqa: PLC0415

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
    from actors.process import python_program  # noqa: PLC0415 - the commands of a client start without it

    program = python_program(module)
    sys.stdout.flush()
    os.execve(program.argv[0], program.argv, {**os.environ, **program.environ})  # noqa: S606 - our own program
