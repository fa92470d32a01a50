"""Installed models: a manifest with what its layers say."""

import hashlib
import os
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from actors.errors import InvalidManifest
from registry import manifests
from registry.blobs import Blobs
from registry.digests import hex_of, parse_digest
from registry.manifests import Layer, Manifest, ModelConfig, parse_config, parse_manifest
from registry.names import ModelName

LONGEST_TEXT_BYTES = 8 << 20  # the longest licence seen has 40 kB
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class InstalledModel:
    """A model in the store, as it was when its manifest was read.

    The texts of its layers are read at first use and kept; each raises `InvalidManifest` when a blob is missing or
    unreadable. The object is safe to share between threads: at worst two read the same text.
    """

    name: ModelName
    digest: str
    """SHA-256 of the manifest's bytes, 64 hex digits."""
    modified_ns: int
    """The manifest's mtime since the epoch."""
    manifest: Manifest
    config: ModelConfig
    blobs: Blobs = field(repr=False, compare=False)
    go_templates: bool | None = field(default=None, compare=False)
    """Whether a stored Go template shall be used wherever there is one (True), or never (False)."""

    @property
    def size_bytes(self) -> int:
        """All layers and the configuration together."""
        return self.manifest.size_bytes

    @property
    def modified_at(self) -> datetime:
        """The manifest's mtime in local time, cut to microseconds."""
        return datetime.fromtimestamp(self.modified_ns // _NS_PER_S).astimezone()

    @property
    def modified_rfc3339(self) -> str:
        """The manifest's mtime in local time with all its digits, as replies carry it."""
        seconds, nanoseconds = divmod(self.modified_ns, _NS_PER_S)
        moment = datetime.fromtimestamp(seconds).astimezone()
        fraction = f".{nanoseconds:09}".rstrip("0") if nanoseconds else ""
        zone = moment.strftime("%z")
        zone = "Z" if zone in ("+0000", "") else f"{zone[:3]}:{zone[3:5]}"
        return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{zone}"

    @property
    def weights(self) -> Layer | None:
        """The layer with the weights, or None for a stub and for safetensors models."""
        layers = self.manifest.of_type(manifests.WEIGHTS)
        return layers[-1] if layers else None

    @property
    def weights_path(self) -> Path:
        """The GGUF file with the weights.

        Raises:
            InvalidManifest: the manifest names none.
        """
        if self.weights is None:
            raise InvalidManifest(f"model {self.name.shortest} has no GGUF weights, which this version needs")
        return self.blobs.path(self.weights.digest)

    @property
    def adapters(self) -> tuple[Path, ...]:
        """LoRA files."""
        return tuple(self.blobs.path(layer.digest) for layer in self.manifest.of_type(manifests.ADAPTER))

    @property
    def projectors(self) -> tuple[Path, ...]:
        """Multimodal projectors."""
        return tuple(self.blobs.path(layer.digest) for layer in self.manifest.of_type(manifests.PROJECTOR))

    @property
    def draft(self) -> Path | None:
        """The model that guesses for this one."""
        layers = self.manifest.of_type(manifests.DRAFT)
        return self.blobs.path(layers[-1].digest) if layers else None

    @property
    def drafts(self) -> tuple[Path, ...]:
        """Smaller models that draft for this one."""
        return tuple(self.blobs.path(layer.digest) for layer in self.manifest.of_type(manifests.DRAFT))

    @property
    def loaded_paths(self) -> tuple[Path, ...]:
        """All files that a runner needs."""
        paths = ((self.weights_path,) if self.weights else (), self.adapters, self.projectors, (self.draft,))
        return tuple(path for each in paths for path in each if path is not None)

    @property
    def load_key(self) -> str:
        """Identity of what a runner loads: digests of weights, adapters, projectors and draft, joined by `+`."""
        layers = self.manifest.of_type(manifests.WEIGHTS)[-1:]
        layers += self.manifest.of_type(manifests.ADAPTER) + self.manifest.of_type(manifests.PROJECTOR)
        layers += self.manifest.of_type(manifests.DRAFT)[-1:]
        return "+".join(hex_of(parse_digest(layer.digest)) for layer in layers)

    @property
    def parent(self) -> str:
        """The model that this one was made from, or nothing."""
        return self.weights.source if self.weights else ""

    @cached_property
    def template(self) -> str | None:
        """The Go template, if one is stored."""
        layers = self.manifest.of_type(manifests.TEMPLATE, manifests.PROMPT)
        return self._text(layers[-1]) if layers else None

    @property
    def template_is_written(self) -> bool:
        """Whether a user wrote the template: by our mark, or as a new layer over another model."""
        layers = self.manifest.of_type(manifests.TEMPLATE, manifests.PROMPT)
        if not layers:
            return False
        return layers[-1].annotations == manifests.WRITTEN or bool(self.parent and not layers[-1].source)

    @cached_property
    def system(self) -> str:
        """The system text, or nothing."""
        layers = self.manifest.of_type(manifests.SYSTEM)
        return self._text(layers[-1]) if layers else ""

    @cached_property
    def licenses(self) -> tuple[str, ...]:
        """All licences."""
        return tuple(self._text(layer) for layer in self.manifest.of_type(manifests.LICENSE))

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """Stored options, in stored order and unchecked; do not change the dictionary."""
        found: dict[str, Any] = {}
        for layer in self.manifest.of_type(manifests.PARAMETERS):
            found |= self._json(layer, dict[str, Any])
        return found

    @cached_property
    def messages(self) -> tuple[dict[str, str], ...]:
        """Stored messages, each with `role` and `content`."""
        layers = self.manifest.of_type(manifests.MESSAGES)
        stored = self._json(layers[-1], list[dict[str, Any]] | None) if layers else None
        return tuple(
            {"role": str(message.get("role", "")), "content": str(message.get("content", ""))}
            for message in stored or ()
        )

    def load_texts(self) -> None:
        """Read everything that is read at first use, so that nothing blocks or fails later.

        Raises:
            InvalidManifest: a blob is missing or unreadable.
        """
        _ = self.template, self.system, self.licenses, self.parameters, self.messages

    def check_blobs(self) -> None:
        """Check that the files a runner needs are there.

        Raises:
            InvalidManifest: one is missing; names the model, the blob and the remedy.
        """
        for path in self.loaded_paths:
            if not path.is_file():
                raise self._incomplete(path)

    def _text(self, layer: Layer) -> str:
        return read_blob(self.blobs, layer, model=self.name.shortest).decode(errors="replace")

    def _json(self, layer: Layer, kind: Any) -> Any:
        try:
            return msgspec.json.decode(read_blob(self.blobs, layer, model=self.name.shortest), type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidManifest(
                f"model {self.name.shortest} is corrupt: blob {layer.digest} is not as expected: {error}",
                model=self.name.shortest,
            ) from error

    def _incomplete(self, path: Path) -> InvalidManifest:
        return InvalidManifest(
            f"model {self.name.shortest} is incomplete: blob {path.name} is missing; create or pull the model again",
            model=self.name.shortest,
        )


def read_model(name: ModelName, path: Path, blobs: Blobs, *, go_templates: bool | None = None) -> InstalledModel:
    """Read a manifest file and the configuration it names.

    Raises:
        FileNotFoundError: there is no such manifest.
        InvalidManifest: manifest or configuration cannot be read.
    """
    try:
        with path.open("rb") as file:
            modified_ns = os.fstat(file.fileno()).st_mtime_ns
            content = file.read(manifests.LONGEST_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InvalidManifest(f"cannot read the manifest of {name.shortest}: {error.strerror}") from error
    if len(content) > manifests.LONGEST_MANIFEST_BYTES:
        raise InvalidManifest(f"the manifest of {name.shortest} is too long")
    manifest = parse_manifest(content)
    config = parse_config(read_blob(blobs, manifest.config, model=name.shortest))
    digest = hashlib.sha256(content).hexdigest()
    return InstalledModel(name, digest, modified_ns, manifest, config, blobs, go_templates)


def read_blob(blobs: Blobs, layer: Layer, *, model: str) -> bytes:
    """Read a small blob whole.

    Raises:
        InvalidManifest: it is missing, unreadable or too long for a text.
    """
    try:
        with blobs.path(layer.digest).open("rb") as file:
            content = file.read(LONGEST_TEXT_BYTES + 1)
    except OSError as error:
        raise InvalidManifest(
            f"model {model} is incomplete: blob {layer.digest} cannot be read ({error.strerror}); create or pull the "
            "model again",
            model=model,
        ) from error
    if len(content) > LONGEST_TEXT_BYTES:
        raise InvalidManifest(f"model {model} is corrupt: blob {layer.digest} is too long for a text", model=model)
    return content
