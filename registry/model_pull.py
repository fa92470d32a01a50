"""Pulling a model from a registry: its manifest, then blob after blob, then the name."""

from collections.abc import Generator, Iterator
from urllib.parse import SplitResult

from actors.errors import (
    BlobNotFound,
    DigestMismatch,
    InvalidManifest,
    RegistryError,
    RegistryMisbehaved,
    RegistryUnreachable,
)
from registry.digests import digest_of, hex_of, parse_digest
from registry.download.download import Download
from registry.download.incoming import check_room, incoming_path, progress_of
from registry.download.source import Source, refusal
from registry.file_pull import of_urls
from registry.hub import refuses_as_split, shards_at_hub
from registry.manifests import LONGEST_MANIFEST_BYTES, MANIFEST, TENSOR, Layer, Manifest, go_json
from registry.names import ModelName
from registry.offer import blobs_of, read_offer
from registry.progress import Progress
from registry.remote.address import speaks_plainly
from registry.remote.client import RegistryClient, registry_url
from registry.remote.retry import retried
from registry.split import joined_layers
from registry.store import Store
from registry.transfer import Transfer

Lines = Generator[Progress, None, None]

_SMALL_BYTES = 1 << 20
_SHORT_DIGITS = 12
_N_ROUNDS = 3
_OK = 200


def run(store: Store, name: ModelName, transfer: Transfer) -> Lines:
    """Pull one model; errors are those of `registry/pull.py`."""
    yield Progress(status="pulling manifest")
    pulling = _ModelPull(store, name, transfer)
    try:
        yield from pulling.fetch_manifest()
    except (RegistryError, InvalidManifest) as error:
        if isinstance(error, RegistryError) and refuses_as_split(name, error):
            yield from of_urls(store, shards_at_hub(name, pulling.client), name, transfer)
            return
        error.message = f"pull model manifest: {error.message}"
        raise
    yield from pulling.fetch_blobs()
    yield Progress(status="verifying sha256 digest")
    yield from pulling.install()
    yield Progress(status="success")


