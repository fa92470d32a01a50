"""`POST /api/tokenize`, `/api/detokenize` and `/api/apply-template`: what a model's runner makes of text and tokens.

The model is loaded like for any request; nothing is generated.
"""

from quart import Blueprint, Response

from actors.errors import InvalidRequest, ModelNameRequired
from actors.messages.job import ChatPrompt, RawPrompt, Task, TokenPrompt
from gateway import checks
from gateway.generation import Inspected, Inspection, chat_think, inspect
from gateway.models import ServedModel
from gateway.options import request_options
from gateway.routes.answering import json_response
from gateway.routes.chat import chat_message, conversation
from gateway.routes.reading import current_request, read_body
from gateway.wire import fields
from gateway.wire.inspection_requests import (
    ApplyTemplateReply,
    ApplyTemplateRequest,
    DetokenizeReply,
    DetokenizeRequest,
    InspectionRequest,
    TokenizeReply,
    TokenizeRequest,
)
from gateway.wire.json_text import to_json
from gateway.worker import Worker
from registry.capabilities import TOOLS

_MAX_CONTENT_CHARS = 4 << 20
"""Far more than an answer holds; a longer text is not worth its way to the runner."""


def inspection_routes(worker: Worker) -> Blueprint:
    """Build the routes."""
    routes = Blueprint("inspection", __name__)

    @routes.post("/api/tokenize")
    async def tokenize() -> Response:
        body = await read_body(TokenizeRequest)
        if body.content is None:
            raise InvalidRequest("content is required: the text to tokenize")
        if len(body.content) > _MAX_CONTENT_CHARS:
            raise InvalidRequest(f"content is too long: send at most {_MAX_CONTENT_CHARS} characters at once")
        model = await _model(worker, body)
        prompt = RawPrompt(text=body.content, add_special=bool(body.add_special))
        found = await _inspect(worker, body, Task.TOKENIZE, model, prompt)
        reply = TokenizeReply(
            model=body.model or "", tokens=found.tokens, total_duration=found.total_ns, load_duration=found.load_ns
        )
        return json_response(to_json(reply))

    @routes.post("/api/detokenize")
    async def detokenize() -> Response:
        body = await read_body(DetokenizeRequest)
        if body.tokens is None:
            raise InvalidRequest("tokens is required: a list of token ids")
        model = await _model(worker, body)
        found = await _inspect(worker, body, Task.DETOKENIZE, model, TokenPrompt(tokens=tuple(body.tokens)))
        reply = DetokenizeReply(
            model=body.model or "", content=found.text, total_duration=found.total_ns, load_duration=found.load_ns
        )
        return json_response(to_json(reply))

    @routes.post("/api/apply-template")
    async def apply_template() -> Response:
        body = await read_body(ApplyTemplateRequest)
        if not body.messages:
            raise InvalidRequest("messages is required: the conversation to render")
        think = fields.parse_think(body.think)
        model = await _model(worker, body)
        checks.check_thinks(model, think)
        if body.tools and not model.can(TOOLS):
            checks.check_tools(model, body.tools)
        model.check_renders()
        prompt = ChatPrompt(
            messages=conversation(model, [chat_message(message) for message in body.messages]),
            tools=tuple(body.tools or ()),
            think=chat_think(model, think),
        )
        found = await _inspect(worker, body, Task.RENDER, model, prompt)
        reply = ApplyTemplateReply(
            model=body.model or "",
            prompt=found.text,
            prompt_eval_count=found.n_tokens,
            total_duration=found.total_ns,
            load_duration=found.load_ns,
        )
        return json_response(to_json(reply))

    return routes


async def _model(worker: Worker, body: InspectionRequest) -> ServedModel:
    if not body.model:
        raise ModelNameRequired
    return await worker.models.resolve(body.model)


async def _inspect(
    worker: Worker,
    body: InspectionRequest,
    task: Task,
    model: ServedModel,
    prompt: RawPrompt | ChatPrompt | TokenPrompt,
) -> Inspected:
    wanted = Inspection(
        model=model,
        options=request_options(model.installed.parameters, body.options).clamped(model.spec.n_ctx_train),
        prompt=prompt,
        task=task,
        keep_alive_s=fields.parse_keep_alive_s(body.keep_alive),
    )
    return await inspect(worker.jobs, current_request(), wanted)
