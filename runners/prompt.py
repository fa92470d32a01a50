"""From a job's body to prompt tokens that fit: render, tokenize, and cut what may be cut.

A conversation that does not fit loses its oldest messages first; system messages and the last message stay. A prompt
that still does not fit keeps its first `num_keep` tokens and the end, half of the rest. What was cut is counted, and
told to the client. The answer ends where the context does, or goes on by context shifts (`runners.shifting`).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from actors.errors import InvalidRequest, PromptTooLong, RunnerDied
from actors.messages.job import (
    MEDIA_PLACE,
    ChatMessage,
    ChatPrompt,
    FillPrompt,
    JobBody,
    RawPrompt,
    SamplingOptions,
    TokenPrompt,
)
from actors.messages.model import JobRef, LoadPlan
from runners.grammar import GrammarCompiler
from runners.jobs import PreparedJob, Shift
from runners.media import MediaSpan
from runners.media_reader import MediaReader, marked, numbered
from runners.rendering import GoRenderRequest, RendererClient, RenderRequest
from runners.sampling import check_sampling
from runners.tokenizer import Tokenizer

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The template of a model that brings none."""

_SEED_BYTES = 4
_MOST_CONTEXTS = 10
"""An answer that may shift its context ends when it has filled it so often, unless `num_predict` is less."""
_TAIL_CHARS = 64
"""Of a rendered chat, told to the gateway: longer than any tag that opens thinking."""


@dataclass(frozen=True, slots=True)
class WholePrompt:
    """A prompt as text and as tokens, nothing cut."""

    text: str
    tokens: list[int]
    spans: tuple[MediaSpan, ...] = ()


