"""Stop strings that may straddle tokens: text is held back only while it can still become one.

The matcher is fed text and gives back what is safe to show. It keeps at most one character less than the longest
stop string. Complexity: each fed character is compared with each stop string a bounded number of times.
"""


class StopMatcher:
    """Finds the first stop string in a stream of text, independent of how the stream is cut."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.matched: str | None = None
        """The stop string that was found; nothing is given back after it."""

    @property
    def is_holding(self) -> bool:
        """True iff some of the text may still become a stop string."""
        return bool(self._held)

    def feed(self, text: str) -> str:
        """Take new text; return the text that can be shown now."""
        if not self._stops:
            return text
        if self.matched is not None:
            return ""
        self._held += text
        found = [(at, -len(stop), stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            at, _, self.matched = min(found)
            shown, self._held = self._held[:at], ""
            return shown
        keep = self._open_suffix()
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def flush(self) -> str:
        """Give back what is held at the end of the stream."""
        shown, self._held = self._held, ""
        return shown

    def _open_suffix(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        for size in range(min(self._longest - 1, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self._stops):
                return size
        return 0
