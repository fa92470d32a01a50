"""Speculation: guessed tokens ride along in a step and are kept as far as sampling says the same.

A draft is decoded in the batch of the step, behind the slot's own token, with logits at each position. Each position is
sampled by the job's own sampler, in order, until one differs: so the tokens, the sampler's state and its random numbers
are those without speculation, greedy or not.

It is on only while it pays. `StepCosts` knows what steps of so many tokens take, by measurement; `PromptLookup` knows
how often its guesses hold. `draft_lengths` takes drafts as long as they raise the mean, over all streams, of the
logarithm of their speed: of a stream alone simply its speed, beside others never one's gain at the rest's greater cost.
"""

import bisect
import collections
import heapq
import math
from collections.abc import Sequence

from runners.lookup import PromptLookup
from runners.packing import Share
from runners.slots import Slot

MOST_TOKENS = 64
"""Tokens of a step with drafts, all slots together."""
_FORGET_AFTER_STEPS = 1024
"""A measurement older than this is made again: the machine, the threads or the contexts may have changed."""
_SAMPLES = 7
"""Of each size; their median counts, because a step that waited for a core may take six times as long as the others."""
_LEAST_GAIN = 1.1
"""Speed-up below which a draft is not worth its risk: neither costs nor chances are known better than that."""


class StepCosts:
    """What decode steps of so many tokens take; adapts by measurement."""

    def __init__(self) -> None:
        self._steps = 0
        self._samples: dict[int, collections.deque[int]] = {}  # nanoseconds
        self._measured_at: dict[int, int] = {}  # the step that measured a size last
        self._built: set[int] = set()  # sizes that were measured more than once

    def observe(self, n_tokens: int, took_ns: int) -> None:
        """Learn from a step that only decoded."""
        self._steps += 1
        if n_tokens > MOST_TOKENS:
            return
        if self._fresh(n_tokens) is None:
            self._samples[n_tokens] = collections.deque(maxlen=_SAMPLES)
        elif n_tokens not in self._built:
            self._samples[n_tokens].clear()  # the first step of a size builds its graph, too
            self._built.add(n_tokens)
        self._samples[n_tokens].append(took_ns)
        self._measured_at[n_tokens] = self._steps

    def forget(self) -> None:
        """Start again, as after a change of the threads."""
        self._samples.clear()
        self._built.clear()

    def curve(self, base: int) -> list[float]:
        """Give the expected cost of `base` tokens, of one more, and so on.

        It ends at `MOST_TOKENS`, and at twice the largest measured size, so that what is unknown is tried in small
        steps. It is empty when `base` itself was not measured lately.
        """
        fresh = sorted((n, cost) for n in self._samples if n >= base and (cost := self._fresh(n)) is not None)
        if not fresh or fresh[0][0] != base:
            return []
        sizes = [n for n, _ in fresh]
        costs = [cost for _, cost in fresh]
        for index in range(1, len(costs)):  # more tokens never take less: what says so is noise
            costs[index] = max(costs[index], costs[index - 1])
        return [_interpolated(sizes, costs, n) for n in range(base, min(MOST_TOKENS, 2 * sizes[-1]) + 1)]

    def _fresh(self, n_tokens: int) -> float | None:
        samples = self._samples.get(n_tokens)
        if not samples or self._steps - self._measured_at[n_tokens] >= _FORGET_AFTER_STEPS:
            return None
        return sorted(samples)[len(samples) // 2]


def _interpolated(sizes: Sequence[int], costs: Sequence[float], n: int) -> float:
    right = bisect.bisect_left(sizes, n)
    if right < len(sizes) and sizes[right] == n:
        return costs[right]
    right = min(right, len(sizes) - 1)
    if right == 0:
        return costs[0]
    slope = (costs[right] - costs[right - 1]) / (sizes[right] - sizes[right - 1])
    return costs[right] + slope * (n - sizes[right])


def draft_lengths(chances: Sequence[Sequence[float]], *, curve: Sequence[float]) -> list[int]:
    """Choose how many guessed tokens of each stream ride along.

    Args:
        chances: per stream of the step, for each guessed token the chance that it holds if those before it do.
        curve: cost of the step without drafts, with one drafted token, and so on.

    Returns:
        Drafted tokens per stream; all zero when speculation would not pay.
    """
    expected = [1.0] * len(chances)  # tokens that a stream gains by the step
    survival = [1.0] * len(chances)
    taken = [0] * len(chances)

    def entry(stream: int) -> tuple[float, int]:
        reach = survival[stream] * chances[stream][taken[stream]]
        return -math.log1p(reach / expected[stream]), stream

    # A stream's gains fall from token to token, so taking the largest each time is best for every number of tokens.
    heap = [entry(stream) for stream, own in enumerate(chances) if own]
    heapq.heapify(heap)
    total, best, chosen = 0.0, len(chances) * math.log(_LEAST_GAIN), [*taken]
    for cost in curve[1:]:
        if not heap:
            break
        minus_gain, stream = heapq.heappop(heap)
        total -= minus_gain
        survival[stream] *= chances[stream][taken[stream]]
        expected[stream] += survival[stream]
        taken[stream] += 1
        if taken[stream] < len(chances[stream]):
            heapq.heappush(heap, entry(stream))
        value = total - len(chances) * math.log(cost / curve[0])
        if value > best:
            best, chosen = value, [*taken]
    return chosen


def with_drafts(shares: list[Share], *, costs: StepCosts, num_ctx: int, capacity: int) -> list[Share]:
    """Add drafts to the shares of a step where they pay; a step that carries prompts has its own budget and gets none.

    Args:
        shares: one token of each decoding slot, and prompts.
        costs: what steps take.
        num_ctx: tokens that a slot holds.
        capacity: tokens that the native batch holds.
    """
    if not all(share.slot.is_decoding for share in shares):
        return shares
    most = min(MOST_TOKENS, capacity) - len(shares)
    guesses = [_guess(share.slot, min(most, num_ctx - len(share.slot.tokens) - 1)) for share in shares]
    if not any(guesses):
        return shares
    curve = costs.curve(len(shares))[: most + 1]
    chances = [
        lookup.chances(len(guess)) if guess and (lookup := _lookup(share.slot)) else []
        for share, guess in zip(shares, guesses, strict=True)
    ]
    lengths = draft_lengths(chances, curve=curve) if curve else [0] * len(shares)
    return [
        Share(share.slot, 1 + length, tuple(guess[:length]))
        for share, guess, length in zip(shares, guesses, lengths, strict=True)
    ]


def _lookup(slot: Slot) -> PromptLookup | None:
    return slot.job.lookup if slot.job is not None else None


def _guess(slot: Slot, limit: int) -> list[int]:
    job, lookup = slot.job, _lookup(slot)
    if job is None or lookup is None:
        return []
    limit = min(limit, job.prepared.max_new_tokens - len(job.generated) - 1)
    if job.prepared.shift is not None:  # a draft ends before a shift, which its tokens would see otherwise
        limit = min(limit, max(0, job.prepared.shift.num_ctx - len(slot.tokens) - 2))
    if job.prepared.most_drafted is not None:
        limit = min(limit, job.prepared.most_drafted)
    return lookup.guess(limit)
