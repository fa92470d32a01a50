"""Images and sounds that a prompt names by their paths: read, and taken out of the text, as Ollama's `run` does.

A path stands alone or in quotes and begins with `/`, `./`, `../` or `~/`; dragging a file into a terminal writes it so,
with its blanks behind backslashes. A path at which there is no file stays a part of the text.
"""

import base64
import re
from pathlib import Path

import click

from gateway.cli.failures import CommandFailed

_MOST_BYTES = 100_000_000
_SOUNDS = ("wav", "mp3", "flac")
_ENDINGS = "|".join(("jpg", "jpeg", "png", "webp", "gif", "bmp", *_SOUNDS))
_START = r"(?:~|\.{1,2})?/"
_NAMED = re.compile(
    rf"""(?<!\S)(?: (?P<quote>['"]) (?P<quoted>{_START}[^'"\n]*\.(?:{_ENDINGS})) (?P=quote)
               | (?P<bare>{_START}(?:\\.|[^\s\\])*?\.(?:{_ENDINGS})) (?!\w) )""",
    re.IGNORECASE | re.VERBOSE,
)


def attached(text: str) -> tuple[str, list[str]]:
    """Split a prompt into its words and the files that it names, in base64; tell the user of each file.

    Raises:
        CommandFailed: a file is there and cannot be read, or is too large.
    """
    contents: list[str] = []

    def take(found: re.Match[str]) -> str:
        path = _path(found)
        if not path.is_file():
            return found[0]
        contents.append(_read(path))
        kind = "audio" if path.suffix[1:].lower() in _SOUNDS else "image"
        click.echo(f"Added {kind} '{path}'", err=True)
        return ""

    words = _NAMED.sub(take, text)
    return (words.strip() if contents else text), contents


def begins_with_file(text: str) -> bool:
    """Tell whether a text begins with the path of such a file."""
    found = _NAMED.match(text)
    return found is not None and _path(found).is_file()


def _path(found: re.Match[str]) -> Path:
    return Path(found["quoted"] or re.sub(r"\\(.)", r"\1", found["bare"])).expanduser()


def _read(path: Path) -> str:
    if path.stat().st_size > _MOST_BYTES:
        raise CommandFailed(f"{path} is too large: send files of at most {_MOST_BYTES // 1_000_000} MB")
    return base64.b64encode(path.read_bytes()).decode()
