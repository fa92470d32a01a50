"""Several answers to one request, generated side by side and read as one stream."""

import dataclasses
from collections.abc import Sequence

import msgspec
import trio

from actors.errors import LlamactorError
from gateway.answer import Answer, AnswerPart
from gateway.connection import GatewayRequest
from gateway.generation import Generation, begin
from gateway.jobs import Jobs

MAX_CHOICES = 16
_SEED_MASK = (1 << 32) - 1


class Choices:
    """The answers to one request; each has an index, counted from 0."""

    def __init__(self, request: GatewayRequest, answers: Sequence[Answer]) -> None:
        self._answers = answers
        self._receive: trio.MemoryReceiveChannel[tuple[int, AnswerPart | LlamactorError]] | None = None
        if len(answers) > 1:
            send, self._receive = trio.open_memory_channel[tuple[int, AnswerPart | LlamactorError]](0)
            for index, answer in enumerate(answers):
                request.start_soon(_pump, index, answer, send)

    async def receive(self) -> tuple[int, AnswerPart]:
        """Wait for the next part of any answer; an answer whose part has an end says nothing more.

        Raises:
            LlamactorError: a job failed.
        """
        if self._receive is None:
            return 0, await self._answers[0].receive()
        index, part = await self._receive.receive()
        if isinstance(part, LlamactorError):
            raise part
        return index, part


async def begin_choices(
    jobs: Jobs, request: GatewayRequest, generation: Generation, n_choices: int
) -> Sequence[Answer]:
    """Start as many generations and wait for the first of each answer.

    Raises:
        LlamactorError: one was refused, or failed before any text.

    Cancellation: the request's end releases the jobs.
    """
    if n_choices == 1:
        return [await begin(jobs, request, generation)]
    answers: dict[int, Answer] = {}
    errors: list[LlamactorError] = []

    async def start(index: int) -> None:
        try:
            answers[index] = await begin(jobs, request, _seeded(generation, index))
        except LlamactorError as error:
            errors.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for index in range(n_choices):
            nursery.start_soon(start, index)
    if errors:
        raise errors[0]
    return [answers[index] for index in range(n_choices)]


async def whole_choices(answers: Sequence[Answer]) -> list[AnswerPart]:
    """Wait for the end of all and give each at once.

    Raises:
        LlamactorError: a job failed.
    """
    return [await answer.whole() for answer in answers]


async def _pump(
    index: int, answer: Answer, send: trio.MemorySendChannel[tuple[int, AnswerPart | LlamactorError]]
) -> None:
    is_over = False
    while not is_over:
        said: AnswerPart | LlamactorError
        try:
            said = await answer.receive()
        except LlamactorError as error:
            said = error
        is_over = isinstance(said, LlamactorError) or said.end is not None
        try:
            await send.send((index, said))
        except trio.BrokenResourceError:  # nobody reads any more
            return


def _seeded(generation: Generation, index: int) -> Generation:
    """Give every choice a seed of its own, or all would say the same."""
    sampling = generation.options.sampling
    if sampling.seed < 0:
        return generation
    seeded = msgspec.structs.replace(sampling, seed=(sampling.seed + index) & _SEED_MASK)
    return dataclasses.replace(generation, options=dataclasses.replace(generation.options, sampling=seeded))
