"""`POST /v1/audio/transcriptions`: a chat about one sound, told to write down what is said."""

from collections.abc import AsyncIterator

import trio
from quart import Blueprint, Response

from actors.errors import InvalidRequest, LlamactorError, UnsupportedByModel
from actors.messages.job import ChatMessage, ChatPrompt
from gateway import checks
from gateway.answer import Answer, AnswerPart
from gateway.generation import Generation, begin, chat_think
from gateway.models import ServedModel
from gateway.options import request_options
from gateway.routes.answering import json_response, openai_error
from gateway.routes.reading import current_request
from gateway.wire.form import Form, parse_form
from gateway.wire.json_text import to_json
from gateway.wire.openai import EVENT_STREAM, JSON, frame
from gateway.worker import Worker
from registry.capabilities import AUDIO

_YES = ("true", "1")
_TASK = "Write down exactly what is said in the recording. Answer with its words only."


def transcription_routes(worker: Worker) -> Blueprint:
    """Build the route."""
    routes = Blueprint("transcriptions", __name__)

    @routes.post("/v1/audio/transcriptions")
    async def transcriptions() -> Response:
        request = current_request()
        raw = await request.body.read()
        form = await trio.to_thread.run_sync(parse_form, request.headers.get("Content-Type", ""), raw)
        sound = _sound(form)
        model = await worker.models.resolve(form.fields["model"])
        checks.check_completes(model, "chat")
        if not model.can(AUDIO):
            raise UnsupportedByModel(f'"{model.requested}"', "audio: choose a model that hears")
        model.check_renders()
        answer = await begin(worker.jobs, request, _generation(model, form, sound))
        if form.fields.get("stream", "").lower() in _YES:
            return Response(_events(answer), content_type=EVENT_STREAM)
        text = (await answer.whole()).text.strip()
        if form.fields.get("response_format") == "text":
            return Response(text + "\n", content_type="text/plain; charset=utf-8")
        return json_response(to_json({"text": text}) + b"\n", JSON)

    return routes


async def _events(answer: Answer) -> AsyncIterator[bytes]:
    """Give the events of a streamed transcription; a failure is the last of them."""
    said: list[str] = []
    try:
        part = AnswerPart()
        while part.end is None:
            part = await answer.receive()
            if part.text:
                said.append(part.text)
                yield frame({"type": "transcript.text.delta", "delta": part.text})
    except LlamactorError as error:
        yield openai_error(error)
        return
    yield frame({"type": "transcript.text.done", "text": "".join(said).strip()})


def _sound(form: Form) -> bytes:
    if not form.fields.get("model"):
        raise InvalidRequest("model is required")
    sound = form.files.get("file")
    if sound is None:
        raise InvalidRequest("file is required: http: no such file")
    if not sound:
        raise InvalidRequest("audio file is empty")
    return sound


def _generation(model: ServedModel, form: Form, sound: bytes) -> Generation:
    task = _TASK
    if form.fields.get("language"):
        task += f" The language is {form.fields['language']}."
    messages = (
        ChatMessage(role="system", content=task),
        ChatMessage(role="user", content=form.fields.get("prompt", ""), media=(sound,)),
    )
    return Generation(
        model=model,
        options=request_options(model.installed.parameters, {"temperature": 0}),
        prompt=ChatPrompt(messages=messages, think=chat_think(model, False)),  # noqa: FBT003  # the wire's own type
    )
