"""The launcher: carries out the scheduler's orders on this host and reports its facts.

Everything runs on trio's thread, which is the main thread, since processes are made there. SIGTERM or SIGINT drains:
no new runner, the running ones finish their jobs within the drain timeout; a second signal kills at once.
"""

import math
import os
import re
import secrets
import socket
from collections.abc import AsyncIterator

import msgspec
import trio

from actors.codec import Codec
from actors.errors import Backlogged
from actors.launcher.facts import Facts
from actors.launcher.forkserver import Forkserver, open_forkserver
from actors.launcher.renderer import Renderer
from actors.launcher.runners import Runners
from actors.launcher.spare import Spare
from actors.link import SchedulerLink
from actors.log import get_logger
from actors.messages.launcher_to_scheduler import LauncherBeat, LauncherDraining, LauncherHello
from actors.messages.scheduler_to_gateway import Welcome, WhoAreYou
from actors.messages.scheduler_to_launcher import KillRunner, StartRunner, ToLauncher
from actors.sdnotify import notify, watchdog_interval_s
from actors.settings import Settings

_RUNNER_ENTRY = "LLAMACTOR_RUNNER_ENTRY"
_RENDERER_ENTRY = "LLAMACTOR_RENDERER_ENTRY"

log = get_logger(__name__)


async def run_launcher(settings: Settings, signals: AsyncIterator[int]) -> None:
    """Run a launcher until a signal has drained it; the run folder's lock must be held.

    Args:
        settings: of this process.
        signals: the stop signals as they come.
    """
    runner_entry = os.environ.get(_RUNNER_ENTRY) or "runners.process"
    renderer_entry = os.environ.get(_RENDERER_ENTRY) or "runners.renderer"
    async with (
        open_forkserver(entries=(runner_entry, renderer_entry), run_dir=settings.run_dir) as forkserver,
        trio.open_nursery() as nursery,
    ):
        spare = Spare(forkserver, entry=runner_entry)
        renderer = Renderer(forkserver, entry=renderer_entry, run_dir=settings.run_dir, debug=settings.debug)
        launcher = Launcher(settings, forkserver=forkserver, spare=spare, renderer=renderer, nursery=nursery)
        await launcher.run(signals)
        nursery.cancel_scope.cancel()


class Launcher:
    """Ties spare, renderer and runners to the scheduler's messages."""

    def __init__(
        self, settings: Settings, *, forkserver: Forkserver, spare: Spare, renderer: Renderer, nursery: trio.Nursery
    ) -> None:
        self.launcher_id = new_launcher_id()
        self._settings = settings
        self._forkserver = forkserver
        self._spare = spare
        self._renderer = renderer
        self._nursery = nursery
        self._facts = Facts()
        self._watchdog_s = watchdog_interval_s()
        self._runners = Runners(
            settings=settings,
            spare=spare,
            renderer_endpoint=renderer.endpoint,
            report=self._send,
            nursery=nursery,
        )
        self._link: SchedulerLink[ToLauncher] = SchedulerLink(
            endpoint=settings.scheduler_endpoint,
            identity=self.launcher_id,
            codec=Codec(ToLauncher),
            hello=lambda: LauncherHello(
                host=self._facts.now(),
                runner_ids=self._runners.ids,
                place=f"{socket.gethostname()}:{settings.run_dir}",
            ),
            beat=self._beat,
            on_message=self._on_message,
        )

    async def run(self, signals: AsyncIterator[int]) -> None:
        """Serve until the first signal, then drain; return when no runner is left."""
        await self._nursery.start(self._spare.keep)  # blocks for the preload, so before anyone waits for us
        self._nursery.start_soon(self._renderer.keep)
        await self._nursery.start(self._facts.refresh_devices_forever)
        self._nursery.start_soon(self._link.run)
        log.info("launcher %s is up: %s", self.launcher_id, self._facts.now())
        notify("READY=1")
        await anext(signals)
        notify("STOPPING=1")
        log.info("draining %d runners", len(self._runners.ids))
        self._send(LauncherDraining())
        self._nursery.start_soon(self._kill_on_signal, signals)
        await self._runners.drain(self._settings.drain_timeout_s)

    async def _kill_on_signal(self, signals: AsyncIterator[int]) -> None:
        await anext(signals)
        self._runners.kill_all("a second stop signal")

    def _beat(self) -> LauncherBeat:
        if math.isfinite(self._watchdog_s):  # one beat a second is often enough: watchdogs have several
            notify("WATCHDOG=1")
        return LauncherBeat(host=self._facts.now())

    def _send(self, message: msgspec.Struct) -> None:
        try:
            self._link.send(message)
        except Backlogged:
            # A scheduler that reads again learns from the hello which runners there are.
            log.error("the scheduler does not read: dropped %s", message)

    def _on_message(self, message: ToLauncher, _payload: list[bytes]) -> None:
        match message:
            case StartRunner():
                self._runners.start(message)
            case KillRunner():
                self._runners.kill(message.runner_id, message.reason)
            case Welcome() | WhoAreYou():  # the link's own
                pass


def new_launcher_id() -> str:
    """Make the identity of one launcher life: the host's name, for people, and a random part."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:40] or "host"
    return f"{host}-{secrets.token_hex(4)}"
