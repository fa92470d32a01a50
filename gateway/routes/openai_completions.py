"""`POST /v1/completions`: the prompt goes through the model's template, as one turn of a chat."""

import dataclasses
from typing import Any

from quart import Blueprint, Response

from actors.errors import InvalidRequest
from actors.messages.job import ChatMessage, ChatPrompt, FillPrompt, Task
from gateway import checks
from gateway.adapters import adapters_of
from gateway.connection import BegunResponse
from gateway.generation import Generation, Inspection, begin, chat_think, inspect, load
from gateway.models import ServedModel
from gateway.options import RequestOptions, request_options
from gateway.routes.answering import json_response, openai_frames, openai_usage
from gateway.routes.chat import conversation
from gateway.routes.openai_sampling import biased, sampling_options
from gateway.routes.reading import EOF, current_request, read_body
from gateway.wire import fields
from gateway.wire.openai import EVENT_STREAM, JSON, NO_USAGE, CompletionWriter
from gateway.wire.openai_requests import CompletionRequest
from gateway.worker import Worker


def openai_completion_routes(worker: Worker) -> Blueprint:
    """Build the route."""
    routes = Blueprint("openai_completions", __name__)

    @routes.post("/v1/completions")
    async def completions() -> Response:
        body = await read_body(CompletionRequest, if_empty=EOF)
        wanted = _options(body)
        keep_alive_s = fields.parse_keep_alive_s(body.keep_alive)
        model = await worker.models.resolve(body.model or "")
        checks.check_completes(model, "generate")
        fill = checks.fill_template(model, body.suffix)
        options = request_options(model.installed.parameters, wanted)
        writer = CompletionWriter(body.model or "", tells_usage=body.tells_usage)
        if not body.prompt:
            await load(worker.jobs, current_request(), model, options, keep_alive_s)
            if body.stream:
                return Response(writer.end("load", NO_USAGE), content_type=EVENT_STREAM)
            return json_response(writer.whole("", "load", NO_USAGE), JSON)
        generation = dataclasses.replace(
            _generation(model, biased(options, body.logit_bias), _prompt(model, body, fill), keep_alive_s),
            adapters=await adapters_of(worker.models, model, body.lora),
        )
        if body.debug_render_only:
            inspected = Inspection(model=model, options=options, prompt=generation.prompt, task=Task.RENDER)
            shown = await inspect(worker.jobs, current_request(), inspected)
            return json_response(writer.debug(shown.text), JSON)
        answer = await begin(worker.jobs, current_request(), generation)
        if not body.stream:
            part = await answer.whole()
            return json_response(writer.whole(part.text, part.reason, openai_usage(part)), JSON)
        frames = openai_frames(
            answer,
            lambda part: writer.delta(part.text) if part.text else b"",  # thinking is not told here
            lambda part: writer.end(part.reason, openai_usage(part)),
        )
        return BegunResponse(frames, content_type=EVENT_STREAM)

    return routes


def _prompt(model: ServedModel, body: CompletionRequest, fill: str | None) -> ChatPrompt | FillPrompt:
    think, text = chat_think(model, None), body.prompt or ""
    if fill is not None:
        return FillPrompt(template=fill, prompt=text, suffix=body.suffix or "", think=think)
    model.check_renders()
    messages = conversation(model, [ChatMessage(role="user", content=text)])
    return ChatPrompt(messages=messages, think=think)


def _generation(
    model: ServedModel, options: RequestOptions, prompt: ChatPrompt | FillPrompt, keep_alive_s: float | None
) -> Generation:
    return Generation(
        model=model,
        options=options,
        keep_alive_s=keep_alive_s,
        prompt=prompt,
    )


def _options(body: CompletionRequest) -> dict[str, Any]:
    options = sampling_options(body)
    if not body.top_p and body.top_p is not None:
        options["top_p"] = 1.0
    if isinstance(body.stop, str):
        options["stop"] = [body.stop]
    elif isinstance(body.stop, list):
        for word in body.stop:
            if not isinstance(word, str):
                raise InvalidRequest(f"invalid type for 'stop' field: {type(word).__name__}")
        options["stop"] = body.stop
    return options
