"""Speculation decides by measured cost and learned chance, and never drafts where it would not pay."""

import math
from collections.abc import Mapping
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.messages.job import SamplingOptions
from actors.messages.model import JobRef
from runners.jobs import PreparedJob, RunningJob
from runners.llama.sampler import Sampler
from runners.lookup import PromptLookup
from runners.packing import Share
from runners.slots import Slot
from runners.speculate import MOST_TOKENS, StepCosts, draft_lengths, with_drafts
from runners.stops import StopMatcher

_CPU_MS = {1: 11, 2: 16, 4: 27, 8: 47, 16: 90}
"""Steps of SmolLM2-135M on two cores."""


def _costs(milliseconds: Mapping[int, float]) -> StepCosts:
    costs = StepCosts()
    for n_tokens, took in milliseconds.items():
        costs.observe(n_tokens, int(took * 1e6))
    return costs


def _slot(index: int, *, max_new_tokens: int = 100, most_drafted: int | None = None) -> Slot:
    prompt = [*range(200), 1, 2, 3]
    job = PreparedJob(
        ref=JobRef(str(index), 1, "gw"),
        prompt=prompt,
        sampling=SamplingOptions(),
        max_new_tokens=max_new_tokens,
        stop=(),
        return_context=False,
        most_drafted=most_drafted,
    )
    lookup = PromptLookup(prompt)
    running = RunningJob(job, cast("Sampler", None), StopMatcher(()), admitted_ns=0, cached_tokens=0, lookup=lookup)
    for token in range(4, 24):
        lookup.feed(token)
        running.generated.append(token)
    return Slot(index, tokens=[*prompt, *running.generated[:-1]], job=running, next_token=23)


@settings(max_examples=200, deadline=None)
@given(
    chances=st.lists(st.lists(st.floats(0.01, 0.99), max_size=6), min_size=1, max_size=3),
    curve=st.lists(st.floats(0, 20), min_size=1, max_size=12).map(
        lambda steps: [10 + sum(steps[:n]) for n in range(12)]
    ),
)
def test_draft_lengths_never_slow_the_streams(chances: list[list[float]], curve: list[float]) -> None:
    """What is chosen fits, raises the streams' expected speed, and nothing shorter in its own order does better."""
    lengths = draft_lengths(chances, curve=curve)
    assert len(lengths) == len(chances)
    assert all(0 <= length <= len(own) for length, own in zip(lengths, chances, strict=True))
    assert sum(lengths) < len(curve)
    if any(lengths):
        assert _value(chances, lengths, curve) > 0


def _value(chances: list[list[float]], lengths: list[int], curve: list[float]) -> float:
    gains = 0.0
    for own, length in zip(chances, lengths, strict=True):
        gains += math.log(1 + sum(math.prod(own[: n + 1]) for n in range(length)))
    return gains - len(chances) * math.log(curve[sum(lengths)] / curve[0])


def test_draft_lengths_certain_guess_alone_is_long() -> None:
    """One stream with sure guesses drafts many tokens where a token more is cheaper than a step."""
    curve = _costs(_CPU_MS).curve(1)
    assert draft_lengths([[0.98] * 30], curve=curve)[0] >= 6


def test_draft_lengths_doubtful_guess_is_left_out() -> None:
    """A guess that mostly fails is not worth half a step."""
    curve = _costs(_CPU_MS).curve(1)
    assert draft_lengths([[0.4] * 30], curve=curve) == [0]


def test_draft_lengths_one_of_eight_does_not_slow_seven() -> None:
    """Beside seven streams that cannot speculate, one that can gets less than alone."""
    curve = [47 + 5.0 * n for n in range(40)]
    beside = draft_lengths([[0.97] * 30, *[[] for _ in range(7)]], curve=curve)
    alone = draft_lengths([[0.97] * 30], curve=curve)
    assert beside[0] < alone[0]


def test_costs_unknown_sizes_are_tried_in_small_steps() -> None:
    """Only one size is known: the curve reaches to twice that, and grows with what is measured."""
    costs = _costs({1: 10})
    assert costs.curve(1) == [10e6, 10e6]
    costs.observe(2, 15_000_000)
    assert costs.curve(1) == [10e6, 15e6, 20e6, 25e6]
    assert costs.curve(2) == [15e6, 15e6, 15e6]


def test_costs_old_measurements_are_made_again() -> None:
    """A step without drafts that was not measured for long gives no curve, so that the next step measures it."""
    costs = _costs({1: 10, 2: 12})
    for _ in range(2000):
        costs.observe(2, 12_000_000)
    assert costs.curve(1) == []
    costs.observe(1, 10_000_000)
    assert len(costs.curve(1)) == 4


def test_costs_one_late_step_changes_nothing() -> None:
    """A step that waited for a core does not make drafts look free beside it."""
    costs = _costs({1: 10, 4: 27})
    for took_ms in (10, 10, 60):
        costs.observe(1, took_ms * 1_000_000)
    assert costs.curve(1)[0] == 10e6


def test_costs_no_step_is_cheaper_than_a_smaller_one() -> None:
    """Noise that says so is levelled; the curve ends at the bound."""
    costs = _costs({1: 10, 4: 9, 32: 40, 64: 80})
    curve = costs.curve(1)
    assert curve == sorted(curve)
    assert len(curve) == MOST_TOKENS


def test_with_drafts_copying_slot_gets_a_draft() -> None:
    """A slot that copies its prompt drafts the copy's next tokens, behind its own next one."""
    (share,) = with_drafts([Share(_slot(0), 1)], costs=_costs(_CPU_MS), num_ctx=1024, capacity=512)
    assert share.n_tokens == 1 + len(share.draft)
    assert share.draft == tuple(range(24, 24 + len(share.draft)))
    assert share.draft


def test_with_drafts_limits_hold() -> None:
    """The answer's length, the context, the job's own limit and the batch each bound a draft."""
    costs = _costs(_CPU_MS)

    def drafted(slot: Slot, *, num_ctx: int = 1024, capacity: int = 512) -> int:
        return len(with_drafts([Share(slot, 1)], costs=costs, num_ctx=num_ctx, capacity=capacity)[0].draft)

    assert drafted(_slot(0, max_new_tokens=23)) == 2
    assert drafted(_slot(0, most_drafted=3)) == 3
    assert drafted(_slot(0, most_drafted=0)) == 0
    assert drafted(_slot(0), num_ctx=225) == 2
    assert drafted(_slot(0), capacity=4) == 3


def test_with_drafts_leaves_steps_with_prompts_alone() -> None:
    """A step that prefills a prompt carries no drafts."""
    prompt = _slot(1)
    prompt.next_token = None
    shares = [Share(_slot(0), 1), Share(prompt, 16)]
    assert with_drafts(shares, costs=_costs(_CPU_MS), num_ctx=1024, capacity=512) == shares
