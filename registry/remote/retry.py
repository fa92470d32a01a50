"""Asking again after an answer that a later attempt may better: 429, 5xx and the like. A dead line is told at once."""

from collections.abc import Callable
from typing import TypeVar

from actors.errors import RegistryError, RegistryRefused
from registry.remote.abort import Abort
from registry.remote.client import Patience

_PASSING = {408, 425, 429}
_SERVER_ERROR = 500

T = TypeVar("T")


def is_passing(error: RegistryError) -> bool:
    """Tell whether an error status may be gone the next time."""
    status = error.fields.get("status")
    return isinstance(status, int) and (status >= _SERVER_ERROR or status in _PASSING)


def pause_s(patience: Patience, n_failures: int, error: RegistryError) -> float:
    """Give the pause after so many failures in a row: as long as the registry asks for, or doubled each time."""
    asked = error.fields.get("retry_after_s")
    seconds = asked if isinstance(asked, int | float) else patience.first_pause_s * 2.0 ** (n_failures - 1)
    return min(seconds, patience.longest_pause_s)


def retried(ask: Callable[[], T], *, patience: Patience, abort: Abort) -> T:
    """Ask until there is an answer or the attempts are used up.

    Raises:
        RegistryError: as `ask` raises it.
        Aborted: all is to end.
    """
    n_failures = 0
    while True:
        try:
            return ask()
        except RegistryRefused as error:
            n_failures += 1
            if not is_passing(error) or n_failures >= patience.n_attempts:
                raise
            abort.wait(pause_s(patience, n_failures, error))
