"""The runner as an actor: messages of the scheduler on one side, the decode thread on the other.

The trio thread holds the link to the scheduler and prepares prompts; everything native happens on the decode and the
tokenizer thread. Life: loading → ready → draining → exit, and never back: unloading ends the process, because that is
the one way to give all memory back.

A job is never run twice: a start for a job that is held with the same or a higher attempt is dropped; a higher attempt
cancels the one before. The ids of ended jobs are remembered, the last `_REMEMBERED_JOBS` of them.
"""

import collections
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from actors.codec import Codec
from actors.errors import Draining, LlamactorError, UnsupportedByModel
from actors.kv_cache import scaled_bytes
from actors.link import SchedulerLink
from actors.log import get_logger
from actors.messages.embedding import EmbedBody
from actors.messages.job import JobBody, Resumption, Task
from actors.messages.launcher_to_runner import Assignment
from actors.messages.model import JobRef
from actors.messages.runner_to_scheduler import (
    JobEnded,
    RunnerBeat,
    RunnerHello,
    RunnerLoadFailed,
    RunnerReady,
    RunnerState,
)
from actors.messages.scheduler_to_runner import Cancel as CancelMessage
from actors.messages.scheduler_to_runner import Drain, KeepAlive, Start, ToRunner
from actors.messages.scheduler_to_runner import SetThreads as SetThreadsMessage
from runners.admission import RejectedJob
from runners.commands import Broken, Cancel, Command, Ended, Event, Loaded, SetThreads, Stop
from runners.decode_thread import DecodeThread
from runners.embedding_prompt import EmbedPreparer
from runners.embedding_shape import embedding_shape
from runners.inspection import Inspector
from runners.media_reader import MediaReader
from runners.prompt import PromptPreparer
from runners.rendering import RendererClient
from runners.tokenizer import Tokenizer

log = get_logger(__name__)

_REMEMBERED_JOBS = 4096
_BIG_BODY_BYTES = 256 << 10
"""Larger ones are decoded in a worker thread: here they would hold up everything else for over a millisecond."""
_CLOSE_DEADLINE_S = 5.0
"""A step of a large model may last so long; past it the process ends without freeing, which the kernel does too."""

# Made with the imports, which a spare has done before it is given a model.
_messages: Codec[ToRunner] = Codec(ToRunner)
_bodies: Codec[JobBody | EmbedBody] = Codec(JobBody | EmbedBody)
_resumptions: Codec[Resumption] = Codec(Resumption)


