"""Making models: from an installed one, or from GGUF blobs that were uploaded before.

The stages and their order are Ollama's, except that a GGUF keeps its bytes (Ollama rewrites it and keeps both copies)
and that no Go template is guessed from the Jinja one, which is used as it is. Nothing is visible under the new name
before the manifest is written as the last act; a failure leaves at most unreferenced blobs, which pruning removes.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec

from actors.errors import BlobNotFound, InvalidDigest, InvalidGguf, InvalidRequest, ModelNotFound, NotAvailable
from registry import layers, manifests
from registry.adapters import check_adapter
from registry.config import config_for
from registry.digests import parse_digest
from registry.engine import PromptEngine, engine_by_offers, scanned
from registry.gguf import GgufFile, is_gguf, read_gguf
from registry.layers import NewLayer
from registry.manifests import Layer, Manifest, ModelConfig, go_json
from registry.names import ModelName, match_ignoring_case, parse_name
from registry.progress import Progress
from registry.split import joined_files
from registry.store import Store
from registry.workshop.convert.order import converted
from registry.workshop.quantize import file_type_named, quantized

_PROJECTOR_TYPES = {"projector", "mmproj"}


class CreateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `/api/create`; null and empty count as absent."""

    model: str | None = None
    name: str | None = None
    source: str | None = msgspec.field(default=None, name="from")
    files: dict[str, str] | None = None
    adapters: dict[str, str] | None = None
    draft_files: dict[str, str] | None = None
    draft_quantize: str | None = None
    template: str | None = None
    system: str | None = None
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None
    license: str | list[str] | None = None
    parameters: dict[str, Any] | None = None
    messages: list[dict[str, Any]] | None = None
    quantize: str | None = None
    quantization: str | None = None
    remote_host: str | None = None
    info: dict[str, Any] | None = None
    stream: bool | None = None


Obtain = Callable[[str], Iterator[Progress]]
"""Gets a model that is not installed, as `registry.pull.pull` does."""


def create(store: Store, request: CreateRequest, *, obtain: Obtain | None = None) -> Generator[Progress, None, None]:
    """Make a model; the generator does the work and blocks on the file system between its lines.

    Args:
        store: where it goes.
        request: what it is made of.
        obtain: gets a base that is not installed; without it such a base is an error.

    Returns:
        Progress lines, `success` being the last. What is wrong with the request alone is raised by the call itself,
        everything else by the generator, which may be closed at any time.

    Raises:
        InvalidName: the target or the source is no model name.
        InvalidDigest: a file's digest is malformed.
        InvalidRequest: the request contradicts itself, or a template does not parse.
        NotAvailable: it asks for a conversion that this version lacks.
        ModelNotFound: the source is not installed.
        BlobNotFound: a file was not uploaded.
        InvalidGguf: a file is no GGUF file, is cut short or damaged.
        StoreUnwritable: the operating system refused a write.
    """
    target = parse_name(request.model or request.name or "")
    for files in (request.files, request.adapters, request.draft_files):
        for name, digest in (files or {}).items():
            if not _is_plain_path(name):
                raise InvalidRequest("file path must be relative")
            if not digest:
                raise InvalidDigest(digest)
    if request.draft_quantize and not request.draft_files:
        raise InvalidRequest("--draft-quantize requires a DRAFT model")
    for wanted in (request.quantize or request.quantization, request.draft_quantize):
        if wanted:
            file_type_named(wanted)
    return _Creation(store, target, request, obtain).run()


