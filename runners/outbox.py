"""What a runner has to say to its gateways: parts collected during a step, one message per gateway and step.

Parts are numbered when they are sent, not when they are made, so that deltas which a slow gateway's full queue holds
back can be merged: a gateway that does not read costs one delta per job, bounded by the job's own length.
"""

import dataclasses
from collections.abc import Callable

from actors.codec import encode
from actors.errors import Failure
from actors.messages.model import JobRef
from actors.messages.runner_to_gateway import (
    Accepted,
    Delta,
    DoneReason,
    Failed,
    Finished,
    Part,
    Prefill,
    Step,
    TokenLogprob,
    Vectors,
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The figures of a job that was finished."""

    reason: DoneReason
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    prompt_ns: int
    generate_ns: int
    truncated_messages: int = 0
    truncated_tokens: int = 0
    context: tuple[int, ...] = ()
    stop: str = ""
    warnings: tuple[str, ...] = ()


_FIGURES = tuple(field.name for field in dataclasses.fields(Ending))


@dataclasses.dataclass(slots=True)
class _Pending:
    """What one job has for its gateway and was not sent yet."""

    accepted: bool = False
    prompt_tail: str = ""
    prefill: tuple[int, int, int] | None = None
    """Done, cached and all tokens of the prompt."""
    text: str = ""
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    vectors: bytes = b""
    ending: Ending | Failure | None = None


class Outbox:
    """Collects and numbers parts; owned by the decode thread.

    `send(gateway_id, frame)` returns False when the gateway's queue is full, and may be asked again later.
    """

    def __init__(self, send: Callable[[str, bytes], bool]) -> None:
        self._send = send
        self._pending: dict[str, dict[JobRef, _Pending]] = {}
        self._sent_parts: dict[JobRef, int] = {}
        self.has_begun = False
        """True iff the last `flush` sent the first token of a job that goes on."""

    def accept(self, ref: JobRef, prompt_tail: str = "") -> None:
        """Say that the job is here."""
        pending = self._of(ref)
        pending.accepted, pending.prompt_tail = True, prompt_tail

    def prefill(self, ref: JobRef, *, done_tokens: int, cached_tokens: int, prompt_tokens: int) -> None:
        """Tell how far the prompt is evaluated; only the latest is sent."""
        self._of(ref).prefill = (done_tokens, cached_tokens, prompt_tokens)

    def add(self, ref: JobRef, text: str, token: int, logprobs: tuple[TokenLogprob, ...] = ()) -> None:
        """Add what one decoded token gave; the text may be empty while it is held back."""
        pending = self._of(ref)
        pending.text += text
        pending.tokens += (token,)
        pending.logprobs += logprobs

    def add_vectors(self, ref: JobRef, values: bytes) -> None:
        """Add finished vectors of an embedding job; the caller adds none while it `holds_vectors`."""
        self._of(ref).vectors += values

    def holds_vectors(self, ref: JobRef) -> bool:
        """Tell whether vectors of the job were not sent yet, because its gateway does not read."""
        pending = self._pending.get(ref.gateway_id, {}).get(ref)
        return pending is not None and bool(pending.vectors)

    def end(
        self, ref: JobRef, ending: Ending | Failure, *, text: str = "", logprobs: tuple[TokenLogprob, ...] = ()
    ) -> None:
        """Resolve the job, with the last text it held back."""
        pending = self._of(ref)
        pending.text += text
        pending.logprobs += logprobs
        pending.ending = ending

    def forget_gateway(self, gateway_id: str) -> None:
        """Drop everything for a gateway that is gone."""
        for ref in self._pending.pop(gateway_id, {}):
            self._sent_parts.pop(ref, None)

    def drop(self, ref: JobRef) -> None:
        """Drop everything of a cancelled job."""
        self._pending.get(ref.gateway_id, {}).pop(ref, None)
        self._sent_parts.pop(ref, None)

    def flush(self) -> bool:
        """Send what there is; return True iff nothing is left."""
        self.has_begun = False
        for gateway_id, jobs in list(self._pending.items()):
            parts = tuple(part for ref, pending in jobs.items() for part in self._parts(ref, pending))
            if not parts or self._send(gateway_id, encode(Step(parts))):
                self._settle(jobs)
                del self._pending[gateway_id]
        return not self._pending

    def _of(self, ref: JobRef) -> _Pending:
        jobs = self._pending.setdefault(ref.gateway_id, {})
        pending = jobs.get(ref)
        if pending is None:
            pending = jobs[ref] = _Pending()
        return pending

    def _settle(self, jobs: dict[JobRef, _Pending]) -> None:
        for ref, pending in jobs.items():
            if pending.ending is not None:
                self._sent_parts.pop(ref, None)
            elif pending.tokens or pending.vectors:
                n_sent = self._sent_parts.get(ref, 0)
                self.has_begun |= bool(pending.tokens) and not n_sent
                self._sent_parts[ref] = n_sent + 1

    def _parts(self, ref: JobRef, pending: _Pending) -> list[Part]:
        job_id, attempt = ref.job_id, ref.attempt
        parts: list[Part] = [Accepted(job_id, attempt, pending.prompt_tail)] if pending.accepted else []
        if pending.prefill is not None:
            parts.append(Prefill(job_id, attempt, *pending.prefill))
        seq = self._sent_parts.get(ref, 0) + 1
        text, tokens = pending.text, pending.tokens
        if pending.vectors:
            parts.append(Vectors(job_id, attempt, seq, pending.vectors))
            seq += 1
        match pending.ending:
            case None:
                if tokens:
                    parts.append(Delta(job_id, attempt, seq, text, tokens, pending.logprobs))
            case Ending() as end:
                figures = {name: getattr(end, name) for name in _FIGURES}
                parts.append(Finished(job_id, attempt, seq, text, tokens, logprobs=pending.logprobs, **figures))
            case Failure() as failure:
                parts.append(Failed(job_id, attempt, seq, failure))
        return parts
