"""One generation: its job, and its answer as a sequence of parts.

`begin` offers the job and waits for the first of the answer, so that an error before it still has a status. The job is
released with the request (`GatewayRequest.on_end`), which cancels it when its client has left.
"""

import math
from dataclasses import dataclass

import msgspec
import trio

from actors.codec import encode_body
from actors.errors import Bug
from actors.messages.gateway_to_scheduler import JobKind
from actors.messages.job import ChatPrompt, FillPrompt, JobBody, RawPrompt, Task, TokenPrompt
from actors.messages.model import AdapterUse
from actors.messages.runner_to_gateway import Finished, Prefill
from gateway.caller import caller_of
from gateway.connection import GatewayRequest
from gateway.job import Job, JobRequest
from gateway.jobs import Jobs
from gateway.models import ServedModel
from gateway.options import RequestOptions
from gateway.parse.thinking import ThinkingSplitter
from gateway.prefixes import Prompt, prefix_marks
from gateway.streams import Piece

_BIG_BODY_BYTES = 64 << 10
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What a request wants generated."""

    model: ServedModel
    options: RequestOptions
    prompt: RawPrompt | ChatPrompt | FillPrompt
    keep_alive_s: float | None = None
    truncate: bool = True
    returns_context: bool = False
    splits_thinking: bool = False
    tells_prefill: bool = False
    adapters: tuple[AdapterUse, ...] | None = None
    """LoRA files; None: the model's own."""

    def body(self) -> JobBody:
        """Give the message body that the runner gets."""
        return JobBody(
            prompt=_with_template(self.model, self.prompt),
            sampling=self.options.sampling,
            num_predict=self.options.num_predict,
            stop=self.options.stop,
            truncate=self.truncate,
            num_keep=self.options.num_keep,
            num_ctx=self.options.num_ctx,
            return_context=self.returns_context,
            tells_prefill=self.tells_prefill,
            adapters=self.adapters,
        )


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
    context: tuple[int, ...] = ()
    stop: str = ""
    """The stop string that was met; empty where the model ended by itself."""
    truncated_messages: int = 0
    truncated_tokens: int = 0


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """What comes next of an answer; the last part has an end."""

    text: str = ""
    thinking: str = ""
    end: AnswerEnd | None = None

    @property
    def reason(self) -> str:
        """Why the answer ended; only of interest in the last part."""
        return self.end.reason if self.end is not None else ""


class Answer:
    """The answer to one generation, read once."""

    def __init__(self, job: Job, *, arrived_at: float, splits_thinking: bool) -> None:
        self._job = job
        self._first: Piece | None = None
        self._arrived_at = arrived_at
        self._splitter = ThinkingSplitter() if splits_thinking else None

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
        """Wait for the next part; each but the last, which has an end, has text or thinking.

        Raises:
            LlamactorError: the job failed; the parts before were all of it.
        """
        while True:
            piece, self._first = self._first, None
            part = self._part(piece or await self._job.stream.receive())
            if part.text or part.thinking or part.end is not None:
                return part

    async def whole(self) -> AnswerPart:
        """Wait for the end and give everything at once.

        Raises:
            LlamactorError: the job failed.
        """
        parts = [await self.receive()]
        while parts[-1].end is None:
            parts.append(await self.receive())
        return AnswerPart("".join(p.text for p in parts), "".join(p.thinking for p in parts), parts[-1].end)

    def _part(self, piece: Piece) -> AnswerPart:
        text, thinking = piece.text, ""
        if self._splitter is not None:
            thinking, text = self._splitter.feed(text)
            if piece.end is not None:
                last_thinking, last_text = self._splitter.close()
                thinking, text = thinking + last_thinking, text + last_text
        return AnswerPart(text, thinking, self._end(piece.end) if isinstance(piece.end, Finished) else None)

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
            context=finished.context,
            stop=finished.stop,
            truncated_messages=finished.truncated_messages,
            truncated_tokens=finished.truncated_tokens,
        )


async def begin(jobs: Jobs, request: GatewayRequest, generation: Generation) -> Answer:
    """Start a generation and wait for the first of its answer.

    Raises:
        LlamactorError: it was refused, or failed before any text.

    Cancellation: the request's end releases the job.
    """
    answer = await start(jobs, request, generation)
    await answer.begins_within(math.inf)
    return answer