def _is_plain_path(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and str(path) == name


class _Creation:
    """One model in the making."""

    def __init__(self, store: Store, target: ModelName, request: CreateRequest, obtain: Obtain | None) -> None:
        self._obtain = obtain
        self._store = store
        self._target = target
        self._request = request
        self._layers: tuple[NewLayer, ...] = ()
        self._inherited = ModelConfig()
        self._parameters: Mapping[str, Any] = {}
        self._written = False
        """Whether the base's template was written by a user."""

    def run(self) -> Generator[Progress, None, None]:
        self._refuse_what_is_missing()
        if self._request.source:
            yield from self._take_model(self._request.source)
        elif self._request.files is not None:
            yield from self._take_files(self._request.files)
        else:
            raise InvalidRequest("neither 'from' or 'files' was specified")
        yield from self._take_adapters()
        yield from self._take_drafts()
        yield from self._quantize(manifests.WEIGHTS, self._request.quantize or self._request.quantization)
        yield from self._quantize(manifests.DRAFT, self._request.draft_quantize)
        gguf = self._weights()
        config = config_for(self._request, self._inherited, gguf, self._projector_families())
        self._add_texts(config)
        self._mark_template(config, gguf)
        for layer in self._layers:
            yield Progress(status=f"{'creating new' if layer.is_new else 'using existing'} layer {layer.layer.digest}")
        yield Progress(status="writing manifest")
        self._write(config)
        yield Progress(status="success")

    def _refuse_what_is_missing(self) -> None:
        if self._request.remote_host:
            raise InvalidRequest("remote_host: models of other hosts are not served here: create it from a GGUF file")

    def _take_model(self, source: str) -> Iterator[Progress]:
        try:
            base = self._store.resolve(source)
        except ModelNotFound:
            if self._obtain is None:
                raise
            yield from (step for step in self._obtain(source) if step.status != "success")  # that is our own last line
            base = self._store.resolve(source)
        if base.weights is None:
            raise NotAvailable("a model without GGUF weights", f"{base.name.shortest} cannot be a base")
        self._inherited = base.config
        self._parameters = base.parameters
        self._written = base.template_is_written
        self._layers = tuple(
            NewLayer(msgspec.structs.replace(layer, source=base.name.shortest, annotations={}))
            for layer in base.manifest.layers
        )

    def _take_files(self, files: Mapping[str, str]) -> Generator[Progress, None, None]:
        if any(name.endswith(".safetensors") for name in files):
            digest = yield from converted(self._store.blobs, files, name=self._target.model)
            self._layers += (NewLayer(self._layer(manifests.WEIGHTS, digest), is_new=True),)
            return
        if not files:
            raise InvalidRequest("no files provided to convert")
        whole = yield from joined_files(self._store.blobs, files)
        for name, digest in sorted(whole.items()):
            yield Progress(status="parsing GGUF")
            gguf = self._read(name, digest)
            self._layers += (NewLayer(self._layer(_media_type(gguf), digest)),)
        if not any(layer.layer.media_type == manifests.WEIGHTS for layer in self._layers):
            raise InvalidRequest("no model weights among the files: add the model's GGUF file")

    def _take_adapters(self) -> Generator[Progress, None, None]:
        adapters = self._request.adapters or {}
        if any(name.endswith(".safetensors") for name in adapters):
            base = self._weights_layer().digest
            digest = yield from converted(self._store.blobs, adapters, name=self._target.model, base=base)
            check_adapter(read_gguf(self._store.blobs.path(digest)), self._weights(), name="the adapter")
            self._layers += (NewLayer(self._layer(manifests.ADAPTER, digest), is_new=True),)
            return
        if len(adapters) > 1:
            raise InvalidRequest("only one adapter is currently supported")
        for name, digest in adapters.items():
            yield Progress(status="parsing GGUF")
            gguf = self._read(name, digest)
            if _media_type(gguf) != manifests.ADAPTER:
                raise InvalidRequest(f"{name} is no LoRA adapter")
            check_adapter(gguf, self._weights(), name=name)
            self._layers += (NewLayer(self._layer(manifests.ADAPTER, digest)),)

    def _take_drafts(self) -> Iterator[Progress]:
        drafts = self._request.draft_files or {}
        if drafts:
            self._layers = tuple(one for one in self._layers if one.layer.media_type != manifests.DRAFT)
        for name, digest in drafts.items():
            yield Progress(status="parsing GGUF")
            if _media_type(self._read(name, digest)) != manifests.WEIGHTS:
                raise InvalidRequest(f"{name} is no model that could draft")
            self._layers += (NewLayer(self._layer(manifests.DRAFT, digest)),)

    def _quantize(self, media_type: str, wanted: str | None) -> Generator[Progress, None, None]:
        """Quantize the layers of a type."""
        if not wanted:
            return
        file_type = file_type_named(wanted)
        for index, one in enumerate(self._layers):
            if one.layer.media_type == media_type:
                digest = yield from quantized(self._store.blobs, one.layer.digest, file_type)
                if digest != one.layer.digest:
                    new = NewLayer(self._layer(media_type, digest), is_new=True)
                    self._layers = (*self._layers[:index], new, *self._layers[index + 1 :])

    def _read(self, name: str, digest: str) -> GgufFile:
        path = self._store.blobs.path(digest)
        if not self._store.blobs.touch(digest):
            raise BlobNotFound(parse_digest(digest))
        if not is_gguf(path):
            if not name.endswith(".gguf"):
                raise InvalidRequest("unknown type")
            raise InvalidGguf("supplied file was not in GGUF format")
        return read_gguf(path)

    def _layer(self, media_type: str, digest: str) -> Layer:
        size = self._store.blobs.size(digest)
        if size is None:
            raise BlobNotFound(parse_digest(digest))
        return Layer(media_type, parse_digest(digest), size)

    def _weights(self) -> GgufFile:
        return read_gguf(self._store.blobs.path(self._weights_layer().digest))

    def _weights_layer(self) -> Layer:
        return [layer.layer for layer in self._layers if layer.layer.media_type == manifests.WEIGHTS][-1]

    def _projector_families(self) -> tuple[str, ...]:
        projectors = [layer.layer for layer in self._layers if layer.layer.media_type == manifests.PROJECTOR]
        return tuple(read_gguf(self._store.blobs.path(layer.digest)).architecture for layer in projectors)

    def _add_texts(self, config: ModelConfig) -> None:
        request, blobs = self._request, self._store.blobs
        defaults = self._parameters if request.source else layers.default_parameters(config)
        self._layers = layers.with_texts(
            self._layers,
            blobs,
            template=request.template or "",
            system=request.system or "",
            licenses=[request.license] if isinstance(request.license, str) else request.license or [],
            parameters={**defaults, **(request.parameters or {})},
            messages=request.messages or [],
        )

    def _mark_template(self, config: ModelConfig, gguf: GgufFile) -> None:
        """Mark a template that a user wrote, where it would not be used without the mark."""
        template = next((one for one in self._layers if one.layer.media_type == manifests.TEMPLATE), None)
        if template is None or not (self._written or (template.text is not None and not template.layer.source)):
            return
        text = self._request.template or self._store.blobs.path(template.layer.digest).read_text(errors="replace")
        if engine_by_offers(config, scanned(text), gguf) is not PromptEngine.GO:
            self._layers = layers.marked_as_written(self._layers)

    def _write(self, config: ModelConfig) -> None:
        content = go_json(config)
        digest, _ = self._store.blobs.add(content)
        manifest = Manifest(
            config=Layer(manifests.CONFIG, digest, len(content)), layers=tuple(layer.layer for layer in self._layers)
        )
        installed = (model.name for model in self._store.list())
        texts = {layer.layer.digest: layer.text for layer in self._layers if layer.text is not None}
        self._store.write(match_ignoring_case(self._target, installed), manifest, texts=texts | {digest: content})


def _media_type(gguf: GgufFile) -> str:
    kind = gguf.text("general.type")
    if kind == "adapter":
        return manifests.ADAPTER
    sees_only = gguf.value("vision.block_count") is not None and gguf.value("block_count") is None
    encodes = gguf.architecture == "clip" and any(
        gguf.value(f"has_{part}_encoder") is True for part in ("vision", "audio", "text", "llava")
    )
    return manifests.PROJECTOR if kind in _PROJECTOR_TYPES or sees_only or encodes else manifests.WEIGHTS
