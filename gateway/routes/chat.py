"""`POST /api/chat`."""

from collections.abc import Sequence

from quart import Blueprint, Response

from actors.errors import ModelNameRequired
from actors.messages.job import ChatMessage, ChatPrompt, ToolCall, ToolFunction
from gateway import checks
from gateway.adapters import adapters_of
from gateway.generation import Generation, begin, chat_think, load, start
from gateway.models import ServedModel
from gateway.options import request_options
from gateway.routes.answering import json_response, native_response, rendered
from gateway.routes.reading import current_request, read_body, read_images
from gateway.routes.watching import watched_response
from gateway.wire import fields
from gateway.wire.grammars import behind_thinking, format_grammar
from gateway.wire.native import ChatWriter, Line
from gateway.wire.native_requests import ChatRequest, Message
from gateway.worker import Worker


def chat_routes(worker: Worker) -> Blueprint:
    """Build the route."""
    routes = Blueprint("chat", __name__)

    @routes.post("/api/chat")
    async def chat() -> Response:
        # The order of these checks is the order in which clients have seen their errors.
        body = await read_body(ChatRequest)
        keep_alive_s, think = fields.parse_keep_alive_s(body.keep_alive), fields.parse_think(body.think)
        fields.check_top_logprobs(body.top_logprobs)
        if not body.model:
            raise ModelNameRequired
        model = await worker.models.resolve(body.model)
        writer = ChatWriter(body.model)
        if not body.messages and keep_alive_s == 0:
            await worker.jobs.questions.unload(model.spec.key)
            return json_response(writer.end(Line(done_reason="unload")))
        checks.check_thinks(model, think)
        checks.check_completes(model, "chat")
        checks.check_tools(model, body.tools)
        options = request_options(model.installed.parameters, body.options).clamped(model.spec.n_ctx_train)
        if not body.messages:
            await load(worker.jobs, current_request(), model, options, keep_alive_s)
            return json_response(writer.end(Line(done_reason="load")))
        media = await read_images([message.images for message in body.messages])
        grammar = format_grammar(fields.raw_bytes(body.format))
        model.check_renders()
        prompt = ChatPrompt(
            messages=conversation(model, list(map(chat_message, body.messages, media))),
            tools=tuple(body.tools or ()),
            think=chat_think(model, think),
        )
        if body.debug_render_only:
            return await rendered(worker, model, options, prompt, writer, n_images=sum(map(len, media)))
        generation = Generation(
            model=model,
            options=options,
            prompt=prompt,
            keep_alive_s=keep_alive_s,
            tells_prefill=bool(body.progress),
            truncate=body.truncate is not False,
            shift=body.shift,
            grammar=behind_thinking(grammar, model.dialect, thinks=model.thinks(think)),
            top_logprobs=fields.n_top_logprobs(wanted=body.logprobs, n_top=body.top_logprobs),
            adapters=await adapters_of(worker.models, model, body.lora),
        )
        if body.progress and body.stream is not False:
            return await watched_response(worker.jobs, await start(worker.jobs, current_request(), generation), writer)
        answer = await begin(worker.jobs, current_request(), generation)
        return await native_response(answer, writer, streams=body.stream is not False)

    return routes


def conversation(model: ServedModel, messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """Put a model's stored messages in front of a request's, and its system text first unless the request has one."""
    stored = [ChatMessage(role=each["role"], content=each["content"]) for each in model.installed.messages]
    system = model.installed.system
    if system and messages[0].role != "system":
        stored.insert(0, ChatMessage(role="system", content=system))
    return (*stored, *messages)


def chat_message(message: Message, media: tuple[bytes, ...] = ()) -> ChatMessage:
    """Give a message of the native API as the runner gets it."""
    calls = tuple(
        ToolCall(
            id=call.id or "",
            function=ToolFunction(name=call.function.name or "", arguments=call.function.arguments or {}),
        )
        for call in message.tool_calls or ()
    )
    return ChatMessage(
        role=(message.role or "").lower(),
        content=message.content or "",
        thinking=message.thinking or "",
        tool_calls=calls,
        tool_name=message.tool_name or "",
        tool_call_id=message.tool_call_id or "",
        media=media,
    )
