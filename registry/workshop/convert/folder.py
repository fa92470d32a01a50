"""The files of one model as a folder: links under the names that they had, with what is read from them bounded."""

import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

import msgspec

from actors.errors import ConversionFailed

_LONGEST_JSON_BYTES = 256 << 20
"""The longest tokenizer.json in use has 35 MB."""


class Folder:
    """A temporary folder of links; leave the `with` block and it is gone."""

    def __init__(self, files: Mapping[str, str]) -> None:
        for name in files:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ConversionFailed(f"{name} lies outside its folder")
        self._temporary = tempfile.TemporaryDirectory(prefix="llamactor-convert-")
        self.path = Path(self._temporary.name)
        for name, target in files.items():
            link = self.path / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._temporary.cleanup()

    def matching(self, pattern: str) -> list[Path]:
        """Give the files of a pattern, in order."""
        return sorted(self.path.glob(pattern))

    def json(self, name: str, *, needed: bool = False) -> dict[str, Any]:
        """Read a JSON object; an empty one where the file is absent and not needed.

        Raises:
            ConversionFailed: it is needed and absent, too long, or no JSON object.
        """
        path = self.path / name
        if not path.is_file():
            if needed:
                raise ConversionFailed(f"{name} is missing: send it along with the weights")
            return {}
        if path.stat().st_size > _LONGEST_JSON_BYTES:
            raise ConversionFailed(f"{name} has more than {_LONGEST_JSON_BYTES} bytes")
        try:
            value = msgspec.json.decode(path.read_bytes())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConversionFailed(f"{name} is no JSON: {error}") from error
        if not isinstance(value, dict):
            raise ConversionFailed(f"{name} holds no JSON object")
        return value
