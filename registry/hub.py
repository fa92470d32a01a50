"""Split models at Hugging Face's Hub, whose registry refuses them: their files are found in the repository's list."""

import re
from urllib.parse import quote

import msgspec

from actors.errors import InvalidRequest, RegistryError, RegistryMisbehaved, RegistryRefused
from registry.download.source import refusal
from registry.names import DEFAULT_TAG, ModelName
from registry.reference import FileUrl, parse_reference
from registry.remote.client import RegistryClient
from registry.remote.retry import retried

_HOSTS = {"hf.co", "huggingface.co"}
_FIRST = re.compile(r".+-00001-of-\d{5}\.gguf", re.IGNORECASE)
_USUAL = "Q4_K_M"
_LONGEST_LIST_BYTES = 8 << 20
_OK, _BAD_REQUEST = 200, 400


class _Entry(msgspec.Struct, frozen=True):
    path: str


def refuses_as_split(name: ModelName, error: RegistryError) -> bool:
    """Tell whether the Hub has refused a model for being split."""
    is_theirs = name.host.lower() in _HOSTS and isinstance(error, RegistryRefused)
    return is_theirs and error.fields.get("status") == _BAD_REQUEST and "sharded" in error.message.lower()


def shards_at_hub(name: ModelName, client: RegistryClient) -> FileUrl:
    """Find the files of a split model; the tag names the quantization.

    Raises:
        InvalidRequest: the repository has none of this quantization; names those that it has.
        RegistryError: the Hub does not give its list.
    """
    repository = f"/{name.namespace}/{name.model}"
    url = client.url(f"/api/models{repository}/tree/main")._replace(query="recursive=true")

    def ask() -> bytes:
        with client.channel() as channel:
            reply = client.get(channel, url, {"Accept": "application/json"})
            if reply.status != _OK:
                raise refusal(reply)
            return reply.read(_LONGEST_LIST_BYTES)

    content = retried(ask, patience=client.caller.patience, abort=client.abort)
    try:
        entries = msgspec.json.decode(content, type=list[_Entry])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RegistryMisbehaved(f"{name.host} answers without a list of the files of {repository[1:]}") from error
    path = first_shard([entry.path for entry in entries], name.tag)
    found = parse_reference(client.url(f"{repository}/resolve/main/{quote(path)}").geturl())
    if not isinstance(found, FileUrl):
        raise RegistryMisbehaved(f"{name.host} lists the file {path[:200]!r}, which cannot be asked for")
    return found


def first_shard(paths: list[str], tag: str) -> str:
    """Choose the first file of the split model that a tag means: the shortest of the paths with the tag as a word.

    Raises:
        InvalidRequest: there is none.
    """
    firsts = sorted((path for path in paths if _FIRST.fullmatch(path)), key=lambda path: (len(path), path))
    wanted = _USUAL if tag == DEFAULT_TAG else tag
    word = re.compile(rf"(?<![A-Za-z0-9_]){re.escape(wanted)}(?![A-Za-z0-9_])", re.IGNORECASE)
    fitting = [path for path in firsts if word.search(path)] or (firsts if tag == DEFAULT_TAG else [])
    if not fitting:
        known = ", ".join(path.rpartition("/")[2] for path in firsts[:20]) or "none"
        raise InvalidRequest(f"there is no split model {tag} at the Hub; split models there: {known}")
    return fitting[0]
