"""`python -m actors.scheduler`: the scheduler as a process of its own."""

import signal
import sys
from collections.abc import AsyncIterator

import trio

from actors.errors import LlamactorError
from actors.log import configure_logging
from actors.process import die_with_parent, set_title, spare_collector
from actors.scheduler.actor import run_scheduler
from actors.settings import Settings, settings_from
from actors.transport import flush


def main() -> None:
    """Run until SIGTERM or SIGINT, then exit 0; on a named error print it and exit 1."""
    die_with_parent()
    set_title("scheduler")
    try:
        settings = settings_from()
        configure_logging(process="scheduler", debug=settings.debug)
        collect_rarely()
        try:
            trio.run(_run, settings)
        finally:
            flush()
    except LlamactorError as error:
        sys.exit(f"Error: {error}")


def collect_rarely() -> None:
    """Let the garbage collector leave what is old alone.

    The core makes no cycles (a test holds this), and a full collection walks all that it knows, hundreds of
    milliseconds beside 1,000 runners. What trio leaves behind is young when it is collected.
    """
    spare_collector(oldest_after=1_000)


async def _run(settings: Settings) -> None:
    failure: LlamactorError | None = None
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_on_signal, signals, nursery.cancel_scope)
            try:
                await run_scheduler(settings)
            except LlamactorError as error:
                failure = error  # raised outside, where no group wraps it
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _end_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()
        return


if __name__ == "__main__":
    main()
