"""`POST /v1/chat/completions`."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import trio
from quart import Blueprint, Response

from actors.errors import InvalidRequest, LlamactorError, ModelNameRequired
from actors.messages.job import ChatMessage, ChatPrompt, Grammar, Task
from gateway import checks
from gateway.adapters import adapters_of
from gateway.answer import Answer, AnswerPart
from gateway.choices import MAX_CHOICES, Choices, begin_choices, whole_choices
from gateway.connection import BegunResponse, GatewayRequest
from gateway.generation import Generation, Inspection, chat_think, inspect
from gateway.models import ServedModel
from gateway.options import request_options
from gateway.parse.dialect import Dialect
from gateway.routes.answering import json_response, openai_error, openai_usage
from gateway.routes.chat import conversation
from gateway.routes.openai_sampling import biased, sampling_options, stop_words
from gateway.routes.reading import EOF, current_request, read_body
from gateway.wire import fields
from gateway.wire.forced_calls import call_grammar
from gateway.wire.grammars import TEXT_KINDS, behind_thinking, schema_grammar, text_grammar
from gateway.wire.openai import EVENT_STREAM, JSON, NO_USAGE, Usage, usage_of
from gateway.wire.openai_chat import ChatCompletionWriter
from gateway.wire.openai_messages import as_systems, chat_messages
from gateway.wire.openai_requests import ChatCompletionRequest, ChatMessageItem, ResponseFormat
from gateway.wire.tool_choice import ToolChoice, read_tool_choice
from gateway.worker import Worker

_MOST_FORCED_CALLS = 16


def openai_chat_routes(worker: Worker) -> Blueprint:
    """Build the route."""
    routes = Blueprint("openai_chat", __name__)

    @routes.post("/v1/chat/completions")
    async def chat_completions() -> Response:
        body = await read_body(ChatCompletionRequest, if_empty=EOF)
        if not body.messages:
            raise InvalidRequest("[] is too short - 'messages'")
        think = fields.parse_effort((body.reasoning and body.reasoning.effort) or body.reasoning_effort or "")
        fields.check_top_logprobs(body.top_logprobs)
        n_choices = _n_choices(body.n)
        said = await _said(body.messages)  # malformed messages are refused before the model is looked up
        if not body.model:
            raise ModelNameRequired
        model = await worker.models.resolve(body.model)
        checks.check_thinks(model, think)
        checks.check_completes(model, "chat")
        checks.check_tools(model, body.tools)
        model.check_renders()
        adapters = await adapters_of(worker.models, model, body.lora)
        generation = replace(_generation(body, said, model, think), adapters=adapters)
        request = current_request()
        writer = ChatCompletionWriter(body.model, n_choices=n_choices)
        if body.debug_render_only:
            wanted = Inspection(model=model, options=generation.options, prompt=generation.prompt, task=Task.RENDER)
            shown = await inspect(worker.jobs, request, wanted)
            return json_response(writer.debug(shown.text, NO_USAGE), JSON)
        answers = await begin_choices(worker.jobs, request, generation, n_choices)
        if not body.stream:
            parts = await whole_choices(answers)
            return json_response(writer.whole(parts, _usage(parts)), JSON)
        frames = _frames(request, answers, writer, tells_usage=body.tells_usage)
        return BegunResponse(frames, content_type=EVENT_STREAM)

    return routes


async def _said(items: Sequence[ChatMessageItem]) -> list[ChatMessage]:
    """Convert a conversation: texts at once, images and calls in a worker thread, because they may take long.

    Raises:
        InvalidRequest: content, parts or arguments are not as they must be.
    """
    if all(isinstance(item.content, str) and not item.tool_calls for item in items):
        return chat_messages(items)
    return await trio.to_thread.run_sync(chat_messages, items)


def _generation(
    body: ChatCompletionRequest,
    said: Sequence[ChatMessage],
    model: ServedModel,
    think: bool | str | None,  # noqa: FBT001  # the wire's own type
) -> Generation:
    choice = read_tool_choice(body.tool_choice, body.tools or ())
    most_calls = 1 if body.parallel_tool_calls is False else None
    answer = constraint(
        choice, response_grammar(body.response_format), model, thinks=model.thinks(think), most_calls=most_calls
    )
    options = request_options(model.installed.parameters, _options(body)).clamped(model.spec.n_ctx_train)
    options = options.with_warnings(_format_warnings(body.response_format))
    return Generation(
        model=model,
        options=biased(options, body.logit_bias),
        prompt=ChatPrompt(
            messages=conversation(model, said if model.knows_developer else as_systems(said)),
            tools=tuple(dict(tool) for tool in choice.shown),
            think=chat_think(model, think),
        ),
        keep_alive_s=fields.parse_keep_alive_s(body.keep_alive),
        grammar=answer.grammar,
        dialect=answer.dialect,
        top_logprobs=fields.n_top_logprobs(wanted=body.logprobs, n_top=body.top_logprobs),
        max_calls=most_calls,
    )


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer must match, and how it is written then."""

    grammar: Grammar | None = None
    dialect: Dialect | None = None
    """None: the model's own."""


