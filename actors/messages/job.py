"""The body of a job: what a gateway asks of a runner. A payload frame; the scheduler never decodes it."""

import enum
from typing import Any

import msgspec

from actors.messages.model import AdapterUse


class Task(enum.StrEnum):
    """What the runner shall do with a prompt; all but the first need no slot and end with one `Finished`."""

    GENERATE = "generate"
    COUNT = "count"
    """Render and tokenize; `Finished.prompt_tokens` is the answer."""
    TOKENIZE = "tokenize"
    """The same; the tokens come as `Finished.context`."""
    RENDER = "render"
    """Render; the prompt comes as `Finished.text`."""
    DETOKENIZE = "detokenize"
    """Turn a `TokenPrompt` into `Finished.text`."""


MEDIA_PLACE = "[img]"
"""Where an image or a sound stands in the content of a message."""


class ToolFunction(msgspec.Struct, frozen=True, kw_only=True):
    """A function call as chat templates expect it."""

    name: str
    arguments: dict[str, Any] = {}


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call that an assistant message made."""

    id: str = ""
    function: ToolFunction


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a conversation, in the vocabulary of the native API."""

    role: str
    content: str = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    tool_call_id: str = ""
    media: tuple[bytes, ...] = ()
    """Files of images and sounds. They stand where the content says `MEDIA_PLACE`, the others in front of it."""


class RawPrompt(msgspec.Struct, frozen=True, kw_only=True, tag="raw"):
    """Text that goes to the tokenizer untouched."""

    text: str
    add_special: bool = True
    """Whether the tokens that the model puts around every prompt are added."""
    media: tuple[bytes, ...] = ()
    """Files of images and sounds; the text says `[img-0]`, `[img-1]` and so on where they stand."""


class TokenPrompt(msgspec.Struct, frozen=True, kw_only=True, tag="tokens"):
    """Token ids; only to be turned back into text."""

    tokens: tuple[int, ...]


class ChatPrompt(msgspec.Struct, frozen=True, kw_only=True, tag="chat"):
    """Messages that the runner renders.

    `template` is the Go template that renders them; None: the Jinja template in the model's file. `context_tokens` are
    the tokens of an earlier reply, put in front of the rendered text.
    """

    messages: tuple[ChatMessage, ...]
    tools: tuple[dict[str, Any], ...] = ()
    think: bool | str | None = None
    context_tokens: tuple[int, ...] = ()
    template: str | None = None


class FillPrompt(msgspec.Struct, frozen=True, kw_only=True, tag="fill"):
    """Text before and after a gap that the model shall fill, rendered by a Go template that knows a suffix."""

    template: str
    prompt: str
    suffix: str
    think: bool | str | None = None


class SamplingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Sampling of one job; `temperature` 0 is greedy.

    Defaults are those of the native API and, for what it does not offer, llama.cpp's, with which a sampler is off.
    """

    temperature: float = 0.8
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    top_n_sigma: float = -1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    min_keep: int = 0
    """Candidates that top-p, min-p, typical-p and XTC leave at least."""
    repeat_last_n: int = 64
    """Tokens that the penalties look back on; negative: the whole context."""
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = 64
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Token ids and what is added to their logits; minus infinity bans a token."""
    ignore_eos: bool = False
    seed: int = -1
    """Negative: the runner draws one."""


class GrammarKind(enum.StrEnum):
    """The languages in which a grammar can be written."""

    JSON_SCHEMA = "json_schema"
    REGEX = "regex"
    LARK = "lark"
    GBNF = "gbnf"
    FORM = "tool_choice"
    """What a gateway makes of forced calls: the text is that of an `actors.messages.form`."""


class Grammar(msgspec.Struct, frozen=True, kw_only=True):
    """What the text of an answer must match.

    The runner compiles it before the job takes a slot and refuses what it cannot. By default it holds from the first
    token on. With `thinking` and `triggers` the answer is free until both have passed, in this order.
    """

    kind: GrammarKind
    text: str
    thinking: tuple[str, str] | None = None
    """Opening and closing tag of a block that may come first and is free; None: the answer has none."""
    triggers: tuple[str, ...] = ()
    """The answer is free, and may end, until one of these texts has appeared; the grammar begins right behind it."""


class Resumption(msgspec.Struct, frozen=True, kw_only=True):
    """What a dead runner had answered of a job: a second payload frame, with which the next runner goes on there."""

    tokens: tuple[int, ...]


class JobBody(msgspec.Struct, frozen=True, kw_only=True, tag="generate"):
    """Everything about a generation but which model does it."""

    prompt: RawPrompt | ChatPrompt | FillPrompt | TokenPrompt
    task: Task = Task.GENERATE
    sampling: SamplingOptions = SamplingOptions()
    grammar: Grammar | None = None
    top_logprobs: int | None = None
    """How many of the likeliest tokens to tell beside each token's own log probability; None: tell none at all."""
    num_predict: int = -1
    """Tokens to generate at most; negative: until the context is full."""
    stop: tuple[str, ...] = ()
    truncate: bool = True
    """Whether a prompt that does not fit may lose its oldest messages, then tokens from its middle."""
    shift: bool = True
    """Whether the answer goes on when the context is full, at the cost of what is oldest in it."""
    num_keep: int = 4
    """Tokens at the front that a cut in the middle and a shift spare."""
    num_ctx: int | None = None
    """The caller's own context limit, at most the runner's."""
    adapters: tuple[AdapterUse, ...] | None = None
    """LoRA files to use for this job; None: the model's own."""
    most_drafted: int | None = None
    """Guessed tokens in a step at most, 0 for no speculation; None: as many as pay."""
    return_context: bool = False
    visible_tokens: tuple[str, ...] = ()
    """Control tokens that the answer's text shall show, because its parser looks for them."""
    tells_prefill: bool = False
    """Whether `Prefill` parts shall be sent until the first token."""
