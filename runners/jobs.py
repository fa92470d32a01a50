"""A job as the engine holds it: prompt, limits and the state of its generation."""

import dataclasses
from collections.abc import Mapping

from actors.messages.job import SamplingOptions
from actors.messages.model import AdapterUse, JobRef
from runners.detokenize import Utf8Stream
from runners.llama.sampler import Sampler
from runners.lookup import PromptLookup
from runners.stops import StopMatcher


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PreparedJob:
    """A job whose prompt is tokens: what the trio thread hands to the decode thread."""

    ref: JobRef
    prompt: list[int]
    """What is evaluated before the first new token: the prompt and, behind it, the resumed part of the answer."""
    sampling: SamplingOptions
    max_new_tokens: int
    """At least 0, and such that prompt and answer fit the slot."""
    stop: tuple[str, ...]
    return_context: bool
    adapters: tuple[AdapterUse, ...] | None = None
    """LoRA files; None: the model's own."""
    truncated_messages: int = 0
    truncated_tokens: int = 0
    prompt_tail: str = ""
    """The end of a rendered chat, for the parser of the answer."""
    marks: Mapping[int, bytes] = dataclasses.field(default_factory=dict)
    """Control tokens that the answer shows, with their text."""
    echo: str | None = None
    """The whole answer of a job that only shows its rendered prompt."""
    tells_prefill: bool = False
    most_drafted: int | None = None
    """Guessed tokens in a step at most, 0 for no speculation; None: as many as pay."""
    n_resumed: int = 0
    """How many tokens at the end of `prompt` are the beginning of the answer, which a runner gave before it died."""

    @property
    def resumed(self) -> list[int]:
        """The tokens of the answer that were given before."""
        return self.prompt[self.n_prompt :]

    @property
    def n_prompt(self) -> int:
        """Count the prompt's own tokens."""
        return len(self.prompt) - self.n_resumed


@dataclasses.dataclass(slots=True)
class RunningJob:
    """A job in a slot; owned by the decode thread."""

    prepared: PreparedJob
    sampler: Sampler
    stops: StopMatcher
    admitted_ns: int
    cached_tokens: int
    text: Utf8Stream = dataclasses.field(default_factory=Utf8Stream)
    generated: list[int] = dataclasses.field(default_factory=list)
    first_token_ns: int = 0
    """Clock when the prompt was done and the first token sampled; 0 before."""
    lookup: PromptLookup | None = None
    """Guesses at the next tokens; None for a job that does not speculate."""

    @property
    def ref(self) -> JobRef:
        """The job's identity."""
        return self.prepared.ref
