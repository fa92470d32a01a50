"""Speculation as the step loop sees it: drafts for a step, from a job's own text, a draft model or the model itself."""

from collections.abc import Sequence

from actors.messages.model import LoadPlan
from runners.draft_model import DraftModel
from runners.jobs import PreparedJob
from runners.llama.context import Context
from runners.llama.model import Model
from runners.lookup import PromptLookup
from runners.model_drafts import ModelDrafts
from runners.mtp import Mtp
from runners.packing import Share
from runners.speculate import StepCosts, with_drafts


class Drafting:
    """Knows what steps cost and who guesses; owned by the decode thread, as is the draft model in it."""

    def __init__(
        self, model: Model, plan: LoadPlan, *, costs: StepCosts | None, draft_model: DraftModel | None
    ) -> None:
        self._model = model
        self._costs = costs or StepCosts()
        self._mtp = Mtp(model, plan) if draft_model is None and model.predicts else None
        guesser = draft_model or self._mtp
        self._model_drafts = ModelDrafts(guesser) if guesser is not None else None

    def lookup(self, job: PreparedJob) -> PromptLookup | None:
        """Give what guesses from a job's own text, None for one that must not or cannot take a guess back."""
        return PromptLookup(job.prompt) if job.most_drafted != 0 and not self._model.keeps_state else None

    def added(self, shares: list[Share], *, num_ctx: int, capacity: int) -> list[Share]:
        """Give the shares of a step, with guesses where they pay."""
        shares = with_drafts(shares, costs=self._costs, num_ctx=num_ctx, capacity=capacity)
        if self._model_drafts is None:
            return shares
        return self._model_drafts.added(shares, costs=self._costs, num_ctx=num_ctx, capacity=capacity)

    def observe(self, n_tokens: int, took_ns: int) -> None:
        """Learn from a step that only decoded."""
        self._costs.observe(n_tokens, took_ns)

    def note(self, shares: Sequence[Share], context: Context) -> None:
        """Take from a context that was just decoded what guesses at the next tokens need."""
        if self._mtp is not None:
            self._mtp.note(shares, context)

    def learn(self, share: Share, *, n_tried: int, n_kept: int) -> None:
        """Take note of how far a share's draft held, of which `n_tried` tokens were looked at."""
        if share.is_modelled and self._model_drafts is not None:
            self._model_drafts.learn(share.slot.index, n_drafted=n_tried, n_kept=n_kept)

    def set_threads(self, n_threads: int) -> None:
        """Use so many cores from the next step on."""
        self._costs.forget()
        if self._model_drafts is not None:
            self._model_drafts.model.set_threads(n_threads)

    def close(self) -> None:
        """Free what guesses."""
        if self._model_drafts is not None:
            self._model_drafts.model.close()
