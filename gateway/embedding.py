"""One embedding job: texts to a runner, vectors back, or the scores of documents against a query."""

import array
from dataclasses import dataclass
from typing import Any

import trio

from actors.codec import encode_body
from actors.errors import InvalidRequest, ModelNotFound
from actors.messages.embedding import EmbedBody
from actors.messages.gateway_to_scheduler import JobKind
from gateway.answer import elapsed_ns
from gateway.caller import caller_of
from gateway.connection import GatewayRequest
from gateway.job import JobRequest
from gateway.jobs import Jobs
from gateway.models import Models, ServedModel
from gateway.options import RequestOptions

MAX_INPUTS = 2048
"""Per request, as with OpenAI's own service."""
_FLOAT_BYTES = 4
_BIG_CHARS = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """What a request wants embedded; with a `query`, which documents it wants scored."""

    model: ServedModel
    options: RequestOptions
    inputs: list[str]
    query: str | None = None
    keep_alive_s: float | None = None
    truncate: bool = True
    dimensions: int = 0

    def body(self) -> EmbedBody:
        """Give the message body that the runner gets."""
        return EmbedBody(
            inputs=tuple(self.inputs),
            query=self.query,
            truncate=self.truncate,
            dimensions=max(0, self.dimensions),
            num_ctx=self.options.num_ctx,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """The vectors of one request, in the order of its inputs, with their figures."""

    values: bytes
    """Little-endian 32-bit floats, one vector behind the other."""
    width: int
    prompt_tokens: int
    total_ns: int
    load_ns: int

    def numbers(self) -> "array.array[float]":
        """Give all numbers of all vectors."""
        return array.array("f", self.values)


async def embed(jobs: Jobs, request: GatewayRequest, wanted: Embedding) -> Embedded:
    """Have texts embedded, and wait for all of them.

    Raises:
        LlamactorError: it was refused, or failed.

    Cancellation: cancels the job.
    """
    job_request = JobRequest(
        kind=JobKind.GENERATE,
        model=wanted.model.spec,
        load=wanted.options.load,
        keep_alive_s=wanted.keep_alive_s,
        caller=caller_of(request),
        body=await _encoded(wanted.body()),
    )
    values = bytearray()
    with jobs.submit(job_request) as job:
        piece = await job.stream.receive()
        values += piece.values
        while piece.end is None:
            piece = await job.stream.receive()
            values += piece.values
        granted_at = job.granted_at or request.arrived_at
    return Embedded(
        values=bytes(values),
        width=len(values) // _FLOAT_BYTES // len(wanted.inputs),
        prompt_tokens=getattr(piece.end, "prompt_tokens", 0),
        total_ns=elapsed_ns(request.arrived_at, trio.current_time()),
        load_ns=elapsed_ns(request.arrived_at, granted_at),
    )


def texts_of(value: Any) -> list[str]:
    """Read an `input`: a text, a list of texts or null; nothing at all gives an empty list.

    Raises:
        InvalidRequest: it is something else, or too many.
    """
    texts = [value] if isinstance(value, str) else value or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidRequest("invalid input type")
    check_count(texts)
    return texts


def check_count(texts: list[str]) -> None:
    """Check how many texts a request has.

    Raises:
        InvalidRequest: they are too many.
    """
    if len(texts) > MAX_INPUTS:
        raise InvalidRequest(f"{len(texts)} inputs in one request, at most {MAX_INPUTS}: send the rest in another")


async def embedding_model(models: Models, name: str) -> ServedModel:
    """Find a model by name; these routes tell a missing one in words of their own.

    Raises:
        ModelNotFound: not installed.
    """
    try:
        return await models.resolve(name)
    except ModelNotFound as error:
        if name:
            error.message = f'model "{name}" not found, try pulling it first'
        raise


async def _encoded(body: EmbedBody) -> bytes:
    if sum(map(len, body.inputs)) > _BIG_CHARS:
        return await trio.to_thread.run_sync(encode_body, body)
    return encode_body(body)
