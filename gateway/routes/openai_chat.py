"""`POST /v1/chat/completions`."""

from typing import Any

from quart import Blueprint, Response

from actors.errors import InvalidRequest, ModelNameRequired, NotAvailable
from actors.messages.job import ChatPrompt
from gateway import checks
from gateway.adapters import adapters_of
from gateway.generation import Generation, begin, chat_think
from gateway.options import request_options
from gateway.routes.answering import json_response, openai_frames, openai_usage
from gateway.routes.chat import conversation
from gateway.routes.openai_sampling import sampling_options
from gateway.routes.reading import EOF, current_request, read_body
from gateway.wire import fields
from gateway.wire.openai import EVENT_STREAM, JSON, ChatCompletionWriter
from gateway.wire.openai_messages import chat_messages
from gateway.wire.openai_requests import ChatCompletionRequest, ResponseFormat
from gateway.worker import Worker
from registry.capabilities import THINKING


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
        chat_messages(body.messages, knows_developer=True)  # malformed ones are refused before the model is looked up
        if not body.model:
            raise ModelNameRequired
        model = await worker.models.resolve(body.model)
        checks.check_thinks(model, think)
        checks.check_completes(model, "chat")
        checks.check_tools(model, body.tools)
        _check_available(body)
        model.check_renders()
        messages = chat_messages(body.messages, knows_developer=model.knows_developer)
        generation = Generation(
            model=model,
            options=request_options(model.installed.parameters, _options(body)),
            prompt=ChatPrompt(messages=conversation(model, messages), think=chat_think(model, think)),
            splits_thinking=model.can(THINKING),
            adapters=await adapters_of(worker.models, model, body.lora),
        )
        answer = await begin(worker.jobs, current_request(), generation)
        writer = ChatCompletionWriter(body.model)
        if not body.stream:
            part = await answer.whole()
            return json_response(writer.whole(part.text, part.thinking, part.reason, openai_usage(part)), JSON)
        frames = openai_frames(
            answer,
            lambda part: writer.delta(part.text, part.thinking),
            lambda part: writer.end(part.reason, openai_usage(part) if body.tells_usage else None),
        )
        return Response(frames, content_type=EVENT_STREAM)

    return routes


def _options(body: ChatCompletionRequest) -> dict[str, Any]:
    options = sampling_options(body)
    if body.max_tokens is None and body.max_completion_tokens is not None:
        options["num_predict"] = body.max_completion_tokens
    if isinstance(body.stop, str):
        options["stop"] = [body.stop]
    elif isinstance(body.stop, list):
        options["stop"] = [word for word in body.stop if isinstance(word, str)]
    return options


def _check_available(body: ChatCompletionRequest) -> None:
    checks.check_logprobs(wanted=body.logprobs)
    checks.check_debug(wanted=body.debug_render_only)
    if _is_constrained(body.response_format):
        raise NotAvailable("response_format", "ask for JSON in the prompt")


def _is_constrained(response_format: ResponseFormat | None) -> bool:
    if response_format is None:
        return False
    kind = (response_format.type or "").lower()
    has_schema = bool(response_format.json_schema and response_format.json_schema.get("schema"))
    return kind == "json_object" or (kind == "json_schema" and has_schema)
