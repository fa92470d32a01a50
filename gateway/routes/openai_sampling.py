"""Sampling fields of `/v1` as native options: there, temperature and top_p default to 1 whatever the model says."""

from typing import Any

from gateway.wire.openai_requests import Sampling


def sampling_options(body: Sampling) -> dict[str, Any]:
    """Give the fields that both routes share as `options` of the native API, without `stop`."""
    options: dict[str, Any] = {
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "num_predict": body.max_tokens,
        "seed": body.seed,
        "frequency_penalty": body.frequency_penalty,
        "presence_penalty": body.presence_penalty,
    }
    return {name: value for name, value in options.items() if value is not None}
