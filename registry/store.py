"""The model store: which names are installed, and the changes to that.

Layout below the root, shared with Ollama: `manifests/<host>/<namespace>/<model>/<tag>` and `blobs/sha256-<hex>`. A
manifest is written beside its place and renamed, so that a killed process leaves the old one or the new one. Changes
that depend on which blobs are in use happen under `store_lock`. Reading takes no lock: manifests and blobs never
change in place, and a model that vanishes under a reader is simply not found.

`resolve` is on the path of every request: warm, it costs two `stat` calls. All methods block on the file system and may
be called from any thread.
"""

import functools
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from actors.errors import BlobNotFound, InvalidDigest, InvalidManifest, InvalidName, ModelNotFound, StoreUnwritable
from registry.atomic import remove_empty_parents, write_atomically
from registry.blobs import Blobs
from registry.cache import FileCache
from registry.digests import parse_digest
from registry.gguf import GgufFile, read_gguf, read_gguf_head
from registry.lock import store_lock
from registry.manifests import LONGEST_MANIFEST_BYTES, Manifest, go_json, parse_manifest
from registry.model import InstalledModel, read_model
from registry.names import ModelName, match_ignoring_case, parse_name

_LEVELS = 4
_N_MANIFESTS = 4096  # of some 10 kB, its weights' head included; more models are listed more slowly
_N_GGUFS = 64  # a header's summary takes 100 kB to 1 MB
_SPARED_AGE_S = 3600.0  # an upload waits that long for its manifest
_SPARED_TRANSFER_AGE_S = 7 * 24 * 3600.0  # a download or a push that broke off can be resumed for so long
_TRANSFER_MARKS = (".incoming", ".outgoing", ".upload")

log = logging.getLogger(__name__)


