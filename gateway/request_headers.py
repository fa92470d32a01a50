"""The headers of a request, found by name in one step: most that are asked for were not sent."""

from collections.abc import Iterable
from typing import Any

from werkzeug.datastructures import Headers


class RequestHeaders(Headers):
    """Werkzeug's headers, which nobody changes; of several with one name the first is found, as there."""

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]], *, remote_addr: str) -> None:
        """Take what a client has sent, and its address, which stands first, as Quart has it."""
        super().__init__()
        self._found = {"remote-addr": remote_addr}
        self._list = [("Remote-Addr", remote_addr)]
        for raw_name, raw_value in pairs:
            name, value = raw_name.decode("latin1"), raw_value.decode("latin1")
            self._list.append((name.title(), value))
            self._found.setdefault(name.lower(), value)

    def get(self, key: str, default: Any = None, type: Any = None) -> Any:  # type: ignore[override]  # noqa: A002  # one for its overloads
        """Give the value of a header, or the default."""
        value = self._found.get(key.lower())
        if value is None:
            return default
        return value if type is None else super().get(key, default, type)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower() in self._found
