"""`POST /api/generate`."""

import functools

from quart import Blueprint, Response

from actors.messages.job import ChatMessage, ChatPrompt, FillPrompt, RawPrompt
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
from gateway.wire.native import GenerateWriter, Line
from gateway.wire.native_requests import GenerateRequest
from gateway.worker import Worker


def generate_routes(worker: Worker) -> Blueprint:
    """Build the route."""
    routes = Blueprint("generate", __name__)

    @routes.post("/api/generate")
    async def generate() -> Response:
        # The order of these checks is the order in which clients have seen their errors.
        body = await read_body(GenerateRequest)
        keep_alive_s, think = fields.parse_keep_alive_s(body.keep_alive), fields.parse_think(body.think)
        fields.check_top_logprobs(body.top_logprobs)
        model = await worker.models.resolve(body.model or "")
        writer = GenerateWriter(body.model or "")
        if not body.prompt and keep_alive_s == 0:
            await worker.jobs.questions.unload(model.spec.key)
            return json_response(writer.end(Line(done_reason="unload")))
        checks.check_raw(raw=body.raw, others=(body.template, body.system, body.context))
        checks.check_thinks(model, think)
        checks.check_completes(model, "generate")
        if body.template:  # a long one takes a while to parse
            await worker.models.in_thread(functools.partial(checks.check_template, body.template))
        fill = checks.fill_template(model, body.suffix, body.template)
        options = request_options(model.installed.parameters, body.options).clamped(model.spec.n_ctx_train)
        if not body.prompt:
            await load(worker.jobs, current_request(), model, options, keep_alive_s)
            return json_response(writer.end(Line(done_reason="load")))
        (media,) = await read_images([body.images])
        grammar = format_grammar(fields.raw_bytes(body.format))
        prompt = _prompt(body, model, think, fill, media)
        if body.debug_render_only:
            return await rendered(worker, model, options, prompt, writer, n_images=len(media))
        generation = Generation(
            model=model,
            options=options,
            prompt=prompt,
            keep_alive_s=keep_alive_s,
            tells_prefill=bool(body.progress),
            truncate=body.truncate is not False,
            shift=body.shift,
            returns_context=not body.raw,
            is_parsed=not body.raw,
            grammar=grammar if body.raw else behind_thinking(grammar, model.dialect, thinks=model.thinks(think)),
            top_logprobs=fields.n_top_logprobs(wanted=body.logprobs, n_top=body.top_logprobs),
            adapters=await adapters_of(worker.models, model, body.lora),
        )
        if body.progress and body.stream is not False:
            return await watched_response(worker.jobs, await start(worker.jobs, current_request(), generation), writer)
        answer = await begin(worker.jobs, current_request(), generation)
        return await native_response(answer, writer, streams=body.stream is not False)

    return routes


def _prompt(
    body: GenerateRequest,
    model: ServedModel,
    think: bool | str | None,  # noqa: FBT001  # the wire's own type
    fill: str | None,
    media: tuple[bytes, ...],
) -> RawPrompt | ChatPrompt | FillPrompt:
    prompt = body.prompt or ""
    if body.raw:
        return RawPrompt(text=prompt, media=media)
    think = chat_think(model, think)
    if fill is not None:
        return FillPrompt(template=fill, prompt=prompt, suffix=body.suffix or "", think=think)
    if not body.template:
        model.check_renders()
    system = body.system or model.installed.system
    messages = [ChatMessage(role="system", content=system)] if system else []
    if not body.context:
        messages += [ChatMessage(role=each["role"], content=each["content"]) for each in model.installed.messages]
    messages.append(ChatMessage(role="user", content=prompt, media=media))
    return ChatPrompt(
        messages=tuple(messages),
        think=think,
        template=body.template or None,
        context_tokens=tuple(body.context or ()),
    )
