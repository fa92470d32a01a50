"""`actorctl serve`: gateway, scheduler and launcher as one foreground command.

Start: bind the port, lock the run folder, check the store, then start all parts at once; each waits for the others
where it must. What dies is started again, the first time at once.

Stop: the first SIGINT, SIGTERM or SIGHUP drains in the order gateway, launcher, scheduler, so that running answers
find every part they need until they end; each part has a bounded time. A second signal kills everything at once.
Should this process be killed, its children die with it.
"""

import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import trio

from actors.errors import StoreUnwritable
from actors.keeper import Keeper
from actors.listener import LISTEN_FD, listen
from actors.log import configure_logging, get_logger
from actors.process import python_program, set_title
from actors.sdnotify import notify
from actors.settings import Settings
from actors.transport import lock_folder

_MARGIN_S = 5.0
"""What a part may need beyond its own drain timeout before it is killed."""
_SLOW_START_S = 30.0
_OURS = ("*.sock", "*.lock", "*.pid")
_OUR_FOLDERS = ("pymp-*", "responses")
"""The forkserver's, and what gateways share."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Modules:
    """The modules that are the parts, each run as `python -m`."""

    gateway: str = "gateway"
    scheduler: str = "actors.scheduler"
    launcher: str = "actors.launcher"


def serve(settings: Settings, *, modules: Modules = Modules()) -> None:
    """Serve until a signal has drained everything; blocks, on the main thread.

    Raises:
        ListenFailed: the port is in use, or the host not ours.
        AlreadyRunning: another `serve` uses this run folder.
        RunFolderUnusable: the run folder cannot be made or is not ours.
        StoreUnwritable: the model store cannot be made or written.
    """
    configure_logging(process="serve", debug=settings.debug)
    set_title("serve")
    with listen(settings.host, settings.port) as listener, lock_folder(settings.run_dir, "serve"):
        try:
            check_store(settings.models)
            trio.run(Supervisor(settings, listener=listener, modules=modules).run)
        finally:
            sweep(settings.run_dir)


class Supervisor:
    """Starts the parts, says when all are ready, and stops them in order."""

    def __init__(self, settings: Settings, *, listener: socket.socket, modules: Modules) -> None:
        self._settings = settings
        self._listener = listener
        environ = {"LLAMACTOR_RUN_DIR": str(settings.run_dir), "LLAMACTOR_SCHEDULER": settings.scheduler_endpoint}
        descriptor = listener.fileno()

        def keeper(module: str, name: str) -> Keeper:
            return Keeper(python_program(module, name=name, environ=environ), run_dir=settings.run_dir)

        def worker(name: str) -> Keeper:
            program = python_program(
                modules.gateway,
                name=name,
                environ={**environ, LISTEN_FD: str(descriptor)},
                pass_fds=(descriptor,),
            )
            return Keeper(program, run_dir=settings.run_dir)

        n_workers = settings.gateway_workers
        self._gateways = [worker(f"gateway-{i}" if n_workers > 1 else "gateway") for i in range(n_workers)]
        self._launcher = keeper(modules.launcher, "launcher")
        self._scheduler = keeper(modules.scheduler, "scheduler")
        self._all = (*self._gateways, self._launcher, self._scheduler)

    async def run(self) -> None:
        """Run the parts until a signal has stopped them.

        Cancellation: the parts are killed and reaped.
        """
        with trio.open_signal_receiver(*_stop_signals()) as signals:
            async with trio.open_nursery() as parts:
                for keeper in self._all:
                    parts.start_soon(keeper.keep)
                async with trio.open_nursery() as watchers:
                    watchers.start_soon(self._announce)
                    await anext(signals)
                    watchers.cancel_scope.cancel()
                log.info("stopping: running answers have %g s to end", self._settings.drain_timeout_s)
                notify("STOPPING=1")
                async with trio.open_nursery() as stopping:
                    stopping.start_soon(self._kill_on_signal, signals)
                    await self._stop_in_order()
                    stopping.cancel_scope.cancel()

    async def _announce(self) -> None:
        """Say once that everything is ready and, should that take long, what is not."""
        with trio.move_on_after(_SLOW_START_S) as bound:
            await self._wait_ready()
        if bound.cancelled_caught:
            missing = ", ".join(keeper.name for keeper in self._all if not keeper.ready.is_set())
            log.warning("not ready after %g s: %s", _SLOW_START_S, missing)
            await self._wait_ready()
        host, port = self._listener.getsockname()[:2]
        log.info("Listening on %s:%d (version %s)", f"[{host}]" if ":" in host else host, port, _version())
        notify("READY=1")

    async def _wait_ready(self) -> None:
        for keeper in self._all:
            await keeper.ready.wait()

    async def _stop_in_order(self) -> None:
        # Without our copy a client is refused, rather than kept waiting, once the gateways have closed theirs.
        self._listener.close()
        timeout_s = self._settings.drain_timeout_s + _MARGIN_S
        async with trio.open_nursery() as gateways:
            for keeper in self._gateways:
                gateways.start_soon(keeper.stop, timeout_s)
        await self._launcher.stop(timeout_s)
        await self._scheduler.stop(_MARGIN_S)

    async def _kill_on_signal(self, signals: AsyncIterator[int]) -> None:
        await anext(signals)
        log.warning("a second stop signal: killing everything")
        for keeper in self._all:
            keeper.kill()


def check_store(models: Path) -> None:
    """Make the model store's folder and prove that it can be written.

    Raises:
        StoreUnwritable: it cannot.
    """
    try:
        models.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=models):
            pass
    except OSError as error:
        raise StoreUnwritable(str(models), (error.strerror or str(error)).lower()) from error


def sweep(run_dir: Path) -> None:
    """Remove what we put into the run folder, and the folder if nothing else is in it; its lock must be held."""
    for pattern in _OURS:
        for path in run_dir.glob(pattern):
            path.unlink(missing_ok=True)
    for pattern in _OUR_FOLDERS:
        for folder in run_dir.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)
    try:
        run_dir.rmdir()
    except OSError as error:  # something else is in it, or its parent is not ours (systemd removes it then)
        log.debug("left %s: %s", run_dir, error)


def _stop_signals() -> list[signal.Signals]:
    stop = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup wants us to outlive the terminal
        stop.append(signal.SIGHUP)
    return stop


def _version() -> str:
    try:
        return metadata.version("llamactor")
    except metadata.PackageNotFoundError:  # run from its source folder
        return "0+unknown"
