"""Manifests and model configurations: typed values, byte-compatible with what Ollama writes.

Format: Docker image manifest, version 2, schema 2, with media types below `application/vnd.ollama.image`. Unknown
layers are kept and counted. JSON is written as Go's encoder does: compact, `<`, `>` and `&` escaped, a final newline.
"""

from typing import Any

import msgspec

from actors.errors import InvalidDigest, InvalidManifest
from registry.digests import parse_digest

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"

WEIGHTS = "application/vnd.ollama.image.model"
PROJECTOR = "application/vnd.ollama.image.projector"
ADAPTER = "application/vnd.ollama.image.adapter"
DRAFT = "application/vnd.ollama.image.draft"
TEMPLATE = "application/vnd.ollama.image.template"
PROMPT = "application/vnd.ollama.image.prompt"  # the template's name in old manifests
SYSTEM = "application/vnd.ollama.image.system"
PARAMETERS = "application/vnd.ollama.image.params"
MESSAGES = "application/vnd.ollama.image.messages"
LICENSE = "application/vnd.ollama.image.license"
TENSOR = "application/vnd.ollama.image.tensor"

WRITTEN = {"llamactor.written": "user"}
"""Annotation of a template that a user wrote, which is used whatever the file's own template offers."""

LONGEST_MANIFEST_BYTES = 4 << 20  # thousands of layers; registries refuse more than 4 MiB as well


class Layer(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A typed entry that names a blob; `source` is the model it came from, or the file.

    `annotations` are ours alone; others keep or drop them.
    """

    media_type: str
    digest: str
    size: int
    source: str = msgspec.field(default="", name="from")
    name: str = ""
    annotations: dict[str, str] = {}


class Manifest(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What one model name stands for."""

    schema_version: int = 2
    media_type: str = MANIFEST
    config: Layer
    layers: tuple[Layer, ...] = ()

    @property
    def size_bytes(self) -> int:
        """All layers and the configuration together."""
        return self.config.size + sum(layer.size for layer in self.layers)

    def of_type(self, *media_types: str) -> tuple[Layer, ...]:
        """Give the layers of these types, in manifest order."""
        return tuple(layer for layer in self.layers if layer.media_type in media_types)

    def digests(self) -> set[str]:
        """Give all blobs that this manifest needs."""
        return {parse_digest(layer.digest) for layer in (self.config, *self.layers)}


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration blob: what the weights are, and how to talk to them."""

    model_format: str = ""
    model_family: str = ""
    model_families: tuple[str, ...] | None = None
    model_type: str = ""
    file_type: str = ""
    renderer: str | msgspec.UnsetType = msgspec.UNSET
    parser: str | msgspec.UnsetType = msgspec.UNSET
    requires: str | msgspec.UnsetType = msgspec.UNSET
    remote_host: str | msgspec.UnsetType = msgspec.UNSET
    remote_model: str | msgspec.UnsetType = msgspec.UNSET
    capabilities: tuple[str, ...] | msgspec.UnsetType | None = msgspec.UNSET
    context_length: int | msgspec.UnsetType = msgspec.UNSET
    embedding_length: int | msgspec.UnsetType = msgspec.UNSET
    base_name: str | msgspec.UnsetType = msgspec.UNSET
    draft: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    architecture: str = "amd64"
    os: str = "linux"


_manifest_decoder = msgspec.json.Decoder(Manifest)
_config_decoder = msgspec.json.Decoder(ModelConfig)


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        InvalidManifest: no JSON, a field is missing or of the wrong type, or a digest is malformed.
    """
    try:
        manifest = _manifest_decoder.decode(content)
        manifest.digests()
    except (msgspec.MsgspecError, InvalidDigest, UnicodeDecodeError, RecursionError) as error:
        raise InvalidManifest(f"the manifest is corrupt: {error}") from error
    if any(layer.size < 0 for layer in (manifest.config, *manifest.layers)):
        raise InvalidManifest("the manifest is corrupt: a layer has a negative size")
    return manifest


def parse_config(content: bytes) -> ModelConfig:
    """Read a configuration blob; keys that Ollama does not know are ignored.

    Raises:
        InvalidManifest: it is not such a JSON object.
    """
    try:
        return _config_decoder.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidManifest(f"the model's configuration is corrupt: {error}") from error


def go_json(value: Any) -> bytes:
    """Encode as Go's encoder does; the escaped characters occur only inside strings, so replacing bytes is enough."""
    text = msgspec.json.encode(value)
    for raw, escaped in _ESCAPES:
        text = text.replace(raw, escaped)
    return text + b"\n"


_ESCAPES = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)
