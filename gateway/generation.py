"""One generation: what a request wants, and its job.

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
from actors.messages.job import ChatPrompt, FillPrompt, Grammar, JobBody, RawPrompt, Task, TokenPrompt
from actors.messages.model import AdapterUse
from actors.messages.runner_to_gateway import Finished
from gateway.answer import Answer, elapsed_ns
from gateway.caller import caller_of
from gateway.checks import check_reads_media
from gateway.connection import GatewayRequest
from gateway.job import JobRequest
from gateway.jobs import Jobs
from gateway.models import ServedModel
from gateway.options import RequestOptions
from gateway.parse.dialect import Dialect
from gateway.parse.model_parser import Parser, parser_for
from gateway.parse.tools import DeclaredTools
from gateway.prefixes import Prompt, prefix_marks

_BIG_BODY_BYTES = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What a request wants generated."""

    model: ServedModel
    options: RequestOptions
    prompt: RawPrompt | ChatPrompt | FillPrompt
    keep_alive_s: float | None = None
    truncate: bool = True
    returns_context: bool = False
    tells_prefill: bool = False
    adapters: tuple[AdapterUse, ...] | None = None
    """LoRA files; None: the model's own."""
    shift: bool | None = None
    """Whether the answer may outgrow the context; None: as the model does."""
    grammar: Grammar | None = None
    top_logprobs: int | None = None
    is_parsed: bool = True
    """Whether thinking and calls are taken out of the answer."""
    max_calls: int | None = None
    """Calls beyond so many are left out of the answer."""
    dialect: Dialect | None = None
    """How calls and thinking are written in this answer, where that is not the model's own way."""

    @property
    def tools(self) -> DeclaredTools:
        """What the answer may call."""
        return DeclaredTools(self.prompt.tools if isinstance(self.prompt, ChatPrompt) else ())

    def parser(self, prompt_tail: str) -> Parser:
        """Make the parser of the answer to a prompt that ends with `prompt_tail`."""
        return parser_for(self.dialect or self.model.dialect, self.tools, prompt_tail=prompt_tail)

    def body(self) -> JobBody:
        """Give the message body that the runner gets."""
        return JobBody(
            prompt=_with_template(self.model, self.prompt),
            sampling=self.options.sampling,
            num_predict=self.options.num_predict,
            stop=self.options.stop,
            grammar=self.grammar,
            top_logprobs=self.top_logprobs,
            truncate=self.truncate,
            shift=self.model.shifts if self.shift is None else self.shift,
            num_keep=self.options.num_keep,
            num_ctx=self.options.num_ctx,
            most_drafted=_most_drafted(self.options),
            return_context=self.returns_context,
            visible_tokens=self._visible_tokens(),
            tells_prefill=self.tells_prefill,
            adapters=self.adapters,
        )

    def _visible_tokens(self) -> tuple[str, ...]:
        if not self.is_parsed:
            return ()
        return (self.dialect or self.model.dialect).visible_tokens(with_calls=bool(self.tools))


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
    make_parser = generation.parser if generation.is_parsed else None
    return Answer(
        job,
        arrived_at=request.arrived_at,
        make_parser=make_parser,
        max_calls=generation.max_calls,
        warnings=generation.options.warnings,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a request wants to know of a prompt or of tokens; nothing is generated."""

    model: ServedModel
    options: RequestOptions
    prompt: RawPrompt | ChatPrompt | FillPrompt | TokenPrompt
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
        kind=JobKind.INSPECT,
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


def _most_drafted(options: RequestOptions) -> int | None:
    most = options.draft_num_predict
    return most if most is None or most >= 0 else None


def _with_template(
    model: ServedModel, prompt: RawPrompt | ChatPrompt | FillPrompt | TokenPrompt
) -> RawPrompt | ChatPrompt | FillPrompt | TokenPrompt:
    """Name the Go template of the model, unless the request brought one.

    Raises:
        UnsupportedByModel: there are images or sounds, and the model has no projector.
    """
    parts = prompt.messages if isinstance(prompt, ChatPrompt) else [prompt] if isinstance(prompt, RawPrompt) else []
    if any(part.media for part in parts):
        check_reads_media(model)
    if isinstance(prompt, ChatPrompt) and prompt.template is None and model.go_template is not None:
        return msgspec.structs.replace(prompt, template=model.go_template)
    return prompt