async def start(jobs: Jobs, request: GatewayRequest, generation: Generation) -> Answer:
    """Start a generation and wait for nothing.

    Raises:
        QueueFull: too many bytes of requests wait already.

    Cancellation: the request's end releases the job.
    """
    wanted = JobRequest(
        kind=JobKind.GENERATE,
        model=generation.model.spec,
        load=generation.options.load,
        keep_alive_s=generation.keep_alive_s,
        caller=caller_of(request),
        body=await _encoded(generation.body()),
        prefixes=await _marks(generation.prompt),
    )
    job = request.on_end.enter_context(jobs.submit(wanted))
    return Answer(job, arrived_at=request.arrived_at, splits_thinking=generation.splits_thinking)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a request wants to know of a prompt or of tokens; nothing is generated."""

    model: ServedModel
    options: RequestOptions
    prompt: RawPrompt | ChatPrompt | TokenPrompt
    task: Task
    keep_alive_s: float | None = None


@dataclass(frozen=True, slots=True)
class Inspected:
    """The answer to an inspection; which fields are of interest depends on its task."""

    text: str
    tokens: tuple[int, ...]
    n_tokens: int
    total_ns: int
    load_ns: int


async def inspect(jobs: Jobs, request: GatewayRequest, inspection: Inspection) -> Inspected:
    """Have a runner of the model look at a prompt and wait for what it says.

    Raises:
        LlamactorError: it was refused, or the runner could not.

    Cancellation: the request's end releases the job.
    """
    body = JobBody(prompt=_with_template(inspection.model, inspection.prompt), task=inspection.task)
    wanted = JobRequest(
        kind=JobKind.GENERATE,
        model=inspection.model.spec,
        load=inspection.options.load,
        keep_alive_s=inspection.keep_alive_s,
        caller=caller_of(request),
        body=await _encoded(body),
    )
    job = request.on_end.enter_context(jobs.submit(wanted))
    text, end = "", None
    while end is None:
        piece = await job.stream.receive()
        text, end = text + piece.text, piece.end
    if not isinstance(end, Finished):
        raise Bug("an inspecting job ended like a load")
    return Inspected(
        text=text,
        tokens=end.context,
        n_tokens=end.prompt_tokens,
        total_ns=elapsed_ns(request.arrived_at, trio.current_time()),
        load_ns=elapsed_ns(request.arrived_at, job.granted_at or request.arrived_at),
    )


async def load(
    jobs: Jobs, request: GatewayRequest, model: ServedModel, options: RequestOptions, keep_alive_s: float | None
) -> None:
    """Have a model loaded and wait until it is.

    Raises:
        LlamactorError: it cannot be loaded.
    """
    wanted = JobRequest(
        kind=JobKind.LOAD,
        model=model.spec,
        load=options.load,
        keep_alive_s=keep_alive_s,
        caller=caller_of(request),
    )
    job = request.on_end.enter_context(jobs.submit(wanted))
    await job.stream.receive()


def elapsed_ns(since: float, until: float) -> int:
    """Give the nanoseconds between two times of trio's clock."""
    return max(0, round((until - since) * _NS_PER_S))


async def _encoded(body: JobBody) -> bytes:
    if _n_chars(body.prompt) > _BIG_BODY_BYTES:
        return await trio.to_thread.run_sync(encode_body, body)
    return encode_body(body)


async def _marks(prompt: Prompt) -> tuple[int, ...]:
    if _n_chars(prompt) > _BIG_BODY_BYTES:
        return await trio.to_thread.run_sync(prefix_marks, prompt)
    return prefix_marks(prompt)


def _n_chars(prompt: Prompt) -> int:
    match prompt:
        case RawPrompt():
            return len(prompt.text) + sum(map(len, prompt.media))
        case ChatPrompt():
            return sum(len(message.content) + sum(map(len, message.media)) for message in prompt.messages)
        case FillPrompt():
            return len(prompt.prompt) + len(prompt.suffix)
        case TokenPrompt():
            return len(prompt.tokens)


def chat_think(model: ServedModel, think: bool | str | None) -> bool | str | None:  # noqa: FBT001  # the wire's own type
    """Give the `think` value that reaches the template: on by default for models that can, nothing for others."""
    if not model.can("thinking"):
        return None
    return True if think is None else think


def _with_template(
    model: ServedModel, prompt: RawPrompt | ChatPrompt | FillPrompt | TokenPrompt
) -> RawPrompt | ChatPrompt | FillPrompt | TokenPrompt:
    """Name the Go template of the model, unless the request brought one."""
    if isinstance(prompt, ChatPrompt) and prompt.template is None and model.go_template is not None:
        return msgspec.structs.replace(prompt, template=model.go_template)
    return prompt
