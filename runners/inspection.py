"""Jobs that ask about a prompt instead of an answer: how it renders, which tokens it has, what tokens spell.

They run on the trio thread with the tokenizer's and the renderer's help, and end without a slot. An answer travels as
one message, so its size is bounded; a count is not, because it is a number.
"""

from actors.errors import Bug, InvalidRequest
from actors.messages.job import ChatPrompt, FillPrompt, JobBody, Task, TokenPrompt
from actors.messages.model import JobRef
from actors.messages.runner_to_gateway import DoneReason
from runners.admission import AnsweredJob
from runners.outbox import Ending
from runners.prompt import PromptPreparer
from runners.tokenizer import Tokenizer

MAX_ANSWER_TOKENS = 1 << 18
MAX_ANSWER_BYTES = 2 << 20
"""Of text; either is well below what a message may hold."""


class Inspector:
    """Answers the inspecting jobs of one runner; for the trio thread."""

    def __init__(self, tokenizer: Tokenizer, preparer: PromptPreparer) -> None:
        self._tokenizer = tokenizer
        self._preparer = preparer

    async def inspect(self, ref: JobRef, body: JobBody) -> AnsweredJob:
        """Answer a job whose task is not `GENERATE`.

        Raises:
            InvalidRequest: the answer is too big to travel, or there are ids outside the vocabulary.
            TemplateFailed: the chat template refused the messages.
        """
        match body.task, body.prompt:
            case Task.DETOKENIZE, TokenPrompt(tokens=tokens):
                self._preparer.check_ids("tokens", tokens)
                return AnsweredJob(ref, _ending(len(tokens)), _bounded(await self._tokenizer.detokenize(tokens)))
            case Task.RENDER, (ChatPrompt() | FillPrompt()) as prompt:
                whole = await self._preparer.whole(prompt)
                return AnsweredJob(ref, _ending(len(whole.tokens)), _bounded(whole.text))
            case Task.COUNT | Task.TOKENIZE, prompt if not isinstance(prompt, TokenPrompt):
                ids = (await self._preparer.whole(prompt)).tokens
                return AnsweredJob(ref, _ending(len(ids), ids if body.task is Task.TOKENIZE else ()))
        raise Bug(f"a gateway asked to {body.task} a {type(body.prompt).__name__}")


def _ending(n_tokens: int, tokens: "list[int] | tuple[int, ...]" = ()) -> Ending:
    if len(tokens) > MAX_ANSWER_TOKENS:
        raise InvalidRequest(
            f"the text has {len(tokens)} tokens, more than one answer may hold ({MAX_ANSWER_TOKENS}): "
            "send it in smaller pieces"
        )
    return Ending(
        reason=DoneReason.STOP,
        prompt_tokens=n_tokens,
        cached_tokens=0,
        generated_tokens=0,
        prompt_ns=0,
        generate_ns=0,
        context=tuple(tokens),
    )


def _bounded(text: str) -> str:
    n_bytes = len(text.encode("utf-8", "surrogatepass"))
    if n_bytes > MAX_ANSWER_BYTES:
        raise InvalidRequest(
            f"the text has {n_bytes} bytes, more than one answer may hold ({MAX_ANSWER_BYTES}): send less at once"
        )
    return text
