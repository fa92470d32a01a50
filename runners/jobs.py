"""A job as the engine holds it: prompt, limits and the state of its generation."""

import dataclasses
from collections.abc import Mapping

from actors.messages.job import SamplingOptions
from actors.messages.model import AdapterUse, JobRef
from runners.constrained_sampler import ConstrainedSampler
from runners.constraint import Constraint
from runners.detokenize import Utf8Stream
from runners.llama.sampler import Sampler
from runners.logprobs import Logprobs
from runners.lookup import PromptLookup
from runners.media import MediaSpan, position_of, span_at, text_end
from runners.stops import StopMatcher


@dataclasses.dataclass(frozen=True, slots=True)
class Shift:
    """How a job's context may shift: in which window, and how many tokens at the front stay."""

    num_ctx: int
    n_keep: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PreparedJob:
    """A job whose prompt is tokens: what the trio thread hands to the decode thread."""

    ref: JobRef
    prompt: list[int]
    """What is evaluated before the first new token: the prompt and, behind it, the resumed part of the answer."""
    sampling: SamplingOptions
    max_new_tokens: int
    """At least 0; without `shift`, such that prompt and answer fit the slot."""
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
    tells_prefill: bool = False
    spans: tuple[MediaSpan, ...] = ()
    """Where `prompt` holds places of media."""
    shift: Shift | None = None
    """None: the answer ends where the context does."""
    constraint: Constraint | None = None
    """The grammar of the answer, at its beginning; this job's own."""
    top_logprobs: int | None = None
    """How many likely tokens to tell beside each token's log probability; None: tell none."""
    most_drafted: int | None = None
    """Guessed tokens in a step at most, 0 for no speculation; None: as many as pay."""
    n_resumed: int = 0
    """How many tokens at the end of `prompt` are the beginning of the answer, which a runner gave before it died."""

    def text_end(self, place: int) -> int:
        """Give the place at which the text from `place` on ends: at the next medium, or with the prompt."""
        return text_end(self.spans, place, n_tokens=len(self.prompt)) if self.spans else len(self.prompt)

    def position(self, place: int) -> int:
        """Give the position that the model counts for a place of text; behind a medium it may be lower."""
        return position_of(self.spans, place) if self.spans else place

    @property
    def counts_places(self) -> bool:
        """True iff positions are places, as without media and for most models with."""
        return all(span.n_positions == span.n_tokens for span in self.spans)

    def whole_media(self, n_shared: int) -> int:
        """Shorten a shared prefix so that it ends in no medium."""
        span = span_at(self.spans, n_shared)
        return span.start if span else n_shared

    @property
    def text_tokens(self) -> list[int]:
        """The prompt without its media, for samplers that look back."""
        return [token for token in self.prompt if token >= 0] if self.spans else self.prompt

    @property
    def shown_prompt(self) -> list[int]:
        """The prompt as a client may send it again: without the answer's beginning, and without media."""
        return [token for token in self.prompt[: self.n_prompt] if token >= 0]

    @property
    def resumed(self) -> list[int]:
        """The tokens of the answer that were given before."""
        return self.prompt[self.n_prompt :]

    @property
    def n_prompt(self) -> int:
        """Count the prompt's own tokens."""
        return len(self.prompt) - self.n_resumed

    def unshifted(self) -> "PreparedJob":
        """Give the job as a memory that cannot shift runs it."""
        if self.shift is None:
            return self
        room = max(0, self.shift.num_ctx - self.n_prompt)
        return dataclasses.replace(self, shift=None, max_new_tokens=min(self.max_new_tokens, room))


@dataclasses.dataclass(slots=True)
class RunningJob:
    """A job in a slot; owned by the decode thread."""

    prepared: PreparedJob
    sampler: Sampler | ConstrainedSampler
    stops: StopMatcher
    admitted_ns: int
    cached_tokens: int
    text: Utf8Stream = dataclasses.field(default_factory=Utf8Stream)
    generated: list[int] = dataclasses.field(default_factory=list)
    first_token_ns: int = 0
    """Clock when the prompt was done and the first token sampled; 0 before."""
    leader: "RunningJob | None" = None
    """The job that evaluates the beginning of this one's prompt; this one waits until that has `leader_tokens`."""
    leader_tokens: int = 0
    logprobs: Logprobs | None = None
    shifted_tokens: int = 0
    """Tokens that context shifts took out of the sequence."""
    lookup: PromptLookup | None = None
    """Guesses at the next tokens; None for a job that does not speculate."""

    @property
    def ref(self) -> JobRef:
        """The job's identity."""
        return self.prepared.ref
