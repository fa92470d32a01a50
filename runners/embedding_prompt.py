"""From the body of an embedding job to token inputs that fit.

An input that does not fit loses its end, but keeps the special tokens behind it. A reranker's input is query and
document in one, as its file says: by a template named `rerank`, or joined by special tokens. What is tokenized runs on
the tokenizer thread.
"""

import array
import functools
from collections.abc import Callable, Sequence

from actors.errors import InvalidRequest
from actors.messages.embedding import EmbedBody
from actors.messages.model import JobRef
from runners.embedding_jobs import PreparedEmbedding
from runners.embedding_shape import EmbeddingShape
from runners.llama.model import Model
from runners.tokenizer import Tokenizer

MAX_JOB_TOKENS = 1 << 20
"""Tokens of all inputs of a job: 4 MiB, and a minute's work for a small model."""
_FIRST_CHARS_PER_TOKEN = 32
_MORE_CHARS = 4
"""A text far over the limit is tokenized from its beginning, in ever longer pieces, until the limit is passed."""
_SHORTER = 0.9
_MOST_CUTS = 64


class EmbedPreparer:
    """Prepares the embedding jobs of one runner; for the trio thread."""

    def __init__(self, tokenizer: Tokenizer, shape: EmbeddingShape) -> None:
        self._tokenizer = tokenizer
        self._shape = shape

    async def prepare(self, ref: JobRef, body: EmbedBody) -> PreparedEmbedding:
        """Turn a body into a job that fits.

        Raises:
            InvalidRequest: an input is too long and may not be cut, has no tokens, or there are too many; or the model
                does not do what is asked.
        """
        if (body.query is not None) != self._shape.is_reranker:
            kind = "scores documents: use /api/rerank" if self._shape.is_reranker else "does not score documents"
            raise InvalidRequest(f"this model {kind}")
        limit = min(body.num_ctx or self._shape.input_tokens, self._shape.input_tokens)
        inputs = await self._tokenizer.run(_Inputs(self._tokenizer.model, body, limit).tokens)
        return PreparedEmbedding(
            ref=ref,
            inputs=inputs,
            dimensions=max(0, body.dimensions),
            is_normalised=not self._shape.is_reranker,
        )


class _Inputs:
    """Tokenizes the inputs of one body; for the tokenizer thread."""

    def __init__(self, model: Model, body: EmbedBody, limit: int) -> None:
        self._model = model
        self._body = body
        self._limit = limit
        self._query: list[int] | None = None

    def tokens(self) -> "tuple[array.array[int], ...]":
        if self._body.query is None:
            return self._all(self._passage)
        return self._all(self._pair if self._model.rerank_template is None else self._rendered_pair)

    def _all(self, tokenize: Callable[[str], list[int]]) -> "tuple[array.array[int], ...]":
        inputs = []
        n_tokens = 0
        for index, text in enumerate(self._body.inputs):
            tokens = tokenize(text)
            n_tokens += len(tokens)
            if not tokens:
                raise InvalidRequest(f"input {index} has no tokens: send texts that are not empty")
            if n_tokens > MAX_JOB_TOKENS:
                raise InvalidRequest(f"the inputs have over {MAX_JOB_TOKENS} tokens: send fewer of them per request")
            inputs.append(array.array("i", tokens))
        return tuple(inputs)

    def _passage(self, text: str) -> list[int]:
        tokens = self._with_specials(text)
        if len(tokens) <= self._limit:
            return tokens
        n_tail = self._n_tail
        self._check_may_cut(self._limit - n_tail)
        return [*tokens[: self._limit - n_tail], *(tokens[-n_tail:] if n_tail else [])]

    @functools.cached_property
    def _n_tail(self) -> int:
        """How many special tokens end each input."""
        return _common_tail(self._with_specials(""), self._with_specials("a"))

    def _pair(self, document: str) -> list[int]:
        model = self._model
        if self._query is None:
            self._query = self._beginning(self._body.query or "", add_special=False, parse_special=False)
        query = self._query
        text = self._beginning(document, add_special=False, parse_special=False)
        head, middle, tail = model.pair_tokens()
        room = self._limit - len(head) - len(query) - len(middle) - len(tail)
        if len(text) > room:
            self._check_may_cut(room)
            text = text[:room]
        return [*head, *query, *middle, *text, *tail]

    def _rendered_pair(self, document: str) -> list[int]:
        for _ in range(_MOST_CUTS):
            text = (self._model.rerank_template or "").replace("{query}", self._body.query or "")
            tokens = self._model.tokenize(text.replace("{document}", document), add_special=False)
            if len(tokens) <= self._limit:
                return tokens
            self._check_may_cut(len(document))
            document = document[: int(len(document) * min(_SHORTER, self._limit / len(tokens)))]
        raise InvalidRequest("input after truncation exceeds maximum context length")

    def _check_may_cut(self, room: int) -> None:
        if not self._body.truncate:
            raise InvalidRequest("the input length exceeds the context length")
        if room <= 0:
            raise InvalidRequest("input after truncation exceeds maximum context length")

    def _with_specials(self, text: str) -> list[int]:
        return self._beginning(text, add_special=True)

    def _beginning(self, text: str, *, add_special: bool, parse_special: bool = True) -> list[int]:
        """Tokenize a text, or at least so much of it that the limit is passed: what is behind it is cut anyway."""
        n_chars = self._limit * _FIRST_CHARS_PER_TOKEN
        while True:
            tokens = self._model.tokenize(text[:n_chars], add_special=add_special, parse_special=parse_special)
            if n_chars >= len(text) or len(tokens) > self._limit:
                return tokens
            n_chars *= _MORE_CHARS


def _common_tail(left: Sequence[int], right: Sequence[int]) -> int:
    """Count the tokens that end both: those that the tokenizer puts behind every text."""
    n_tail = 0
    while n_tail < min(len(left), len(right)) and left[-1 - n_tail] == right[-1 - n_tail]:
        n_tail += 1
    return n_tail
