"""The answer to one generation: parts of text, thinking and calls, as the parser of the model finds them."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import trio

from actors.messages.runner_to_gateway import Finished, Prefill, TokenLogprob
from gateway.job import Job
from gateway.parse.events import CallArguments, CallClosed, CallOpened, Event, Text, Thought, ThoughtEnded
from gateway.parse.model_parser import Parser
from gateway.streams import Piece

_NS_PER_S = 1_000_000_000

MakeParser = Callable[[str], Parser]
"""From the end of the rendered prompt to the parser of its answer."""


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """How an answer ended, with its figures."""

    reason: str
    total_ns: int = 0
    load_ns: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    prompt_ns: int = 0
    generated_tokens: int = 0
    generate_ns: int = 0
    thinking_tokens: int = 0
    """How many of the generated tokens were thinking; where several arrived at once, shared out by length."""
    context: tuple[int, ...] = ()
    stop: str = ""
    """The stop string that was met; empty where the model ended by itself."""
    truncated_messages: int = 0
    truncated_tokens: int = 0
    warnings: tuple[str, ...] = ()
    """What had no effect or was not kept, in sentences for people."""


@dataclass(frozen=True)
class AnswerPart:
    """What comes next of an answer, in order; the last part has an end."""

    events: tuple[Event, ...] = ()
    end: AnswerEnd | None = None
    logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def reason(self) -> str:
        """Why the answer ended; only of interest in the last part."""
        return self.end.reason if self.end is not None else ""

    @functools.cached_property
    def text(self) -> str:
        """The words for the reader, joined."""
        return "".join(event.text for event in self.events if isinstance(event, Text))

    @functools.cached_property
    def thinking(self) -> str:
        """The words of the model to itself, joined."""
        return "".join(event.text for event in self.events if isinstance(event, Thought))

    @functools.cached_property
    def calls(self) -> tuple[CallClosed, ...]:
        """The calls that were completed."""
        return tuple(event for event in self.events if isinstance(event, CallClosed))

    @property
    def is_unparsed(self) -> bool:
        """Whether some of the text looked like a call and could not be read as one."""
        return any(isinstance(event, Text) and event.unparsed for event in self.events)


class Answer:
    """The answer to one generation, read once."""

    def __init__(
        self,
        job: Job,
        *,
        arrived_at: float,
        make_parser: MakeParser | None,
        max_calls: int | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        """Begin with a job that was offered; without a parser all is text. `warnings` are told at its end."""
        self._warnings = warnings
        self._max_calls = max_calls
        self._job = job
        self._first: Piece | None = None
        self._arrived_at = arrived_at
        self._make_parser = make_parser
        self._parser: Parser | None = None
        self._n_counted = self._n_thought = 0  # tokens of what was found so far, and of the thinking in it

    @property
    def job(self) -> Job:
        """The job that gives it; only to be looked at."""
        return self._job

    async def begins_within(self, timeout_s: float) -> bool:
        """Wait for the first of it, without taking it; False when the time was over first.

        Raises:
            LlamactorError: it was refused, or failed before any text.
        """
        with trio.move_on_after(timeout_s):
            self._first = self._first or await self._job.stream.receive()
        return self._first is not None

    @property
    def prefill(self) -> Prefill | None:
        """How far the prompt is and what the cache spared, if the generation asked for it."""
        return self._job.prefill

    async def receive(self) -> AnswerPart:
        """Wait for the next part; each but the last, which has an end, has events or log probabilities.

        Raises:
            LlamactorError: the job failed; the parts before were all of it.
        """
        while True:
            piece, self._first = self._first, None
            part = self._part(piece or await self._job.stream.receive())
            if part.events or part.logprobs or part.end is not None:
                return part

    async def whole(self) -> AnswerPart:
        """Wait for the end and give everything at once.

        Raises:
            LlamactorError: the job failed.
        """
        parts = [await self.receive()]
        while parts[-1].end is None:
            parts.append(await self.receive())
        events = tuple(event for part in parts for event in part.events)
        return AnswerPart(settled(events), parts[-1].end, tuple(each for part in parts for each in part.logprobs))

    def _part(self, piece: Piece) -> AnswerPart:
        if self._parser is None and self._make_parser is not None:
            self._parser = self._make_parser(self._job.prompt_tail)  # known by now
        if self._parser is None:
            events: list[Event] = [Text(piece.text)] if piece.text else []
        else:
            events = self._parser.feed(piece.text)
            if piece.end is not None:
                events += self._parser.close()
            if events:
                n_tokens = piece.end.generated_tokens if isinstance(piece.end, Finished) else len(self._job.tokens)
                self._count(events, n_tokens)
            if self._max_calls is not None:
                events = [event for event in events if not _is_call_beyond(event, self._max_calls)]
        end = self._end(piece.end) if isinstance(piece.end, Finished) else None
        return AnswerPart(tuple(events), end, piece.logprobs)

    def _count(self, events: list[Event], n_tokens: int) -> None:
        """Take note of what an answer of so many tokens has come to."""
        new, self._n_counted = n_tokens - self._n_counted, n_tokens
        if len(events) == 1 and isinstance(events[0], Text):
            return
        n_chars = n_thought = 0
        for event in events:
            if isinstance(event, Text | Thought | CallArguments):
                n_chars += len(event.text)
                n_thought += len(event.text) if isinstance(event, Thought) else 0
            elif isinstance(event, ThoughtEnded):
                self._n_thought, n_thought = n_tokens - new, n_chars
        if n_thought:
            self._n_thought += round(new * n_thought / n_chars)

    def _end(self, finished: Finished) -> AnswerEnd:
        granted_at = self._job.granted_at or self._arrived_at
        return AnswerEnd(
            reason=finished.reason.value,
            total_ns=elapsed_ns(self._arrived_at, trio.current_time()),
            load_ns=elapsed_ns(self._arrived_at, granted_at),
            prompt_tokens=finished.prompt_tokens,
            cached_tokens=finished.cached_tokens,
            prompt_ns=finished.prompt_ns,
            generated_tokens=finished.generated_tokens,
            generate_ns=finished.generate_ns,
            thinking_tokens=self._n_thought,
            context=finished.context,
            stop=finished.stop,
            truncated_messages=finished.truncated_messages,
            truncated_tokens=finished.truncated_tokens,
            warnings=(*self._warnings, *finished.warnings),
        )


def settled(events: tuple[Event, ...]) -> tuple[Event, ...]:
    """Give the events of a whole answer, where text that turned out to be thinking is thinking."""
    ends = [index for index, event in enumerate(events) if isinstance(event, ThoughtEnded)]
    if not ends:
        return events
    thought = "".join(event.text for event in events[: ends[-1]] if isinstance(event, Text | Thought)).strip()
    calls = [event for event in events[: ends[-1]] if not isinstance(event, Text | Thought | ThoughtEnded)]
    return (Thought(thought), *calls, *events[ends[-1] + 1 :])


def _is_call_beyond(event: Event, limit: int) -> bool:
    return isinstance(event, CallOpened | CallArguments | CallClosed) and event.index >= limit


def elapsed_ns(since: float, until: float) -> int:
    """Give the nanoseconds between two times of trio's clock."""
    return max(0, round((until - since) * _NS_PER_S))