class Runner:
    """One loaded model, from assignment to exit; owned by the trio thread."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._state = RunnerState.LOADING
        self._jobs: dict[str, JobRef] = {}
        self._ended: collections.OrderedDict[str, int] = collections.OrderedDict()
        self._keep_alive_s: float | None = None
        self._is_pinned = False
        self._size_bytes = 0
        self._link: SchedulerLink[ToRunner] = SchedulerLink(
            endpoint=assignment.scheduler_endpoint,
            identity=assignment.runner_id,
            codec=_messages,
            hello=self._hello,
            beat=lambda: RunnerBeat(state=self._state, use=self._thread.use()),
            on_message=self._on_message,
            is_idle=lambda: self._state is RunnerState.READY and not self._jobs,
        )
        self._renderer = RendererClient(assignment.renderer_endpoint, identity=assignment.runner_id)
        self._preparer: PromptPreparer | None = None
        self._inspector: Inspector | None = None
        self._embed_preparer: EmbedPreparer | None = None
        self._tokenizer: Tokenizer | None = None
        self._media: MediaReader | None = None
        self._thread: DecodeThread
        self._nursery: trio.Nursery
        self._done = trio.Event()
        self._exit_status = 0

    async def run(self, signals: AsyncIterator[int]) -> int:
        """Serve until drained, which each of the `signals` asks for; return the exit status of the process."""
        token = trio.lowlevel.current_trio_token()
        self._thread = DecodeThread(self._assignment, lambda event: token.run_sync_soon(self._on_event, event))
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._link.run)
            self._nursery.start_soon(self._drain_on_signal, signals)
            self._thread.start()
            await self._done.wait()
            self._nursery.cancel_scope.cancel()
        self._close()
        return self._exit_status

    def _hello(self) -> RunnerHello:
        return RunnerHello(
            state=self._state,
            model=self._assignment.model,
            plan=self._assignment.plan,
            endpoint=self._assignment.endpoint,
            jobs=tuple(self._jobs.values()),
            size_bytes=self._size_bytes,
            size_vram_bytes=self._size_vram_bytes(),
            keep_alive_s=self._keep_alive_s,
            is_pinned=self._is_pinned,
        )

    def _on_message(self, message: ToRunner, payload: list[bytes]) -> None:
        match message:
            case Start():
                self._start(message, payload)
            case CancelMessage(job_id=job_id):
                self._thread.tell(Cancel(job_id))
            case SetThreadsMessage(n_threads=n_threads):
                self._thread.tell(SetThreads(n_threads))
            case KeepAlive():
                self._keep_alive_s, self._is_pinned = message.keep_alive_s, message.is_pinned
            case Drain():
                self._drain()
            case _:
                pass  # Welcome and WhoAreYou are the link's own

    def _start(self, start: Start, payload: list[bytes]) -> None:
        known = self._jobs.get(start.job_id)
        if (known and known.attempt >= start.attempt) or self._ended.get(start.job_id, 0) >= start.attempt:
            return
        if known:
            self._thread.tell(Cancel(start.job_id))
        ref = self._jobs[start.job_id] = JobRef(start.job_id, start.attempt, start.gateway_id)
        self._link.stir()
        if self._state is not RunnerState.READY:
            self._thread.tell(RejectedJob(ref, Draining().as_failure()))
        else:
            self._thread.n_coming += 1
            self._nursery.start_soon(self._prepare, ref, payload)

    async def _prepare(self, ref: JobRef, payload: list[bytes]) -> None:
        assert self._preparer is not None  # noqa: S101  # set before the state is READY
        assert self._inspector is not None  # noqa: S101  # the same
        assert self._embed_preparer is not None  # noqa: S101  # the same
        arrival: Command
        try:
            body = await self._body(payload[0])
            if isinstance(body, EmbedBody):
                arrival = await self._embed_preparer.prepare(ref, body)
            elif body.task is not Task.GENERATE:
                arrival = await self._inspector.inspect(ref, body)
            elif self._assignment.model.is_embedding:
                raise UnsupportedByModel(self._assignment.model.name, "generate")
            else:
                resumed = _resumptions.decode_body(payload[1]).tokens if len(payload) > 1 else ()
                arrival = await self._preparer.prepare(ref, body, resumed=resumed)
        except LlamactorError as error:
            arrival = RejectedJob(ref, error.as_failure())
        finally:
            self._thread.n_coming -= 1
        if self._jobs.get(ref.job_id) == ref:  # else it was replaced by its next attempt
            self._thread.tell(arrival)

    async def _body(self, frame: bytes) -> JobBody | EmbedBody:
        if len(frame) > _BIG_BODY_BYTES:
            return await trio.to_thread.run_sync(_bodies.decode_body, frame)
        return _bodies.decode_body(frame)

    def _on_event(self, event: Event) -> None:
        match event:
            case Loaded(model, load_s, cache_tokens):
                self._tokenizer = Tokenizer(model)
                self._media = MediaReader(model, self._assignment.model, self._assignment.plan)
                self._media.load()
                self._preparer = PromptPreparer(self._tokenizer, self._media, self._renderer, self._assignment.plan)
                self._inspector = Inspector(self._tokenizer, self._preparer)
                shape = embedding_shape(model, self._assignment.plan)
                self._embed_preparer = EmbedPreparer(self._tokenizer, shape)
                self._size_bytes = _resident_bytes() + self._ungrown_bytes(cache_tokens)
                if self._state is RunnerState.LOADING:
                    self._state = RunnerState.READY
                ready = RunnerReady(load_s=load_s, size_bytes=self._size_bytes, size_vram_bytes=self._size_vram_bytes())
                self._link.send(ready)
                log.info("%s is ready after %.2f s", self._assignment.model.name, load_s)
            case Ended(ref, outcome):
                self._job_ended(ref)
                self._link.send(JobEnded(job_id=ref.job_id, attempt=ref.attempt, outcome=outcome))
            case Broken(failure):
                log.error("%s: %s", self._assignment.model.name, failure.message)
                if self._state is RunnerState.LOADING:
                    self._link.send(RunnerLoadFailed(failure=failure))
                self._exit_status = 1
                self._done.set()

    def _job_ended(self, ref: JobRef) -> None:
        if self._jobs.get(ref.job_id) == ref:
            del self._jobs[ref.job_id]
        self._ended[ref.job_id] = max(ref.attempt, self._ended.get(ref.job_id, 0))
        while len(self._ended) > _REMEMBERED_JOBS:
            self._ended.popitem(last=False)
        if self._state is RunnerState.DRAINING and not self._jobs:
            self._done.set()

    async def _drain_on_signal(self, signals: AsyncIterator[int]) -> None:
        async for _ in signals:
            self._drain()
            self._nursery.start_soon(self._end_after_deadline)

    def _drain(self) -> None:
        if self._state is RunnerState.DRAINING:
            return
        self._state = RunnerState.DRAINING
        self._link.beat_now()  # or jobs would be granted here until the next beat
        if not self._jobs:
            self._done.set()

    async def _end_after_deadline(self) -> None:
        await trio.sleep(self._assignment.drain_timeout_s)
        log.warning("%d jobs did not end within the drain timeout", len(self._jobs))
        self._done.set()

    def _close(self) -> None:
        if self._tokenizer is not None:
            self._tokenizer.close()
        if self._media is not None:
            self._media.close()
        self._thread.tell(Stop())
        if not self._thread.join(_CLOSE_DEADLINE_S):
            log.warning("the decode thread did not stop; the process ends without it")
        self._renderer.close()

    def _ungrown_bytes(self, cache_tokens: int) -> int:
        """What the cache will take beyond the tokens that it holds now, when it has its planned size."""
        plan, model = self._assignment.plan, self._assignment.model
        n_tokens = 0 if model.is_embedding else plan.num_ctx * plan.n_slots - cache_tokens
        return n_tokens * scaled_bytes(model.kv_bytes_per_token, plan.kv_cache_type)

    def _size_vram_bytes(self) -> int:
        plan, model = self._assignment.plan, self._assignment.model
        if plan.n_gpu_layers <= 0:
            return 0
        return int(plan.size_bytes * min(1.0, plan.n_gpu_layers / (model.n_layers + 1)))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
