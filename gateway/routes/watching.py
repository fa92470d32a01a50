"""Native streams that tell their progress before the first token (`progress: true`)."""

from collections.abc import AsyncIterator

from quart import Response

from actors.errors import LlamactorError
from gateway.answer import Answer, AnswerPart
from gateway.errors import Family, error_body, status_of
from gateway.jobs import Jobs
from gateway.progress import progress_of
from gateway.routes.answering import native_lines
from gateway.wire.json_text import to_json
from gateway.wire.native import NDJSON, NativeWriter

_END = b',"done":false}\n'


async def watched_response(jobs: Jobs, answer: Answer, writer: NativeWriter) -> Response:
    """Answer with a stream that begins with progress.

    Raises:
        LlamactorError: the generation was refused, or failed, before there was any progress to tell.
    """
    lines = _lines(jobs, answer, writer)
    return Response(_resumed(await anext(lines), lines), content_type=NDJSON)


async def _lines(jobs: Jobs, answer: Answer, writer: NativeWriter) -> AsyncIterator[bytes]:
    has_told = False
    try:
        async for progress in progress_of(jobs, answer):
            empty = writer.delta(AnswerPart())  # clients that know nothing of progress read an empty piece of text
            yield empty.removesuffix(_END) + b',"progress":' + to_json(progress) + _END
            has_told = True
    except LlamactorError as error:
        if not has_told:
            raise
        yield error_body(Family.NATIVE, error.message, status_of(error)) + b"\n"
        return
    async for line in native_lines(answer, writer):
        yield line


async def _resumed(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for line in rest:
        yield line
