"""Questions to the scheduler: asked, answered once, asked again of a new scheduler, bounded in time."""

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import trio

from actors.errors import Backlogged, SchedulerUnavailable
from actors.messages.gateway_to_scheduler import AskProgress, ListRunners, Unload
from actors.messages.scheduler_to_gateway import JobProgress, RunnerList, RunnerStatus, Unloading

ANSWER_DEADLINE_S = 10.0


@dataclass(slots=True)
class _Question:
    message: ListRunners | Unload | AskProgress
    is_answered: trio.Event = field(default_factory=trio.Event)
    answer: RunnerList | Unloading | JobProgress | None = None


class Questions:
    """Owns the open questions of one gateway worker; `send` puts a message on the link to the scheduler."""

    def __init__(self, send: Callable[[msgspec.Struct], None]) -> None:
        self._send = send
        self._open: dict[str, _Question] = {}

    async def runners(self) -> tuple[RunnerStatus, ...]:
        """Ask what is loaded.

        Raises:
            SchedulerUnavailable: no answer came within `ANSWER_DEADLINE_S`.
        """
        answer = await self._ask(ListRunners(request_id=secrets.token_hex(8)))
        return answer.runners if isinstance(answer, RunnerList) else ()

    async def unload(self, model_key: str) -> int:
        """Ask for a model to be unloaded once its jobs have ended, and return how many runners that concerns.

        Raises:
            SchedulerUnavailable: no answer came within `ANSWER_DEADLINE_S`.
        """
        answer = await self._ask(Unload(request_id=secrets.token_hex(8), model_key=model_key))
        return answer.n_runners if isinstance(answer, Unloading) else 0

    async def progress(self, job_id: str) -> JobProgress:
        """Ask what a job waits for.

        Raises:
            SchedulerUnavailable: no answer came within `ANSWER_DEADLINE_S`.
        """
        request_id = secrets.token_hex(8)
        answer = await self._ask(AskProgress(request_id=request_id, job_id=job_id))
        return answer if isinstance(answer, JobProgress) else JobProgress(request_id=request_id)

    def answer(self, message: RunnerList | Unloading | JobProgress) -> None:
        """Hand an answer to its asker; one that nobody waits for any more is dropped."""
        question = self._open.get(message.request_id)
        if question is not None:
            question.answer = message
            question.is_answered.set()

    def ask_again(self) -> None:
        """Repeat every open question, because the scheduler that was asked is gone."""
        for question in self._open.values():
            with contextlib.suppress(Backlogged):  # then its deadline answers
                self._send(question.message)

    async def _ask(self, message: ListRunners | Unload | AskProgress) -> RunnerList | Unloading | JobProgress | None:
        question = self._open[message.request_id] = _Question(message)
        try:
            self._send(message)
            with trio.fail_after(ANSWER_DEADLINE_S):
                await question.is_answered.wait()
        except (trio.TooSlowError, Backlogged) as error:
            raise SchedulerUnavailable(ANSWER_DEADLINE_S) from error
        finally:
            del self._open[message.request_id]
        return question.answer
