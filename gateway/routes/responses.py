"""`POST /v1/responses`, and the stored responses: `GET` and `DELETE /v1/responses/{id}`."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import trio
from quart import Blueprint, Response

from actors.errors import InvalidRequest, LlamactorError, ModelNameRequired
from actors.log import get_logger
from actors.messages.job import ChatMessage, ChatPrompt, Grammar, ToolCall, ToolFunction
from gateway import checks
from gateway.answer import Answer, AnswerPart
from gateway.generation import Generation, begin, chat_think, load
from gateway.models import ServedModel
from gateway.options import RequestOptions, request_options
from gateway.routes.answering import json_response
from gateway.routes.chat import conversation
from gateway.routes.openai_chat import constraint
from gateway.routes.reading import EOF, current_request, read_body
from gateway.stored_responses import StoredResponse, StoredResponses, new_response_id
from gateway.wire import fields
from gateway.wire.grammars import schema_grammar
from gateway.wire.json_text import to_json
from gateway.wire.openai import EVENT_STREAM, JSON
from gateway.wire.openai_messages import as_systems
from gateway.wire.responses import ResponseUsage, ResponseWriter
from gateway.wire.responses_input import input_messages, native_tools
from gateway.wire.responses_requests import ResponsesRequest
from gateway.wire.tool_choice import read_tool_choice
from gateway.worker import Worker

_FOLDER = "responses"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One request that is being answered."""

    body: ResponsesRequest
    response_id: str
    writer: ResponseWriter
    messages: Sequence[ChatMessage]
    """The conversation up to the answer, without instructions, which count for one response only."""


def responses_routes(worker: Worker) -> Blueprint:
    """Build the routes."""
    routes = Blueprint("responses", __name__)
    stored = StoredResponses(worker.settings.run_dir / _FOLDER)

    @routes.post("/v1/responses")
    async def responses() -> Response:
        body = await read_body(ResponsesRequest, if_empty=EOF)
        said = await trio.to_thread.run_sync(input_messages, body.input)
        if not body.model:
            raise ModelNameRequired
        _check_state(body)
        model = await worker.models.resolve(body.model)
        exchange = await _exchange(body, said, model, stored)
        options = request_options(model.installed.parameters, _options(body)).clamped(model.spec.n_ctx_train)
        if not exchange.messages and not body.instructions:
            await load(worker.jobs, current_request(), model, options, fields.parse_keep_alive_s(body.keep_alive))
            return await _respond(exchange, stored, None)
        generation = _generation(exchange, model, options)
        return await _respond(exchange, stored, await begin(worker.jobs, current_request(), generation))

    @routes.get("/v1/responses/<response_id>")
    async def retrieve(response_id: str) -> Response:
        found = await stored.get(response_id)
        return json_response(found.response, JSON) if found is not None else _absent(response_id)

    @routes.delete("/v1/responses/<response_id>")
    async def delete(response_id: str) -> Response:
        if not await stored.delete(response_id):
            return _absent(response_id)
        return json_response(to_json({"id": response_id, "object": "response", "deleted": True}) + b"\n", JSON)

    return routes


def _check_state(body: ResponsesRequest) -> None:
    if body.conversation is not None:
        raise InvalidRequest("conversations are not kept here: chain answers with previous_response_id instead")


async def _exchange(
    body: ResponsesRequest, said: Sequence[ChatMessage], model: ServedModel, stored: StoredResponses
) -> _Exchange:
    earlier: tuple[ChatMessage, ...] = ()
    if body.previous_response_id:
        previous = await stored.get(body.previous_response_id)
        if previous is None:
            raise InvalidRequest(
                f"Previous response with id '{body.previous_response_id}' not found: it was never stored, or is too old"
            )
        earlier = previous.messages
    if not model.knows_developer:
        said = as_systems(said)
    response_id = new_response_id()
    writer = ResponseWriter(response_id, body, is_stored=body.store is not False)
    return _Exchange(body, response_id, writer, (*earlier, *_named(earlier, said)))