class PromptPreparer:
    """Prepares the jobs of one runner; for the trio thread."""

    def __init__(self, tokenizer: Tokenizer, media: MediaReader, renderer: RendererClient, plan: LoadPlan) -> None:
        self._tokenizer = tokenizer
        self._media = media
        self._renderer = renderer
        self._plan = plan
        self._grammars = GrammarCompiler(tokenizer)

    async def prepare(self, ref: JobRef, body: JobBody, *, resumed: Sequence[int] = ()) -> PreparedJob:
        """Turn a body into a job that fits its slot.

        Args:
            ref: the job's identity.
            body: what it asks for.
            resumed: tokens of the answer that another runner gave before it died.

        Raises:
            InvalidRequest: token ids outside the vocabulary, or an empty prompt.
            InvalidGrammar: it is wrong, unsupported or too complex.
            PromptTooLong: it does not fit and may not be cut.
            TemplateFailed: the chat template refused the messages.
        """
        check_sampling(body.sampling, n_vocab=self._tokenizer.model.n_vocab)
        compiled = None if body.grammar is None else await self._grammars.compile(body.grammar)
        num_ctx = min(body.num_ctx or self._plan.num_ctx, self._plan.num_ctx)
        prompt, n_messages = await self._prompt(body, limit=num_ctx - 1)
        tokens = self._cut(prompt.tokens, body, num_ctx=num_ctx)
        if len(tokens) + len(resumed) >= num_ctx:
            raise RunnerDied("the answer had outgrown its context, so no other can go on with it")
        tail = prompt.text[-_TAIL_CHARS:] if isinstance(body.prompt, ChatPrompt) else ""
        shifts = body.shift and not prompt.spans  # the places of an image do not move one by one
        most = num_ctx * _MOST_CONTEXTS if shifts else num_ctx - len(tokens)
        return PreparedJob(
            ref=ref,
            prompt=[*tokens, *resumed],
            n_resumed=len(resumed),
            spans=prompt.spans,
            most_drafted=body.most_drafted,
            sampling=_with_seed(body.sampling),
            max_new_tokens=most if body.num_predict < 0 else min(body.num_predict, most),
            shift=Shift(num_ctx, self._n_kept(body, tokens)) if shifts else None,
            constraint=compiled.constraint(body.grammar, prompt_tail=tail) if compiled and body.grammar else None,
            top_logprobs=body.top_logprobs,
            stop=body.stop,
            return_context=body.return_context,
            adapters=body.adapters,
            truncated_messages=n_messages,
            truncated_tokens=len(prompt.tokens) - len(tokens),
            prompt_tail=tail,
            marks=await self._tokenizer.marks(body.visible_tokens),
            tells_prefill=body.tells_prefill,
        )

    def _cut(self, tokens: list[int], body: JobBody, *, num_ctx: int) -> list[int]:
        if len(tokens) < num_ctx:
            return tokens
        if not (body.truncate and body.shift) or any(token < 0 for token in tokens):  # an image cannot be cut
            raise PromptTooLong(prompt_tokens=len(tokens), context_tokens=num_ctx)
        return cut_middle(tokens, limit=num_ctx - 1, n_keep=self._n_kept(body, tokens))

    def _n_kept(self, body: JobBody, tokens: Sequence[int]) -> int:
        """Count the tokens at the front that cuts and shifts spare; all of the prompt for a negative `num_keep`."""
        n_keep = body.num_keep if body.num_keep >= 0 else len(tokens)
        return n_keep + self._tokenizer.model.add_bos

    async def _prompt(self, body: JobBody, *, limit: int) -> tuple[WholePrompt, int]:
        """Give the prompt and how many messages were left out."""
        if isinstance(body.prompt, TokenPrompt):
            raise InvalidRequest("token ids are no prompt: send text or messages")
        whole = await self.whole(body.prompt, limit=limit)
        if not isinstance(body.prompt, ChatPrompt):
            if not whole.tokens:
                raise InvalidRequest("the prompt has no tokens: send a prompt that is not empty")
            return whole, 0
        droppable = _droppable(body.prompt.messages)
        if len(whole.tokens) <= limit or not body.truncate or not droppable:
            return whole, 0
        fewest, most = 0, len(droppable)  # invariant: dropping `fewest` is not enough, or nothing is dropped yet
        while most - fewest > 1:
            middle = (fewest + most) // 2
            trial = await self._chat(body.prompt, _without(body.prompt.messages, droppable[:middle]), limit=limit)
            fewest, most = (fewest, middle) if len(trial.tokens) <= limit else (middle, most)
        return await self._chat(body.prompt, _without(body.prompt.messages, droppable[:most]), limit=limit), most

    async def whole(self, prompt: RawPrompt | ChatPrompt | FillPrompt, *, limit: int = 0) -> WholePrompt:
        """Render and tokenize a prompt; the media of one with more than `limit` tokens are counted only.

        Raises:
            InvalidRequest: token ids outside the vocabulary, or media that cannot be read.
            TemplateFailed: the chat template refused the messages.
            UnsupportedByModel: the model cannot read such media.
        """
        if isinstance(prompt, RawPrompt) and prompt.media:
            text, media = numbered(prompt, await self._media.marker(prompt.media))
            read = await self._media.read(text, media, limit=limit)
            return WholePrompt(prompt.text, read.tokens, read.spans)
        if isinstance(prompt, RawPrompt):
            return WholePrompt(prompt.text, await self._tokenizer.tokenize(prompt.text, add_special=prompt.add_special))
        if isinstance(prompt, FillPrompt):
            request = GoRenderRequest(
                number=0, template=prompt.template, prompt=prompt.prompt, suffix=prompt.suffix, think=prompt.think
            )
            return await self._tokenized(await self._renderer.render(request))
        self.check_ids("context", prompt.context_tokens)
        return await self._chat(prompt, prompt.messages, limit=limit)

    async def _chat(self, prompt: ChatPrompt, messages: Sequence[ChatMessage], *, limit: int) -> WholePrompt:
        media = [content for message in messages for content in message.media]
        if not media:
            return await self._tokenized(await self._rendered(prompt, messages), prompt)
        marker = await self._media.marker(media)
        text = self._without_bos(await self._rendered(prompt, [marked(message, marker) for message in messages]))
        read = await self._media.read(text, media, limit=limit, prefix=prompt.context_tokens)
        return WholePrompt(text.replace(marker, MEDIA_PLACE), read.tokens, read.spans)

    async def _rendered(self, prompt: ChatPrompt, messages: Sequence[ChatMessage]) -> str:
        if prompt.template is not None:
            return await self._renderer.render(_go_request(prompt, messages))
        model = self._tokenizer.model
        # A last message of the assistant is the beginning of the answer: rendered by hand, so that it stays open.
        prefill = messages[-1].content if messages and messages[-1].role == "assistant" else ""
        text = await self._renderer.render(
            RenderRequest(
                number=0,
                template=model.chat_template or CHATML,
                messages=[_for_template(message) for message in (messages[:-1] if prefill else messages)],
                tools=list(prompt.tools),
                bos_token=model.bos_text,
                eos_token=model.eos_text,
                add_generation_prompt=True,
                variables=_variables(prompt.think),
            )
        )
        return text + prefill

    async def _tokenized(self, text: str, prompt: ChatPrompt | None = None) -> WholePrompt:
        before, text = prompt.context_tokens if prompt else (), self._without_bos(text)
        tokens = await self._tokenizer.tokenize(text, add_special=not before)
        return WholePrompt(text, [*before, *tokens])

    def _without_bos(self, text: str) -> str:
        """Take away the token that the tokenizer adds."""
        model = self._tokenizer.model
        return text.removeprefix(model.bos_text) if model.add_bos and model.bos_text else text

    def check_ids(self, field: str, tokens: Sequence[int]) -> None:
        """Check that ids, which came in `field` of a request, are tokens of the model.

        Raises:
            InvalidRequest: one is not.
        """
        n_vocab = self._tokenizer.model.n_vocab
        wrong = next((token for token in tokens if not 0 <= token < n_vocab), None)
        if wrong is not None:
            raise InvalidRequest(f"{field} holds {wrong}, which is no token of this model: ids are 0 to {n_vocab - 1}")


