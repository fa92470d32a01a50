"""The stream of one job: a single slot that merges what the runner sends while the reader lags.

Theory of operation. One writer (the reader task of the runner's XSUB) puts text in without waiting; one reader (the
request's task) takes out everything there is. A reader that keeps up sees one piece per step; one that lags sees
larger pieces, so a slow client costs no per-token work. The text read does not depend on how it was cut.

Every stream ends exactly once: by `finish` or by `fail`, whichever comes first; whatever follows is dropped. Text
that was put in before a failure is still delivered first.

Bound: `MAX_PENDING_CHARS` of unread text, then the stream fails with `Backlogged`.
"""

from dataclasses import dataclass

import trio

from actors.errors import Backlogged, Bug, LlamactorError, StreamGap
from actors.messages.runner_to_gateway import Finished, TokenLogprob
from actors.messages.scheduler_to_gateway import Loaded

MAX_PENDING_CHARS = 16 << 20
"""More than any context window of text: only a runaway runner gets here."""
MAX_PENDING_BYTES = 128 << 20
"""More than all vectors of a request: the same."""

End = Finished | Loaded


@dataclass(frozen=True, slots=True)
class Piece:
    """What a reader gets at once: text, and the job's end when nothing follows."""

    text: str
    end: End | None = None
    values: bytes = b""
    """Vectors of an embedding job, as `Vectors` carries them."""
    logprobs: tuple[TokenLogprob, ...] = ()


class JobStream:
    """Single-slot stream of one job; owned by the job, used from trio's thread only."""

    __slots__ = (
        "_end",
        "_error",
        "_expected_seq",
        "_is_read_out",
        "_logprobs",
        "_n_again",
        "_n_chars",
        "_n_values",
        "_pending",
        "_values",
        "_wakeup",
    )

    def __init__(self) -> None:
        self._pending: list[str] = []
        self._values = bytearray()
        self._n_values = 0  # all bytes of vectors that were ever put in
        self._n_again = 0  # how many of them a second runner is going to repeat
        self._n_chars = 0
        self._logprobs: list[TokenLogprob] = []
        self._end: End | None = None
        self._error: LlamactorError | None = None
        self._expected_seq = 1
        self._is_read_out = False
        self._wakeup: trio.Event | None = None  # set iff the reader waits

    @property
    def has_ended(self) -> bool:
        """True iff nothing more can be put in."""
        return self._end is not None or self._error is not None

    @property
    def is_untouched(self) -> bool:
        """True iff nothing was put in yet, or since `resume`."""
        return self._expected_seq == 1 and not self.has_ended

    def put(self, seq: int, text: str, logprobs: tuple[TokenLogprob, ...] = ()) -> None:
        """Add what part `seq` says.

        A part that does not follow its predecessor fails the stream with `StreamGap`.
        """
        if not self._is_next(seq):
            return
        if logprobs:
            self._logprobs += logprobs
            self._n_chars += sum(map(_size, logprobs))
        if text:
            self._pending.append(text)
            self._n_chars += len(text)
            if self._n_chars > MAX_PENDING_CHARS:
                self.fail(Backlogged("the client does not read its answer: too much of it waits"))
        self._wake()

    def put_values(self, seq: int, values: bytes) -> None:
        """Add the vectors of part `seq`; a gap fails the stream with `StreamGap`."""
        if not self._is_next(seq):
            return
        new = values[self._n_again :]
        self._n_again -= len(values) - len(new)
        self._n_values += len(new)
        self._values += new
        if len(self._values) > MAX_PENDING_BYTES:
            self.fail(Backlogged("the vectors of a request are not read: too much of them waits"))
        self._wake()

    def resume(self) -> None:
        """Count parts anew: another runner goes on where the last one died; vectors it makes all over again."""
        self._expected_seq = 1
        self._n_again = self._n_values

    def finish(self, end: End) -> None:
        """End the stream well."""
        if not self.has_ended:
            self._end = end
            self._wake()

    def fail(self, error: LlamactorError) -> None:
        """End the stream with an error for its reader."""
        if not self.has_ended:
            self._error = error
            self._wake()

    async def receive(self) -> Piece:
        """Wait for more and take all of it.

        Returns:
            A piece with text, log probabilities, an end, or all of them.

        Raises:
            LlamactorError: the stream failed, and all text before that was read.

        Cancellation:
            Loses nothing; the next call gets what was there.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._pending or self._logprobs or self._values or self._end is not None:
                return self._take()
            if self._error is not None:
                raise self._error
            self._wakeup = trio.Event()
            await self._wakeup.wait()

    def _take(self) -> Piece:
        if self._is_read_out:
            raise Bug("a job's stream was read beyond its end")
        pending = self._pending
        text = pending[0] if len(pending) == 1 else "".join(pending)
        pending.clear()
        logprobs = tuple(self._logprobs)
        self._logprobs.clear()
        self._n_chars = 0
        values = bytes(self._values)
        self._values.clear()
        self._is_read_out = self._end is not None
        return Piece(text, self._end, values, logprobs)

    def _is_next(self, seq: int) -> bool:
        if not self.has_ended and seq != self._expected_seq:
            self.fail(StreamGap(expected=self._expected_seq, got=seq))
        self._expected_seq = seq + 1
        return not self.has_ended

    def _wake(self) -> None:
        if self._wakeup is not None:
            self._wakeup.set()
            self._wakeup = None


def _size(logprob: TokenLogprob) -> int:
    return len(logprob.piece) + sum(len(piece) for piece, _ in logprob.top)
