"""What a step gives: the tokens that were due, as many more as drafts foresaw, and the jobs that end with them."""

import time

from actors.errors import LlamactorError
from actors.messages.runner_to_gateway import DoneReason
from runners.answers import Answers
from runners.drafting import Drafting
from runners.llama.context import Context
from runners.packing import Share
from runners.releases import Releases
from runners.slots import Slot


class Draws:
    """Draws tokens for the shares of a step, and counts them; owned by the decode thread."""

    def __init__(self, answers: Answers, drafting: Drafting, releases: Releases) -> None:
        self._answers = answers
        self._drafting = drafting
        self._releases = releases
        self._n_drawn = 0
        self._reported = (0, time.perf_counter_ns())

    def rate(self) -> float:
        """Give the tokens per second since the last call."""
        now_ns = time.perf_counter_ns()
        rate = (self._n_drawn - self._reported[0]) * 1e9 / max(1, now_ns - self._reported[1])
        self._reported = (self._n_drawn, now_ns)
        return rate

    def advance(self, share: Share, index: int, context: Context) -> None:
        """Take the tokens of a share, whose first logits are at batch position `index`; its job may end."""
        try:
            self._draw(share, index, context)
        except LlamactorError as error:
            self._releases.abandon(share.slot, error, context)

    def _draw(self, share: Share, index: int, context: Context) -> None:
        """Sample one token, and as many more as the share's draft foresaw."""
        slot, draft = share.slot, share.draft
        token, end = self._sample(slot, index, context)
        n_kept = 0
        while end is None and n_kept < len(draft) and draft[n_kept] == token:
            slot.tokens.append(token)
            n_kept += 1
            token, end = self._sample(slot, index + n_kept, context)
        if n_kept < len(draft):
            assert slot.job is not None  # noqa: S101  # it ends below
            context.cut(slot.index, keep_tokens=slot.job.prepared.position(len(slot.tokens)))
        self._drafting.learn(share, n_tried=len(draft) if end is None else n_kept, n_kept=n_kept)
        slot.next_token = token
        if end is not None:
            self._releases.finish(slot, end, context)

    def _sample(self, slot: Slot, index: int, context: Context) -> tuple[int, DoneReason | None]:
        """Draw the next token of a slot; tell whether the job ends with it."""
        assert slot.job is not None  # noqa: S101  # it was in the batch
        token = slot.job.sampler.sample(context, index)
        self._n_drawn += 1
        return token, self._answers.take(slot.job, token, context, index)
