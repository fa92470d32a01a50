"""Prompt lookup: what came after the last tokens when they occurred before, as a guess at what comes next.

Texts that an answer copies, corrects or quotes stand in its prompt, and loops repeat themselves. The index is that of
LZ77 coders: per pair of tokens the position behind its latest occurrence, and per position the one behind the
occurrence before that. While a guess proves right its position just moves on; when it fails, the occurrence with the
longest common past is taken; with none, the old text is taken up one token later, as after a replaced word.

How likely a guess holds is learned from every token of the answer, whether it was drafted or not, per length of the
match: so it costs no step to see that speculation would pay again.
"""

from collections.abc import Sequence

_MOST_INDEXED_TOKENS = 1 << 15
"""Only the end of a longer prompt is searched; bounds memory, at some 100 bytes per token."""
_INDEXED_PER_TOKEN = 1024
"""A long prompt is indexed bit by bit, half a millisecond at a time, so that no step waits for it."""
_MOST_CANDIDATES = 8
_SHORTEST_FOUND = 2
"""Tokens alike that the index needs."""
_LONGEST_MATCH = 32
_TOKEN_BITS = 32
_FIRST_CHANCES = (0.1, 0.1, 0.25, 0.5, 0.7, 0.85)
"""Chance that the next token is as guessed, by the bit length of the match: no token alike, 1, 2-3, 4-7, 8-15, 16.

What is assumed while nothing was learned; low, because a story repeats short runs of tokens, and goes on otherwise."""
_FIRST_CHANCE_WORTH = 4
"""How many learned tokens an assumed chance counts as much as."""
_MEMORY_TOKENS = 20
"""Of the tokens in a bucket about so many decide."""
_MOST_CERTAIN = 0.99


class PromptLookup:
    """The tokens of one job and the guess at its next ones; owned by the decode thread."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._tokens = [*prompt]
        self._indexed = max(1, len(prompt) - _MOST_INDEXED_TOKENS)  # pairs that end before it are known
        self._latest: dict[int, int] = {}
        self._earlier: dict[int, int] = {}
        self._next = 0  # position of the guessed next token, 0 for no guess
        self._matched = 0  # tokens before it that agree with the end
        self._chances = [*_FIRST_CHANCES]
        self._n_learned = [_FIRST_CHANCE_WORTH] * len(_FIRST_CHANCES)

    def feed(self, token: int) -> None:
        """Take the next token of the answer, and learn from it."""
        if self._next:
            bucket, hit = self._bucket(self._matched), self._tokens[self._next] == token
            self._n_learned[bucket] = min(self._n_learned[bucket] + 1, _MEMORY_TOKENS)
            self._chances[bucket] += (hit - self._chances[bucket]) / self._n_learned[bucket]
            self._matched = min(self._matched + 1, _LONGEST_MATCH) if hit else 0
            self._next += 1
        self._tokens.append(token)
        self._index()
        if self._matched < _SHORTEST_FOUND:
            self._search()

    def guess(self, limit: int) -> list[int]:
        """Give up to `limit` tokens that may come next; the list is the caller's."""
        guessed: list[int] = []
        if not self._next:
            return guessed
        for position in range(self._next, self._next + limit):
            beyond = position - len(self._tokens)
            token = self._tokens[position] if beyond < 0 else guessed[beyond]  # a loop goes on as it began
            if token < 0:  # the place of an image, not a token
                break
            guessed.append(token)
        return guessed

    def chances(self, count: int) -> list[float]:
        """Give for each of the next `count` guessed tokens the chance that it holds if those before it do."""
        return [min(_MOST_CERTAIN, self._chances[self._bucket(self._matched + ahead)]) for ahead in range(count)]

    def _index(self) -> None:
        """Enter pairs up to the one before the last: the last is what is searched for."""
        end = min(len(self._tokens) - 1, self._indexed + _INDEXED_PER_TOKEN)
        for position in range(self._indexed, end):
            key = self._key(position)
            earlier = self._latest.get(key)
            if earlier is not None:
                self._earlier[position + 1] = earlier
            self._latest[key] = position + 1
        self._indexed = max(self._indexed, end)

    def _search(self) -> None:
        last = len(self._tokens) - 1
        candidate = self._latest.get(self._key(last)) if last > 0 else None
        best = self._matched
        for _ in range(_MOST_CANDIDATES):
            if candidate is None:
                break
            length = self._common_past(candidate)
            if length > best:
                self._next, self._matched, best = candidate, length, length
            candidate = self._earlier.get(candidate)

    def _common_past(self, candidate: int) -> int:
        tokens, end, length = self._tokens, len(self._tokens), _SHORTEST_FOUND
        longest = min(_LONGEST_MATCH, candidate)
        while length < longest and tokens[candidate - length - 1] == tokens[end - length - 1]:
            length += 1
        return length

    def _key(self, position: int) -> int:
        return (self._tokens[position - 1] << _TOKEN_BITS) + self._tokens[position]

    @staticmethod
    def _bucket(matched: int) -> int:
        return min(matched.bit_length(), len(_FIRST_CHANCES) - 1)
