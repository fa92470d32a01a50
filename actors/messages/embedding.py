"""The body of an embedding or reranking job: what a gateway asks of a runner beside generations. A payload frame."""

import msgspec


class EmbedBody(msgspec.Struct, frozen=True, kw_only=True, tag="embed"):
    """Texts to be turned into vectors; with a `query`, documents to be scored against it.

    Answered by `Vectors` parts in the order of the inputs; a score is a vector of width 1.
    """

    inputs: tuple[str, ...]
    query: str | None = None
    truncate: bool = True
    """Whether an input that does not fit may lose its end."""
    dimensions: int = 0
    """Cut vectors to so many numbers and normalise them again; 0, or more than the model gives, leaves them whole."""
    num_ctx: int | None = None
    """The caller's own limit of an input, at most the runner's."""
