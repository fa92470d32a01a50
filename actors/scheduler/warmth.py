"""Where prefixes are warm: which runner was last given a prompt that begins so.

A gateway marks prompts at growing lengths (`Submit.prefixes`, shortest first). A job's marks are remembered with the
runner that got it; the longest known mark of a later job tells where most of its prompt is cached. This is a guess: the
runner may have forgotten. Bound: `remembered`, with the `_REMEMBERED` marks used last.
"""

from actors.scheduler.remembered import Remembered

_REMEMBERED = 8192


class Warmth:
    """Runner ids by model and mark; owned by the core."""

    __slots__ = ("_runners",)

    def __init__(self) -> None:
        self._runners: Remembered[tuple[str, int], str] = Remembered(_REMEMBERED)

    def __len__(self) -> int:
        return len(self._runners)

    def warmest(self, model_key: str, prefixes: tuple[int, ...]) -> str | None:
        """Give the runner that knows the longest of these beginnings."""
        for mark in reversed(prefixes):
            runner_id = self._runners.get((model_key, mark))
            if runner_id is not None:
                return runner_id
        return None

    def note(self, model_key: str, prefixes: tuple[int, ...], runner_id: str) -> None:
        """Remember who was given a prompt with these beginnings."""
        for mark in prefixes:
            self._runners.note((model_key, mark), runner_id)
