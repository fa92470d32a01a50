"""What a user asks to pull: a model at a registry, a GGUF file at a URL, or one on this machine.

| text | meaning |
|---|---|
| `smollm2`, `hf.co/owner/repo:Q4_K_M`, `host:5000/ns/model` | a model at a registry; `scheme://` before it is ignored |
| `https://host/path/x.gguf` | a file; `-00001-of-00003.gguf` stands for all its shards |
| `/path/x.gguf` | a file on the machine of the server |
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote

from actors.errors import InvalidName, InvalidRequest, RegistryMisbehaved
from registry.names import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, ModelName, parse_name
from registry.remote.channel import parse_url

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<end>\.gguf)", re.IGNORECASE)
_ILLEGAL = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST_PART = 80
_MAX_SHARDS = 999
_HUB_HOSTS = {"huggingface.co", "hf.co"}
_HUB_PAGE_PARTS = 4  # /owner/repo/blob/revision


@dataclass(frozen=True, slots=True)
class FileUrl:
    """GGUF files at URLs: one, or all shards of one model in order."""

    urls: tuple[SplitResult, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The files' names."""
        return tuple(unquote(url.path.rpartition("/")[2]) for url in self.urls)


@dataclass(frozen=True, slots=True)
class LocalFile:
    """GGUF files on the server's machine: one, or all shards of one model in order."""

    paths: tuple[Path, ...]


Reference = ModelName | FileUrl | LocalFile


def parse_reference(text: str) -> Reference:
    """Read what a user asks to pull.

    Raises:
        InvalidName: it is none of these.
        InvalidRequest: it is a URL that cannot be asked, or a shard that is not the first.
    """
    path = text.partition("?")[0]
    if not path.lower().endswith(".gguf"):
        return parse_name(text)
    if text.startswith(("https://", "http://")):
        try:
            url = parse_url(text)
        except RegistryMisbehaved as error:
            raise InvalidRequest(error.message) from error
        shards = shards_of(url.path)
        return FileUrl(tuple(_download_url(url._replace(path=each, fragment="")) for each in shards))
    if text.startswith("/") and "\0" not in text:
        return LocalFile(tuple(map(Path, shards_of(text))))
    return parse_name(text)


def shards_of(path: str) -> tuple[str, ...]:
    """Give the paths of all files of a split model, of which the first one's is given; of another file, its own path.

    Raises:
        InvalidRequest: it is a shard that is not the first, or there are too many.
    """
    found = _SHARD.fullmatch(path)
    if found is None:
        return (path,)
    if int(found["number"]) != 1:
        raise InvalidRequest("a split model is pulled by its first file: name the one with -00001-of-")
    count = int(found["count"])
    if not 1 <= count <= _MAX_SHARDS:
        raise InvalidRequest(f"a model of {count} files is not supported: at most {_MAX_SHARDS}")
    return tuple(f"{found['stem']}-{number:05}-of-{count:05}{found['end']}" for number in range(1, count + 1))


def name_for_file(file_name: str) -> ModelName:
    """Give the name of a model that is known by its file only.

    Raises:
        InvalidName: nothing of the file's name can be used.
    """
    found = _SHARD.fullmatch(file_name)
    stem = found["stem"] if found else file_name.removesuffix(".gguf").removesuffix(".GGUF")
    try:
        model = _ILLEGAL.sub("-", stem).lstrip("-.")[:_LONGEST_PART]
        return ModelName(DEFAULT_HOST, DEFAULT_NAMESPACE, model, DEFAULT_TAG)
    except InvalidName:
        raise InvalidName(file_name) from None


def _download_url(url: SplitResult) -> SplitResult:
    """Give the file behind the page that a Hub shows of it, or the URL itself."""
    parts = url.path.split("/")
    if url.hostname in _HUB_HOSTS and len(parts) > _HUB_PAGE_PARTS and parts[3] == "blob":
        return url._replace(path="/".join([*parts[:3], "resolve", *parts[4:]]))
    return url
