"""Pulls and pushes as this worker runs them: how many at once, and each ended when its client leaves.

What clients of several workers share (the bytes that have come, who fetches them) is in the store, not here: see
`registry/download/incoming.py`.
"""

import contextlib
import platform
from collections.abc import AsyncIterator, Callable, Generator, Iterator

import trio

from actors.errors import LlamactorError, TooManyTransfers
from actors.settings import Settings
from gateway.origins import is_loopback
from gateway.version import OLLAMA_VERSION, llamactor_version
from registry.download.pace import Pace
from registry.progress import Progress
from registry.remote.abort import Abort, Aborted
from registry.remote.client import Caller
from registry.transfer import Transfer

MAX_TRANSFERS = 16
"""Each takes up to six threads and four connections."""

Steps = Generator[Progress, None, None]


class Transfers:
    """The pulls and pushes of one worker. Used from trio's thread only."""

    def __init__(self, settings: Settings) -> None:
        self._n_running = 0
        self._pace = Pace(settings.pull_rate_bytes_s // settings.gateway_workers)
        self._allows_local = is_loopback(settings.host)
        self._caller = Caller(
            identity=settings.identity,
            user_agent=f"ollama/{OLLAMA_VERSION} ({platform.machine()} linux) llamactor/{llamactor_version()}",
        )

    @contextlib.contextmanager
    def room(self) -> Iterator[None]:
        """Hold the room of one transfer.

        Raises:
            TooManyTransfers: there is none.
        """
        if self._n_running >= MAX_TRANSFERS:
            raise TooManyTransfers(self._n_running)
        self._n_running += 1
        try:
            yield
        finally:
            self._n_running -= 1

    def new(self, *, insecure: bool, max_rate_bytes_s: int = 0) -> Transfer:
        """Describe a transfer that is about to begin; a rate of its own takes the place of the worker's."""
        return Transfer(
            caller=self._caller,
            pace=Pace(max_rate_bytes_s) if max_rate_bytes_s else self._pace,
            insecure=insecure,
            allows_local=self._allows_local,
        )


async def progress_of(steps: Steps, abort: Abort) -> AsyncIterator[Progress]:
    """Give the lines of a transfer as it makes them, in worker threads.

    Raises:
        LlamactorError: the transfer failed.

    Cancellation: ends the transfer at once, wherever it waits.
    """
    try:
        while (step := await _next(steps, abort)) is not None:
            yield step
    finally:
        with trio.CancelScope(shield=True):
            abort.set()
            await trio.to_thread.run_sync(steps.close)


async def _next(steps: Steps, abort: Abort) -> Progress | None:
    """Run a transfer to its next line; its failure is kept out of the nursery, which would wrap it."""
    outcome: list[Progress | LlamactorError | None] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_abort_when_cancelled, abort, lambda: not outcome)
        outcome.append(await trio.to_thread.run_sync(_step, steps))
        nursery.cancel_scope.cancel()
    (found,) = outcome
    if isinstance(found, LlamactorError):
        raise found
    return found


def _step(steps: Steps) -> Progress | LlamactorError | None:
    try:
        return next(steps, None)
    except Aborted:
        return None
    except LlamactorError as error:
        return error


async def _abort_when_cancelled(abort: Abort, is_early: Callable[[], bool]) -> None:
    try:
        await trio.sleep_forever()
    finally:
        if is_early():
            abort.set()
