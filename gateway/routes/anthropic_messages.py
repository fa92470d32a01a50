"""`POST /v1/messages` and `POST /v1/messages/count_tokens`."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from quart import Blueprint, Response

from actors.errors import InvalidRequest, LlamactorError
from actors.log import get_logger
from actors.messages.job import ChatPrompt, Task
from gateway import checks
from gateway.answer import Answer, AnswerEnd
from gateway.errors import Family, error_body, request_id, status_of
from gateway.generation import Generation, Inspection, begin, chat_think, inspect
from gateway.models import ServedModel
from gateway.options import request_options
from gateway.routes.answering import json_response
from gateway.routes.chat import conversation
from gateway.routes.openai_chat import Constraint, constraint
from gateway.routes.reading import EOF, current_request, read_body
from gateway.wire.anthropic import MessageWriter, Stop, Usage, stop_of
from gateway.wire.anthropic_messages import answer_grammar, chat_messages, native_tools, think_value, tool_choice
from gateway.wire.anthropic_requests import CountTokensRequest, MessagesRequest
from gateway.wire.anthropic_requests import ToolChoice as ToolChoiceItem
from gateway.wire.json_text import to_json
from gateway.wire.openai import EVENT_STREAM, JSON
from gateway.worker import Worker

log = get_logger(__name__)


def anthropic_message_routes(worker: Worker) -> Blueprint:
    """Build the routes."""
    routes = Blueprint("anthropic_messages", __name__)

    @routes.post("/v1/messages")
    async def messages() -> Response:
        body = await read_body(MessagesRequest, if_empty=EOF)
        _check(body)
        asked = await _asked(worker, body)
        options = request_options(asked.model.installed.parameters, _options(body))
        generation = Generation(
            model=asked.model,
            options=options.clamped(asked.model.spec.n_ctx_train),
            prompt=asked.prompt,
            grammar=asked.constraint.grammar,
            dialect=asked.constraint.dialect,
            tells_prefill=bool(body.stream),
            max_calls=asked.most_calls,
        )
        answer = await begin(worker.jobs, current_request(), generation)
        writer = MessageWriter(body.model or "")
        stops = frozenset(body.stop_sequences or ())
        if body.stream:
            response = Response(_frames(answer, writer, stops), content_type=EVENT_STREAM)
            response.headers["Cache-Control"] = "no-cache"
        else:
            part = await answer.whole()
            stop = _stop(part.end, stops, has_calls=bool(part.calls))
            response = json_response(writer.whole(part.text, part.thinking, part.calls, stop, _usage(part.end)), JSON)
        response.headers["request-id"] = request_id()
        return response

    @routes.post("/v1/messages/count_tokens")
    async def count_tokens() -> Response:
        body = await read_body(CountTokensRequest, if_empty=EOF)
        _check_prompt(body)
        asked = await _asked(worker, body)
        options = request_options(asked.model.installed.parameters, None)
        wanted = Inspection(model=asked.model, options=options, prompt=asked.prompt, task=Task.COUNT)
        counted = await inspect(worker.jobs, current_request(), wanted)
        response = json_response(to_json({"input_tokens": counted.n_tokens}) + b"\n", JSON)
        response.headers["request-id"] = request_id()
        return response

    return routes


def _check(body: MessagesRequest) -> None:
    # The order of these checks is the order in which clients have seen their errors.
    if not body.model:
        raise InvalidRequest("model is required")
    if (body.max_tokens or 0) <= 0:
        raise InvalidRequest("max_tokens is required and must be positive")
    _check_prompt(body)


def _check_prompt(body: CountTokensRequest) -> None:
    if not body.model:
        raise InvalidRequest("model is required")
    if not body.messages:
        raise InvalidRequest("messages is required")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request asks of which model."""

    model: ServedModel
    prompt: ChatPrompt
    constraint: Constraint
    most_calls: int | None


async def _asked(worker: Worker, body: CountTokensRequest) -> _Asked:
    said, think = chat_messages(body), think_value(body)
    tools = native_tools(body.tools)
    choice = tool_choice(body.tool_choice, tools)
    grammar = answer_grammar(body.output_config)
    model = await worker.models.resolve(body.model or "")
    checks.check_completes(model, "chat")
    checks.check_tools(model, tools)
    model.check_renders()
    think = chat_think(model, think)  # a model that cannot think is not told to, and nobody is refused for asking
    shown = tuple(dict(tool) for tool in choice.shown)
    most_calls = 1 if (body.tool_choice or ToolChoiceItem()).disable_parallel_tool_use else None
    return _Asked(
        model=model,
        prompt=ChatPrompt(messages=conversation(model, said), tools=shown, think=think),
        constraint=constraint(choice, grammar, model, thinks=model.thinks(think), most_calls=most_calls),
        most_calls=most_calls,
    )


def _options(body: MessagesRequest) -> dict[str, Any]:
    options: dict[str, Any] = {
        "num_predict": body.max_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "top_k": body.top_k,
        "stop": body.stop_sequences,
    }
    return {name: value for name, value in options.items() if value is not None}


async def _frames(answer: Answer, writer: MessageWriter, stops: frozenset[str]) -> AsyncIterator[bytes]:
    """Give the events of a stream; a failure is the last of them."""
    try:
        part = await answer.receive()
        frames = writer.start(_usage_at_start(answer))
        while True:
            frames += writer.delta(part.text, part.thinking, part.calls)
            if part.end is not None:
                stop = _stop(part.end, stops, has_calls=writer.has_calls)
                yield frames + writer.end(stop, _usage(part.end))
                return
            yield frames
            frames, part = b"", await answer.receive()
    except LlamactorError as error:
        log.warning("an answer was cut short: %s", error.message)
        body = error_body(Family.ANTHROPIC, error.message, status_of(error))
        yield b"event: error\ndata: " + body + b"\n\n"


def _stop(end: AnswerEnd | None, stops: frozenset[str], *, has_calls: bool) -> Stop:
    end = end or AnswerEnd(reason="stop")
    return stop_of(end.reason, sequence=end.stop if end.stop in stops else None, has_calls=has_calls)


def _usage(end: AnswerEnd | None) -> Usage:
    if end is None:
        return Usage()
    return Usage(
        input_tokens=end.prompt_tokens - end.cached_tokens,
        cache_read_input_tokens=end.cached_tokens,
        output_tokens=end.generated_tokens,
    )


def _usage_at_start(answer: Answer) -> Usage:
    prefill = answer.prefill
    if prefill is None:
        return Usage()
    return Usage(
        input_tokens=prefill.prompt_tokens - prefill.cached_tokens, cache_read_input_tokens=prefill.cached_tokens
    )
