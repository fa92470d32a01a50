"""Sampling fields of `/v1` as native options: there, temperature and top_p default to 1 whatever the model says.

`options`, our extension, may set any native option; a field of the route's own wins over it.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from actors.errors import InvalidRequest
from gateway.options import RequestOptions
from gateway.wire.openai_requests import Sampling

_MAX_BIAS = 100.0
_MAX_BIASES = 1024
_MAX_TOKEN_ID = (1 << 31) - 1


def sampling_options(body: Sampling) -> dict[str, Any]:
    """Give the fields that the routes share as `options` of the native API, without `stop`."""
    options: dict[str, Any] = {
        "temperature": body.temperature,
        "top_p": body.top_p,
        "num_predict": body.max_tokens,
        "seed": body.seed,
        "frequency_penalty": body.frequency_penalty,
        "presence_penalty": body.presence_penalty,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return {"temperature": 1.0, "top_p": 1.0} | (body.options or {}) | given


def stop_words(value: Any) -> dict[str, Any]:
    """Give `stop`, a text or a list of texts, as an option; anything else in it is left out."""
    if isinstance(value, str):
        return {"stop": [value]}
    if isinstance(value, list):
        return {"stop": [word for word in value if isinstance(word, str)]}
    return {}


def biased(options: RequestOptions, bias: Mapping[str, float] | None) -> RequestOptions:
    """Add a `logit_bias`: token ids, as text, with numbers from -100, which bans a token, to 100, which forces it.

    Raises:
        InvalidRequest: an id or a number is out of range.
    """
    if not bias:
        return options
    if len(bias) > _MAX_BIASES:
        raise InvalidRequest(f"logit_bias may name {_MAX_BIASES} tokens at most")
    pairs = tuple((_token_id(key), _bias(key, value)) for key, value in bias.items())
    sampling = msgspec.structs.replace(options.sampling, logit_bias=pairs)
    return dataclasses.replace(options, sampling=sampling)


def _token_id(key: str) -> int:
    if not (key.isascii() and key.isdecimal()) or len(key) > len(str(_MAX_TOKEN_ID)) or int(key) > _MAX_TOKEN_ID:
        raise InvalidRequest(f"logit_bias names {key!r}, which is no token id")
    return int(key)


def _bias(key: str, value: float) -> float:
    if not -_MAX_BIAS <= value <= _MAX_BIAS:
        raise InvalidRequest(f"logit_bias of token {key} must be between -{_MAX_BIAS:.0f} and {_MAX_BIAS:.0f}")
    return -math.inf if value == -_MAX_BIAS else float(value)
