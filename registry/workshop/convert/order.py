"""The order for a conversion, and how it is carried out from the parent's side."""

from collections.abc import Generator, Mapping

import msgspec

from actors.errors import BlobNotFound
from registry.blobs import Blobs
from registry.digests import parse_digest
from registry.gguf import read_gguf
from registry.progress import Progress
from registry.workshop.child import reports

MODULE = "registry.workshop.convert"


class ConvertOrder(msgspec.Struct, frozen=True):
    """What the process is told: files by the names they have in their folder, and where the result goes."""

    name: str
    files: dict[str, str]
    target: str
    base: str = ""
    """The GGUF file that an adapter is for; empty for a model."""


def converted(blobs: Blobs, files: Mapping[str, str], *, name: str, base: str = "") -> Generator[Progress, None, str]:
    """Convert uploaded files, and store the result.

    Args:
        blobs: where the files are, and their result goes.
        files: digests by file name.
        name: of the model to be.
        base: digest of the weights that an adapter is for; empty for a model.

    Returns:
        The digest of the GGUF file.

    Raises:
        BlobNotFound: a file was not uploaded.
        ConversionFailed: the files are not what they must be, or of an architecture that is not known.
    """
    for digest in files.values():
        if not blobs.touch(digest):
            raise BlobNotFound(parse_digest(digest))
    status = "converting adapter" if base else "converting model"
    with blobs.scratch() as target:
        order = ConvertOrder(
            name=name,
            files={file: str(blobs.path(digest)) for file, digest in files.items()},
            target=str(target),
            base=str(blobs.path(base)) if base else "",
        )
        yield Progress(status=status)
        for report in reports(MODULE, order):
            yield Progress(status=report.note or status, total=report.total, completed=report.completed)
        read_gguf(target)
        return blobs.adopt(target)
