"""What a runner publishes: one frame per decode step and gateway, the topic (gateway id) and then one `Step`."""

import enum

import msgspec

from actors.errors import Failure


class DoneReason(enum.StrEnum):
    """Why a generation ended."""

    STOP = "stop"
    LENGTH = "length"


class Accepted(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The runner has the job and will resolve it; the gateway may forget its body. Always part 0 of a job.

    `prompt_tail` is the end of a rendered chat: it tells whether the answer begins inside its thinking.
    """

    job_id: str
    attempt: int
    prompt_tail: str = ""


class Prefill(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """How far the prompt of a job that asked for it is evaluated: told at its start and after each step, unnumbered."""

    job_id: str
    attempt: int
    done_tokens: int
    """Evaluated or spared by the KV cache."""
    cached_tokens: int
    """How many of the prompt's tokens the cache spared."""
    prompt_tokens: int


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """How likely a token was, as the model saw it: before any sampler."""

    piece: bytes
    """Its text; may be part of a character."""
    logprob: float
    top: tuple[tuple[bytes, float], ...] = ()
    """Text and log probability of the likeliest tokens, in this order, as many as the job asked for."""


class Delta(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """New text of a job. `seq` counts the parts of a job from 1, `Finished` and `Failed` included.

    `tokens` are the ids decoded since the last part, those of text that is still held back included, so that a job
    could be resumed from them.
    """

    job_id: str
    attempt: int
    seq: int
    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of the tokens whose text is shown by now, when the job asked for them."""


class Vectors(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Results of an embedding job, whole vectors in the order of its inputs; numbered like `Delta`.

    `values` are little-endian 32-bit floats. All vectors of a job have the same width.
    """

    job_id: str
    attempt: int
    seq: int
    values: bytes


class Finished(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The end of a job; `text` and `tokens` are its last delta."""

    job_id: str
    attempt: int
    seq: int
    text: str
    tokens: tuple[int, ...]
    reason: DoneReason
    prompt_tokens: int
    cached_tokens: int
    """How many of the prompt's tokens came from the KV cache."""
    generated_tokens: int
    prompt_ns: int
    generate_ns: int
    truncated_messages: int = 0
    truncated_tokens: int = 0
    context: tuple[int, ...] = ()
    """Prompt and answer as tokens, when the job asked for them."""
    stop: str = ""
    """The stop string that ended the answer; empty where the model ended it."""
    warnings: tuple[str, ...] = ()
    """What the caller should know about the answer, in sentences for people."""
    logprobs: tuple[TokenLogprob, ...] = ()


class Failed(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The end of a job that could not be finished."""

    job_id: str
    attempt: int
    seq: int
    failure: Failure


Part = Accepted | Prefill | Delta | Vectors | Finished | Failed


class Step(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """All that one decode step has for one gateway, in order."""

    parts: tuple[Part, ...]


ToSubscriber = Step