def _generation(exchange: _Exchange, model: ServedModel, options: RequestOptions) -> Generation:
    body = exchange.body
    think = fields.parse_effort((body.reasoning and body.reasoning.effort) or "")
    tools = native_tools(body.tools or ())
    checks.check_thinks(model, think)
    checks.check_completes(model, "chat")
    checks.check_tools(model, list(tools))
    model.check_renders()
    choice = read_tool_choice(body.tool_choice, tools)
    most_calls = 1 if body.parallel_tool_calls is False else None
    answer = constraint(choice, _grammar(body), model, thinks=model.thinks(think), most_calls=most_calls)
    instructions = [ChatMessage(role="system", content=body.instructions)] if body.instructions else []
    return Generation(
        model=model,
        options=options,
        prompt=ChatPrompt(
            messages=conversation(model, [*instructions, *exchange.messages]),
            tools=tuple(dict(tool) for tool in choice.shown),
            think=chat_think(model, think),
        ),
        keep_alive_s=fields.parse_keep_alive_s(body.keep_alive),
        grammar=answer.grammar,
        dialect=answer.dialect,
        max_calls=most_calls,
    )


async def _respond(exchange: _Exchange, stored: StoredResponses, answer: Answer | None) -> Response:
    """Answer with a stream or a whole object; without an answer, with an empty one."""
    if exchange.body.stream:
        response = Response(_frames(exchange, stored, answer), content_type=EVENT_STREAM)
        response.headers["Cache-Control"] = "no-cache"
        return response
    writer = exchange.writer
    part = await answer.whole() if answer is not None else AnswerPart()
    writer.delta(part)
    writer.end(part.reason, _usage(part))
    content = writer.finished(part.reason, _usage(part))
    await _keep(exchange, stored, [part], content)
    return json_response(content, JSON)


async def _frames(exchange: _Exchange, stored: StoredResponses, answer: Answer | None) -> AsyncIterator[bytes]:
    """Give the events of a stream; a failure is told by the last of them."""
    writer = exchange.writer
    yield writer.start()
    parts: list[AnswerPart] = []
    try:
        part = AnswerPart()
        while answer is not None and part.end is None:
            part = await answer.receive()
            parts.append(part)
            frames = writer.delta(part)
            if frames:
                yield frames
    except LlamactorError as error:
        log.warning("an answer was cut short: %s", error.message)
        yield writer.failed(error.message)
        return
    last = writer.end(part.reason, _usage(part))
    await _keep(exchange, stored, parts, writer.finished(part.reason, _usage(part)))
    yield last


async def _keep(exchange: _Exchange, stored: StoredResponses, parts: Sequence[AnswerPart], response: bytes) -> None:
    """Store the conversation with its answer, for requests that go on with it."""
    if exchange.body.store is False:
        return
    said = ChatMessage(
        role="assistant",
        content="".join(part.text for part in parts),
        thinking="".join(part.thinking for part in parts),
        tool_calls=tuple(
            ToolCall(id=call.id, function=ToolFunction(name=call.name, arguments=json.loads(call.arguments)))
            for part in parts
            for call in part.calls
        ),
    )
    await stored.put(exchange.response_id, StoredResponse(messages=(*exchange.messages, said), response=response))


def _named(earlier: Sequence[ChatMessage], said: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Name the tools of results whose calls are in the stored part of a conversation."""
    names = {call.id: call.function.name for message in earlier for call in message.tool_calls}
    return [
        msgspec.structs.replace(message, tool_name=names.get(message.tool_call_id, ""))
        if message.role == "tool" and not message.tool_name
        else message
        for message in said
    ]


def _grammar(body: ResponsesRequest) -> Grammar | None:
    wanted = (body.text and body.text.format) or {}
    match wanted.get("type"):
        case "json_object":
            return schema_grammar(None)
        case "json_schema" if isinstance(wanted.get("schema"), dict):
            return schema_grammar(wanted["schema"])
        case "json_schema" if "schema" in wanted:
            raise InvalidRequest("text.format.schema must be a JSON Schema object")
    return None


def _options(body: ResponsesRequest) -> dict[str, Any]:
    """Give the sampling fields as native options: temperature is 1 by default, the rest is the model's."""
    given = {"temperature": body.temperature, "top_p": body.top_p, "num_predict": body.max_output_tokens}
    set_fields = {name: value for name, value in given.items() if value is not None}
    return {"temperature": 1.0} | (body.options or {}) | set_fields


def _usage(part: AnswerPart) -> ResponseUsage:
    end = part.end
    if end is None:
        return ResponseUsage()
    return ResponseUsage(
        input_tokens=end.prompt_tokens,
        cached_tokens=end.cached_tokens,
        output_tokens=end.generated_tokens,
        reasoning_tokens=end.thinking_tokens,
    )


def _absent(response_id: str) -> Response:
    message = f"Response with id '{response_id}' not found: it was never stored, or is too old"
    error = {"message": message, "type": "not_found_error", "param": None, "code": None}
    return Response(to_json({"error": error}) + b"\n", status=404, content_type=JSON)
