"""Answers as HTTP responses: whole, or line by line while they come."""

from collections.abc import AsyncIterator, Callable

from quart import Response

from actors.errors import LlamactorError
from actors.log import get_logger
from actors.messages.job import ChatPrompt, FillPrompt, RawPrompt, Task
from gateway.answer import Answer, AnswerEnd, AnswerPart
from gateway.connection import BegunResponse
from gateway.errors import Family, error_body, status_of
from gateway.generation import Inspection, inspect
from gateway.models import ServedModel
from gateway.options import RequestOptions
from gateway.routes.reading import current_request
from gateway.wire.native import JSON, NDJSON, Line, Metrics, NativeWriter, Truncated
from gateway.wire.openai import NO_USAGE, Usage, usage_of
from gateway.worker import Worker

log = get_logger(__name__)


def json_response(body: bytes, content_type: str = JSON) -> Response:
    """Answer with a finished JSON text."""
    return Response(body, content_type=content_type)


async def native_response(answer: Answer, writer: NativeWriter, *, streams: bool) -> Response:
    """Answer a native request with a generation.

    Raises:
        LlamactorError: the generation failed and nothing was sent.
    """
    if streams:
        return BegunResponse(native_lines(answer, writer), content_type=NDJSON)
    part = await answer.whole()
    return json_response(writer.end(last_line(part), part))


async def rendered(
    worker: Worker,
    model: ServedModel,
    options: RequestOptions,
    prompt: RawPrompt | ChatPrompt | FillPrompt,
    writer: NativeWriter,
    *,
    n_images: int,
) -> Response:
    """Answer a native request with its rendered prompt.

    Raises:
        LlamactorError: it cannot be rendered.
    """
    if isinstance(prompt, RawPrompt):
        return json_response(writer.debug(prompt.text, n_images))
    wanted = Inspection(model=model, options=options, prompt=prompt, task=Task.RENDER)
    shown = await inspect(worker.jobs, current_request(), wanted)
    return json_response(writer.debug(shown.text, n_images))


async def native_lines(answer: Answer, writer: NativeWriter) -> AsyncIterator[bytes]:
    """Give the lines of a native stream; a failure is its last line."""
    try:
        is_over = False
        while not is_over:
            part = await answer.receive()
            line = writer.delta(part) if part.events or part.logprobs else b""
            if part.end is not None:
                line += writer.end(last_line(part)) + b"\n"
                is_over = True
            yield line
    except LlamactorError as error:
        log.warning("an answer was cut short: %s", error.message)
        yield error_body(Family.NATIVE, error.message, status_of(error)) + b"\n"


def last_line(part: AnswerPart) -> Line:
    """Give what the last line of a native answer tells."""
    end = part.end or AnswerEnd(reason="stop")
    is_truncated = end.truncated_messages or end.truncated_tokens
    return Line(
        done_reason=end.reason,
        metrics=Metrics(
            total_duration=end.total_ns,
            load_duration=end.load_ns,
            prompt_eval_count=end.prompt_tokens,
            prompt_cached_count=end.cached_tokens,
            prompt_eval_duration=end.prompt_ns,
            eval_count=end.generated_tokens,
            eval_duration=end.generate_ns,
        ),
        context=end.context,
        truncated=Truncated(messages=end.truncated_messages, tokens=end.truncated_tokens) if is_truncated else None,
        warnings=end.warnings,
    )


def openai_usage(part: AnswerPart) -> Usage:
    """Give the token counts that an OpenAI answer tells."""
    end = part.end
    if end is None:
        return NO_USAGE
    return usage_of(
        end.prompt_tokens,
        end.generated_tokens,
        cached_tokens=end.cached_tokens,
        reasoning_tokens=end.thinking_tokens,
    )


async def openai_frames(
    answer: Answer, delta: Callable[[AnswerPart], bytes], end: Callable[[AnswerPart], bytes]
) -> AsyncIterator[bytes]:
    """Give the frames of an OpenAI stream; a failure is an error event, then the stream ends without `[DONE]`."""
    try:
        is_over = False
        while not is_over:
            part = await answer.receive()
            frames = delta(part) if part.events or part.logprobs else b""
            if part.end is not None:
                frames += end(part)
                is_over = True
            yield frames
    except LlamactorError as error:
        yield openai_error(error)


def openai_error(error: LlamactorError) -> bytes:
    """Give the event that ends an OpenAI stream which failed."""
    log.warning("an answer was cut short: %s", error.message)
    return b"data: " + error_body(Family.OPENAI, error.message, status_of(error)) + b"\n\n"
