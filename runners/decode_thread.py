"""The decode thread as the trio thread sees it: start it, hand it commands, read its figures.

The decode thread is the one thread that owns the model, its context, the slots and the XPUB. Commands go over through
a deque and an eventfd; the scheduler's slots bound how many there can be. Events come back through `on_event`, which
is called on the decode thread.
"""

import collections
import sys
import threading
import time
from collections.abc import Callable

import msgspec
import setproctitle

from actors.errors import Failure, LlamactorError
from actors.log import get_logger
from actors.messages.launcher_to_runner import Assignment
from actors.messages.model import RunnerUse
from runners.commands import Broken, Command, Event
from runners.decode_loop import DecodeLoop
from runners.embedding_jobs import PreparedEmbedding
from runners.publisher import Publisher

log = get_logger(__name__)

_SWITCH_INTERVAL_S = 0.0002
"""Beside a busy trio thread Python's default of 5 ms cost a decode step 8 ms; this gives them back."""


class DecodeThread:
    """A handle on the decode thread; the methods are for the trio thread."""

    def __init__(self, assignment: Assignment, on_event: Callable[[Event], None]) -> None:
        self._assignment = assignment
        self._on_event = on_event
        self._commands: collections.deque[Command] = collections.deque()
        self._publisher = Publisher(assignment.endpoint)
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)
        self.n_coming = 0
        """Jobs that the trio thread, which alone writes this, is preparing."""
        self._load_fraction = 0.0  # written by the decode thread, read for heartbeats
        self._loop: DecodeLoop | None = None  # set once, when the model is loaded; read for figures only

    def _note_load(self, fraction: float) -> None:
        self._load_fraction = fraction

    def start(self) -> None:
        """Start the thread, which loads the model first."""
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        self._thread.start()

    def tell(self, command: Command) -> None:
        """Hand over a command; never blocks.

        While a batch gathers, an embedding behind which more are coming does not wake the thread, which has a deadline.
        """
        self._commands.append(command)  # before the look: the thread sleeps without a deadline only when there is none
        if isinstance(command, PreparedEmbedding) and self.n_coming and self._loop is not None and self._loop.gathers:
            return
        self._publisher.wake()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; False when it did not come in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def use(self) -> RunnerUse:
        """Give the figures of a heartbeat."""
        if self._loop is None:
            return RunnerUse(load_fraction=self._load_fraction)
        started = self._loop.step_started
        return msgspec.structs.replace(self._loop.use, step_age_s=time.monotonic() - started if started else 0.0)

    def _run(self) -> None:
        setproctitle.setthreadtitle("decode")  # `CoreUse` knows by it the threads that llama.cpp starts here
        try:
            loop = self._loop = DecodeLoop(
                self._assignment, self._publisher, self._on_event, self._note_load, lambda: self.n_coming
            )
            try:
                while loop.turn(self._commands):
                    pass
            finally:
                loop.close()
        except LlamactorError as error:
            self._on_event(Broken(error.as_failure()))
        except Exception as error:
            log.exception("the decode thread met a bug")
            self._on_event(Broken(Failure("bug", f"the decode thread met a bug: {error!r}")))
        finally:
            self._publisher.close()
