"""A copy of the scheduler's world that shares with it all that never changes.

Theory of operation. Frozen values such as jobs, texts, numbers and tuples are shared; tables, runners and the objects
that own tables are copied, each once (`_seen`), so that a runner that stands in two tables is one in the copy, too. The
values of a table are all of a kind, so the first tells how they are copied. What has no slots is shared: functions,
members of enumerations. Bodies of requests are left out, and the table of jobs: whoever wants it lists them, which is
quicker, and fills it in later.
"""

from collections import deque
from copy import copy
from typing import Any

import msgspec

from actors.scheduler.runner import Runner
from actors.scheduler.world import World

_CONTAINERS = (list, set, deque)
"""Of values that are shared, or of objects; the latter in lists alone."""


def twin(world: World) -> World:
    """Copy a world without its `jobs` and `bodies`."""
    copier = _Copier({id(each): _runner(each) for each in world.runners.values()})
    copied = object.__new__(World)
    for name in _owned[World]:
        setattr(copied, name, {} if name in ("bodies", "jobs") else copier.copy(getattr(world, name)))
    return copied


def _runner(runner: Runner) -> Runner:
    copied = copy(runner)
    copied.held = runner.held.copy()
    return copied


class _Copier:
    def __init__(self, seen: dict[int, Any]) -> None:
        self._seen = seen
        """Copies by the identity of what they are copies of."""

    def copy(self, value: Any) -> Any:
        kind = type(value)
        names = _owned[kind]
        if names:
            seen = self._seen.get(id(value))
            return self._object(value, names) if seen is None else seen
        if issubclass(kind, dict):
            return self._table(value)
        if kind is list and value and _is_copied(type(value[0])):
            return [self.copy(each) for each in value]
        return value.copy() if kind in _CONTAINERS else value

    def _table(self, table: dict[Any, Any]) -> dict[Any, Any]:
        first = next(iter(table.values()), None)
        if isinstance(first, Runner):
            seen = self._seen
            return {key: seen[id(each)] for key, each in table.items()}
        if not _is_copied(type(first)):
            return table.copy()
        return type(table)((key, self.copy(each)) for key, each in table.items())

    def _object(self, value: Any, names: tuple[str, ...]) -> Any:
        copied = self._seen[id(value)] = object.__new__(type(value))
        for name in names:
            its = getattr(value, name)
            setattr(copied, name, self.copy(its) if _is_copied(type(its)) else its)
        return copied


class _Owned(dict[type, tuple[str, ...]]):
    """For each kind of object the attributes that may change; none for what is frozen, or no object with attributes."""

    def __missing__(self, kind: type) -> tuple[str, ...]:
        parameters = getattr(kind, "__dataclass_params__", None)
        if issubclass(kind, msgspec.Struct):
            names = () if kind.__struct_config__.frozen else kind.__struct_fields__
        else:
            is_frozen = parameters is not None and parameters.frozen
            names = () if is_frozen else tuple(getattr(kind, "__slots__", ()))
        self[kind] = names
        return names


_owned = _Owned()


def _is_copied(kind: type) -> bool:
    return bool(_owned[kind]) or kind in _CONTAINERS or issubclass(kind, dict)