class Store:
    """A model store on disk. Thread-safe; several may use one folder at once, in several processes."""

    def __init__(self, root: Path, *, no_prune: bool = False, go_templates: bool | None = None) -> None:
        """Take the root folder, which need not exist.

        Args:
            root: the folder.
            no_prune: whether unreferenced blobs stay after changes.
            go_templates: whether the models' Go templates shall always be used, or never; None: as each needs.
        """
        self._go_templates = go_templates
        self.root = root
        self.no_prune = no_prune
        self.blobs = Blobs(root)
        self.manifests = root / "manifests"
        self._models = FileCache(_N_MANIFESTS, self._read)
        self._ggufs = FileCache(_N_GGUFS, read_gguf)
        self._heads = FileCache(_N_MANIFESTS, read_gguf_head)

    def list(self) -> tuple[InstalledModel, ...]:
        """Give all installed models, the most recently changed first; what cannot be read is logged and left out."""
        found = []
        for path, name in self._entries():
            try:
                model = self._at(path, name)
            except InvalidManifest as error:
                log.warning("skipping %s: %s", name.shortest, error.message)
            else:
                found += [model] if model else []
        return tuple(sorted(found, key=lambda model: (-model.modified_ns, model.name)))

    def resolve(self, text: str) -> InstalledModel:
        """Find the model that a name means, whatever its case, with its texts read and its files checked.

        Raises:
            InvalidName: the text is no model name.
            ModelNotFound: no such model is installed; carries the shortest form of the name.
            InvalidManifest: it is installed but damaged, or blobs are missing.
        """
        asked = parse_name(text)
        model = self._get(asked) or self._get(match_ignoring_case(asked, self._names()))
        if model is None:
            raise ModelNotFound(asked.shortest)
        model.load_texts()
        model.check_blobs()
        return model

    def manifest_path(self, name: ModelName) -> Path:
        """Tell where the manifest of a model is, or would be."""
        return self.manifests / name.path

    def gguf(self, model: InstalledModel) -> GgufFile:
        """Give the header of a model's weights.

        Raises:
            InvalidGguf: the file is not as it must be.
            InvalidManifest: the model has no weights, or the blob is missing.
        """
        return self._header(self._ggufs, model)

    def adapters(self, model: InstalledModel) -> tuple[GgufFile, ...]:
        """Give the headers of a model's adapters.

        Raises:
            InvalidGguf: a file is not as it must be.
            InvalidManifest: a blob is missing.
        """
        return tuple(self._ggufs.get(path) for path in model.adapters)

    def gguf_head(self, model: InstalledModel) -> GgufFile:
        """Give the keys before the tokenizer's, without tensors: quick however large the vocabulary.

        Raises:
            InvalidGguf: the file is not as it must be.
            InvalidManifest: the model has no weights, or the blob is missing.
        """
        return self._header(self._heads, model)

    def write(self, name: ModelName, manifest: Manifest, *, texts: Mapping[str, bytes] = MappingProxyType({})) -> None:
        """Install a manifest whose blobs are stored; blobs that only the replaced one used are removed.

        Args:
            name: what the manifest stands for.
            manifest: names the blobs.
            texts: small blobs by digest, stored again if another process removed them since they were added.

        Raises:
            BlobNotFound: a blob is missing.
            StoreUnwritable: the operating system refused; the old manifest stays.
        """
        self.install(name, go_json(manifest), texts=texts)

    def install(
        self, name: ModelName, content: bytes, *, texts: Mapping[str, bytes] = MappingProxyType({})
    ) -> frozenset[str]:
        """Install a manifest byte for byte, as `write` does a made one.

        Returns:
            The blobs that were removed, because only the replaced manifest used them.

        Raises:
            InvalidManifest: the bytes are no manifest.
            BlobNotFound: a blob is missing.
            StoreUnwritable: the operating system refused; the old manifest stays.
        """
        wanted = parse_manifest(content).digests()
        with store_lock(self.manifests):
            for digest in wanted:
                if digest in texts:
                    self.blobs.add(texts[digest])
                elif not self.blobs.touch(digest):
                    raise BlobNotFound(digest)
            before = self._digests_at(self.manifest_path(name))
            write_atomically(self.manifest_path(name), content, scratch=self.manifests)
            return frozenset() if self.no_prune else self._remove_unused(before)

    def manifest(self, name: ModelName) -> tuple[ModelName, bytes]:
        """Give the manifest that a name stands for, whatever its case, byte for byte, with the name as it is installed.

        Raises:
            ModelNotFound: no such model is installed; carries the shortest form of the name.
            InvalidManifest: it is damaged.
        """
        path = self._installed(name.shortest)
        try:
            with path.open("rb") as file:
                content = file.read(LONGEST_MANIFEST_BYTES + 1)
        except FileNotFoundError:
            raise ModelNotFound(name.shortest) from None
        except OSError as error:
            raise InvalidManifest(f"cannot read the manifest of {name.shortest}: {error.strerror}") from error
        parse_manifest(content)
        return ModelName(*path.parts[-_LEVELS:]), content

    def discard(self, digests: Iterable[str]) -> None:
        """Remove blobs that turned out to be of no use, unless a manifest names them."""
        with store_lock(self.manifests):
            self._remove_unused(set(digests))

    def spelling_of(self, name: ModelName) -> ModelName:
        """Give a name as it is installed in another case, or as it stands."""
        return name if self._get(name) is not None else match_ignoring_case(name, self._names())

    def copy(self, source: str, destination: str) -> None:
        """Give a model a second name.

        Raises:
            InvalidName: one of the names is none.
            ModelNotFound: the source is not installed; carries the name as given.
            StoreUnwritable: the operating system refused.
        """
        target = parse_name(destination)
        installed = self._installed(source)
        with store_lock(self.manifests):
            try:
                content = installed.read_bytes()
            except FileNotFoundError:
                raise ModelNotFound(source) from None
            target = match_ignoring_case(target, self._names())
            before = self._digests_at(self.manifest_path(target))
            write_atomically(self.manifest_path(target), content, scratch=self.manifests)
            if not self.no_prune:
                self._remove_unused(before)

    def delete(self, text: str) -> None:
        """Remove a model and the blobs that no other one uses; also works when its manifest is damaged.

        Raises:
            InvalidName: the text is no model name.
            ModelNotFound: no such model is installed; carries the name as given.
            StoreUnwritable: the operating system refused.
        """
        path = self._installed(text)
        with store_lock(self.manifests):
            before = self._digests_at(path)
            try:
                path.unlink()
            except FileNotFoundError:
                raise ModelNotFound(text) from None
            except OSError as error:
                raise StoreUnwritable(str(path), error.strerror or str(error)) from error
            remove_empty_parents(path, below=self.manifests)
            self._remove_unused(before)

    def prune(self) -> None:
        """Tidy the store, as at server start.

        Old file names with `:` are renamed. Unless pruning is off, blobs that no manifest names, and remains of broken
        writes, are removed once they are an hour old, what a broken transfer could resume from after a week, and so
        are empty folders. Nothing is removed while a manifest is damaged, because what it needs is unknown.
        """
        if not self.root.is_dir():
            return
        with store_lock(self.manifests):
            self._rename_old_blobs()
            used = None if self.no_prune else self._used()
            if used is None:
                return
            oldest_kept = time.time() - _SPARED_AGE_S
            for path in _files(self.blobs.folder):
                is_transfer = any(mark in path.name for mark in _TRANSFER_MARKS)
                oldest = time.time() - _SPARED_TRANSFER_AGE_S if is_transfer else oldest_kept
                if _digest_in(path) not in used and _mtime(path) < oldest:
                    log.info("removing unused blob %s", path.name)
                    _unlink(path)
            for path in _files(self.manifests):
                if path.name.startswith(".") and _mtime(path) < oldest_kept:
                    _unlink(path)
            for folder, _, _ in os.walk(self.manifests, topdown=False):
                remove_empty_parents(Path(folder) / "any", below=self.manifests)

    def check_writable(self) -> None:
        """Try to write.

        Raises:
            StoreUnwritable: the operating system refused.
        """
        with self.blobs.writer():
            pass
        with store_lock(self.manifests):
            write_atomically(self.manifests / ".writable", b"", scratch=self.manifests)
            _unlink(self.manifests / ".writable")

    def _read(self, path: Path) -> InstalledModel:
        return read_model(ModelName(*path.parts[-_LEVELS:]), path, self.blobs, go_templates=self._go_templates)

    def _get(self, name: ModelName) -> InstalledModel | None:
        return self._at(str(self.manifest_path(name)), name)

    def _at(self, path: str, name: ModelName) -> InstalledModel | None:
        try:
            return self._models.get(path)
        except PermissionError as error:
            raise InvalidManifest(f"cannot read the manifest of {name.shortest}: {error.strerror}") from error
        except OSError:  # absent, or a legal name that is too long for this file system
            return None

    def _header(self, cache: FileCache[GgufFile], model: InstalledModel) -> GgufFile:
        try:
            return cache.get(model.weights_path)
        except FileNotFoundError:
            model.check_blobs()
            raise InvalidManifest(f"the weights of {model.name.shortest} vanished: please try again") from None

    def _installed(self, text: str) -> Path:
        """Find the manifest that a name means, readable or not."""
        asked = parse_name(text)
        path = self.manifest_path(asked)
        if not os.path.isfile(path):  # noqa: PTH113 - unlike Path's, false for names that are too long
            path = self.manifest_path(match_ignoring_case(asked, self._names()))
        if not os.path.isfile(path):  # noqa: PTH113
            raise ModelNotFound(text)
        return path

    def _names(self) -> Iterator[ModelName]:
        return (name for _, name in self._entries())

    def _entries(self) -> Iterator[tuple[str, ModelName]]:
        """Walk the manifests: exactly four levels deep, legal names only."""
        for path in _walk(str(self.manifests), _LEVELS):
            parts = path.rsplit("/", _LEVELS)[-_LEVELS:]
            try:
                yield path, _name_of(*parts)
            except InvalidName:
                if not parts[-1].startswith("."):
                    log.warning("skipping %s: not the path of a model name", path)

    def _digests_at(self, path: Path) -> set[str]:
        """Give the blobs that a manifest names; none when it is absent or damaged."""
        try:
            with path.open("rb") as file:
                return parse_manifest(file.read(LONGEST_MANIFEST_BYTES)).digests()
        except (OSError, InvalidManifest):
            return set()

    def _used(self) -> set[str] | None:
        """Give all blobs that manifests name; None when a manifest cannot be read."""
        used: set[str] = set()
        for name in self._names():
            try:
                used |= parse_manifest(self.manifest_path(name).read_bytes()).digests()
            except FileNotFoundError:
                continue
            except (OSError, InvalidManifest) as error:
                log.warning("no blobs are removed: the manifest of %s cannot be read: %s", name.shortest, error)
                return None
        return used

    def _remove_unused(self, candidates: set[str]) -> frozenset[str]:
        used = self._used() if candidates else None
        unused = frozenset(candidates - used) if used is not None else frozenset[str]()
        for digest in unused:
            _unlink(self.blobs.path(digest))
        return unused

    def _rename_old_blobs(self) -> None:
        for path in _files(self.blobs.folder):
            if path.name.startswith("sha256:"):
                path.rename(path.with_name(path.name.replace(":", "-")))


@functools.lru_cache(maxsize=_N_MANIFESTS)
def _name_of(host: str, namespace: str, model: str, tag: str) -> ModelName:
    return ModelName(host, namespace, model, tag)


def _walk(folder: str, levels: int) -> Iterator[str]:
    """Give the regular files that lie exactly so many levels below a folder."""
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        log.warning("cannot read %s: %s", folder, error.strerror)
        return
    for entry in entries:
        if levels > 1 and entry.is_dir():
            yield from _walk(entry.path, levels - 1)
        elif levels == 1 and entry.is_file():
            yield entry.path


def _files(folder: Path) -> Iterator[Path]:
    return map(Path, _walk(str(folder), 1))


def _digest_in(path: Path) -> str | None:
    try:
        return parse_digest(path.name)
    except InvalidDigest:
        return None


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("cannot remove %s: %s", path, error.strerror)