def constraint(
    choice: ToolChoice, grammar: Grammar | None, model: ServedModel, *, thinks: bool, most_calls: int | None
) -> Constraint:
    """Give the constraint of an answer: forced calls, at most `most_calls`, or else the format asked for.

    Raises:
        InvalidRequest: a schema cannot be used.
    """
    if not choice.forced:
        return Constraint(behind_thinking(grammar, model.dialect, thinks=thinks))
    dialect = model.dialect
    most_calls = 1 if choice.is_named else most_calls or _MOST_FORCED_CALLS
    calls = call_grammar(dialect.style, choice.forced, most_calls=most_calls, thinks=thinks)
    if not dialect.is_harmony:  # there, thinking is in the calls' own markup
        calls = behind_thinking(calls, dialect, thinks=thinks) or calls
    reads_them = dialect.calls or dialect.is_harmony
    return Constraint(calls, None if reads_them else replace(dialect, reads_bare_json=True))


def response_grammar(response_format: ResponseFormat | None) -> Grammar | None:
    """Read a `response_format`; types that are not known ask for nothing.

    Raises:
        InvalidRequest: its schema cannot be used.
    """
    kind = ((response_format and response_format.type) or "").lower()
    if response_format is not None and kind in TEXT_KINDS:  # ours alone, as on the native routes
        return text_grammar(TEXT_KINDS[kind], msgspec.structs.asdict(response_format), field="response_format")
    if response_format is None or kind not in {"json_object", "json_schema"}:
        return None
    if kind == "json_object":
        return schema_grammar(None)
    schema = (response_format.json_schema or {}).get("schema")
    if schema is None:
        return None
    if not isinstance(schema, dict):
        raise InvalidRequest("response_format.json_schema.schema must be a JSON Schema object")
    return schema_grammar(schema)


def _format_warnings(response_format: ResponseFormat | None) -> tuple[str, ...]:
    """Say what of a `response_format` has no effect; clients send such ones to servers that ignore them."""
    kind = ((response_format and response_format.type) or "").lower()
    if response_format is None or kind in {"", "text", "json_object", *TEXT_KINDS}:
        return ()
    if kind != "json_schema":
        return (f'response_format of type "{response_format.type}" has no effect: use json_schema or json_object',)
    if (response_format.json_schema or {}).get("schema") is None:
        return ("response_format has no effect: its json_schema has no schema",)
    return ()


async def _frames(
    request: GatewayRequest, answers: Sequence[Answer], writer: ChatCompletionWriter, *, tells_usage: bool
) -> AsyncIterator[bytes]:
    """Give the frames of a stream; a failure is an error event, after which nothing follows."""
    try:
        choices = Choices(request, answers)
        ended: list[AnswerPart] = []
        while len(ended) < len(answers):
            index, part = await choices.receive()
            frames = writer.delta(part, index)
            if part.end is not None:
                ended.append(part)
                frames += writer.end(part, index)
            if len(ended) == len(answers):
                frames += writer.done(_usage(ended) if tells_usage else None)
            if frames:
                yield frames
    except LlamactorError as error:
        yield openai_error(error)


def _usage(parts: Sequence[AnswerPart]) -> Usage:
    """Add up what several answers to one prompt took."""
    first = openai_usage(parts[0])
    if len(parts) == 1:
        return first
    ends = [part.end for part in parts if part.end is not None]
    return usage_of(
        first.prompt_tokens,
        sum(end.generated_tokens for end in ends),
        cached_tokens=first.prompt_tokens_details.cached_tokens if first.prompt_tokens_details else 0,
        reasoning_tokens=sum(end.thinking_tokens for end in ends),
    )


def _n_choices(wanted: int | None) -> int:
    if wanted is not None and not 1 <= wanted <= MAX_CHOICES:
        raise InvalidRequest(f"n must be between 1 and {MAX_CHOICES}")
    return wanted or 1


def _options(body: ChatCompletionRequest) -> dict[str, Any]:
    options = sampling_options(body)
    if body.max_tokens is None and body.max_completion_tokens is not None:
        options["num_predict"] = body.max_completion_tokens
    return options | stop_words(body.stop)
