"""A copy of the scheduler's world that shares with it all that never changes.

Theory of operation. Frozen values such as jobs, texts, numbers and tuples are shared; tables, runners and the objects
that own tables are copied, each once (`_seen`), so that a runner that stands in two tables is one in the copy, too. The values
of a table are all of a kind, so the first tells how they are copied. What is neither known here nor an object with
attributes of its own is shared: functions, members of enumerations. Bodies of requests are left out.
"""

from collections import deque
from copy import copy as shallow
from typing import Any

import msgspec
from msgspec.structs import replace

from actors.scheduler.peers import Launcher
from actors.scheduler.runner import Runner
from actors.scheduler.world import World

_SHARED = (str, int, float, bytes, tuple, type(None))


def twin(world: World) -> World:
    """Copy a world."""
    seen: dict[int, Any] = {id(each): replace(each, held=each.held.copy()) for each in world.runners.values()}
    copier = _Copier(seen)
    copied: World = copier.copy(world)
    copied.bodies = {}
    return copied


class _Copier:
    def __init__(self, seen: dict[int, Any]) -> None:
        self._seen = seen
        """Copies by the identity of what they are copies of."""

    def copy(self, value: Any) -> Any:
        if isinstance(value, _SHARED):
            return value
        if isinstance(value, dict):
            return self._table(value)
        if isinstance(value, list):
            return value.copy() if not value or isinstance(value[0], _SHARED) else [self.copy(each) for each in value]
        if isinstance(value, deque):
            return value.copy()
        seen = self._seen.get(id(value))
        if seen is None:
            seen = self._seen[id(value)] = self._object(value)
        return seen

    def _table(self, table: dict[Any, Any]) -> dict[Any, Any]:
        first = next(iter(table.values()), None)
        if isinstance(first, _SHARED) or _is_frozen(first):
            return table.copy()
        if isinstance(first, Runner):
            seen = self._seen
            return {key: seen[id(each)] for key, each in table.items()}
        return type(table)((key, self.copy(each)) for key, each in table.items())

    def _object(self, value: Any) -> Any:
        if isinstance(value, Launcher):
            launcher = shallow(value)
            launcher.runner_ids = value.runner_ids.copy()
            return launcher
        names = [*getattr(value, "__slots__", ()), *getattr(value, "__dict__", ())]
        if _is_frozen(value) or not names:
            return value
        copied = object.__new__(type(value))
        for name in names:
            object.__setattr__(copied, name, self.copy(getattr(value, name)))
        return copied


def _is_frozen(value: object) -> bool:
    if isinstance(value, msgspec.Struct):
        return value.__struct_config__.frozen
    parameters = getattr(type(value), "__dataclass_params__", None)
    return parameters is not None and parameters.frozen
