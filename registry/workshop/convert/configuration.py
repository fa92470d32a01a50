"""A model's `config.json`: looked up by the names in use, checked to be numbers where numbers are needed."""

from collections.abc import Mapping
from typing import Any

from actors.errors import ConversionFailed

_MOST_LAYERS = 4096
_LARGEST = 1 << 31


class Configuration:
    """One configuration."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def get(self, *names: str) -> Any:
        """Give the first of these that is there and not null."""
        return next((self._values[name] for name in names if self._values.get(name) is not None), None)

    def integer(self, name: str, default: int | None = None) -> int:
        """Give a number that is not negative.

        Raises:
            ConversionFailed: it is absent without a default, or no such number.
        """
        value = self.get(name)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST:
            raise ConversionFailed(f"config.json: {name} must be a whole number, not {value!r}")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """Give a number.

        Raises:
            ConversionFailed: it is absent without a default, or no number.
        """
        value = self.get(name)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConversionFailed(f"config.json: {name} must be a number, not {value!r}")
        return float(value)

    def of_text(self, defaults: Mapping[str, Any]) -> "Configuration":
        """Give the part about text of a model that also sees or hears, which leaves out what is usual; or this one."""
        text = self._values.get("text_config")
        return Configuration({**defaults, **text}) if isinstance(text, dict) else self

    @property
    def architecture(self) -> str:
        """The class of transformers that the weights are for."""
        named = self._values.get("architectures")
        return str(named[0]) if isinstance(named, list) and named else "unknown"

    @property
    def n_layers(self) -> int:
        """How many blocks there are."""
        n_layers = self.integer("num_hidden_layers")
        if not 0 < n_layers <= _MOST_LAYERS:
            raise ConversionFailed(f"config.json: num_hidden_layers is {n_layers}; 1 to {_MOST_LAYERS} are possible")
        return n_layers

    @property
    def n_heads(self) -> int:
        """Heads of the queries."""
        return self.integer("num_attention_heads")

    @property
    def n_kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.integer("num_key_value_heads", self.n_heads)

    @property
    def head_length(self) -> int:
        """Width of one head."""
        return self.integer("head_dim", self.integer("hidden_size") // max(self.n_heads, 1))

    @property
    def rope(self) -> Mapping[str, Any]:
        """The parameters of the rotation, whichever of two ways they are written in."""
        found = self._values.get("rope_parameters")
        if isinstance(found, dict):
            full = found.get("full_attention")
            return full if isinstance(full, dict) else found
        scaling = self._values.get("rope_scaling")
        theta = {} if self.get("rope_theta") is None else {"rope_theta": self.number("rope_theta")}
        old = {"rope_type": scaling["type"]} if isinstance(scaling, dict) and "type" in scaling else {}
        return {**old, **(scaling if isinstance(scaling, dict) else {}), **theta}
