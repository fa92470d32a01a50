"""When a model guesses, and how far: only where the job's own text offered nothing, and only while it pays.

A guess of k tokens costs k rounds of a draft model, or of the model's own predicting layer, before the step, and a
larger step. Both are measured, and so is how often its guesses hold, per job; a job whose guesses did not pay is tried
again after a while.
"""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from actors.errors import DecodeFailed, LoadFailed
from actors.log import get_logger
from runners.jobs import RunningJob
from runners.packing import Share
from runners.speculate import MOST_TOKENS, StepCosts

log = get_logger(__name__)

_LONGEST = 8
_FIRST_CHANCE = 0.7
_WEIGHT = 0.1
_QUICKER_WEIGHT = 0.5
"""Of a round that took less than was known: the first ones make a context and take over a prompt."""
_MOST_CERTAIN = 0.98
_TRY_AGAIN_STEPS = 8, 128
"""After so many steps without a guess one is tried: at first, and at most; it doubles each time it did not pay."""
_LEAST_GAIN = 1.02


@dataclasses.dataclass(slots=True)
class _Record:
    """What is known of one job's guesses."""

    job: RunningJob
    chance: float = _FIRST_CHANCE
    n_idle: int = 0
    patience: int = _TRY_AGAIN_STEPS[0]


class Guesser(Protocol):
    """Who guesses what follows the histories of slots: a draft model, or the model's own layers for that."""

    def guess(self, histories: Mapping[int, Sequence[int]], *, n_tokens: int) -> dict[int, list[int]]:
        """Guess `n_tokens` tokens behind each history that could be followed.

        Raises:
            DecodeFailed: llama.cpp could not.
            LoadFailed: there is no memory for it.
        """

    def set_threads(self, n_threads: int) -> None:
        """Use so many cores from the next call on."""

    def close(self) -> None:
        """Free everything."""


class ModelDrafts:
    """Adds the guesses of a model to steps; owned by the decode thread."""

    def __init__(self, model: Guesser) -> None:
        self.model = model
        self._records: dict[int, _Record] = {}
        self._round_ns = 0.0
        self._is_broken = False

    def added(self, shares: list[Share], *, costs: StepCosts, num_ctx: int, capacity: int) -> list[Share]:
        """Give the shares of a step, with guesses where they pay; other drafts, and prompts, leave no room for them."""
        if self._is_broken or not shares or any(share.draft or not share.slot.is_decoding for share in shares):
            return shares
        wanting = {share.slot.index: share for share in shares if _room(share, num_ctx) > 0}
        curve = costs.curve(len(shares))[: 1 + min(MOST_TOKENS, capacity) - len(shares)]
        records = {index: self._record(index, share) for index, share in wanting.items()}
        length = self._length([*records.values()], n_streams=len(shares), curve=curve)
        if not length:
            return shares
        guesses = self._guessed(wanting, length)
        return [
            Share(share.slot, 1 + len(draft), draft, is_modelled=True)
            if (draft := guesses.get(share.slot.index, ())[: _room(share, num_ctx)])
            else share
            for share in shares
        ]

    def learn(self, index: int, *, n_drafted: int, n_kept: int) -> None:
        """Take note of how far a slot's guess held."""
        record = self._records[index]
        for hit in [1.0] * n_kept + [0.0] * (n_kept < n_drafted):
            record.chance += _WEIGHT * (hit - record.chance)

    def _record(self, index: int, share: Share) -> _Record:
        job = share.slot.job
        assert job is not None  # noqa: S101  # only slots with a job get a share
        record = self._records.get(index)
        if record is None or record.job is not job:
            record = self._records[index] = _Record(job)
        return record

    def _length(self, records: Sequence[_Record], *, n_streams: int, curve: Sequence[float]) -> int:
        """Give the length of all guesses of a step, 0 when none would pay."""
        best, chosen = n_streams * math.log(_LEAST_GAIN), 0
        for length in range(1, _LONGEST + 1):
            n_drafted = length * len(records)
            if not n_drafted or n_drafted >= len(curve):
                break
            gain = sum(_log_gain(min(record.chance, _MOST_CERTAIN), length) for record in records)
            value = gain - n_streams * math.log((curve[n_drafted] + length * self._round_ns) / curve[0])
            if value > best:
                best, chosen = value, length
        for record in records:
            record.n_idle = 0 if chosen else record.n_idle + 1
            record.patience = _TRY_AGAIN_STEPS[0] if chosen else record.patience
        if not chosen and len(curve) > len(records) and any(record.n_idle >= record.patience for record in records):
            for record in records:
                record.n_idle, record.patience = 0, min(2 * record.patience, _TRY_AGAIN_STEPS[1])
            return 1
        return chosen

    def _guessed(self, shares: dict[int, Share], length: int) -> dict[int, tuple[int, ...]]:
        histories = {
            index: [*share.slot.tokens, share.slot.next_token]
            for index, share in shares.items()
            if share.slot.next_token is not None
        }
        started_ns = time.perf_counter_ns()
        try:
            guesses = self.model.guess(histories, n_tokens=length)
        except (DecodeFailed, LoadFailed) as error:
            log.error("a model's guesses are left out from now on: %s", error)
            self._is_broken = True
            return {}
        round_ns = (time.perf_counter_ns() - started_ns) / length
        if len(guesses) == len(shares):
            weight = _WEIGHT if round_ns > self._round_ns else _QUICKER_WEIGHT
            self._round_ns += (weight if self._round_ns else 1.0) * (round_ns - self._round_ns)
        return {index: tuple(guess) for index, guess in guesses.items()}


def _log_gain(chance: float, length: int) -> float:
    return math.log(sum(chance**n for n in range(length + 1)))


def _room(share: Share, num_ctx: int) -> int:
    """Give how many guesses a share may take; none for a job that must not, has media, or is at its end."""
    job = share.slot.job
    if job is None or job.lookup is None or job.prepared.spans or num_ctx - len(share.slot.tokens) <= _LONGEST:
        return 0
    room = job.prepared.max_new_tokens - len(job.generated) - 1
    if job.prepared.shift is not None:
        room = min(room, job.prepared.shift.num_ctx - len(share.slot.tokens) - 2)
    return room if job.prepared.most_drafted is None else min(room, job.prepared.most_drafted)
