"""Log probabilities as both the native API and OpenAI's show them."""

from collections.abc import Sequence
from typing import Any

from actors.messages.runner_to_gateway import TokenLogprob


def logprob_entries(logprobs: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """Give the entries of an answer, in order."""
    return [_entry(each) for each in logprobs]


def _entry(each: TokenLogprob) -> dict[str, Any]:
    entry = _token(each.piece, each.logprob)
    if each.top:
        entry["top_logprobs"] = [_token(piece, logprob) for piece, logprob in each.top]
    return entry


def _token(piece: bytes, logprob: float) -> dict[str, Any]:
    token: dict[str, Any] = {"token": piece.decode(errors="replace"), "logprob": logprob}
    return token | {"bytes": list(piece)} if piece else token
