"""Pushing: an installed model to the registry that its name names. Lines come in Ollama's order."""

from collections.abc import Generator

from actors.errors import InvalidManifest, LlamactorError, RegistryUnreachable
from registry.digests import hex_of, parse_digest
from registry.download.source import refusal
from registry.manifests import MANIFEST, Layer, parse_manifest
from registry.names import ModelName, parse_name
from registry.offer import blobs_of
from registry.outgoing import Outgoing
from registry.progress import Progress
from registry.remote.address import speaks_plainly
from registry.remote.channel import Channel
from registry.remote.client import RegistryClient, registry_url
from registry.remote.retry import retried
from registry.store import Store
from registry.transfer import Transfer

Lines = Generator[Progress, None, None]

_SHORT_DIGITS = 12
_OK, _CREATED, _ACCEPTED, _MULTIPLE = 200, 201, 202, 300
_NOT_FOUND = 404


def push(store: Store, text: str, transfer: Transfer) -> Lines:
    """Push a model.

    Returns:
        Progress lines, `success` being the last. A wrong name is raised by the call itself, everything else by the
        generator, which may be closed at any time.

    Raises:
        InvalidName: the text is no model name.
        ModelNotFound: no such model is installed.
        InvalidManifest: it is damaged.
        RegistryError: the registry does not take it.
    """
    return _Push(store, parse_name(text), transfer).run()


class _Push:
    """One model on its way."""

    def __init__(self, store: Store, name: ModelName, transfer: Transfer) -> None:
        self._store = store
        self._name = name
        self._transfer = transfer
        self._client = self._ask_at(insecure=transfer.insecure)

    def _ask_at(self, *, insecure: bool) -> RegistryClient:
        return RegistryClient(registry_url(self._name, insecure=insecure), self._transfer.caller, self._transfer.abort)

    @property
    def _repository(self) -> str:
        return f"/v2/{self._name.namespace}/{self._name.model}"

    def run(self) -> Lines:
        yield Progress(status="retrieving manifest")
        try:
            self._name, content = self._store.manifest(self._name)
        except LlamactorError:
            yield Progress(status="couldn't retrieve manifest")
            raise
        layers = blobs_of(parse_manifest(content))
        with self._client.channel() as channel:
            yield from self._settle_scheme(channel, layers[0])
        with self._client.channel() as channel:
            for layer in layers:
                yield from self._push_layer(channel, layer)
            yield Progress(status="pushing manifest")
            self._push_manifest(channel, content)
        yield Progress(status="success")

    def _settle_scheme(self, channel: Channel, layer: Layer) -> Lines:
        """Find out whether the registry speaks TLS, where that may be left to it."""
        try:
            self._has(channel, layer)
        except RegistryUnreachable as error:
            if not speaks_plainly(self._client.base, error.fields.get("reason")):
                raise
            yield Progress(status=f"{self._name.host} has no TLS: asking it over plain HTTP, as it is on this network")
            self._client = self._ask_at(insecure=True)

    def _push_layer(self, channel: Channel, layer: Layer) -> Lines:
        digest = parse_digest(layer.digest)

        def line(completed: int) -> Progress:
            status = f"pushing {hex_of(digest)[:_SHORT_DIGITS]}"
            return Progress(status=status, digest=digest, total=layer.size, completed=completed)

        if not self._has(channel, layer):
            if self._store.blobs.size(digest) != layer.size:
                raise InvalidManifest(f"blob {digest} of {self._name.shortest} is missing or damaged: pull it again")
            outgoing = Outgoing(self._store.blobs, layer, self._client, self._repository, self._transfer)
            for taken in outgoing.run(channel, mount_from=self._mount_from(layer)):
                yield line(taken)
        yield line(layer.size)

    def _mount_from(self, layer: Layer) -> str:
        """Give the repository from which the registry may know the blob: that of the model it came from."""
        if not layer.source or "/" in layer.source.partition(":")[2] or layer.source.startswith(("/", ".")):
            return ""
        try:
            source = parse_name(layer.source)
        except LlamactorError:
            return ""
        return f"{source.namespace}/{source.model}" if source.host == self._name.host else ""

    def _has(self, channel: Channel, layer: Layer) -> bool:
        url = self._client.url(f"{self._repository}/blobs/{parse_digest(layer.digest)}")

        def ask() -> bool:
            reply = self._client.get(channel, url, {}, method="HEAD")
            if reply.status not in {_NOT_FOUND, *range(_OK, _MULTIPLE)}:
                raise refusal(reply)
            return reply.status != _NOT_FOUND

        return retried(ask, patience=self._client.caller.patience, abort=self._client.abort)

    def _push_manifest(self, channel: Channel, content: bytes) -> None:
        url = self._client.url(f"{self._repository}/manifests/{self._name.tag}")
        headers = {"Content-Type": MANIFEST, "Content-Length": str(len(content))}

        def ask() -> None:
            reply = self._client.ask(channel, "PUT", url, headers, lambda: (content,))
            if reply.status not in {_OK, _CREATED, _ACCEPTED}:
                raise refusal(reply)

        retried(ask, patience=self._client.caller.patience, abort=self._client.abort)
