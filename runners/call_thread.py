"""A thread that makes calls for the trio thread, one after the other: what is slow, and what owns native objects."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


class CallThread:
    """Runs calls in order; the methods are for the trio thread. The scheduler's slots bound how many wait."""

    def __init__(self, name: str) -> None:
        self._requests: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call on the thread, and give its result.

        Cancellation: the result is dropped; the thread finishes the call first.

        Raises:
            Exception: whatever `call` raises.
        """
        token, done = trio.lowlevel.current_trio_token(), trio.Event()
        result: list[T | Exception] = []

        def work() -> None:
            try:
                result.append(call())
            except Exception as error:  # noqa: BLE001  # it is raised again where it was asked for
                result.append(error)
            token.run_sync_soon(done.set)

        self._requests.put(work)
        await done.wait()
        outcome = result[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def post(self, call: Callable[[], None]) -> None:
        """Run a call that raises nothing and whose end nobody waits for."""
        self._requests.put(call)

    def close(self, last: Callable[[], None] | None = None) -> None:
        """End the thread after the calls before this and after `last`, and wait for it."""
        if last is not None:
            self._requests.put(last)
        self._requests.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._requests.get()) is not None:
            work()
