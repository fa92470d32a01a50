"""Calls written as a name and then a JSON object: `get_weather[ARGS]{…}`, `function<sep>get_weather {…}`.

The name stands somewhere in the header, which is everything up to the first brace; how it is told from the rest of the
header is the family's. Arguments are passed on while they arrive.
"""

from collections.abc import Callable

from gateway.parse.object_scan import NotJsonError, ObjectScan
from gateway.parse.reader import NotACallError, ReaderBase
from gateway.parse.sink import Sink

_LONGEST_HEADER = 512

NameOf = Callable[[str], str]
"""From a header to the name of the function."""


class HeaderCall(ReaderBase):
    """Reads one call, up to the first of `closings` or, where there are none, the end of its object."""

    def __init__(self, sink: Sink, opening: str, closings: tuple[str, ...], name_of: NameOf) -> None:
        super().__init__(sink, opening, closings)
        self._name_of = name_of
        self._header: str = ""
        self._name = ""
        self._index = 0
        self._scan: ObjectScan | None = None
        self._behind = ""
        self._is_settled = False

    def _read(self, text: str) -> str | None:
        if self._is_settled:
            return self._trail(text)
        if self._scan is None:
            brace = text.find("{")
            self._header += text if brace < 0 else text[:brace]
            rest = self._bare_call()
            if rest is not None:
                return rest + (text[brace:] if brace >= 0 else "")
            if len(self._header) > _LONGEST_HEADER:
                raise NotACallError
            if brace < 0:
                return None
            self._begin()
            text = text[brace:]
        return self._read_arguments(text)

    def _bare_call(self) -> str | None:
        """Take a call without arguments, which ends before any brace; give the text behind it."""
        for closing in self._closings:
            before, marker, rest = self._header.partition(closing)
            if marker:
                name = self._name_of(before)
                if len(before) > _LONGEST_HEADER or name not in self._sink.tools:
                    raise NotACallError
                self._sink.call(name, "{}")
                return rest
        return None

    def _begin(self) -> None:
        self._name = self._name_of(self._header)
        if self._name not in self._sink.tools:
            raise NotACallError
        self._index = self._sink.open(self._name)
        self._scan = ObjectScan()

    def _read_arguments(self, text: str) -> str | None:
        scan = self._scan
        assert scan is not None  # noqa: S101  # the caller looked
        n_before = scan.n_pieces
        try:
            end = scan.feed(text)
        except NotJsonError as error:
            self._sink.arguments(self._index, scan.since(n_before))  # as had the text come in smaller pieces
            raise NotACallError from error
        self._sink.arguments(self._index, scan.since(n_before))
        if not scan.is_complete:
            return None
        self._sink.close(self._index, self._name, scan.text)
        self._settle(text[end:])
        self._is_settled = True
        return self._trail(text[end:]) if self._closings else text[end:]

    def _trail(self, text: str) -> str | None:
        """Look for the closing marker behind the arguments; a fence may stand before it, nothing else."""
        self._behind += text
        behind = self._behind.lstrip(" \t\r\n`")
        for closing in self._closings:
            if behind.startswith(closing):
                return behind[len(closing) :]
        if not behind or any(closing.startswith(behind) for closing in self._closings):
            return None
        return behind

    def _finish(self) -> None:
        if not self._is_settled:
            name = self._name_of(self._header) if self._scan is None else ""
            if name not in self._sink.tools:
                raise NotACallError
            self._sink.call(name, "{}")


def name_before(*ends: str) -> NameOf:
    """Make a function that gives the header up to the first of `ends`."""

    def name_of(header: str) -> str:
        for end in ends:
            header = header.partition(end)[0]
        return header.strip()

    return name_of


def name_behind(separator: str) -> NameOf:
    """Make a function for `kind<separator>name` and `name<separator>`, with or without an opened fence."""

    def name_of(header: str) -> str:
        kind, _, name = header.partition(separator)
        name = name.partition("```")[0].strip()
        return name or kind.strip()

    return name_of
