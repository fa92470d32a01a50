"""Guesses by the model's own layers for multi-token prediction (MTP), on the terms of a draft model.

After each step the states of its tokens are noted; when a guess is wanted, the layer takes over what is new, a bounded
number of tokens per call, and then predicts token by token. What it holds may have gaps, behind a prefix that came from
elsewhere or a prompt longer than is noted: guesses are worse then, and never more than guesses.

A model with several such layers is served by its first.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from actors.messages.model import LoadPlan
from runners.llama.context import Context
from runners.llama.model import Model
from runners.llama.mtp_context import MtpContext, States, states_of
from runners.packing import Share
from runners.radix import common_prefix

_FIRST_NUM_CTX = 512
_FOLLOWED_PER_CALL = 128
_MOST_NOTED = 2048
"""States that are kept for a slot; an older one's place in its sequence is left out."""


@dataclasses.dataclass(slots=True)
class _Noted:
    """What is known of one slot, by position: tokens from `start` on, and the states behind the last of them.

    Cells are there from `start` up to `held`, which may be the position behind the last token: what is decoded next.
    """

    start: int = 0
    held: int = 0
    tokens: list[int] = dataclasses.field(default_factory=list)
    states: list[States] = dataclasses.field(default_factory=list)
    story: tuple[int, int] = (0, 0)
    """Identity of the job that went on last, and how much of it was shifted out then."""

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)

    def cut(self, end: int) -> None:
        """Forget what stands at position `end` and behind it, but the cell of what is decoded next."""
        n_gone = self.end - max(end, self.start)
        if n_gone > 0:
            del self.tokens[-n_gone:]
            del self.states[-n_gone:]
        self.held = min(self.held, self.end + 1)

    def restart(self, start: int) -> None:
        """Forget all, to begin at a position."""
        self.start = self.held = start
        self.tokens.clear()
        self.states.clear()

    def state_before(self, position: int) -> States | None:
        """Give the state in which the token before a position was left; None where it is not known."""
        index = position - 1 - (self.end - len(self.states))
        return self.states[index] if 0 <= index < len(self.states) else None

    def drop_states(self) -> None:
        """Drop the states that no cell will need any more."""
        n_needed = self.end - (self.held - 2)
        del self.states[: max(0, len(self.states) - n_needed)]


class Mtp:
    """The predicting layer of a model with the cells of every slot; owned by the decode thread."""

    def __init__(self, model: Model, plan: LoadPlan) -> None:
        self._model = model
        self._plan = plan
        self._context: MtpContext | None = None
        self._noted = [_Noted() for _ in range(plan.n_slots)]

    def note(self, shares: Sequence[Share], context: Context) -> None:
        """Take the states of a step that was just decoded, whose shares fill its batch in this order."""
        n_tokens = sum(share.n_tokens for share in shares)
        rows = states_of(context, self._model, n_tokens)
        at = 0
        for share in shares:
            self._note_share(share, rows[at : at + share.n_tokens])
            at += share.n_tokens

    def guess(self, histories: Mapping[int, Sequence[int]], *, n_tokens: int) -> dict[int, list[int]]:
        """Guess what follows the history of each slot, itself with the token that is decoded next.

        Returns:
            `n_tokens` tokens for each slot that could be followed.

        Raises:
            DecodeFailed: llama.cpp could not.
            LoadFailed: there is no memory for the cells.
        """
        context = self._context_for(max(map(len, histories.values())) + n_tokens)
        found = self._follow(context, histories)
        guesses: dict[int, list[int]] = {slot: [token] for slot, (token, _) in found.items()}
        for n in range(1, n_tokens):
            if not found:
                break
            parts = [
                (slot, len(histories[slot]) + n - 1, [token], state[np.newaxis])
                for slot, (token, state) in found.items()
            ]
            found = dict(zip(found, context.decode(parts), strict=True))
            for slot, (token, _) in found.items():
                guesses[slot].append(token)
        for slot in guesses:
            context.cut(slot, keep=len(histories[slot]))
        return guesses

    def set_threads(self, n_threads: int) -> None:
        """Use so many cores from the next call on."""
        self._plan = msgspec.structs.replace(self._plan, n_threads=n_threads)
        if self._context is not None:
            self._context.set_threads(n_threads)

    def close(self) -> None:
        """Free the cells."""
        if self._context is not None:
            self._context.close()
            self._context = None

    def _note_share(self, share: Share, rows: States) -> None:
        slot, job = share.slot, share.slot.job
        assert job is not None  # noqa: S101  # only slots with a job get a share
        noted = self._noted[slot.index]
        done = len(slot.tokens) - (1 if slot.is_decoding else share.n_tokens)  # before this step
        story = (id(job), job.shifted_tokens)
        if story != noted.story:
            noted.story = story
            noted.cut(noted.start + common_prefix(noted.tokens, slot.tokens[noted.start : done]))
            noted.held = min(noted.held, noted.end)
        noted.cut(done)
        if noted.end != done or len(noted.states) > _MOST_NOTED:
            noted.restart(done)
        noted.tokens += [*slot.tokens[done:], *share.draft]
        noted.states += [*rows.copy()]

    def _follow(self, context: MtpContext, histories: Mapping[int, Sequence[int]]) -> dict[int, tuple[int, States]]:
        """Take over what is new, with the token that is decoded next; give the first guess where that was reached."""
        parts, reached, room = [], [], min(self._plan.n_batch, _FOLLOWED_PER_CALL)
        for slot, history in sorted(histories.items()):
            noted, end = self._noted[slot], len(history)
            noted.cut(end - 1)
            if noted.end != end - 1 or not room:
                continue
            first = min(noted.held, end - 1)
            count = min(end - first, room)
            context.cut(slot, keep=first if first > noted.start else 0)
            unknown = np.zeros(self._model.state_width, np.float32)
            before = (noted.state_before(position) for position in range(first, first + count))
            states = np.stack([unknown if state is None else state for state in before])
            parts.append((slot, first, [*history[first : first + count]], states))
            room -= count
            noted.held = first + count
            noted.drop_states()
            if noted.held == end:
                reached.append(slot)
        if not parts:
            return {}
        outputs = dict(zip([part[0] for part in parts], context.decode(parts), strict=True))
        return {slot: outputs[slot] for slot in reached}

    def _context_for(self, n_tokens: int) -> MtpContext:
        small = self._context
        if small is not None and small.num_ctx >= min(n_tokens, self._plan.num_ctx):
            return small
        power_of_two = max(_FIRST_NUM_CTX, 1 << (n_tokens - 1).bit_length())
        large = self._context = MtpContext(self._model, self._plan, num_ctx=power_of_two)
        for index, noted in enumerate(self._noted):
            if noted.held > noted.start and not (small and large.copy_from(small, index)):
                noted.restart(noted.end)
        if small is not None:
            small.close()
        return large
