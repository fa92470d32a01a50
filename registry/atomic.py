"""Writing small files so that a reader, or a crash, sees the old content or the new, never a part."""

import contextlib
import os
import tempfile
from pathlib import Path

from actors.errors import StoreUnwritable
from registry.blobs import sync_folder

_ATTEMPTS = 5  # another process may remove the empty folder that was just made
_PUBLIC = 0o644


def write_atomically(path: Path, content: bytes, *, scratch: Path) -> None:
    """Replace a file's content and make it durable; its folders are made if need be.

    Args:
        path: the file.
        content: what it shall hold.
        scratch: folder for the temporary file, on the same file system; its readers must skip names with a leading dot.

    Raises:
        StoreUnwritable: the operating system refused; the old content stays.
    """
    temporary = None
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        fd, temporary = tempfile.mkstemp(prefix=".incoming-", dir=scratch)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), _PUBLIC)
            os.fsync(file.fileno())
        _move(Path(temporary), path)
        temporary = None
        sync_folder(path.parent)
    except OSError as error:
        raise StoreUnwritable(str(path), error.strerror or str(error)) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink(missing_ok=True)


def remove_empty_parents(path: Path, *, below: Path) -> None:
    """Remove a path's folders from the inside out, as far as they are empty and lie below another folder."""
    for folder in path.parents:
        if below not in folder.parents:
            return
        try:
            folder.rmdir()
        except OSError:
            return


def _move(source: Path, target: Path) -> None:
    for attempt in range(_ATTEMPTS):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            source.rename(target)
        except FileNotFoundError:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return
