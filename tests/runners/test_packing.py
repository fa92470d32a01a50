"""The packer: every decoding slot is served, budgets hold, prompts advance side by side."""

from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.messages.job import SamplingOptions
from actors.messages.model import JobRef
from runners.jobs import PreparedJob, RunningJob
from runners.llama.sampler import Sampler
from runners.packing import SLOWEST_STEP, PrefillBudget, pack
from runners.slots import Slot
from runners.stops import StopMatcher


def _slot(index: int, *, prompt: int, done: int, decoding: bool) -> Slot:
    job = PreparedJob(
        ref=JobRef(str(index), 1, "gw"),
        prompt=list(range(prompt)),
        sampling=SamplingOptions(),
        max_new_tokens=1,
        stop=(),
        return_context=False,
    )
    running = RunningJob(job, cast("Sampler", None), StopMatcher(()), admitted_ns=0, cached_tokens=0)
    tokens = job.prompt if decoding else job.prompt[: min(done, prompt - 1)]
    return Slot(index, tokens=[*tokens], job=running, next_token=7 if decoding else None)


_SLOTS = st.lists(
    st.one_of(
        st.none(),
        st.tuples(st.integers(1, 600), st.integers(0, 600), st.booleans()),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=200, deadline=None)
@given(rows=_SLOTS, budget=st.integers(1, 512))
def test_pack_serves_every_decoder_and_keeps_the_budget(rows: list[tuple[int, int, bool] | None], budget: int) -> None:
    """Shares ascend, fit the batch and the budget, never exceed a prompt, and waste no budget."""
    slots = [
        Slot(index) if row is None else _slot(index, prompt=row[0], done=row[1], decoding=row[2])
        for index, row in enumerate(rows)
    ]
    shares = pack(slots, capacity=512, prefill_tokens=budget)
    indexes = [share.slot.index for share in shares]
    assert indexes == sorted(set(indexes))
    decoding = [share for share in shares if share.slot.is_decoding]
    prefill = [share for share in shares if not share.slot.is_decoding]
    assert {s.slot.index for s in decoding} == {s.index for s in slots if s.is_decoding}
    assert all(share.n_tokens == 1 for share in decoding)
    assert all(0 < share.n_tokens <= share.slot.remaining_prompt() for share in prefill)
    wanted = sum(slot.remaining_prompt() for slot in slots)
    assert sum(share.n_tokens for share in prefill) == min(budget, 512 - len(decoding), wanted)


def test_pack_shares_the_budget_between_prompts() -> None:
    """Two long prompts each get half of a step."""
    slots = [_slot(0, prompt=900, done=0, decoding=False), _slot(1, prompt=900, done=0, decoding=False)]
    shares = pack(slots, capacity=512, prefill_tokens=512)
    assert [share.n_tokens for share in shares] == [256, 256]


def test_budget_keeps_steps_within_their_bound_once_measured() -> None:
    """Prompt chunks are as long as the streams beside them can bear, and follow what steps take."""
    budget = PrefillBudget(512)
    budget.observe(n_decoding=4, n_prefill=0, took_ns=10_000_000)
    budget.observe(n_decoding=4, n_prefill=10, took_ns=20_000_000)  # a millisecond each
    assert budget.tokens(n_decoding=4) == int(10 * (SLOWEST_STEP - 1))
    for _ in range(40):
        budget.observe(n_decoding=4, n_prefill=10, took_ns=30_000_000)
    assert budget.tokens(n_decoding=4) in {7, 8}
    assert budget.tokens(n_decoding=0) == 512


def test_budget_weighs_a_crowd_of_prompts_against_few_streams() -> None:
    """Seven who wait for their first token are not held up for the smoothness of one."""
    budget = PrefillBudget(512)
    budget.observe(n_decoding=1, n_prefill=0, took_ns=10_000_000)
    budget.observe(n_decoding=1, n_prefill=10, took_ns=20_000_000)
    assert budget.tokens(n_decoding=1, n_prompts=7) == int(10 * (7 * SLOWEST_STEP - 1))
    assert budget.tokens(n_decoding=7, n_prompts=1) == budget.tokens(n_decoding=7)


def test_budget_unmeasured_begins_small() -> None:
    """The first long prompt beside a stream does not stall it by a guess."""
    assert PrefillBudget(512).tokens(n_decoding=1) == 16


def test_budget_alone_is_bounded_by_the_time_of_a_step() -> None:
    """A slow machine gets smaller prompt chunks even when nobody waits for tokens."""
    budget = PrefillBudget(512)
    budget.observe(n_decoding=0, n_prefill=512, took_ns=2_000_000_000)
    assert budget.tokens(n_decoding=0) == 128
    budget.observe(n_decoding=0, n_prefill=128, took_ns=1_000_000)
    assert budget.tokens(n_decoding=0) == 512
