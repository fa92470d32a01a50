"""The tokenizer thread: a megabyte of prompt takes a second to tokenize, which neither trio nor a step may wait for.

It owns every call of `Model.tokenize` and `Model.detokenize`.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from runners.call_thread import CallThread
from runners.llama.model import Model

T = TypeVar("T")

_MAX_MARKS = 1024
"""Texts remembered at most; the gateways' parsers know some sixty."""


class Tokenizer:
    """Tokenizes on its own thread; the methods are for the trio thread."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._marks: dict[str, int | None] = {}  # owned by the trio thread
        self._thread = CallThread("tokenizer")

    async def tokenize(self, text: str, *, add_special: bool) -> list[int]:
        """Turn text into token ids.

        Cancellation: the result is dropped; the thread finishes the text first.

        Raises:
            InvalidRequest: the text has too many tokens to count.
        """
        return await self.run(lambda: self.model.tokenize(text, add_special=add_special))

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """Turn token ids, all of the vocabulary, back into text.

        Cancellation: the result is dropped; the thread finishes the text first.
        """
        return await self.run(lambda: self.model.detokenize(tokens))

    async def run(self, call: Callable[[], T]) -> T:
        """Run what tokenizes on the tokenizer thread, and give its result.

        Cancellation: the result is dropped; the thread finishes the call first.

        Raises:
            Exception: whatever `call` raises.
        """
        return await self._thread.run(call)

    async def marks(self, texts: Sequence[str]) -> dict[int, bytes]:
        """Find the control tokens of these texts: their ids, with the bytes that an answer shall show for them.

        Cancellation: the result is dropped; the thread finishes first.
        """
        found: dict[int, bytes] = {}
        for text in texts:
            if text not in self._marks and len(self._marks) < _MAX_MARKS:
                ids = await self.tokenize(text, add_special=False)
                self._marks[text] = ids[0] if len(ids) == 1 else None
            token = self._marks.get(text)
            if token is not None:
                found[token] = text.encode()
        return found

    def close(self) -> None:
        """End the thread after the requests before this, and wait for it: the model may be freed then."""
        self._thread.close()
