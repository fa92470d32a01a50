"""The store as a registry shows it: repositories `namespace/model`, their tags, manifests and blobs.

A repository's models are those of the default host and, behind them, those of any other host, so that a model pulled
from elsewhere can be passed on. Only blobs that a manifest of the repository names are given: a blob's digest alone is
no key to what else the store holds.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from actors.errors import BlobNotFound, InvalidManifest, InvalidName, ModelNotFound
from registry.digests import digest_of, parse_digest
from registry.manifests import LONGEST_MANIFEST_BYTES, parse_manifest
from registry.names import DEFAULT_HOST, ModelName
from registry.store import Store


@dataclass(frozen=True, slots=True)
class ShownManifest:
    """A manifest byte for byte, and its digest."""

    content: bytes
    digest: str


class Shelf:
    """The repositories of one store. Blocks on the file system; stateless, hence thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def name(self, namespace: str, model: str, tag: str) -> ModelName:
        """Give the name under which a repository's tag is written.

        Raises:
            InvalidName: it is none.
        """
        return ModelName(DEFAULT_HOST, namespace, model, tag)

    def tags(self, namespace: str, model: str) -> tuple[str, ...]:
        """List the tags of a repository.

        Raises:
            InvalidName: no name of a repository.
            ModelNotFound: it has none.
        """
        found = dict.fromkeys(path.name for path in self._manifests(namespace, model))
        if not found:
            raise ModelNotFound(f"{namespace}/{model}")
        return tuple(sorted(found))

    def manifest(self, namespace: str, model: str, reference: str) -> ShownManifest:
        """Give the manifest of a tag, in whatever case, or of a digest.

        Raises:
            InvalidName: no name of a model.
            ModelNotFound: there is none.
        """
        is_digest = reference.startswith("sha256:")
        if not is_digest:
            self.name(namespace, model, reference)
        for path in self._manifests(namespace, model):
            if is_digest or path.name.lower() == reference.lower():
                content = _read(path)
                if content and (not is_digest or digest_of(content) == reference):
                    return ShownManifest(content, digest_of(content))
        raise ModelNotFound(f"{namespace}/{model}:{reference}")

    def blob(self, namespace: str, model: str, digest: str) -> tuple[Path, int]:
        """Give path and size of a blob that the repository names.

        Raises:
            InvalidDigest, InvalidName: malformed.
            BlobNotFound: the repository names none such, or it is missing.
        """
        wanted = parse_digest(digest)
        size = self._store.blobs.size(wanted)
        for path in self._manifests(namespace, model) if size is not None else ():
            try:
                if size is not None and wanted in parse_manifest(_read(path)).digests():
                    return self._store.blobs.path(wanted), size
            except InvalidManifest:
                continue
        raise BlobNotFound(wanted)

    def _manifests(self, namespace: str, model: str) -> Iterator[Path]:
        """Give the manifests of a repository, those of the default host first."""
        self.name(namespace, model, "latest")
        hosts = sorted(_folders(self._store.manifests), key=lambda path: (path.name != DEFAULT_HOST, path.name))
        for host in hosts:
            for folder in _named(host, namespace):
                for repository in _named(folder, model):
                    for path in sorted(repository.iterdir()):
                        if _is_tag(host.name, namespace, model, path.name):
                            yield path


def _named(folder: Path, name: str) -> list[Path]:
    return [path for path in _folders(folder) if path.name.lower() == name.lower()]


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir())
    except OSError:
        return []


def _is_tag(host: str, namespace: str, model: str, tag: str) -> bool:
    try:
        ModelName(host, namespace, model, tag)
    except InvalidName:
        return False
    return True


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LONGEST_MANIFEST_BYTES)
    except OSError:  # removed meanwhile
        return b""
