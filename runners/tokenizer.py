"""The tokenizer thread: a megabyte of prompt takes a second to tokenize, which neither trio nor a step may wait for.

It owns every call of `Model.tokenize`. Requests are served in order; the scheduler's slots bound how many wait.
"""

import queue
import threading
from collections.abc import Callable

import trio

from runners.llama.model import Model


class Tokenizer:
    """Tokenizes on its own thread; the methods are for the trio thread."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._requests: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="tokenizer", daemon=True)
        self._thread.start()

    async def tokenize(self, text: str, *, add_special: bool) -> list[int]:
        """Turn text into token ids.

        Cancellation: the result is dropped; the thread finishes the text first.

        Raises:
            InvalidRequest: the text has too many tokens to count.
        """
        token, done = trio.lowlevel.current_trio_token(), trio.Event()
        result: list[list[int] | Exception] = []

        def work() -> None:
            try:
                result.append(self.model.tokenize(text, add_special=add_special))
            except Exception as error:  # noqa: BLE001  # it is raised again where it was asked for
                result.append(error)
            token.run_sync_soon(done.set)

        self._requests.put(work)
        await done.wait()
        if isinstance(result[0], Exception):
            raise result[0]
        return result[0]

    def close(self) -> None:
        """End the thread after the requests before this, and wait for it: the model may be freed then."""
        self._requests.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._requests.get()) is not None:
            work()
