"""A draft model: a small model with the vocabulary of a large one, which guesses the large one's next tokens.

It follows the histories of the slots in a cache of its own, a bounded number of tokens per call, so that a long prompt
delays nobody; a slot that is not followed to its end yet gets no guess.
"""

from collections.abc import Mapping, Sequence

import msgspec

from actors.errors import LoadFailed
from actors.messages.model import LoadPlan
from runners.llama.batch import Batch
from runners.llama.context import Context
from runners.llama.model import Model
from runners.radix import common_prefix

_FIRST_NUM_CTX = 512
_FOLLOWED_PER_CALL = 128
_COMPARED_TOKENS = 64


class DraftModel:
    """A loaded draft model with the cells of every slot; owned by the decode thread."""

    def __init__(self, path: str, model: Model, plan: LoadPlan) -> None:
        """Load it.

        Raises:
            LoadFailed: llama.cpp refused it, its vocabulary is another, or it has a state that cannot be taken back.
        """
        self._plan = plan
        self._n_vocab = model.n_vocab
        self._model = Model(path, plan)
        if not _is_alike(self._model, model) or self._model.keeps_state:
            self._model.close()
            raise LoadFailed("the DRAFT model has another vocabulary, or a running state: it cannot guess", path=path)
        self._context: Context | None = None
        self._held: list[list[int]] = [[] for _ in range(plan.n_slots)]
        self._batch = Batch(plan.n_batch)

    def guess(self, histories: Mapping[int, Sequence[int]], *, n_tokens: int) -> dict[int, list[int]]:
        """Guess what follows the history of each slot, itself with the token that is decoded next.

        Returns:
            `n_tokens` tokens for each slot that could be followed; fewer where one is not of the large model.

        Raises:
            DecodeFailed: llama.cpp could not; the next call starts from nothing.
            LoadFailed: there is no memory for the cache.
        """
        context = self._context_for(max(map(len, histories.values())) + n_tokens)
        try:
            places = self._follow(context, histories)
            guesses: dict[int, list[int]] = {slot: [] for slot in places}
            for _ in range(n_tokens):
                for slot, place in places.items():
                    guesses[slot].append(context.best(place))
                if not places or len(next(iter(guesses.values()))) == n_tokens:
                    break
                places = self._extended(context, {slot: guesses[slot][-1] for slot in places})
        except BaseException:
            self._forget()
            raise
        return {slot: self._known(guess) for slot, guess in guesses.items()}

    def set_threads(self, n_threads: int) -> None:
        """Use so many cores from the next call on."""
        self._plan = msgspec.structs.replace(self._plan, n_threads=n_threads)
        if self._context is not None:
            self._context.set_threads(n_threads)

    def close(self) -> None:
        """Free everything."""
        self._forget()
        self._model.close()

    def _follow(self, context: Context, histories: Mapping[int, Sequence[int]]) -> dict[int, int]:
        """Take over what is new of the histories; give the slots that are at their end, with the place in the batch."""
        self._batch.clear()
        places: dict[int, int] = {}
        room = min(self._batch.capacity, _FOLLOWED_PER_CALL)
        for slot, history in sorted(histories.items()):
            held = self._held[slot]
            shared = min(common_prefix(held, history), len(history) - 1)
            context.cut(slot, keep_tokens=shared)
            del held[shared:]
            tokens = [*history[shared : shared + room]]
            if not tokens:
                continue
            room -= len(tokens)
            held += tokens
            is_at_end = len(held) == len(history)
            place = self._batch.add(tokens, position=shared, sequence=slot, output_last=is_at_end)
            if is_at_end:
                places[slot] = place
        context.decode(self._batch)
        return places

    def _extended(self, context: Context, tokens: Mapping[int, int]) -> dict[int, int]:
        self._batch.clear()
        places = {}
        for slot, token in tokens.items():
            held = self._held[slot]
            places[slot] = self._batch.add([token], position=len(held), sequence=slot, output_last=True)
            held.append(token)
        context.decode(self._batch)
        return places

    def _context_for(self, n_tokens: int) -> Context:
        if self._context is None or self._context.num_ctx < min(n_tokens, self._plan.num_ctx):
            self._forget()
            power_of_two = 1 << (n_tokens - 1).bit_length()
            self._context = Context(self._model, self._plan, num_ctx=max(_FIRST_NUM_CTX, power_of_two))
        return self._context

    def _forget(self) -> None:
        if self._context is not None:
            self._context.close()
            self._context = None
        for held in self._held:
            held.clear()

    def _known(self, guess: list[int]) -> list[int]:
        unknown = next((place for place, token in enumerate(guess) if token >= self._n_vocab), len(guess))
        return guess[:unknown]


def _is_alike(draft: Model, model: Model) -> bool:
    """Tell whether tokens mean the same to both; some models of a family differ in padding at the end only."""
    n_shared = min(draft.n_vocab, model.n_vocab)
    ids = range(0, n_shared, max(1, n_shared // _COMPARED_TOKENS))
    return all(draft.piece(token) == model.piece(token) for token in ids)
