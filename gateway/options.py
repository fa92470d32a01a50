"""Options of a request: merged over the model's own, checked, and sorted into load, sampling and the rest.

Precedence: built-in default, model PARAMETER, request. Names stay upstream's (`num_ctx`) up to here.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from actors.errors import InvalidRequest
from actors.messages.job import SamplingOptions
from actors.messages.model import LoadOptions
from registry.parameters import OptionValue, merged_options, option_warnings

_MIN_NUM_CTX = 4
_MAX_INT32 = (1 << 31) - 1
_SEED_MASK = (1 << 32) - 1
_LOAD = tuple(field.name for field in msgspec.structs.fields(LoadOptions))
_SAMPLING = tuple(field.name for field in msgspec.structs.fields(SamplingOptions))


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What one request asks for, after merging."""

    load: LoadOptions = field(default_factory=LoadOptions)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    num_predict: int = -1
    num_keep: int = 4
    stop: tuple[str, ...] = ()
    draft_num_predict: int | None = None
    """Guessed tokens in a step at most, 0 for none; None or less than 0: as many as pay."""
    warnings: tuple[str, ...] = ()
    """Which of the request's options have no effect."""

    @property
    def num_ctx(self) -> int | None:
        """The context that the request asks for, None for any."""
        return self.load.num_ctx

    def with_warnings(self, warnings: tuple[str, ...]) -> "RequestOptions":
        """Give the same with more to be told."""
        return dataclasses.replace(self, warnings=(*self.warnings, *warnings)) if warnings else self

    def clamped(self, n_ctx_train: int) -> "RequestOptions":
        """Give the same with a context no longer than the model was trained for."""
        if self.num_ctx is None or self.num_ctx <= n_ctx_train:
            return self
        return dataclasses.replace(self, load=msgspec.structs.replace(self.load, num_ctx=n_ctx_train))


def request_options(stored: Mapping[str, Any], requested: Mapping[str, Any] | None) -> RequestOptions:
    """Merge and check the options of a request.

    Args:
        stored: the model's parameters.
        requested: the request's `options`.

    Raises:
        InvalidRequest: a value is of the wrong type or out of range, or names what cannot be.
    """
    options: dict[str, Any] = {
        name: _for_messages(name, value) for name, value in merged_options(stored, requested).items()
    }
    if options.get("main_gpu", 0) < 0:
        raise InvalidRequest("main_gpu is the index of a device: it must be 0 or more")
    load = {name: options[name] for name in _LOAD if name in options}
    if "num_ctx" in load:
        load["num_ctx"] = max(load["num_ctx"], _MIN_NUM_CTX)
    if load.get("num_thread", 1) <= 0:  # automatic, which is what "any" means
        del load["num_thread"]
    if load.get("num_gpu", 0) < 0:
        del load["num_gpu"]
    if load.get("num_batch", 1) <= 0:
        del load["num_batch"]
    sampling = {name: options[name] for name in _SAMPLING if name in options}
    if sampling.get("seed", 0) > 0:
        sampling["seed"] &= _SEED_MASK  # what llama.cpp's samplers take
    return RequestOptions(
        load=LoadOptions(**load),
        sampling=SamplingOptions(**sampling),
        num_predict=options.get("num_predict", -1),
        num_keep=options.get("num_keep", 4),
        stop=tuple(word for word in options.get("stop", ()) if word),
        draft_num_predict=options.get("draft_num_predict"),
        warnings=option_warnings(requested),
    )


def _for_messages(name: str, value: OptionValue) -> Any:
    if isinstance(value, list):
        return tuple(tuple(item) if isinstance(item, list) else item for item in value)
    if isinstance(value, int) and not isinstance(value, bool) and name != "seed":
        return max(-_MAX_INT32, min(value, _MAX_INT32))
    return value
