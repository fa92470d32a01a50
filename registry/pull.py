"""Pulling: a model into the store, from a registry, a URL or a file.

The work happens in the generator's own calls and in threads that end with it. Lines come in Ollama's order. The
manifest is written as the last act, so a pull that fails or is killed leaves the model as it was, and what has come of
its blobs for the next attempt. Every blob is verified before it is visible in the store.
"""

from collections.abc import Generator

from actors.errors import InvalidRequest
from registry import file_pull, model_pull
from registry.names import ModelName, parse_name
from registry.progress import Progress
from registry.reference import FileUrl, name_for_file, parse_reference
from registry.store import Store
from registry.transfer import Transfer


def pull(store: Store, text: str, transfer: Transfer, *, target: str = "") -> Generator[Progress, None, None]:
    """Pull a model.

    Args:
        store: where it goes.
        text: what to pull, as `registry/reference.py` reads it.
        transfer: who asks, how fast, and what ends it.
        target: name for a model that comes from a URL or a file; by default it is named after that.

    Returns:
        Progress lines, `success` being the last. What is wrong with the request alone is raised by the call itself,
        everything else by the generator, which may be closed at any time.

    Raises:
        InvalidName, InvalidRequest: the text names nothing that can be pulled.
        RegistryError: another server does not give it.
        InvalidManifest, InvalidGguf, DigestMismatch: what it gives is wrong.
        StoreUnwritable: the operating system refused a write.
    """
    reference = parse_reference(text)
    if isinstance(reference, ModelName):
        if target:
            raise InvalidRequest("a model of a registry keeps its name: pull it, then copy it")
        return model_pull.run(store, reference, transfer)
    name = parse_name(target) if target else None
    if isinstance(reference, FileUrl):
        if reference.urls[0].scheme == "http" and not transfer.insecure:
            raise InvalidRequest("a file is pulled over plain HTTP only with insecure: true (--insecure)")
        return file_pull.of_urls(store, reference, name or name_for_file(reference.names[0]), transfer)
    if not transfer.allows_local:
        raise InvalidRequest(
            "files of the server's machine can be pulled only while it listens on a loopback address: send the file "
            "with `actorctl create NAME --from FILE`"
        )
    return file_pull.of_paths(store, reference, name or name_for_file(reference.paths[0].name), transfer)
