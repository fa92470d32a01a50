"""The body of a job: what a gateway asks of a runner. A payload frame; the scheduler never decodes it."""

import enum
from typing import Any

import msgspec


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


class RawPrompt(msgspec.Struct, frozen=True, kw_only=True, tag="raw"):
    """Text that goes to the tokenizer untouched."""

    text: str
    add_special: bool = True
    """Whether the tokens that the model puts around every prompt are added."""


class TokenPrompt(msgspec.Struct, frozen=True, kw_only=True, tag="tokens"):
    """Token ids; only to be turned back into text."""

    tokens: tuple[int, ...]


class ChatPrompt(msgspec.Struct, frozen=True, kw_only=True, tag="chat"):
    """Messages that the runner renders with the model's own template.

    `context_tokens` are the tokens of an earlier reply, put in front of the rendered text.
    """

    messages: tuple[ChatMessage, ...]
    tools: tuple[dict[str, Any], ...] = ()
    think: bool | str | None = None
    context_tokens: tuple[int, ...] = ()


class SamplingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Sampling of one job, with the defaults of the native API; `temperature` 0 is greedy."""

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = -1
    """Negative: the runner draws one."""


class JobBody(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a generation but which model does it."""

    prompt: RawPrompt | ChatPrompt | TokenPrompt
    task: Task = Task.GENERATE
    sampling: SamplingOptions = SamplingOptions()
    num_predict: int = -1
    """Tokens to generate at most; negative: until the context is full."""
    stop: tuple[str, ...] = ()
    truncate: bool = True
    """Whether a prompt that does not fit may lose its oldest messages, then tokens from its middle."""
    num_keep: int = 4
    """Tokens at the front that a cut in the middle spares."""
    num_ctx: int | None = None
    """The caller's own context limit, at most the runner's; the answer ends there."""
    return_context: bool = False
    render_only: bool = False
    """Answer with the rendered prompt as text, and its tokens if `return_context`; nothing is generated."""
    visible_tokens: tuple[str, ...] = ()
    """Control tokens that the answer's text shall show, because its parser looks for them."""
    tells_prefill: bool = False
    """Whether `Prefill` parts shall be sent until the first token."""