class _ModelPull:
    """One model on its way."""

    def __init__(self, store: Store, name: ModelName, transfer: Transfer) -> None:
        self._store = store
        self._name = name
        self._transfer = transfer
        self.client = self._ask_at(insecure=transfer.insecure)
        """Asks the registry; over plain HTTP once that has turned out to be right."""
        self._content = b""
        self._manifest: Manifest | None = None

    def _ask_at(self, *, insecure: bool) -> RegistryClient:
        return RegistryClient(registry_url(self._name, insecure=insecure), self._transfer.caller, self._transfer.abort)

    @property
    def _repository(self) -> str:
        return f"/v2/{self._name.namespace}/{self._name.model}"

    def fetch_manifest(self) -> Lines:
        try:
            self._take_manifest()
        except RegistryUnreachable as error:
            if not speaks_plainly(self.client.base, error.fields.get("reason")):
                raise
            yield Progress(status=f"{self._name.host} has no TLS: asking it over plain HTTP, as it is on this network")
            self.client = self._ask_at(insecure=True)
            self._take_manifest()

    def _take_manifest(self) -> None:
        self._content, announced = retried(
            self._ask_manifest, patience=self.client.caller.patience, abort=self.client.abort
        )
        self._manifest = read_offer(self._content, announced=announced)
        if self._manifest.of_type(TENSOR):
            raise InvalidManifest(f"{self._name.shortest} holds no GGUF but single tensors for MLX: pull a GGUF of it")

    def _ask_manifest(self) -> tuple[bytes, str]:
        url = self.client.url(f"{self._repository}/manifests/{self._name.tag}")
        with self.client.channel() as channel:
            reply = self.client.get(channel, url, {"Accept": MANIFEST})
            if reply.status != _OK:
                raise refusal(reply)
            return reply.read(LONGEST_MANIFEST_BYTES), reply.headers.get("Docker-Content-Digest", "")

    def fetch_blobs(self) -> Lines:
        assert self._manifest is not None  # fetched before  # noqa: S101
        layers = blobs_of(self._manifest)
        missing = [layer for layer in layers if not self._is_here(layer)]
        check_room(self._store.blobs.made_folder(), sum(map(self._missing_bytes, missing)))
        for layer in layers:
            for completed in self._fetch(layer):
                yield Progress(
                    status=f"pulling {hex_of(parse_digest(layer.digest))[:_SHORT_DIGITS]}",
                    digest=parse_digest(layer.digest),
                    total=layer.size,
                    completed=completed,
                )

    def _is_here(self, layer: Layer) -> bool:
        """Tell whether a blob is stored, and spare it from pruning.

        Raises:
            InvalidManifest: it has another size than the manifest tells.
        """
        if not self._store.blobs.touch(layer.digest):
            return False
        size = self._store.blobs.size(layer.digest)
        if size not in {None, layer.size}:
            raise InvalidManifest(f"the manifest gives {layer.size} bytes for {layer.digest}, which has {size}")
        return size is not None

    def _missing_bytes(self, layer: Layer) -> int:
        """Give how much of a blob has still to come, after an earlier attempt."""
        blobs = self._store.blobs
        return layer.size - progress_of(incoming_path(blobs.folder, blobs.path(layer.digest).name), layer.size)

    def _fetch(self, layer: Layer) -> Iterator[int]:
        if not self._is_here(layer):
            url = self.client.url(f"{self._repository}/blobs/{parse_digest(layer.digest)}")
            if layer.size < _SMALL_BYTES:
                self._fetch_small(layer, url)
            else:
                sums_url = self.client.url(f"{self._repository}/chunksums")
                source = Source(self.client, url, sums_url=sums_url)
                yield from self._download(layer, source)
        yield layer.size

    def _download(self, layer: Layer, source: Source) -> Iterator[int]:
        download = Download(
            self._store.blobs,
            source,
            size_bytes=layer.size,
            digest=parse_digest(layer.digest),
            pace=self._transfer.pace,
        )
        try:
            yield from download.run()
        except DigestMismatch as error:
            error.message = (
                "digest mismatch, file must be downloaded again: "
                f"want {error.fields['expected']}, got {error.fields['actual']}"
            )
            raise

    def _fetch_small(self, layer: Layer, url: SplitResult) -> None:
        """Fetch a blob whole; it is not resumed and needs no sharing."""
        abort, patience = self.client.abort, self.client.caller.patience

        def ask() -> bytes:
            with self.client.channel() as channel:
                reply = self.client.get(channel, url, {})
                if reply.status != _OK:
                    raise refusal(reply)
                content = reply.read(layer.size)
                abort.check()
                return content

        content = retried(ask, patience=patience, abort=abort)
        if len(content) != layer.size:
            raise RegistryMisbehaved(f"blob {layer.digest} has {len(content)} bytes where {layer.size} are announced")
        if digest_of(content) != parse_digest(layer.digest):
            raise DigestMismatch(expected=parse_digest(layer.digest), actual=digest_of(content))
        self._store.blobs.add(content)

    def install(self) -> Lines:
        """Write the manifest; a blob that another process removed meanwhile is fetched again."""
        assert self._manifest is not None  # fetched before  # noqa: S101
        content = self._content
        joined = yield from joined_layers(self._store.blobs, self._manifest)
        if joined is not None:
            content = go_json(joined)
        yield Progress(status="writing manifest")
        for n_rounds in range(_N_ROUNDS):
            try:
                removed = self._store.install(self._store.spelling_of(self._name), content)
            except BlobNotFound:
                if n_rounds == _N_ROUNDS - 1:
                    raise
                yield from self.fetch_blobs()
            else:
                break
        if joined is not None:
            self._store.discard(self._manifest.digests())
        if removed:
            yield Progress(status="removing unused layers")
