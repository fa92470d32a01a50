"""`python -m gateway`: one gateway worker as a process.

The listening socket is bound here, or inherited: from `serve`, which binds once for all workers, or from systemd.
SIGTERM and SIGINT drain; a second one ends the drain.
"""

import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping

import trio

from actors.errors import LlamactorError
from actors.listener import LISTEN_FD, listen
from actors.log import configure_logging, get_logger
from actors.process import die_with_parent, set_title, spare_collector
from actors.sdnotify import notify
from actors.settings import Settings, settings_from
from actors.transport import flush
from gateway.app import create_app
from gateway.jobs import Jobs
from gateway.models import Models
from gateway.preload import preload
from gateway.server import MAX_CONNECTIONS, Server
from gateway.tls import tls_context
from gateway.worker import Worker
from registry.store import Store

_SYSTEMD_FIRST_FD = 3
_US_PER_S = 1_000_000
_SPARE_DESCRIPTORS = 256

log = get_logger(__name__)


def main() -> int:
    """Run the worker and return its exit status."""
    die_with_parent()
    set_title("gateway")
    _raise_descriptor_limit()
    try:
        settings = settings_from()
        configure_logging(process="gateway", debug=settings.debug)
        listener = listening_socket(settings, os.environ)
        try:
            trio.run(serve, settings, listener)
        finally:
            flush()
    except LlamactorError as error:
        print(f"Error: {error.message}", file=sys.stderr)  # noqa: T201  # what a user sees who starts this by hand
        return 1
    return 0


def listening_socket(settings: Settings, environ: Mapping[str, str]) -> socket.socket:
    """Give the socket to accept on: the supervisor's, systemd's, or a new one.

    Raises:
        ListenFailed: the address is in use or not ours.
    """
    inherited = environ.get(LISTEN_FD, "")
    if inherited.isdecimal():
        return socket.socket(fileno=int(inherited))
    if environ.get("LISTEN_PID") == str(os.getpid()) and environ.get("LISTEN_FDS", "0") != "0":
        return socket.socket(fileno=_SYSTEMD_FIRST_FD)
    return listen(settings.host, settings.port)


async def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve on a listening socket until a signal has drained the worker.

    Raises:
        InvalidRequest: `OLLAMA_ORIGINS` has an entry that cannot be an origin, or TLS is set up wrongly.
    """
    jobs = Jobs(settings.scheduler_endpoint)
    server: Server | None = None
    worker = Worker(
        settings=settings,
        jobs=jobs,
        models=Models(Store(settings.models, no_prune=settings.no_prune, go_templates=settings.go_templates)),
        is_draining=lambda: server is not None and server.is_draining,
    )
    tls = tls_context(settings.tls_cert, settings.tls_key)
    server = Server(create_app(worker), drain_timeout_s=settings.drain_timeout_s, tls=tls, on_overtime=jobs.end_all)
    spare_collector()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(jobs.run)
            nursery.start_soon(_drain_on_signal, signals, server)
            nursery.start_soon(_feed_watchdog)
            nursery.start_soon(_prune, worker.models.store)
            await nursery.start(server.run, [trio.SocketListener(trio.socket.from_stdlib_socket(listener))])
            log.info("%s listens on %s", jobs.gateway_id, _address(listener))
            notify("READY=1")
            nursery.start_soon(preload, settings.preload, worker.models, jobs)
            await server.wait_closed()
            nursery.cancel_scope.cancel()  # the jobs go last: connections that were cut off have cancelled theirs


def _raise_descriptor_limit() -> None:
    """Take as many descriptors as we are allowed and can use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_CONNECTIONS + _SPARE_DESCRIPTORS
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


async def _drain_on_signal(signals: AsyncIterator[int], server: Server) -> None:
    await anext(signals)
    notify("STOPPING=1")
    server.drain()
    await anext(signals)
    server.cut_off()


async def _prune(store: Store) -> None:
    """Tidy the store once, beside the first requests; several workers do it one after the other, under its lock."""
    try:
        await trio.to_thread.run_sync(store.prune, abandon_on_cancel=True)
    except LlamactorError as error:
        log.warning("the model store was not tidied: %s", error.message)


async def _feed_watchdog() -> None:
    """Tell systemd that the event loop turns, if it wants to know."""
    interval_us = os.environ.get("WATCHDOG_USEC", "")
    while interval_us.isdecimal() and int(interval_us) > 0:
        notify("WATCHDOG=1")
        await trio.sleep(int(interval_us) / _US_PER_S / 2)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


if __name__ == "__main__":
    sys.exit(main())
