"""Questions to the scheduler: asked, answered once, asked again of a new scheduler, bounded in time."""

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import trio

from actors.errors import Backlogged, InvalidRequest, SchedulerUnavailable
from actors.messages.gateway_to_scheduler import AskProgress, ListRunners, Pin, Retire, Survey, Unload
from actors.messages.overview import RunnerStatus
from actors.messages.scheduler_to_gateway import JobProgress, Overview, RunnerList, Unloading

ANSWER_DEADLINE_S = 10.0

Message = ListRunners | Unload | AskProgress | Pin | Retire | Survey
Reply = RunnerList | Unloading | JobProgress | Overview


@dataclass(slots=True)
class _Question:
    message: Message
    is_answered: trio.Event = field(default_factory=trio.Event)
    answer: Reply | None = None


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

    async def pin(self, model_key: str, *, is_pinned: bool) -> int:
        """Pin a model or let it go, and return how many runners that concerns now.

        Raises:
            SchedulerUnavailable: no answer came within `ANSWER_DEADLINE_S`.
        """
        message = Pin(request_id=secrets.token_hex(8), model_key=model_key, is_pinned=is_pinned)
        answer = await self._ask(message)
        return answer.n_runners if isinstance(answer, Unloading) else 0

    async def drain(self, target: str, *, is_draining: bool) -> int:
        """Drain a host or a runner, or let a host take runners again, and return how many runners that concerns.

        Raises:
            InvalidRequest: there is no such host or runner.
            SchedulerUnavailable: no answer came within `ANSWER_DEADLINE_S`.
        """
        message = Retire(request_id=secrets.token_hex(8), target=target, is_draining=is_draining)
        answer = await self._ask(message)
        if isinstance(answer, Unloading) and answer.n_runners >= 0:
            return answer.n_runners
        raise InvalidRequest(f"no host or runner is called {target!r}: GET /api/status lists them")

    async def overview(self) -> Overview:
        """Ask for everything.

        Raises:
            SchedulerUnavailable: no answer came within `ANSWER_DEADLINE_S`.
        """
        request_id = secrets.token_hex(8)
        answer = await self._ask(Survey(request_id=request_id))
        return answer if isinstance(answer, Overview) else Overview(request_id=request_id)

    async def progress(self, job_id: str) -> JobProgress:
        """Ask what a job waits for.

        Raises:
            SchedulerUnavailable: no answer came within `ANSWER_DEADLINE_S`.
        """
        request_id = secrets.token_hex(8)
        answer = await self._ask(AskProgress(request_id=request_id, job_id=job_id))
        return answer if isinstance(answer, JobProgress) else JobProgress(request_id=request_id)

    def answer(self, message: Reply) -> None:
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

    async def _ask(self, message: Message) -> Reply | None:
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