def cut_middle(tokens: list[int], *, limit: int, n_keep: int) -> list[int]:
    """Keep the first `n_keep` tokens and, behind them, the end that fills half of what is left of `limit`."""
    n_keep = min(max(0, n_keep), limit // 2)
    n_tail = max(1, (limit - n_keep) // 2)
    return tokens if len(tokens) <= limit else [*tokens[:n_keep], *tokens[-n_tail:]]


def _droppable(messages: Sequence[ChatMessage]) -> list[int]:
    return [index for index, message in enumerate(messages[:-1]) if message.role != "system"]


def _without(messages: Sequence[ChatMessage], dropped: Sequence[int]) -> list[ChatMessage]:
    gone = set(dropped)
    return [message for index, message in enumerate(messages) if index not in gone]


def _go_request(prompt: ChatPrompt, messages: Sequence[ChatMessage]) -> GoRenderRequest:
    """Ask for a Go template, which itself decides what becomes of a last message of the assistant."""
    return GoRenderRequest(
        number=0,
        template=prompt.template or "",
        messages=[msgspec.to_builtins(message) for message in messages],
        tools=list(prompt.tools),
        think=prompt.think,
    )


def _for_template(message: ChatMessage) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        fields["tool_calls"] = [
            {"id": call.id, "type": "function", "function": msgspec.to_builtins(call.function)}
            for call in message.tool_calls
        ]
    if message.thinking:
        fields["reasoning_content"] = message.thinking  # a template decides which turns keep theirs
    if message.tool_name:
        fields["name"] = message.tool_name
    if message.tool_call_id:
        fields["tool_call_id"] = message.tool_call_id
    return fields


def _variables(think: bool | str | None) -> dict[str, Any]:  # noqa: FBT001  # the wire's own type
    if think is None:
        return {}
    levels = {"reasoning_effort": think} if isinstance(think, str) else {}
    thinks = think is not False
    return {"enable_thinking": thinks, "thinking": thinks, **levels}  # two names are in use


def _with_seed(options: SamplingOptions) -> SamplingOptions:
    if options.seed >= 0:
        return options
    return msgspec.structs.replace(options, seed=int.from_bytes(os.urandom(_SEED_BYTES), "little"))
