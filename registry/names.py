"""Model names: `[scheme://][host[:port]/][namespace/]model[:tag]`, parsed once at the edge.

The text is split from right to left: tag, model, namespace, host. Missing parts take defaults, but an empty side of
a separator (`/model`, `model:`) is an error, never a default. Names become paths below `manifests/`, so the grammar
keeps out separators, a leading dot and everything outside ASCII: a name that parsed cannot leave the store.

| part | default | longest | first character | others |
|---|---|---|---|---|
| host | registry.ollama.ai | 350 | letter, digit, `_` | letters, digits, `_-.:` |
| namespace | library | 80 | the same | letters, digits, `_-` |
| model | none | 80 | the same | letters, digits, `_-.` |
| tag | latest | 80 | the same | letters, digits, `_-.` |
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from actors.errors import InvalidName

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_MODEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True, slots=True, order=True)
class ModelName:
    """A whole, valid model name; equality and order are by the exact spelling.

    Raises:
        InvalidName: a part breaks the grammar.
    """

    host: str
    namespace: str
    model: str
    tag: str

    def __post_init__(self) -> None:
        valid = (
            _HOST.fullmatch(self.host)
            and _NAMESPACE.fullmatch(self.namespace)
            and _MODEL.fullmatch(self.model)
            and _MODEL.fullmatch(self.tag)
        )
        if not valid:
            raise InvalidName(self.canonical)

    @property
    def canonical(self) -> str:
        """All four parts."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def shortest(self) -> str:
        """The name as people see it: default host and namespace left out, the tag always shown."""
        if self.host.lower() != DEFAULT_HOST:
            return self.canonical
        if self.namespace.lower() != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{self.model}:{self.tag}"
        return f"{self.model}:{self.tag}"

    @property
    def path(self) -> Path:
        """Where the manifest lies below `manifests/`."""
        return Path(self.host, self.namespace, self.model, self.tag)


def parse_name(text: str) -> ModelName:
    """Parse a model name as a user gives it.

    Raises:
        InvalidName: the text is no model name.
    """
    rest, tag = text, DEFAULT_TAG
    if rest.rfind(":") > rest.rfind("/"):
        rest, _, tag = rest.rpartition(":")
    host, namespace = DEFAULT_HOST, DEFAULT_NAMESPACE
    rest, slash, model = rest.rpartition("/")
    if slash:
        rest, slash, namespace = rest.rpartition("/")
    if slash:
        host = rest.partition("://")[2] if "://" in rest else rest
    try:
        return ModelName(host, namespace, model, tag)
    except InvalidName:
        raise InvalidName(text) from None


def match_ignoring_case(name: ModelName, installed: Iterable[ModelName]) -> ModelName:
    """Replace each part of a name by an installed spelling that differs in case only, each part on its own.

    The result need not be installed: its parts may come from different names.
    """
    spelling: dict[tuple[str, str], str] = {}
    for other in installed:
        for part in ("host", "namespace", "model", "tag"):
            value: str = getattr(other, part)
            spelling.setdefault((part, value.lower()), value)
            if value == getattr(name, part):
                spelling[part, value.lower()] = value

    def spelled(part: str) -> str:
        value: str = getattr(name, part)
        return spelling.get((part, value.lower()), value)

    return ModelName(spelled("host"), spelled("namespace"), spelled("model"), spelled("tag"))
