"""What FROM and ADAPTER of a Modelfile mean on the machine where it lies: local files, or a model name."""

from collections.abc import Mapping
from pathlib import Path

from actors.errors import InvalidModelfile, NotAvailable
from registry.gguf import is_gguf


def local_files(argument: str, folder: Path) -> Mapping[str, Path] | None:
    """Find the files that an argument means.

    Args:
        argument: as written; absolute, beginning with `~`, or relative to the folder.
        folder: where the Modelfile is.

    Returns:
        Files by the names under which the server shall know them; None when no such path exists, and the argument is
        therefore a model name.

    Raises:
        InvalidModelfile: a folder holds nothing that can be imported, or a link in it leads out of it.
        NotAvailable: it holds safetensors, which this version does not convert.
    """
    try:
        path = folder / Path(argument).expanduser()
    except RuntimeError as error:  # no such user, or no home
        raise InvalidModelfile(f"cannot expand {argument}: {error}") from error
    if path.is_dir():
        return _in_folder(path)
    return {_import_name(path): path} if path.exists() else None


def _in_folder(folder: Path) -> Mapping[str, Path]:
    if any(folder.glob("*.safetensors")) or any(folder.glob("*/*.safetensors")):
        raise NotAvailable("importing safetensors", "convert the model to GGUF with llama.cpp first")
    found = {path.name: path for path in sorted(folder.glob("*.gguf"))}
    root = folder.resolve()
    for path in found.values():
        if root not in path.resolve().parents:
            raise InvalidModelfile(f"insecure path: {path}")
    if not found:
        raise InvalidModelfile("no Modelfile or safetensors files found")
    return found


def _import_name(path: Path) -> str:
    # A blob of a store has no ending; the server tells files apart by their names first.
    return f"{path.name}.gguf" if path.suffix != ".gguf" and is_gguf(path) else path.name
