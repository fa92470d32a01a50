"""What jobs say: tokens become text, the text is looked through for its end, and the end is told with its figures."""

import time

from actors.errors import LlamactorError
from actors.messages.runner_to_gateway import DoneReason
from runners.jobs import PreparedJob, RunningJob
from runners.llama.context import Context
from runners.llama.model import Model
from runners.outbox import Ending, Outbox
from runners.remarks import remarks
from runners.slots import Slot


class Answers:
    """Hands the answers of an engine's jobs to the outbox; owned by the decode thread."""

    def __init__(self, model: Model, outbox: Outbox) -> None:
        self._model = model
        self._outbox = outbox

    def tell_prefill(self, slot: Slot) -> None:
        """Tell how far a prompt is, to whoever asked for it."""
        job = slot.job
        if job is not None and job.prepared.tells_prefill and not slot.is_decoding and slot.reading is None:
            self._outbox.prefill(
                job.ref,
                done_tokens=len(slot.tokens),
                cached_tokens=job.cached_tokens,
                prompt_tokens=len(job.prepared.prompt),
            )

    def replay(self, job: RunningJob) -> None:
        """Bring a resumed job to where its dead runner was; the text of those tokens was delivered then."""
        for token in job.prepared.resumed:
            job.generated.append(token)
            self._shown(job, token)

    def take(self, job: RunningJob, token: int, context: Context, index: int) -> DoneReason | None:
        """Add the token drawn at batch position `index` to its answer; tell whether the job ends with it."""
        if not job.first_token_ns:
            job.first_token_ns = time.perf_counter_ns()
        job.generated.append(token)
        if job.lookup is not None:
            job.lookup.feed(token)
        is_end = self._model.is_end(token)
        shown = "" if is_end else self._shown(job, token)
        if job.logprobs is not None and not is_end:
            job.logprobs.feed(context, index, token)
        self._outbox.add(
            job.ref, shown, token, job.logprobs.take() if job.logprobs and shown and not job.stops.is_holding else ()
        )
        if is_end or job.stops.matched is not None or job.sampler.is_complete:
            return DoneReason.STOP
        return DoneReason.LENGTH if len(job.generated) >= job.prepared.max_new_tokens else None

    def finish(self, job: RunningJob, reason: DoneReason) -> None:
        """Tell the end of an answer."""
        tail = job.stops.feed(job.text.flush()) + job.stops.flush()
        now_ns = time.perf_counter_ns()
        prepared = job.prepared
        ending = Ending(
            reason=reason,
            prompt_tokens=prepared.n_prompt,
            cached_tokens=job.cached_tokens,
            generated_tokens=len(job.generated),
            prompt_ns=job.first_token_ns - job.admitted_ns,
            generate_ns=now_ns - job.first_token_ns,
            truncated_messages=prepared.truncated_messages,
            truncated_tokens=prepared.truncated_tokens,
            context=(*prepared.shown_prompt, *job.generated) if prepared.return_context else (),
            stop=job.stops.matched or "",
            warnings=remarks(job, reason, self._model),
        )
        told = job.logprobs.take() if job.logprobs and job.stops.matched is None else ()
        self._outbox.end(job.ref, ending, text=tail, logprobs=told)

    def finish_unstarted(self, job: PreparedJob) -> None:
        """Tell the end of a job that may generate nothing."""
        ending = Ending(
            reason=DoneReason.LENGTH,
            prompt_tokens=job.n_prompt,
            cached_tokens=0,
            generated_tokens=job.n_resumed,
            prompt_ns=0,
            generate_ns=0,
            truncated_messages=job.truncated_messages,
            truncated_tokens=job.truncated_tokens,
            context=tuple(job.shown_prompt) if job.return_context else (),
        )
        self._outbox.end(job.ref, ending)

    def fail(self, job: PreparedJob | RunningJob, error: LlamactorError) -> None:
        """Tell that a job ends with an error."""
        self._outbox.end(job.ref, error.as_failure())

    def drop(self, job: RunningJob) -> None:
        """Say nothing more of a job."""
        self._outbox.drop(job.ref)

    def _shown(self, job: RunningJob, token: int) -> str:
        """Give the text that a token adds to an answer."""
        return job.stops.feed(job.text.feed(job.prepared.marks.get(token) or self._model.piece(token)))
